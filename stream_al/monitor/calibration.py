"""How good probabilities were, over all events: log-loss and calibration error, for simulation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15
SMALLEST = 1e-6
"""Probabilities are cut here before their logarithm: one surprise must not be infinite."""


class Calibration:
    """Log-loss and expected calibration error of the probabilities that were shown.

    Only events that were scored by a model that had learned something count; before, nothing is shown.
    A class that the model had not met yet had probability 0.

    Examples
    --------
    >>> found = Calibration()
    >>> found.add(np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0, 1]))
    >>> round(found.log_loss, 3), round(found.ece, 3)
    (0.511, 0.35)
    """

    def __init__(self) -> None:
        self._loss = 0.0
        self._count = np.zeros(BINS, dtype=np.int64)
        self._right = np.zeros(BINS, dtype=np.int64)
        self._confidence = np.zeros(BINS)

    def add(self, probabilities: NDArray[np.floating[Any]], truth: NDArray[np.integer[Any]]) -> None:
        """Count predictions that were made before their truth was known.

        Parameters
        ----------
        probabilities : (n, k) float
        truth : (n,) int
            Column of the true class; -1 where the model did not know it yet.
        """
        n = len(truth)
        if not n:
            return
        known = truth >= 0
        given = np.where(known, probabilities[np.arange(n), truth], 0.0)
        self._loss -= float(np.log(np.maximum(given, SMALLEST)).sum())
        confidence = probabilities.max(axis=1)
        right = known & (probabilities.argmax(axis=1) == truth)
        place = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
        self._count += np.bincount(place, minlength=BINS)
        self._right += np.bincount(place, weights=right, minlength=BINS).astype(np.int64)
        self._confidence += np.bincount(place, weights=confidence, minlength=BINS)

    @property
    def events(self) -> int:
        """Predictions counted."""
        return int(self._count.sum())

    @property
    def log_loss(self) -> float:
        """Mean of -log(probability of the true class), natural logarithm; NaN while empty."""
        return self._loss / self.events if self.events else math.nan

    @property
    def ece(self) -> float:
        """Mean distance of confidence and accuracy in 15 equal bins; NaN while empty.

        M. P. Naeini, G. Cooper and M. Hauskrecht, "Obtaining well calibrated probabilities using Bayesian
        binning", AAAI 2015.
        """
        return float(np.abs(self._right - self._confidence).sum()) / self.events if self.events else math.nan

    @property
    def reliability(self) -> list[dict[str, float]]:
        """One point for every bin that holds something: its mean confidence, its accuracy, its events.

        M. H. DeGroot and S. E. Fienberg, "The comparison and evaluation of forecasters", The Statistician
        32, 1983: calibrated probabilities lie on the diagonal.
        """
        return [
            {
                "confidence": float(self._confidence[i] / self._count[i]),
                "accuracy": float(self._right[i] / self._count[i]),
                "events": int(self._count[i]),
            }
            for i in np.flatnonzero(self._count).tolist()
        ]
