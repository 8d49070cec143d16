"""Scores: the public suite over all of them, and their values on rows that anybody can check."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stream_al.build import find_score
from stream_al.conformance.score import CHECKS, check_score
from stream_al.models.inputs import Inputs
from stream_al.models.scaler import Scaler
from stream_al.query.projection import Projection
from stream_al.query.representatives import Representatives
from stream_al.query.score_context import Distances
from stream_al.query.scores import SCORES, ScoreContext


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", sorted(SCORES))
def test_every_score_conforms(name, check):
    check(SCORES[name])


def test_the_suite_names_what_fails():
    with pytest.raises(AssertionError, match="check_within_zero_and_one"):
        check_score(lambda context: np.full(len(context.probabilities), 2.0))
    with pytest.raises(AssertionError, match="check_rows_are_independent"):
        check_score(lambda context: context.probabilities[:, 0] / context.probabilities[:, 0].max() / 2)


def scored(name: str, *rows: list[float], rare: int | None = None) -> list[float]:
    p = np.array(rows)
    inputs = Inputs(len(p), np.zeros((len(p), 0)), Scaler())
    return SCORES[name](ScoreContext(p, [f"e{i}" for i in range(len(p))], inputs, rare)).tolist()


@pytest.mark.parametrize("name", ["margin", "least_confidence", "entropy"])
def test_uniform_is_one_and_certain_is_zero(name):
    for k in (2, 3, 5):
        uniform, certain = scored(name, [1 / k] * k, [1.0] + [0.0] * (k - 1))
        assert uniform == pytest.approx(1.0)
        assert certain == pytest.approx(0.0)


def test_the_formulas():
    row = [0.5, 0.3, 0.2]
    assert scored("margin", row) == pytest.approx([0.8])
    assert scored("least_confidence", row) == pytest.approx([0.75])
    assert scored("entropy", row) == pytest.approx([-np.dot(row, np.log(row)) / np.log(3)])


# ---- what was asked, and what the stream is like ---------------------------------------------------


def among(*rows: list[float], p: list[list[float]] | None = None) -> ScoreContext:
    """Return a context whose recent events are its own rows, of columns with deviation 1 and mean 0."""
    dense = np.array(rows)
    scaler = Scaler()
    scaler.grow(np.zeros(dense.shape[1], dtype=bool))
    for value in (-1.0, 1.0):
        scaler.observe(np.full(dense.shape[1], value), 1.0)
    inputs = Inputs(len(dense), dense, scaler)
    probabilities = np.array(p or [[0.5, 0.5]] * len(dense))
    recent = Representatives(inputs, probabilities, Projection(0))
    names = [f"e{i}" for i in range(len(dense))]
    return ScoreContext(probabilities, names, inputs, sampled=lambda: recent)


def test_novelty_is_half_at_the_typical_distance_and_one_where_nothing_was_asked():
    context = among([0.0], [1.0], [2.0])
    assert context.novelty().tolist() == [1.0, 1.0, 1.0]
    nearest = Distances(np.array([0.0, 2.0, np.inf]), 2.0)
    assert replace(context, asked=lambda: nearest).novelty() == pytest.approx([0.0, 0.5, 1.0])
    few = Distances(np.array([0.0, 2.0, np.inf]), 0.0)
    assert replace(context, asked=lambda: few).novelty() == pytest.approx([0.0, 1.0, 1.0])


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_hybrid_mixes_by_alpha(alpha):
    nearest = Distances(np.array([0.0, 1.0]), 1.0)
    context = replace(among([0.0], [1.0], p=[[0.7, 0.3], [0.9, 0.1]]), asked=lambda: nearest)
    expected = alpha * np.array([0.6, 0.2]) + (1 - alpha) * np.array([0.0, 0.5])
    assert find_score(f"hybrid:{alpha}")(context) == pytest.approx(expected)


def test_the_width_is_twice_the_number_of_standardised_columns():
    rng = np.random.default_rng(0)
    context = among(*rng.normal(size=(64, 20)).tolist())
    recent = context.representatives()
    assert recent.width == pytest.approx(40.0, rel=0.1)
    similarity = recent.similarity(context.inputs)
    assert similarity.diagonal() == pytest.approx(1.0, abs=1e-5)
    z = context.inputs.z
    exact = np.exp(-((z[:, None] - z) ** 2).sum(axis=2) / recent.width)
    assert similarity == pytest.approx(exact, abs=1e-5)


def test_density_prefers_the_crowd_and_error_reduction_what_says_something_of_it():
    """Ten doubtful events in a heap, one far away, one in the heap that is settled."""
    heap = [[0.01 * i, 0.0] for i in range(10)]
    p = [[0.5, 0.5]] * 11 + [[0.99, 0.01]]
    context = among(*heap, [6.0, 6.0], [0.05, 0.0], p=p)
    for name in ("density", "expected_error_reduction"):
        score = SCORES[name](context)
        assert (score[:10] > 2 * score[10]).all(), name
        assert (score[:10] > 2 * score[11]).all(), name


def test_without_a_sample_they_are_the_margin():
    context = replace(among([0.0], [1.0], p=[[0.7, 0.3], [0.9, 0.1]]), sampled=lambda: None)
    for name in ("density", "expected_error_reduction"):
        assert SCORES[name](context).tolist() == SCORES["margin"](context).tolist()


def test_error_reduction_over_three_classes_by_hand():
    """Every answer, its step and the entropies written out."""
    p = np.array([0.5, 0.3, 0.2])
    context = among([0.0], [1.5], p=[p.tolist(), [0.2, 0.6, 0.2]])
    recent = context.representatives()
    alike = recent.similarity(context.inputs)[0]
    loss = 0.0
    for y in range(3):
        step = 10.0 / (1.0 + 10.0 / 2.0) * alike[:, None] * (np.eye(3)[y] - p)
        after = np.exp(np.log(recent.probabilities) + step)
        after /= after.sum(axis=1, keepdims=True)
        loss += p[y] * -(after * np.log(after)).sum(axis=1).mean()
    before = -(recent.probabilities * np.log(recent.probabilities)).sum(axis=1).mean()
    assert SCORES["expected_error_reduction"](context)[0] == pytest.approx(max(0.0, 1 - loss / before))


def test_risk_looks_for_the_rare_class():
    low, high = scored("risk", [0.9, 0.1], [0.2, 0.8], rare=1)
    assert low < high == pytest.approx(np.exp(-3.0))
