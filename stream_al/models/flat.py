"""One matrix of numbers for estimators that want one: folded words, then standardised columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_al.models.expert import Arrays
from stream_al.models.inputs import Inputs, Words
from stream_al.models.memory import Memory
from stream_al.models.protocol import F64, State
from stream_al.models.scaler import LARGEST, Scaler

FOLD = 1024
"""Columns that the hashed words are folded into."""
ROWS = 96
"""Rows a call. In double precision OpenBLAS treats the rows of a block alike when their number is a
multiple of 48 (measured; 64 is not, from some 200 outputs on): a row's score must not depend on its place."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Columns of the matrix: ``FOLD`` for words if there are any, then the dense ones.

    Attributes
    ----------
    words : bool
    dense : int
    raw : bool
        Dense values as they came, missing ones 0, in place of standardised ones.
    """

    words: bool = False
    dense: int = 0
    raw: bool = False

    @property
    def columns(self) -> int:
        """Columns of the matrix."""
        return self.dense + FOLD * self.words

    def covers(self, x: Inputs) -> bool:
        """Return whether an input has nothing beside these columns."""
        return x.dense.shape[1] <= self.dense and (self.words or x.words is None)

    def matrix(self, batch: Inputs) -> F64:
        """Return the rows of a batch (m, columns); what the layout does not know is left out."""
        z = (as_they_came(batch.dense) if self.raw else batch.z)[:, : self.dense]
        z = np.pad(z, ((0, 0), (0, self.dense - z.shape[1])))
        return np.concatenate([fold(batch.words, len(z)), z], axis=1) if self.words else z


def as_they_came(dense: F64) -> F64:
    """Return raw values within ±1e30, missing ones 0."""
    return np.nan_to_num(np.clip(dense, -LARGEST, LARGEST))


def fold(words: Words | None, rows: int) -> F64:
    """Return counts of words (rows, 1024), ids modulo 1024, rows of length 1."""
    if words is None:
        return np.zeros((rows, FOLD))
    row = np.repeat(np.arange(words.rows), np.diff(words.indptr))
    cells = np.bincount(row * FOLD + words.ids % FOLD, words.counts, minlength=rows * FOLD)
    table = np.asarray(cells, dtype=np.float64).reshape(rows, FOLD)
    length = np.sqrt((table * table).sum(1, keepdims=True))
    return table / np.where(length > 0, length, 1.0)


class FlatMemory:
    """The remembered answers as such a matrix, standardised by the scale of the moment.

    Parameters
    ----------
    size : int
        Answers kept.
    """

    def __init__(self, size: int) -> None:
        self._dense = Memory(size)
        self._words = Memory(size)

    def __len__(self) -> int:
        return len(self._dense)

    @property
    def layout(self) -> Layout:
        """Columns seen so far."""
        return Layout(self._words.rows.shape[1] > 0, self._dense.rows.shape[1])

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class numbers (n,)."""
        return self._dense.labels

    @property
    def weights(self) -> F64:
        """Weights (n,)."""
        return self._dense.weights

    def add(self, x: Inputs, label: int, weight: float) -> None:
        """Remember one answer."""
        self._dense.grow(x.dense.shape[1])
        if x.words is not None:
            self._words.grow(FOLD)
        self._dense.add(x.dense[0], label, weight)
        words = fold(x.words, 1)[0] if self._words.rows.shape[1] else np.zeros(0)
        self._words.add(words, label, weight)

    def matrix(self, scaler: Scaler, *, raw: bool = False) -> F64:
        """Return the remembered rows (n, columns of the layout)."""
        words = np.nan_to_num(self._words.rows)  # answers before the first text
        dense = as_they_came(self._dense.rows) if raw else scaler.transform(self._dense.rows)
        return np.concatenate([words, dense], axis=1)

    def dump(self) -> Arrays:
        """Return what is remembered as arrays."""
        return {**self._dense.dump(), "words": self._words.dump()["rows"]}

    def load(self, state: State) -> None:
        """Take over what :meth:`dump` returned."""
        self._dense.load(state)
        self._words.load({**state, "rows": state["words"]})


def in_blocks(score: Callable[[F64], F64], rows: F64) -> F64:
    """Return the scores of rows, computed 96 rows at a time, the last block filled up with zeros."""
    n = len(rows)
    padded = np.pad(rows, ((0, -n % ROWS), (0, 0)))
    return np.concatenate([score(padded[i : i + ROWS]) for i in range(0, len(padded), ROWS)])[:n]
