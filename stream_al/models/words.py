"""Hashed words as the word experts read them: sparse rows of presence, and of damped counts.

All three word experts end in ``rows @ table``. SciPy adds up a sparse row word by word, so a row's
result does not depend on its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from stream_al.models.inputs import Words

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class WordRows:
    """n texts over 2^bits hashed words, compressed by rows.

    Attributes
    ----------
    presence : scipy.sparse.csr_array (n, 2^bits)
        1 where a word occurs.
    damped : scipy.sparse.csr_array (n, 2^bits)
        log(1 + count), rows of length 1 (empty texts: 0).
    """

    presence: Any
    damped: Any

    @classmethod
    def of(cls, words: Words) -> WordRows:
        """Read the words of a batch."""
        n = words.rows
        damped = np.log1p(words.counts)
        row = np.repeat(np.arange(n), np.diff(words.indptr))
        length = np.sqrt(np.bincount(row, damped * damped, minlength=n))
        shape = (n, 1 << words.bits)
        return cls(
            presence=csr_array((np.ones(len(words.ids)), words.ids, words.indptr), shape=shape),
            damped=csr_array((damped / length[row], words.ids, words.indptr), shape=shape),
        )

    @property
    def columns(self) -> int:
        """Hashed words that can be told apart."""
        return int(self.presence.shape[1])


def no_words(rows: int, bits: int) -> Words:
    """Return empty texts."""
    empty = np.zeros(0, dtype=np.int64)
    return Words(np.zeros(rows + 1, dtype=np.int64), empty, np.zeros(0), bits)


def table_product(rows: Any, table: F64) -> F64:
    """Return ``rows @ table`` for sparse rows (n, v) and a dense table (v, c)."""
    product: F64 = rows @ table
    return product
