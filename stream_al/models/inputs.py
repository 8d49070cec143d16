"""What a model sees of a micro-batch: a raw dense matrix, hashed words, and the current scale."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stream_al.models.products import padded_rows
from stream_al.models.scaler import Scaler

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Words:
    """Hashed words of n texts as a sparse matrix (compressed rows).

    Attributes
    ----------
    indptr : (n + 1,) int64
    ids : (nnz,) int64
        Hashed ids below 2^bits, ascending and without repeats within a row.
    counts : (nnz,) float64
    bits : int
    """

    indptr: I64
    ids: I64
    counts: F64
    bits: int

    @property
    def rows(self) -> int:
        """Number of texts."""
        return len(self.indptr) - 1

    def row(self, i: int) -> Words:
        """Return the i-th text by itself."""
        start, stop = self.indptr[i : i + 2].tolist()
        place = slice(start, stop)
        return Words(np.array([0, stop - start]), self.ids[place], self.counts[place], self.bits)


@dataclass(frozen=True)
class Inputs:
    """Encoded inputs of a micro-batch, padded with empty rows to whole blocks of 64 for scoring.

    Attributes
    ----------
    rows : int
        Rows that mean something; those after it are padding and their results are ignored.
    dense : (m, d) float64
        Raw numbers, NaN for missing, 0/1 for categories; m = rows, or padded to a multiple of 64.
    scaler : Scaler
        The scale of this model position.
    words : Words or None
        None when the task has no text (no text column ever seen).
    columns : tuple of str
        Names of the dense columns, categories as ``name=value``: for models on dicts.
    """

    rows: int
    dense: F64
    scaler: Scaler
    words: Words | None = None
    columns: tuple[str, ...] = field(default=())

    @cached_property
    def z(self) -> F64:
        """Standardised dense columns (m, d), clipped to ±8, missing values 0."""
        return self.scaler.transform(self.dense)

    def row(self, i: int) -> Inputs:
        """Return the i-th row by itself, padded to a block of its own."""
        dense = pad_dense(self.dense[i : i + 1])
        words = self.words and pad_words(self.words.row(i), len(dense))
        return Inputs(1, dense, self.scaler, words, self.columns)

    def as_dicts(self) -> list[dict[str, float]]:
        """Return one dict a row, padding left out: river's input. What is missing stays out."""
        found: list[dict[str, float]] = []
        for i in range(self.rows):
            row = {
                name: value
                for name, value in zip(self.columns, self.dense[i].tolist(), strict=True)
                if value == value  # NaN is missing
            }
            if self.words is not None:
                start, stop = self.words.indptr[i], self.words.indptr[i + 1]
                ids, counts = self.words.ids[start:stop], self.words.counts[start:stop]
                row.update(zip([f"word:{w}" for w in ids.tolist()], counts.tolist(), strict=True))
            found.append(row)
        return found


def pad_dense(dense: F64) -> F64:
    """Return the matrix with NaN rows appended up to whole blocks of 64."""
    n, d = dense.shape
    m = padded_rows(n)
    if m == n:
        return dense
    padded = np.full((m, d), np.nan)
    padded[:n] = dense
    return padded


def pad_words(words: Words | None, rows: int) -> Words | None:
    """Return the words with empty rows appended up to ``rows`` rows."""
    if words is None or words.rows == rows:
        return words
    extra = np.full(rows - words.rows, words.indptr[-1], dtype=np.int64)
    return Words(np.concatenate([words.indptr, extra]), words.ids, words.counts, words.bits)
