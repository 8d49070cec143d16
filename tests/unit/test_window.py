"""The window of scores: mid-ranks among the last 256, and a mean that normalises."""

from __future__ import annotations

import numpy as np
import pytest

from stream_al.query.window import FEW, SIZE, ScoreWindow


def test_ranks_are_mid_ranks_among_the_last_256():
    rng = np.random.default_rng(0)
    scores = rng.integers(50, size=1_000).tolist()
    window = ScoreWindow()
    for i, score in enumerate(scores):
        before = scores[max(0, i - SIZE) : i]
        [rank] = window.enter([score])
        if len(before) < FEW:
            assert rank == 1.0
        else:
            below, equal = sum(b < score for b in before), sum(b == score for b in before)
            assert rank == pytest.approx((below + equal / 2) / len(before))
    assert window.scores == scores[-SIZE:]


def test_the_mean_is_plain_at_first_and_then_exponential():
    window = ScoreWindow()
    values = np.random.default_rng(1).random(250)
    for value in values:
        window.enter([1])
        window.normalise(value)
    assert window.mean == pytest.approx(values.mean())
    for _ in range(3_000):
        window.enter([1])
        last = window.normalise(7.0)
    assert window.mean == pytest.approx(7.0, rel=1e-3)
    assert last == pytest.approx(1.0, rel=1e-3)


def test_equality_and_copies_are_by_value():
    window = ScoreWindow([3, 1, 2], 3, 0.5)
    twin = window.copy()
    assert twin == window
    twin.enter([9])
    assert twin != window
    assert window != ScoreWindow([1, 2, 3], 3, 0.5)
    assert window != "a window"
