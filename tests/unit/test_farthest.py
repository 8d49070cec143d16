"""Farthest first: what is picked is spread out, and no copy of what is covered."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_al.query.farthest import Cover, farthest_first
from stream_al.query.projection import DIMENSIONS


def points(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, DIMENSIONS))


NOTHING = points(0)


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=2))


@given(n=st.integers(1, 40), k=st.integers(1, 40), asked=st.integers(0, 10), seed=st.integers(0, 1000))
def test_each_pick_is_the_farthest_from_all_before_it(n: int, k: int, asked: int, seed: int) -> None:
    candidates, before = points(n, seed), points(asked, seed + 1)
    picks = farthest_first(candidates, Cover(before), k)
    assert len(picks) == len({pick.row for pick in picks}) == min(n, k)
    for pick in picks:
        if not len(before):
            assert pick == (0, None)
        else:
            nearest = distances(candidates, before).min(axis=1)
            assert pick.distance == pytest.approx(nearest.max())
            assert nearest[pick.row] == pytest.approx(nearest.max())
        before = np.concatenate([before, candidates[pick.row][None]])


@given(copies=st.integers(1, 30), noise=st.sampled_from([0.0, 1e-4]), seed=st.integers(0, 1000))
def test_a_wave_of_copies_is_picked_once(copies: int, noise: float, seed: int) -> None:
    others, wave = points(12, seed), points(1, seed + 1)
    near = wave + noise * points(copies, seed + 2)
    picks = farthest_first(np.concatenate([near, others]), Cover(NOTHING), 100)
    assert sum(pick.row < copies for pick in picks) == 1
    assert len(picks) == 13


def test_what_was_asked_is_not_picked_again() -> None:
    asked = points(80)
    assert farthest_first(asked[:5].copy(), Cover(asked), 5) == []
    assert len(farthest_first(points(5, seed=3), Cover(asked), 5)) == 5
