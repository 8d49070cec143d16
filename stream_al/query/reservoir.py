"""The novelty reservoir: the last 64 requests, so that a wave of near-duplicates is not asked again.

It is determined by the tail of ``label-requests`` and needs no room in the committed state. An event
whose embedding lies within a small distance of something that was just asked teaches nothing new; the
floor still asks about some of them, so a wave that changes its nature is seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from stream_al.models.inputs import Inputs

F64 = NDArray[np.float64]
SIZE = 64
DIMENSIONS = 64
NEAR = 0.1
"""Fraction of the reservoir's median nearest-neighbour distance below which an event is a near-duplicate."""
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

    def __call__(self, inputs: Inputs) -> F64:
        """Return the embeddings (rows, 64) float64 of the unpadded rows."""
        rows = inputs.rows
        z = inputs.z[:rows]
        embedded = np.zeros((rows, DIMENSIONS))
        d = z.shape[1]
        if d <= DIMENSIONS:
            embedded[:, :d] = z
        else:
            self._grow(d)
            for column in range(d):
                embedded[:, self._place[column]] += self._sign[column] * z[:, column]
        if inputs.words is not None:
            words = inputs.words
            place = (words.ids * 2654435761 >> 7) % DIMENSIONS
            sign = np.where((words.ids * 40503 >> 5) & 1, 1.0, -1.0)
            row = np.repeat(np.arange(words.rows), np.diff(words.indptr))
            inside = row < rows
            np.add.at(embedded, (row[inside], place[inside]), (sign * np.log1p(words.counts))[inside])
        return embedded

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
    """Embeddings of the last 64 requests of a partition, compared with one candidate at a time."""

    def __init__(self, items: Iterable[F64] = ()) -> None:
        self._items: deque[F64] = deque(items, maxlen=SIZE)
        self._matrix: F64 | None = None
        self._radius = 0.0

    def __len__(self) -> int:
        return len(self._items)

    def copy(self) -> Reservoir:
        """Return an independent copy (embeddings are shared, they never change)."""
        return Reservoir(self._items)

    def add(self, embedding: F64) -> None:
        """Remember a request; the oldest of 64 is forgotten."""
        self._items.append(embedding)
        self._matrix = None

    def near(self, embedding: F64) -> bool:
        """Return whether the embedding (64,) lies within the radius of a remembered request."""
        if not self._items:
            return False
        if self._matrix is None:
            self._matrix = np.array(self._items)
            self._radius = NEAR * _typical_distance(self._matrix)
        gap = self._matrix - embedding
        return bool((gap * gap).sum(axis=1).min() <= self._radius**2 + 1e-12)


def _typical_distance(items: F64) -> float:
    """Return the median distance to the nearest *other* item; exact copies do not count as others."""
    if len(items) < FEW:
        return 0.0
    squares = (items * items).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares - 2.0 * np.einsum("id,jd->ij", items, items), 0.0)
    distances[distances < 1e-9] = np.inf
    nearest = distances.min(axis=1)
    finite = nearest[np.isfinite(nearest)]
    return float(np.sqrt(np.median(finite))) if len(finite) else 0.0
