"""The last scores of a partition: ranks instead of thresholds, and a self-normalising mean.

A threshold on raw scores starves as soon as the model changes its confidence; ranks within the last
256 scores cannot. Scores are 16-bit integers as they enter, which makes ties honest and the window small.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque

SIZE = 256
FEW = 20
"""Below this many scores a rank means nothing and is 1."""
SCALE = 65_535
SLOWEST = 1.0 / 300.0


class ScoreWindow:
    """The last 256 scores, sorted, with the running mean of the transformed score.

    Attributes
    ----------
    entered : int
        n_w, scores since the window (re)started.
    mean : float
        mu, exponential mean of ``s`` with rate max(1/300, 1/n_w).
    """

    __slots__ = ("_order", "_sorted", "entered", "mean")

    def __init__(self, scores: list[int] | None = None, entered: int = 0, mean: float = 1.0) -> None:
        self._order = deque(scores or ())
        self._sorted = sorted(self._order)
        self.entered = entered
        self.mean = mean

    def copy(self) -> ScoreWindow:
        """Return an independent copy."""
        twin = ScoreWindow.__new__(ScoreWindow)
        twin._order = self._order.copy()
        twin._sorted = self._sorted.copy()
        twin.entered, twin.mean = self.entered, self.mean
        return twin

    def __eq__(self, other: object) -> bool:
        """Return whether all that decides is equal."""
        if not isinstance(other, ScoreWindow):
            return NotImplemented
        return (self._order, self.entered, self.mean) == (other._order, other.entered, other.mean)

    @property
    def scores(self) -> list[int]:
        """Scores from the oldest to the newest."""
        return list(self._order)

    def enter(self, score: int) -> float:
        """Return the mid-rank of the score among those before it, in [0, 1], then let it in.

        >>> window = ScoreWindow([100] * 10 + [200] * 10)
        >>> window.enter(100), window.enter(300)
        (0.25, 1.0)
        """
        ordered = self._sorted
        count = len(ordered)
        low = bisect_left(ordered, score)
        if count < FEW:
            rank = 1.0
        else:
            rank = (low + bisect_right(ordered, score, low)) / (2 * count)
        if count >= SIZE:
            del ordered[bisect_left(ordered, self._order.popleft())]
            insort(ordered, score)
        else:
            ordered.insert(low, score)
        self._order.append(score)
        self.entered += 1
        return rank

    def normalise(self, value: float) -> float:
        """Let ``s`` into the running mean and return ``s / mu``."""
        rate = 1.0 / self.entered if self.entered < 300 else SLOWEST
        self.mean += rate * (value - self.mean)
        return value / self.mean
