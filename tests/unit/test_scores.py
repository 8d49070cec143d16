"""Scores: the public suite over all of them, and their values on rows that anybody can check."""

from __future__ import annotations

import numpy as np
import pytest

from stream_al.conformance.score import CHECKS, check_score
from stream_al.models.inputs import Inputs
from stream_al.models.scaler import Scaler
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


def test_risk_looks_for_the_rare_class():
    low, high = scored("risk", [0.9, 0.1], [0.2, 0.8], rare=1)
    assert low < high == pytest.approx(np.exp(-3.0))
