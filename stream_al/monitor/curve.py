"""A learning curve that stays small: accuracy against events and labels, at most 200 points."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_POINTS = 200


class CurvePoint(NamedTuple):
    """One point: events so far, labels learned so far, accuracy of the window that ends here."""

    events: int
    labels: int
    accuracy: float


class LearningCurve:
    """Accumulates a curve event by event; how the stream is cut does not change it.

    A point stands at every multiple of a stride; when there would be too many, every second one goes
    and the stride doubles.

    Parameters
    ----------
    window : int or None
        Events that the accuracy is the mean of; None for all since the start.
    points : int
        Most points kept, at least 3.

    Examples
    --------
    >>> curve = LearningCurve(window=2)
    >>> curve.add(np.array([False, True, True]), labels=np.array([1, 1, 2]))
    >>> [tuple(point) for point in curve.points()]
    [(1, 1, 0.0), (2, 1, 0.5), (3, 2, 1.0)]
    """

    def __init__(self, window: int | None = 1000, points: int = MAX_POINTS) -> None:
        if (window is not None and window < 1) or points < 3:
            raise ValueError(f"window {window} must be at least 1 or None, points {points} at least 3")
        self.window = window
        self._most = points
        self._stride = 1
        self._kept: list[CurvePoint] = []
        self._events = 0
        self._right = 0
        self._tail = np.zeros(0, dtype=np.int64)  # right answers up to each of the last `window` events
        self._last: CurvePoint | None = None

    def add(self, correct: NDArray[np.bool_], labels: int | NDArray[np.integer[Any]]) -> None:
        """Append events.

        Parameters
        ----------
        correct : (n,) bool
            Whether each prediction was right.
        labels : int or (n,) int
            Labels learned when each prediction was made.
        """
        n = len(correct)
        if not n:
            return
        learned = np.broadcast_to(np.asarray(labels), (n,))
        right = self._right + np.cumsum(correct, dtype=np.int64)
        history = np.concatenate([self._tail, right])  # the last n entries are these events
        lead = len(history) - n
        first = self._events + 1

        def point(i: int) -> CurvePoint:
            events = first + i
            size = events if self.window is None else min(self.window, events)
            before = history[lead + i - size] if size < events else 0
            return CurvePoint(events, int(learned[i]), float(right[i] - before) / size)

        i = -first % self._stride
        while i < n:
            self._keep(point(i))
            i += 1 + -(first + i + 1) % self._stride
        self._last = point(n - 1)
        self._events += n
        self._right = int(right[-1])
        if self.window is not None:
            self._tail = history[-self.window :]

    def _keep(self, point: CurvePoint) -> None:
        self._kept.append(point)
        if len(self._kept) == self._most:
            self._kept = self._kept[1::2]
            self._stride *= 2

    def points(self) -> list[CurvePoint]:
        """Return the points in order; the last one is always the last event."""
        if self._last is None or (self._kept and self._kept[-1].events == self._last.events):
            return list(self._kept)
        return [*self._kept, self._last]
