"""Log-loss and calibration error: scikit-learn's numbers, hand-made bins, and what was not yet known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import log_loss

from stream_al.monitor.calibration import SMALLEST, Calibration


def drawn(n: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities of three classes and labels that are drawn from them."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet([0.7, 0.7, 0.7], size=n)
    return probabilities, (rng.random(n)[:, None] > probabilities.cumsum(axis=1)).sum(axis=1)


def test_log_loss_is_scikit_learns():
    probabilities, truth = drawn(500)
    found = Calibration()
    for part in (slice(0, 1), slice(1, 77), slice(77, 500)):  # however it is cut
        found.add(probabilities[part], truth[part])
    assert found.log_loss == pytest.approx(log_loss(truth, probabilities))
    assert found.events == 500


def test_true_probabilities_are_calibrated_and_squared_ones_are_not():
    probabilities, truth = drawn(20_000)
    honest, bold = Calibration(), Calibration()
    honest.add(probabilities, truth)
    bold.add(probabilities**3 / (probabilities**3).sum(axis=1, keepdims=True), truth)
    assert honest.ece < 0.015
    assert bold.ece > 0.1


def test_bins_by_hand():
    found = Calibration()
    found.add(np.array([[0.9, 0.1], [0.9, 0.1], [0.55, 0.45], [1.0, 0.0]]), np.array([0, 1, 0, 0]))
    # the bin of 0.9 holds two, one of them right; those of 0.55 and of 1.0 one each
    assert found.ece == pytest.approx((abs(1 - 1.8) + abs(1 - 0.55) + abs(1 - 1.0)) / 4)
    points = [(p["confidence"], p["accuracy"], p["events"]) for p in found.reliability]
    assert points == [pytest.approx(point) for point in ((0.55, 1, 1), (0.9, 0.5, 2), (1.0, 1, 1))]


def test_a_class_that_was_not_known_had_no_probability():
    found = Calibration()
    found.add(np.array([[0.7, 0.3]]), np.array([-1]))
    assert found.log_loss == pytest.approx(-math.log(SMALLEST))
    assert found.ece == pytest.approx(0.7)


def test_nothing_is_no_number():
    found = Calibration()
    found.add(np.zeros((0, 2)), np.zeros(0, dtype=np.int64))
    assert math.isnan(found.log_loss)
    assert math.isnan(found.ece)
