"""The probabilities that people see: recalibrated by one slope, and a bias a class, learned from answers.

    shown_c  is proportional to  exp(slope * log p_c + bias_c)

A slope of 1/T is temperature scaling, slope and biases are its "bias-corrected" form (C. Guo et al., "On
calibration of modern neural networks", ICML 2017; A. Alexandari et al., "Maximum likelihood with
bias-corrected calibration is hard-to-beat at label shift adaptation", ICML 2020), here made online. They
minimise the log-loss of the last answers, each judged before it was learned, with a prior at the identity.
Answers were chosen, the uncertain ones more often, so each counts by the square root of 1/propensity: half
way (on a log scale) between all alike, which is biased, and 1/propensity, which is noisy; measured best of
the three. The query rule never sees recalibrated values.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_al.models.softmax import F64, normalised_exp

SIZE = 300
HALF_LIFE = 150.0
"""Answers after which one counts for half."""
HEAVIEST = 20.0
"""1/propensity is cut here."""
SLOPE_PRIOR, BIAS_PRIOR = 30.0, 100.0
"""Curvature of the priors, in units of answers."""
BIAS_FROM = 50
"""Below so many answers there are no biases."""
EVERY = 10
"""Answers between two fits."""
STEPS = 3
"""Newton steps a fit, warm from the last."""
FLATTEST, STEEPEST, FARTHEST = 0.2, 2.0, 2.0
SMALLEST = 1e-6


class Recalibration:
    """Slope and biases, and the answers they were learned from.

    Attributes
    ----------
    slope : float
        Within [0.2, 2]; 1 without evidence.
    bias : (k,) float64
        Of mean 0, within [-2, 2]; 0 without evidence.
    """

    def __init__(self) -> None:
        self.slope = 1.0
        self.bias: F64 = np.zeros(0)
        self._judged = 0
        self._logs: deque[F64] = deque(maxlen=SIZE)
        self._labels: deque[int] = deque(maxlen=SIZE)
        self._weights: deque[float] = deque(maxlen=SIZE)

    def observe(self, probabilities: F64, y: int, propensity: float) -> None:
        """Learn from one answer.

        Parameters
        ----------
        probabilities : (k,) float64
            What the model said before it learned the answer; k never shrinks.
        y : int
            The answer.
        propensity : float
            With which probability the event was asked; 1 for a label that nobody asked for.
        """
        logs = np.log(np.maximum(probabilities, SMALLEST))
        more = len(logs) - len(self.bias)
        if more:
            self.bias = np.pad(self.bias, (0, more))
            wider = [np.pad(row, (0, more), constant_values=np.log(SMALLEST)) for row in self._logs]
            self._logs = deque(wider, maxlen=SIZE)
        self._logs.append(logs)
        self._labels.append(y)
        self._weights.append(min(1.0 / propensity, HEAVIEST) ** 0.5)
        self._judged += 1
        if self._judged % EVERY == 0 and len(logs) > 1:
            self._fit()

    def _fit(self) -> None:
        """Make diagonal Newton steps, one class a row: sums over the answers are along memory then."""
        x = np.ascontiguousarray(np.array(self._logs).T)
        k, n = x.shape
        weights = np.array(self._weights)
        weights *= 0.5 ** (np.arange(n - 1, -1, -1.0) / HALF_LIFE) / weights.mean()
        truth = np.arange(k)[:, None] == np.array(self._labels)
        slope, bias = self.slope, self.bias
        for _ in range(STEPS):
            proba = slope * x + bias[:, None]
            proba -= proba.max(0)
            np.exp(proba, out=proba)
            proba /= proba.sum(0)
            residual = (proba - truth) * weights
            weighted = proba * x
            mean = weighted.sum(0)
            curvature = float(((weighted * x).sum(0) - mean * mean) @ weights) + SLOPE_PRIOR
            gradient = float((residual * x).sum()) + SLOPE_PRIOR * (slope - 1.0)
            slope = min(STEEPEST, max(FLATTEST, slope - gradient / curvature))
            if n >= BIAS_FROM:
                steepness = (proba * (1.0 - proba)) @ weights + BIAS_PRIOR
                bias = bias - (residual.sum(1) + BIAS_PRIOR * bias) / steepness
                bias = np.clip(bias - bias.mean(), -FARTHEST, FARTHEST)
        self.slope, self.bias = slope, bias

    def apply(self, probabilities: F64) -> F64:
        """Return recalibrated probabilities (m, k); the very same ones without evidence."""
        if self._judged < EVERY or not probabilities.shape[1]:
            return probabilities
        bias = np.pad(self.bias, (0, probabilities.shape[1] - len(self.bias)))
        return normalised_exp(self.slope * np.log(np.maximum(probabilities, SMALLEST)) + bias)

    def dump(self) -> dict[str, NDArray[Any]]:
        """Return the whole state."""
        return {
            "fit": np.array([self.slope, float(self._judged)]),
            "bias": self.bias,
            "logs": np.array(self._logs).reshape(len(self._logs), len(self.bias)),
            "labels": np.array(self._labels, dtype=np.int64),
            "weights": np.array(self._weights, dtype=np.float64),
        }

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what :meth:`dump` returned."""
        self.slope, self._judged = float(state["fit"][0]), int(state["fit"][1])
        self.bias = state["bias"].copy()
        self._logs = deque(state["logs"].copy(), maxlen=SIZE)
        self._labels = deque(state["labels"].tolist(), maxlen=SIZE)
        self._weights = deque(state["weights"].tolist(), maxlen=SIZE)
