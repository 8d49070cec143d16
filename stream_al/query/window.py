"""The last scores of a partition: ranks instead of thresholds, and a self-normalising mean.

A threshold on raw scores starves as soon as the model changes its confidence; ranks within the last
256 scores cannot. Scores are 16-bit integers as they enter, which makes ties honest and the window small.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

SIZE = 256
FEW = 20
"""Below this many scores a rank means nothing and is 1."""
SCALE = 65_535
SLOWEST = 1.0 / 300.0


class ScoreWindow:
    """The last 256 scores in order, with the running mean of the transformed score.

    Attributes
    ----------
    entered : int
        n_w, scores in the mean since the window (re)started.
    mean : float
        mu, exponential mean of ``s`` with rate max(1/300, 1/n_w).
    """

    __slots__ = ("_order", "entered", "mean")

    def __init__(self, scores: Sequence[int] = (), entered: int = 0, mean: float = 1.0) -> None:
        self._order = np.array(scores, dtype=np.uint16)
        self.entered = entered
        self.mean = mean

    def copy(self) -> ScoreWindow:
        """Return an independent copy; the scores are never changed in place, so both share them."""
        twin = ScoreWindow.__new__(ScoreWindow)
        twin._order, twin.entered, twin.mean = self._order, self.entered, self.mean
        return twin

    def __eq__(self, other: object) -> bool:
        """Return whether all that decides is equal."""
        if not isinstance(other, ScoreWindow):
            return NotImplemented
        return (self.scores, self.entered, self.mean) == (other.scores, other.entered, other.mean)

    @property
    def scores(self) -> list[int]:
        """Scores from the oldest to the newest."""
        scores: list[int] = self._order.tolist()
        return scores

    def enter(self, scores: Sequence[int]) -> list[float]:
        """Let scores in, one after the other; return the mid-rank of each among those before it, in [0, 1].

        >>> window = ScoreWindow([100] * 10 + [200] * 10)
        >>> window.enter([100, 300])
        [0.25, 1.0]
        """
        fresh = np.array(scores, dtype=np.uint16)
        before = np.arange(len(self._order), len(self._order) + len(fresh))
        counts = np.minimum(before, SIZE)
        filled = np.concatenate([np.zeros(SIZE - min(SIZE, len(self._order)), np.uint16), self._order, fresh])
        seen = sliding_window_view(filled, SIZE)[: len(fresh)]
        candidates = fresh[:, None]
        # slots that are still empty hold 0: nothing is below it, and all that is above it is counted back
        below = _count(seen < candidates) - (SIZE - counts) * (fresh > 0)
        ranks = (counts + below - _count(seen > candidates)) / np.maximum(2 * counts, 1)
        self._order = filled[len(filled) - min(SIZE, len(self._order) + len(fresh)) :]
        found: list[float] = np.where(counts < FEW, 1.0, ranks).tolist()
        return found

    def normalise(self, value: float) -> float:
        """Let ``s`` into the running mean and return ``s / mu``."""
        self.entered += 1
        rate = 1.0 / self.entered if self.entered < 300 else SLOWEST
        self.mean += rate * (value - self.mean)
        return value / self.mean


def _count(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return how many of the 256 are true in every row, 64 of them at a time."""
    words = np.packbits(mask, axis=1).view(np.uint64)
    counts: NDArray[np.int64] = np.bitwise_count(words).sum(axis=1, dtype=np.int64)
    return counts
