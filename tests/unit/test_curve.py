"""A learning curve is a function of the events alone, and stays small."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_al.monitor.curve import LearningCurve

RIGHT = np.random.default_rng(0).random(3000) < np.linspace(0.3, 0.9, 3000)
LABELS = np.cumsum(np.random.default_rng(1).random(3000) < 0.05)


@pytest.mark.parametrize("window", [None, 1, 100, 5000])
def test_points_are_the_means_they_claim_to_be(window: int | None) -> None:
    curve = LearningCurve(window)
    curve.add(RIGHT, LABELS)
    for events, labels, accuracy in curve.points():
        start = 0 if window is None else max(0, events - window)
        assert labels == LABELS[events - 1]
        assert accuracy == pytest.approx(RIGHT[start:events].mean())


@given(
    st.lists(st.integers(0, 700), max_size=12), st.sampled_from([None, 7, 500]), st.sampled_from([3, 8, 200])
)
def test_cuts_change_nothing(cuts: list[int], window: int | None, points: int) -> None:
    whole, cut = LearningCurve(window, points), LearningCurve(window, points)
    n = min(sum(cuts), 3000)
    whole.add(RIGHT[:n], LABELS[:n])
    start = 0
    for size in cuts:
        stop = min(start + size, n)
        cut.add(RIGHT[start:stop], LABELS[start:stop])
        start = stop
    assert cut.points() == whole.points()


@pytest.mark.parametrize("n", [0, 1, 199, 200, 201, 2999])
def test_at_most_so_many_points_and_the_last_event_is_one(n: int) -> None:
    curve = LearningCurve(points=200)
    curve.add(RIGHT[:n], 5)
    points = curve.points()
    assert len(points) == min(n, len(points)) <= 200
    assert len(points) >= min(n, 100)
    assert [p.events for p in points] == sorted({p.events for p in points})
    if n:
        assert points[-1].events == n
        assert points[-1].labels == 5


def test_senseless_sizes_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least"):
        LearningCurve(window=0)
    with pytest.raises(ValueError, match="at least"):
        LearningCurve(points=2)
