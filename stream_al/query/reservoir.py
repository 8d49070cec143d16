"""The novelty reservoir: the last requests, so that a wave of near-duplicates is not asked again.

It is determined by the tail of ``label-requests`` and needs no room in the committed state. An event
whose embedding lies within a small distance of something that was just asked teaches nothing new; the
floor still asks about some of them, so a wave that changes its nature is seen.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
SIZE = 64
STRIDE = 8
"""Requests that are forgotten together; the typical distance is measured then, and costs little a request."""
NEAR, NEAR_WORDS = 0.3, 0.5
"""Fraction of the reservoir's typical distance below which an event is a near-duplicate: of columns, and of
texts, of which two that share nothing lie at nearly one distance, and one word of fifteen is 0.4 of it."""
COPY = 1e-12
"""Squared distance up to which two items are copies of each other."""
ROUNDING = 1e-5
"""Relative squared distance below which, in single precision, two items cannot be told from copies."""
FEW = 4
"""Below this many items there is no typical distance; only exact copies are near-duplicates."""


def remembered(requests: int) -> int:
    """Return how many of a partition's requests are remembered: the last 64, and up to 7 before them.

    >>> [remembered(n) for n in (5, 64, 71, 72, 73)]
    [5, 64, 71, 64, 65]
    """
    return min(requests, SIZE + requests % STRIDE)


class Reservoir:
    """Embeddings of the last requests of a partition, compared with one candidate at a time.

    Parameters
    ----------
    items : (n, 64) float64
        Embeddings, oldest first; never changed, so copies share it.
    requests : int, optional
        Requests of the partition so far, where it was more than are remembered.
    near : float
        Fraction of the typical distance up to which an event is a near-duplicate.
    """

    def __init__(self, items: F64, requests: int | None = None, near: float = NEAR) -> None:
        self._items = items
        self.near_fraction = near
        self._requests = len(items) if requests is None else requests
        self._typical: float | None = None

    def __len__(self) -> int:
        return len(self._items)

    def copy(self) -> Reservoir:
        """Return an independent copy."""
        twin = Reservoir(self._items, self._requests, self.near_fraction)
        twin._typical = self._typical
        return twin

    def near(self, embedding: F64) -> bool:
        """Return whether the embedding (64,) lies within the radius of a request."""
        if not len(self._items):
            return False
        return bool(self._squares(embedding).min() <= max(self.radius**2, COPY))

    @property
    def items(self) -> F64:
        """Embeddings (n, 64) of the remembered requests, oldest first."""
        return self._items

    @property
    def typical(self) -> float:
        """Median distance of a remembered request to its nearest other one, measured at every eighth."""
        if self._typical is None:
            measured = max(0, len(self) - self._requests % STRIDE)
            self._typical = typical_distance(self._items[:measured])
        return self._typical

    @property
    def radius(self) -> float:
        """Distance up to which an event is a near-duplicate; 0 where only copies are."""
        return self.near_fraction * self.typical

    def nearest(self, embedding: F64) -> tuple[int, float]:
        """Return the nearest remembered request's place, oldest first, and its distance.

        Raises
        ------
        ValueError
            Nothing is remembered.
        """
        squares = self._squares(embedding)
        place = int(squares.argmin())
        return place, math.sqrt(squares[place])

    def add(self, embedding: F64) -> None:
        """Remember a request; at every eighth one all but the last 64 are forgotten."""
        self._requests += 1
        kept = remembered(self._requests) - 1
        self._items = np.concatenate([self._items[-kept:] if kept else self._items[:0], embedding[None]])
        if self._requests % STRIDE == 0:
            self._typical = None

    def _squares(self, embedding: F64) -> F64:
        """Return the squared distance of every remembered request to an embedding."""
        gap = self._items - embedding
        squares: F64 = np.einsum("ij,ij->i", gap, gap)
        return squares


def typical_distance(embeddings: F64) -> float:
    """Return the (upper) median distance to the nearest other item; copies are not others.

    The items stand in the order of their requests, so the product has the same bits wherever the
    stream was cut.
    """
    if len(embeddings) < FEW:
        return 0.0
    items = embeddings.astype(np.float32)
    squares = items @ items.T
    norms = squares.diagonal().copy()
    squares *= -2.0
    squares += norms
    squares += norms[:, None]
    squares[squares <= ROUNDING * norms] = np.inf
    nearest = np.sort(squares.min(axis=1))
    known = int(np.searchsorted(nearest, np.inf))
    return math.sqrt(nearest[known // 2]) if known else 0.0
