"""One temperature for the probabilities that people see, chosen online.

Probabilities are raised to 1/T and normalised again. T is the one of a small grid with the smallest
discounted log-loss on answers, each judged before it was learned (Guo et al., 2017, made online). The
query rule never sees tempered values.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
GRID = np.array([0.7, 0.85, 1.0, 1.2, 1.45, 1.75, 2.1, 2.5, 3.0])
DISCOUNT = 0.99
SMALLEST = 1e-6


class Temperature:
    """The temperature and the evidence for it."""

    def __init__(self) -> None:
        self.losses = np.zeros(len(GRID))
        self.value = 1.0

    def observe(self, probabilities: F64, y: int) -> None:
        """Learn from one answer: ``probabilities`` (k,) were the model's before it learned class ``y``."""
        logs = np.log(np.maximum(probabilities, SMALLEST)) / GRID[:, None]
        peak = logs.max(axis=1)
        normaliser = peak + np.log(np.exp(logs - peak[:, None]).sum(axis=1))
        self.losses = DISCOUNT * self.losses + (normaliser - logs[:, y])
        # T = 1 wins ties, so that nothing changes without evidence
        best = int(np.argmin(self.losses))
        self.value = 1.0 if self.losses[best] >= self.losses[2] - 1e-9 else float(GRID[best])

    def apply(self, probabilities: F64) -> F64:
        """Return tempered probabilities (m, k)."""
        if self.value == 1.0 or not probabilities.shape[1]:
            return probabilities
        powered = np.exp(np.log(np.maximum(probabilities, SMALLEST)) / self.value)
        tempered: F64 = powered / powered.sum(axis=1, keepdims=True)
        return tempered
