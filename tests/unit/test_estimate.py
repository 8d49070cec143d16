"""Estimates hold: the interval covers the truth, the plain mean does not, and the laws in between."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_al.monitor.estimate import (
    MIN_EFFECTIVE,
    NOTHING,
    Estimate,
    hajek,
    interval,
    labelled_only,
    wilson,
    worst_case,
)

ANSWERS = st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(1.0, 1e4)), min_size=1, max_size=40)
ZERO_ONE = st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.floats(1.0, 1e4)), min_size=1, max_size=40)


def arrays(answers: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    losses, weights = zip(*answers, strict=True)
    return np.array(losses), np.array(weights)


def test_the_formula_by_hand() -> None:
    losses, weights = np.array([1.0, 0.0, 0.0]), np.array([2.0, 4.0, 1.0])
    h = (2.0 + 1.0) / 9.0  # the pseudo-answer weighs 2, half of it is wrong
    v = (4 * (1 - h) ** 2 + 16 * h**2 + 1 * h**2 + 1.0) / 81.0
    n = min(3.0, h * (1 - h) / v)
    found = interval(losses, weights)
    assert found.value == pytest.approx(5 / 7)
    assert (found.n_effective, found.answered) == (pytest.approx(n), 3)
    assert found.lower == pytest.approx(1 - wilson(h, n, 1.96)[1])
    assert found.upper == pytest.approx(1 - wilson(2.0 / 9.0, n, 1.96)[0])


@given(ANSWERS)
def test_an_interval_is_an_interval(answers: list[tuple[float, float]]) -> None:
    losses, weights = arrays(answers)
    found = interval(losses, weights)
    assert -1e-12 <= found.lower <= found.value <= found.upper <= 1.0 + 1e-12
    assert 0.0 < found.n_effective <= found.answered
    wider = interval(losses, weights, z=3.0)
    assert wider.lower <= found.lower + 1e-12
    assert found.upper <= wider.upper + 1e-12


@given(ANSWERS, st.floats(1e-6, 1e6))
def test_only_ratios_of_weights_matter(answers: list[tuple[float, float]], factor: float) -> None:
    losses, weights = arrays(answers)
    one, other = interval(losses, weights), interval(losses, weights * factor)
    for field in ("value", "lower", "upper", "n_effective"):
        assert getattr(one, field) == pytest.approx(getattr(other, field), rel=1e-9, abs=1e-9)


@given(ANSWERS)
def test_the_order_of_answers_does_not_matter(answers: list[tuple[float, float]]) -> None:
    one, other = interval(*arrays(answers)), interval(*arrays(answers[::-1]))
    assert one.lower == pytest.approx(other.lower, abs=1e-9)
    assert one.upper == pytest.approx(other.upper, abs=1e-9)


@given(ZERO_ONE, st.data())
def test_another_error_never_raises_the_value(
    answers: list[tuple[float, float]], data: st.DataObject
) -> None:
    losses, weights = arrays(answers)
    worse = losses.copy()
    worse[data.draw(st.integers(0, len(losses) - 1))] = 1.0
    assert hajek(worse, weights) <= hajek(losses, weights) + 1e-12
    assert all(
        a <= b + 1e-12
        for a, b in zip(worst_case(worse, weights, 1e6), worst_case(losses, weights, 1e6), strict=True)
    )


@pytest.mark.parametrize("n", [1, 2, 5, 30, 200])
def test_with_equal_weights_errors_lower_both_ends_and_the_point_lies_inside(n: int) -> None:
    found = [interval((np.arange(n) < wrong).astype(float), np.ones(n)) for wrong in range(n + 1)]
    for better, worse in pairwise(found):
        assert worse.lower <= better.lower
        assert worse.upper <= better.upper
    assert all(e.lower <= e.value <= e.upper for e in found)
    assert found[0].value == 1.0 > found[0].lower  # all right is not certainty


def test_without_answers_nothing_is_known() -> None:
    none = np.zeros(0)
    for found in (interval(none, none), labelled_only(none), NOTHING):
        assert math.isnan(found.value)
        assert (found.lower, found.upper, found.n_effective, found.answered) == (0.0, 1.0, 0.0, 0)
        assert not found.shown
    assert math.isnan(hajek(none, none))
    assert worst_case(none, none, 0.0) == (0.0, 1.0)
    assert worst_case(none, none, 100.0) == (0.0, 1.0)


def test_few_effective_answers_are_not_shown() -> None:
    assert not Estimate(0.9, 0.7, 1.0, MIN_EFFECTIVE - 0.1, 50).shown
    assert Estimate(0.9, 0.7, 1.0, MIN_EFFECTIVE, 50).shown
    one_heavy = np.ones(200)
    one_heavy[0] = 1e4
    assert not interval((np.arange(200) % 3 == 0).astype(float), one_heavy).shown


def test_worst_case_bounds() -> None:
    losses, weights = np.array([1.0, 0.0, 0.0]), np.array([10.0, 20.0, 10.0])
    assert worst_case(losses, weights, 80.0) == (pytest.approx(30 / 80), pytest.approx(70 / 80))
    everything = worst_case(losses, weights, 39.999999)  # rounding of running totals
    assert everything.lower == everything.upper == pytest.approx(hajek(losses, weights))


@given(ANSWERS, st.floats(0.0, 1e5))
def test_bounds_hold_whatever_is_missing(answers: list[tuple[float, float]], missing: float) -> None:
    losses, weights = arrays(answers)
    low, high = worst_case(losses, weights, float(weights.sum()) + missing)
    assert 0.0 <= low <= hajek(losses, weights) + 1e-9
    assert hajek(losses, weights) - 1e-9 <= high <= 1.0


@pytest.mark.parametrize(
    ("steepness", "most"), [(0.02, 0.995), (0.2, 0.995), (0.7, 0.98), (1.0, 0.98)], ids=str
)
def test_the_interval_covers_the_truth_and_the_plain_mean_does_not(steepness: float, most: float) -> None:
    """Graded propensities, a fifth unanswered, about 370 answers a window; accuracies 0.996 to 0.8.

    Where errors are rare the interval may be wider than it had to be, never narrower.
    """
    windows = 1000
    rng = np.random.default_rng(7)
    events, rate = 8000, 0.06
    held = naive = 0
    for _ in range(windows):
        u = rng.random(events) ** 4
        wrong = rng.random(events) < steepness * u
        chosen = np.minimum(1.0, rate * 0.9 * (0.9 * u / u.mean() + 0.1))
        propensity = 1 - (1 - 0.1 * rate) * (1 - chosen)
        answered = rng.random(events) < 0.8 * propensity
        losses, weights = wrong[answered].astype(float), 1 / propensity[answered]
        truth = 1 - wrong.mean()
        found, plain = interval(losses, weights), labelled_only(losses)
        held += found.lower <= truth <= found.upper
        naive += plain.lower <= truth <= plain.upper
    assert 0.93 <= held / windows <= most
    if steepness >= 0.2:
        assert naive / windows < 0.30
