"""The standardisation of dense columns, learned from samples of all events.

Labelled events are chosen, so a scale learned from them is biased; samples are not. Each sample
stands for ``1/q`` events (its weight). Values enter winsorised at ten standard deviations of what
was seen before, so that one absurd number cannot ruin a column for ever; a lasting change of scale
still gets through within a few samples.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
CLIP = 8.0
"""Standardised values are clipped to ±8."""
WARM_UP_ROWS = 32
"""Samples kept raw at the start, where no scale is known yet and one outlier could set it."""
WINSOR = 10.0
JUMP = 1e3
"""How far, in units of its value, a column that was constant so far may move at once."""
LARGEST = 1e30
"""Absolute values are cut here first: their squares must not overflow, in single precision either."""


class Scaler:
    """Running mean and standard deviation a column, weighted and slowly forgetting.

    Parameters
    ----------
    memory : float
        Effective memory in events.

    Notes
    -----
    Weighted incremental mean and variance after West (1979), with the total weight decayed by
    ``(1 - 1/memory) ** weight`` before each update. A missing value (NaN) leaves its column as it
    is. A column that appears later starts without weight; an indicator column starts with the
    weight of all events so far at value 0, since an absent category *was* observed.
    """

    def __init__(self, memory: float = 1e5) -> None:
        self.memory = memory
        self._total = 0.0
        self._weight = np.zeros(0)
        self._mean = np.zeros(0)
        self._m2 = np.zeros(0)
        self._warm = 0
        self._rows: list[F64] = []
        self._row_weights: list[float] = []
        self._scale: F64 | None = None

    @property
    def columns(self) -> int:
        """Number of columns known."""
        return len(self._mean)

    def grow(self, indicator: NDArray[np.bool_]) -> None:
        """Add columns so that there are ``len(indicator)``; those known keep their statistics."""
        old, new = self.columns, len(indicator)
        if new <= old:
            return
        self._weight = np.concatenate([self._weight, np.where(indicator[old:], self._total, 0.0)])
        self._mean = np.concatenate([self._mean, np.zeros(new - old)])
        self._m2 = np.concatenate([self._m2, np.zeros(new - old)])
        fill = np.where(indicator[old:], 0.0, np.nan)
        self._rows = [np.concatenate([row, fill]) for row in self._rows]
        self._scale = None

    def observe(self, row: F64, weight: float) -> None:
        """Learn from one sample.

        Parameters
        ----------
        row : (d,) float64
            Raw values, NaN for missing; ``d == columns``.
        weight : float
            Events that the sample stands for.
        """
        row = np.clip(row, -LARGEST, LARGEST)
        decay = (1.0 - 1.0 / self.memory) ** weight
        self._total = self._total * decay + weight
        self._scale = None
        if self._warm == WARM_UP_ROWS:
            self._update(row, weight, decay)
            return
        self._warm += 1
        self._rows.append(row)
        self._row_weights.append(weight)
        self._from_rows()
        if self._warm == WARM_UP_ROWS:
            self._rows, self._row_weights = [], []

    def _update(self, row: F64, weight: float, decay: float) -> None:
        seen = ~np.isnan(row)
        deviation = np.sqrt(self._m2 / np.maximum(self._weight, 1e-300))
        bound = np.where(self._m2 > 0, WINSOR * deviation, np.maximum(1.0, np.abs(self._mean)) * JUMP)
        value = np.where(seen, row, self._mean)
        value = self._mean + np.clip(value - self._mean, -bound, bound)
        self._weight = self._weight * np.where(seen, decay, 1.0)
        self._m2 = self._m2 * np.where(seen, decay, 1.0)
        added = np.where(seen, weight, 0.0)
        total = self._weight + added
        delta = value - self._mean
        step = delta * added / np.maximum(total, 1e-300)
        self._mean = self._mean + step
        self._m2 = self._m2 + added * delta * (value - self._mean)
        self._weight = total

    def _from_rows(self) -> None:
        """Compute the statistics of the warm-up rows afresh, each column without its one outlier."""
        rows = np.array(self._rows)
        weights = np.array(self._row_weights)[:, None]
        seen = ~np.isnan(rows)
        count = seen.sum(0)
        order = np.sort(rows, axis=0)  # NaN last
        median = order[np.maximum(count - 1, 0) // 2, np.arange(rows.shape[1])]
        median = np.where(count > 0, median, 0.0)
        away = np.sort(np.where(seen, np.abs(rows - median), -1.0), axis=0)
        second = away[-2] if len(away) > 1 else np.zeros(rows.shape[1])
        # a lone non-zero among equal values may be a rare category or a constant that begins to move
        bound = np.where(second > 0, WINSOR * second, np.maximum(1.0, np.abs(median)) * JUMP)
        value = np.where(seen, median + np.clip(rows - median, -bound, bound), 0.0)
        weight = np.where(seen, weights, 0.0)
        self._weight = weight.sum(0)
        safe = np.maximum(self._weight, 1e-300)
        self._mean = (weight * value).sum(0) / safe
        self._m2 = (weight * np.where(seen, value - self._mean, 0.0) ** 2).sum(0)

    def scale(self) -> F64:
        """Return the standard deviations (d,); 1 where no spread was seen."""
        divisor = self._divisor()
        return np.where(np.isinf(divisor), 1.0, divisor)

    def _divisor(self) -> F64:
        """Return what deviations are divided by: infinity where no spread was seen, so that z is 0 there."""
        if self._scale is None:
            spread = np.sqrt(self._m2 / np.maximum(self._weight, 1e-300) + 1e-12)
            self._scale = np.where(self._m2 > 0.0, spread, np.inf)
        return self._scale

    def mean(self) -> F64:
        """Return the means (d,)."""
        return self._mean

    def transform(self, rows: F64) -> F64:
        """Return standardised rows (n, d), clipped to ±8; missing values become 0.

        Examples
        --------
        >>> scaler = Scaler()
        >>> scaler.grow(np.zeros(1, bool))
        >>> for value in (1.0, 3.0, 2.0, 2.0):
        ...     scaler.observe(np.array([value]), weight=1.0)
        >>> scaler.transform(np.array([[2.0], [np.nan], [1e300]])).ravel().tolist()
        [0.0, 0.0, 8.0]
        """
        with np.errstate(over="ignore"):  # an overflow is an outlier, and clipped like one
            z = (rows - self._mean) / self._divisor()
        np.minimum(z, CLIP, out=z)
        np.maximum(z, -CLIP, out=z)
        np.copyto(z, 0.0, where=np.isnan(z))
        return z

    def dump(self) -> dict[str, F64]:
        """Return the whole state as arrays."""
        rows = np.array(self._rows) if self._rows else np.zeros((0, self.columns))
        return {
            "total": np.array([self._total, float(self._warm)]),
            "weight": self._weight,
            "mean": self._mean,
            "m2": self._m2,
            "rows": rows,
            "row_weights": np.array(self._row_weights),
        }

    def load(self, state: Mapping[str, F64]) -> None:
        """Take over a state that :meth:`dump` returned."""
        self._total, self._warm = float(state["total"][0]), int(state["total"][1])
        self._weight, self._mean, self._m2 = state["weight"].copy(), state["mean"].copy(), state["m2"].copy()
        self._rows = list(state["rows"].copy())
        self._row_weights = state["row_weights"].tolist()
        self._scale = None
