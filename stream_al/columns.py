"""Column numbers: given in order of first appearance in the reply log, so every replica has the same.

An encoded input is names and values; a model wants a matrix. Columns that the reply log has not shown
yet are not scored: nothing could have been learned about them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from stream_al.encode import EncodedInput
from stream_al.models.inputs import Inputs, Words, pad_dense, pad_words
from stream_al.models.scaler import Scaler

F64 = NDArray[np.float64]


class Columns:
    """Names of the dense columns, numbers first seen first.

    Parameters
    ----------
    limit : int
        Dense columns at most; further ones are counted in ``refused`` and not used.
    word_bits : int
        Hashed words are below ``2 ** word_bits``.
    """

    def __init__(self, limit: int = 1024, word_bits: int = 13) -> None:
        self.limit = limit
        self.word_bits = word_bits
        self.names: list[str] = []
        self.indicator: list[bool] = []
        self.has_words = False
        self.refused = 0
        self._numbers: dict[str, int] = {}
        self._categories: dict[str, int] = {}
        self._plan_keys: tuple[str, ...] = ()
        self._plan: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def register(self, encoded: EncodedInput) -> bool:
        """Learn the columns of an input; return whether there are new ones."""
        before = len(self.names), self.has_words
        for name in encoded.numbers:
            if name not in self._numbers:
                self._add(name, self._numbers, indicator=False)
        for pair in encoded.categories:
            if pair not in self._categories:
                self._add(pair, self._categories, indicator=True)
        self.has_words = self.has_words or encoded.words is not None
        return before != (len(self.names), self.has_words)

    def _add(self, name: str, places: dict[str, int], *, indicator: bool) -> None:
        if len(self.names) >= self.limit:
            self.refused += 1
            return
        places[name] = len(self.names)
        self.names.append(name)
        self.indicator.append(indicator)
        self._plan = None

    def inputs(self, batch: Sequence[EncodedInput], scaler: Scaler, *, pad: bool) -> Inputs:
        """Return the batch as a model's input, padded to whole blocks of 64 rows where asked for."""
        dense = self._dense(batch)
        words = self._words(batch) if self.has_words else None
        if pad:
            dense = pad_dense(dense)
            words = pad_words(words, len(dense))
        return Inputs(len(batch), dense, scaler, words, tuple(self.names))

    def _dense(self, batch: Sequence[EncodedInput]) -> F64:
        keys = tuple(batch[0].numbers) if batch else ()
        if all(e.plain and not e.categories and tuple(e.numbers) == keys for e in batch):
            return self._uniform(batch, keys)
        matrix = np.full((len(batch), len(self.names)), np.nan)
        matrix[:, np.array(self.indicator, dtype=bool)] = 0.0
        numbers, categories = self._numbers, self._categories
        for row, encoded in zip(matrix, batch, strict=True):
            for name, value in encoded.numbers.items():
                place = numbers.get(name)
                if place is not None:
                    row[place] = value
            for pair in encoded.categories:
                place = categories.get(pair)
                if place is not None:
                    row[place] = 1.0
        return matrix

    def _uniform(self, batch: Sequence[EncodedInput], keys: tuple[str, ...]) -> F64:
        """Return the matrix of events that all have the same plain numbers: the common case, fast."""
        count = len(batch) * len(keys)
        values = np.fromiter(chain.from_iterable(e.numbers.values() for e in batch), np.float64, count)
        values = values.reshape(len(batch), len(keys))
        if self._plan is None or self._plan_keys != keys:
            self._plan_keys = keys
            self._plan = np.array([self._numbers.get(name, -1) for name in keys], dtype=np.int64)
        plan = self._plan
        if len(keys) == len(self.names) and bool((plan == np.arange(len(keys))).all()):
            return values
        matrix = np.full((len(batch), len(self.names)), np.nan)
        matrix[:, np.array(self.indicator, dtype=bool)] = 0.0
        known = plan >= 0
        matrix[:, plan[known]] = values[:, known]
        return matrix

    def _words(self, batch: Sequence[EncodedInput]) -> Words:
        bags = [sorted((encoded.words or {}).items()) for encoded in batch]
        indptr = np.zeros(len(batch) + 1, dtype=np.int64)
        np.cumsum([len(bag) for bag in bags], out=indptr[1:])
        flat = list(chain.from_iterable(bags))
        pairs = np.array(flat, dtype=np.float64).reshape(len(flat), 2)
        # an id of a wider encoding, from a sample of another configuration, must not leave the range
        ids = pairs[:, 0].astype(np.int64) & ((1 << self.word_bits) - 1)
        return Words(indptr, ids, pairs[:, 1].copy(), self.word_bits)

    def dump(self) -> dict[str, object]:
        """Return the state as JSON values."""
        return {
            "names": self.names,
            "indicator": self.indicator,
            "has_words": self.has_words,
            "refused": self.refused,
        }

    def load(self, state: dict[str, object]) -> None:
        """Take over what :meth:`dump` returned."""
        names, indicator = state["names"], state["indicator"]
        assert isinstance(names, list)  # noqa: S101 - narrowing for the type checker; the file is our own
        assert isinstance(indicator, list)  # noqa: S101
        self.names, self.indicator = list(names), list(indicator)
        self.has_words = bool(state["has_words"])
        self.refused = int(str(state["refused"]))
        for i, (name, is_indicator) in enumerate(zip(names, indicator, strict=True)):
            (self._categories if is_indicator else self._numbers)[name] = i
        self._plan = None
