"""The reservoir: copies are near, strangers are not, the oldest are forgotten."""

from __future__ import annotations

import numpy as np
import pytest

from stream_al.models.inputs import Inputs, Words
from stream_al.models.scaler import Scaler
from stream_al.query.projection import DIMENSIONS, Projection
from stream_al.query.reservoir import SIZE, STRIDE, Reservoir, remembered


def embeddings(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, DIMENSIONS))


def test_a_copy_is_near_and_a_stranger_is_not():
    items = embeddings(20)
    reservoir = Reservoir(items)
    assert reservoir.near(items[3].copy())
    assert reservoir.near(items[3] + 1e-3)
    assert not reservoir.near(embeddings(1, seed=9)[0])
    assert not Reservoir(items[:0]).near(items[0])


def test_with_few_items_only_exact_copies_are_near():
    items = embeddings(3)
    assert Reservoir(items).near(items[0])
    assert not Reservoir(items).near(items[0] + 1e-3)


def test_copies_do_not_shrink_the_radius():
    items = embeddings(10)
    many = Reservoir(np.concatenate([items, np.repeat(items[:1], 40, axis=0)]))
    assert many.near(items[5] + 1e-3)


def test_the_oldest_are_forgotten_eight_at_a_time():
    items = embeddings(SIZE + STRIDE)
    reservoir = Reservoir(items[:SIZE])
    for item in items[SIZE:-1]:
        reservoir.add(item)
    assert len(reservoir) == SIZE + STRIDE - 1
    assert reservoir.near(items[0])
    reservoir.add(items[-1])
    assert len(reservoir) == SIZE
    assert not reservoir.near(items[STRIDE - 1])
    assert reservoir.near(items[STRIDE])
    assert reservoir.near(items[-1])


@pytest.mark.parametrize("requests", [5, 63, 64, 70, 71, 72, 150, 151])
def test_one_by_one_is_all_at_once(requests):
    items, probes = embeddings(requests), embeddings(50, seed=4)
    whole, grown = Reservoir(items[-remembered(requests) :], requests), Reservoir(items[:0])
    for item in items:
        grown.near(item)
        grown.add(item)
    assert len(grown) == len(whole) == remembered(requests)
    near = [p + 0.05 * items[-1] for p in (*probes, *items[-40:])]
    assert [grown.near(p) for p in near] == [whole.near(p) for p in near]


def test_a_copy_of_the_reservoir_is_independent():
    items = embeddings(5)
    one = Reservoir(items[:4])
    two = one.copy()
    two.add(items[4])
    assert two.near(items[4])
    assert not one.near(items[4])


@pytest.mark.parametrize("columns", [3, 64, 200])
def test_embeddings_do_not_depend_on_the_rows_around(columns):
    rng = np.random.default_rng(0)
    scaler = Scaler()
    scaler.grow(np.zeros(columns, bool))
    for row in rng.normal(size=(40, columns)):
        scaler.observe(row, 1.0)
    rows = rng.normal(size=(10, columns))
    counts = rng.integers(1, 4, size=30).astype(float)
    words = Words(np.arange(0, 31, 3), np.sort(rng.integers(2**13, size=(10, 3)), axis=1).ravel(), counts, 13)
    project = Projection(0)
    whole = project(Inputs(10, rows, scaler, words), range(10))
    for i in range(10):
        one = Words(np.array([0, 3]), words.ids[3 * i : 3 * i + 3], words.counts[3 * i : 3 * i + 3], 13)
        alone = project(Inputs(1, rows[i : i + 1], scaler, one), [0])
        assert np.asarray(alone[0]).tobytes() == np.asarray(whole[i]).tobytes()
