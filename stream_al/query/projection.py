"""Inputs as at most 64 numbers, so that distances cost the same whatever the columns."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from stream_al.models.inputs import Inputs

F64 = NDArray[np.float64]
DIMENSIONS = 64


class Projection:
    """Embeds inputs in at most 64 dimensions: z itself, or its signed hashed projection.

    Column j adds ``sign_j z_j`` to dimension ``hash_j`` (feature hashing, Weinberger et al., 2009), words
    likewise with log(1 + count), so nothing has to be refitted when columns appear.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._place = np.zeros(0, dtype=np.int64)
        self._sign = np.zeros(0)

    def __call__(self, inputs: Inputs, rows: Sequence[int]) -> F64:
        """Return the embeddings (len(rows), 64); a row's bits do not depend on the rows around it."""
        z = inputs.z[rows]
        columns = z.shape[1]
        embedded = np.zeros((len(rows), DIMENSIONS))
        if columns <= DIMENSIONS:
            embedded[:, :columns] = z
        else:
            self._grow(columns)
            place, sign = self._place[:columns], self._sign[:columns]
            for target, row in zip(embedded, z, strict=True):
                target += np.bincount(place, sign * row, DIMENSIONS)
        if inputs.words is not None:
            words = inputs.words
            for target, i in zip(embedded, rows, strict=True):
                mine = slice(words.indptr[i], words.indptr[i + 1])
                ids = words.ids[mine]
                sign = np.where((ids * 40503 >> 5) & 1, 1.0, -1.0)
                place = (ids * 2654435761 >> 7) % DIMENSIONS
                target += np.bincount(place, sign * np.log1p(words.counts[mine]), DIMENSIONS)
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
