"""The remembered answers, in raw numbers, shared by the experts that look back.

They are the last ones, and the last ones of every class, up to a quarter of its even share.

Raw, because the scale moves: every refit standardises the memory by the scale of its own time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_al.models.protocol import F64, State

SIZE = 300
HEAVIEST = 10.0
LIGHTEST = 1e-3
KEPT = 4
"""A class keeps this part (1/4) of its even share of the memory, however long ago it was answered."""


def bounded(weight: float) -> float:
    """Return an answer's weight cut to [0.001, 10]: no single one may decide everything.

    >>> bounded(0.5), bounded(1e6)
    (0.5, 10.0)
    """
    return min(max(weight, LIGHTEST), HEAVIEST)


def to_forget(labels: NDArray[np.int64]) -> int:
    """Return which of a full memory's answers, the oldest first, makes room for a new one.

    It is the oldest of a class that has more than a quarter of its even share: what was learned of a rare
    class would otherwise be gone with the next few hundred answers, all of another one.

    Examples
    --------
    >>> to_forget(np.array([1] * 10 + [0] * 290)), to_forget(np.array([1] * 40 + [0] * 260))
    (10, 0)
    """
    counts = np.bincount(labels)
    kept = len(labels) // (KEPT * np.count_nonzero(counts))
    if counts[labels[0]] > kept:
        return 0
    return int((counts > kept)[labels].argmax())


class Memory:
    """The remembered answers: rows, labels, weights, and the number of each answer.

    Parameters
    ----------
    size : int
        Answers kept.

    Notes
    -----
    The buffers hold twice the size, and what is remembered is moved to their front when they are full, so
    that it is always one contiguous slice and adding costs next to nothing.
    """

    def __init__(self, size: int = SIZE) -> None:
        self.size = size
        self._start = self._stop = self._added = 0
        self._rows = np.empty((2 * size, 0))
        self._labels = np.empty(2 * size, dtype=np.int64)
        self._weights = np.empty(2 * size)
        self._numbers = np.empty(2 * size, dtype=np.int64)

    def __len__(self) -> int:
        return self._stop - self._start

    @property
    def rows(self) -> F64:
        """Raw rows (n, d), the oldest first; NaN for missing."""
        return self._rows[self._start : self._stop]

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class numbers (n,)."""
        return self._labels[self._start : self._stop]

    @property
    def weights(self) -> F64:
        """Weights (n,)."""
        return self._weights[self._start : self._stop]

    @property
    def numbers(self) -> NDArray[np.int64]:
        """How many answers had been added before each (n,), ascending."""
        return self._numbers[self._start : self._stop]

    def grow(self, columns: int) -> None:
        """Add columns, missing in the rows so far."""
        new = columns - self._rows.shape[1]
        if new > 0:
            self._rows = np.concatenate([self._rows, np.full((2 * self.size, new), np.nan)], axis=1)

    def add(self, row: F64, label: int, weight: float) -> None:
        """Remember one answer (row of d raw values), and forget one above the size."""
        if len(self) == self.size:
            self._forget(to_forget(self.labels))
        if self._stop == 2 * self.size:
            start, self._start, self._stop = self._start, 0, len(self)
            for buffer in self._buffers():
                buffer[: self._stop] = buffer[start:]
        place, self._stop = self._stop, self._stop + 1
        self._rows[place] = row
        self._labels[place] = label
        self._weights[place] = weight
        self._numbers[place] = self._added
        self._added += 1

    def _forget(self, i: int) -> None:
        """Drop the i-th answer; the older ones, which are few, move up."""
        start = self._start
        for buffer in self._buffers():
            buffer[start + 1 : start + 1 + i] = buffer[start : start + i].copy()
        self._start += 1

    def _buffers(self) -> tuple[NDArray[Any], ...]:
        return self._rows, self._labels, self._weights, self._numbers

    def dump(self) -> dict[str, NDArray[Any]]:
        """Return what is remembered as arrays."""
        return {
            "rows": self.rows.copy(),
            "labels": self.labels.copy(),
            "weights": self.weights.copy(),
            "numbers": self.numbers.copy(),
            "added": np.array(self._added),
        }

    def load(self, state: State) -> None:
        """Take over what :meth:`dump` returned."""
        self._start, self._stop, self._added = 0, len(state["labels"]), int(state["added"])
        self._rows = np.empty((2 * self.size, state["rows"].shape[1]))
        for buffer, name in zip(self._buffers(), ("rows", "labels", "weights", "numbers"), strict=True):
            buffer[: self._stop] = state[name]
