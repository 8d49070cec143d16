"""The novelty reservoir: the last 64 requests, so that a wave of near-duplicates is not asked again.

It is determined by the tail of ``label-requests`` and needs no room in the committed state. An event
whose embedding lies within a small distance of something that was just asked teaches nothing new; the
floor still asks about some of them, so a wave that changes its nature is seen.
"""

from __future__ import annotations

import math
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from stream_al.models.inputs import Inputs

F64 = NDArray[np.float64]
SIZE = 64
DIMENSIONS = 64
NEAR = 0.1
"""Fraction of the reservoir's median nearest-neighbour distance below which an event is a near-duplicate."""
COPY = 1e-12
"""Squared distance up to which two items are copies of each other."""
FEW = 4
"""Below this many items there is no typical distance; only exact copies are near-duplicates."""


class Projection:
    """Embeds inputs in at most 64 dimensions: z itself, or its signed hashed projection.

    Column j adds ``sign_j z_j`` to dimension ``hash_j`` (feature hashing, Weinberger et al., 2009), words
    likewise with log(1 + count), so nothing has to be refitted when columns appear.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._place = np.zeros(0, dtype=np.int64)
        self._sign = np.zeros(0)

    def __call__(self, inputs: Inputs, row: int) -> F64:
        """Return the embedding (64,) of one row; its bits do not depend on the rows around it."""
        z = inputs.z[row]
        embedding = np.zeros(DIMENSIONS)
        if len(z) <= DIMENSIONS:
            embedding[: len(z)] = z
        else:
            self._grow(len(z))
            weights = self._sign[: len(z)] * z
            embedding = np.bincount(self._place[: len(z)], weights, DIMENSIONS).astype(np.float64)
        if inputs.words is not None:
            words = inputs.words
            mine = slice(words.indptr[row], words.indptr[row + 1])
            ids = words.ids[mine]
            sign = np.where((ids * 40503 >> 5) & 1, 1.0, -1.0)
            place = (ids * 2654435761 >> 7) % DIMENSIONS
            embedding = embedding + np.bincount(place, sign * np.log1p(words.counts[mine]), DIMENSIONS)
        return embedding

    def _grow(self, columns: int) -> None:
        known = len(self._place)
        if columns <= known:
            return
        digests = [
            blake2b(f"projection:{self._seed}:{j}".encode(), digest_size=8).digest()
            for j in range(known, columns)
        ]
        numbers = np.array([int.from_bytes(d, "big") >> 1 for d in digests], dtype=np.int64)
        self._place = np.concatenate([self._place, numbers % DIMENSIONS])
        self._sign = np.concatenate([self._sign, np.where(numbers & 4096, 1.0, -1.0)])


class Reservoir:
    """Embeddings of the last 64 requests of a partition, compared with one candidate at a time.

    Distances between the items are kept, so that a new one costs 64 of them. Places are filled in turn;
    nothing that is computed depends on which place an item has.

    Parameters
    ----------
    items : (n, 64) float64, optional
        Embeddings, oldest first, n at most 64.
    """

    def __init__(self, items: F64 | None = None) -> None:
        self._items = np.zeros((SIZE, DIMENSIONS))
        self._squares = np.full((SIZE, SIZE), np.inf)
        self._count = 0
        self._radius: float | None = None
        self._measured: tuple[F64, F64] | None = None
        if items is not None and len(items):
            n = self._count = len(items)
            self._items[:n] = items
            gap = items[:, None, :] - items[None, :, :]
            squares = (gap * gap).sum(axis=2)
            self._squares[:n, :n] = np.where(squares < COPY, np.inf, squares)

    def __len__(self) -> int:
        return min(self._count, SIZE)

    def copy(self) -> Reservoir:
        """Return an independent copy."""
        twin = Reservoir()
        twin._items, twin._squares = self._items.copy(), self._squares.copy()
        twin._count, twin._radius = self._count, self._radius
        return twin

    def near(self, embedding: F64) -> bool:
        """Return whether the embedding (64,) lies within the radius of a remembered request."""
        if not self._count:
            return False
        if self._radius is None:
            self._radius = NEAR * self._typical_distance()
        return bool(self._distances(embedding).min() <= max(self._radius**2, COPY))

    def add(self, embedding: F64) -> None:
        """Remember a request; the oldest of 64 is forgotten."""
        known = len(self)
        squares = np.full(SIZE, np.inf)
        squares[:known] = self._distances(embedding)
        place = self._count % SIZE
        squares[place] = np.inf  # the item that it replaces
        squares[squares < COPY] = np.inf  # exact copies are not typical neighbours
        self._items[place] = embedding
        self._squares[place, :] = squares
        self._squares[:, place] = squares
        self._count += 1
        self._radius = self._measured = None

    def _distances(self, embedding: F64) -> F64:
        """Return squared distances (n,) to the items; measured once for asking and adding."""
        if self._measured is None or self._measured[0] is not embedding:
            gap = self._items[: len(self)] - embedding
            self._measured = embedding, (gap * gap).sum(axis=1)
        return self._measured[1]

    def _typical_distance(self) -> float:
        """Return the (upper) median distance to the nearest other item."""
        if len(self) < FEW:
            return 0.0
        nearest = np.sort(self._squares[: len(self), : len(self)].min(axis=1))
        known = int(np.searchsorted(nearest, np.inf))
        return math.sqrt(nearest[known // 2]) if known else 0.0
