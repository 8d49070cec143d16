"""The last answers, in raw numbers, shared by the experts that look back.

Raw, because the scale moves: every refit standardises the memory by the scale of its own time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_al.models.protocol import F64, State

SIZE = 300
HEAVIEST = 10.0
LIGHTEST = 1e-3


def bounded(weight: float) -> float:
    """Return an answer's weight cut to [0.001, 10]: no single one may decide everything.

    >>> bounded(0.5), bounded(1e6)
    (0.5, 10.0)
    """
    return min(max(weight, LIGHTEST), HEAVIEST)


class Memory:
    """A sliding window of answers: rows, labels, weights.

    Parameters
    ----------
    size : int
        Answers kept.

    Notes
    -----
    The buffer holds twice the size, and the newest are moved to its front when it is full, so that
    the window is always one contiguous slice and adding costs nothing on average.
    """

    def __init__(self, size: int = SIZE) -> None:
        self.size = size
        self._stop = 0
        self._rows = np.empty((2 * size, 0))
        self._labels = np.empty(2 * size, dtype=np.int64)
        self._weights = np.empty(2 * size)

    def __len__(self) -> int:
        return min(self._stop, self.size)

    @property
    def rows(self) -> F64:
        """Raw rows (n, d), the oldest first; NaN for missing."""
        return self._rows[self._stop - len(self) : self._stop]

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class numbers (n,)."""
        return self._labels[self._stop - len(self) : self._stop]

    @property
    def weights(self) -> F64:
        """Weights (n,)."""
        return self._weights[self._stop - len(self) : self._stop]

    def grow(self, columns: int) -> None:
        """Add columns, missing in the rows so far."""
        new = columns - self._rows.shape[1]
        if new > 0:
            self._rows = np.concatenate([self._rows, np.full((2 * self.size, new), np.nan)], axis=1)

    def add(self, row: F64, label: int, weight: float) -> None:
        """Remember one answer (row of d raw values) and forget the oldest above the size."""
        if self._stop == 2 * self.size:
            self._move(self.rows[1:].copy(), self.labels[1:].copy(), self.weights[1:].copy())
        self._rows[self._stop] = row
        self._labels[self._stop] = label
        self._weights[self._stop] = weight
        self._stop += 1

    def _move(self, rows: F64, labels: NDArray[np.int64], weights: F64) -> None:
        self._stop = len(labels)
        self._rows[: self._stop] = rows
        self._labels[: self._stop] = labels
        self._weights[: self._stop] = weights

    def dump(self) -> dict[str, NDArray[np.generic]]:
        """Return the window as arrays."""
        return {"rows": self.rows.copy(), "labels": self.labels.copy(), "weights": self.weights.copy()}

    def load(self, state: State) -> None:
        """Take over what :meth:`dump` returned."""
        self._rows = np.empty((2 * self.size, state["rows"].shape[1]))
        self._move(state["rows"], state["labels"], state["weights"])
