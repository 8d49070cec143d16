"""The scaler: weighted mean and deviation, robust to one absurd number, open to lasting change."""

from __future__ import annotations

import numpy as np
import pytest

from stream_al.models.scaler import CLIP, Scaler


def scaler(columns: int = 1, memory: float = 1e5) -> Scaler:
    made = Scaler(memory)
    made.grow(np.zeros(columns, bool))
    return made


def test_it_learns_mean_and_deviation():
    rows = np.random.default_rng(0).normal([5.0, -3.0], [2.0, 0.1], size=(2_000, 2))
    found = scaler(2)
    for row in rows:
        found.observe(row, 1.0)
    assert found.mean() == pytest.approx(rows.mean(0), abs=0.05)
    assert found.scale() == pytest.approx(rows.std(0), rel=0.05)


def test_weights_stand_for_events():
    """A thinned sample with weights 1/q gives the scale of the whole stream, not of its beginning."""
    rng = np.random.default_rng(1)
    found = scaler()
    for i in range(20_000):
        q = max(0.02, min(1.0, 256 / (i + 1)))
        if rng.random() < q:
            found.observe(np.array([rng.normal() + (4.0 if i >= 10_000 else 0.0)]), 1.0 / q)
    assert found.mean()[0] == pytest.approx(2.0, abs=0.4)


@pytest.mark.parametrize("place", [0, 5, 40, 500])
def test_one_absurd_number_ruins_nothing(place):
    rng = np.random.default_rng(2)
    found = scaler()
    for i in range(600):
        found.observe(np.array([1e300 if i == place else rng.normal()]), 1.0)
    assert abs(found.mean()[0]) < 1.0
    assert 0.5 < found.scale()[0] < 3.0


def test_a_lasting_change_of_scale_gets_through():
    rng = np.random.default_rng(3)
    found = scaler(memory=500)
    for i in range(4_000):
        found.observe(np.array([rng.normal() * (1.0 if i < 1_000 else 1_000.0)]), 1.0)
    assert found.scale()[0] > 300.0


def test_missing_values_leave_their_column_and_become_zero():
    found = scaler(2)
    for value in (1.0, 2.0, 3.0):
        found.observe(np.array([value, np.nan]), 1.0)
    z = found.transform(np.array([[2.0, np.nan], [np.nan, 7.0]]))
    assert z[0].tolist() == [0.0, 0.0]
    assert z[1, 0] == 0.0
    assert abs(z[1, 1]) <= CLIP


def test_an_indicator_that_appears_late_was_absent_before():
    found = scaler()
    for _ in range(99):
        found.observe(np.array([0.0]), 1.0)
    found.grow(np.array([False, True]))
    found.observe(np.array([0.0, 1.0]), 1.0)
    assert found.mean()[1] == pytest.approx(0.01, abs=0.002)


@pytest.mark.parametrize("seen", [0, 7, 100])
def test_it_survives_its_dump(seen):
    rng = np.random.default_rng(4)
    found, again = scaler(3), scaler(3)
    for row in rng.normal(size=(seen, 3)):
        found.observe(row, 2.0)
    again.load(found.dump())
    for row in rng.normal(size=(50, 3)):
        found.observe(row, 1.0)
        again.observe(row, 1.0)
    rows = rng.normal(size=(5, 3))
    assert found.transform(rows).tobytes() == again.transform(rows).tobytes()
