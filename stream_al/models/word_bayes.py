"""Word expert a: multinomial naive Bayes on the presence of words, the strongest with few answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_al.models.expert import Arrays
from stream_al.models.softmax import F64, width
from stream_al.models.words import WordRows, table_product

ALPHA = 0.1


class WordBayes:
    """Multinomial naive Bayes with smoothing 0.1.

    log p(word | class) = log(n_wc + a) - log(n_c + a v), with v the words seen so far. Taken relative
    to the mean over classes, and 0 for a word never seen: it says nothing about the class.

    Parameters
    ----------
    classes : int
    columns : int
        Hashed words.

    Notes
    -----
    The first part is kept as a table that changes only in the words of an answer. Its last column is
    1 for a seen word, so one product gives both the sum of a text and how many words it is over.
    """

    size = 1

    def __init__(self, classes: int, columns: int) -> None:
        self._answers = np.zeros(classes)
        self._counts = np.zeros((columns, classes))
        self._totals = np.zeros(classes)
        self._rebuild()

    def grow(self, classes: int) -> None:
        """Add classes without answers."""
        more = (0, classes - len(self._answers))
        self._answers = np.pad(self._answers, more)
        self._totals = np.pad(self._totals, more)
        self._counts = np.pad(self._counts, ((0, 0), more))
        self._rebuild()

    def _rebuild(self) -> None:
        self._table = np.zeros((len(self._counts), width(len(self._answers)) + 1))
        self._vocabulary = 0
        self._update(np.flatnonzero(self._counts.any(1)))

    def _update(self, ids: NDArray[np.int64]) -> None:
        """Bring the table up to date in some words, all of them seen."""
        self._vocabulary += int((self._table[ids, -1] == 0).sum())
        self._table[ids, :-1] = _relative(np.log(self._counts[ids] + ALPHA))
        self._table[ids, -1] = 1.0

    def logits(self, texts: WordRows) -> F64:
        """Return logits (1, m, width) of m texts."""
        product = table_product(texts.presence, self._table)
        size = np.log(self._totals + ALPHA * max(1, self._vocabulary))
        prior = np.log((self._answers + 1.0) / (self._answers.sum() + max(1, len(self._answers))))
        if self._answers.any():
            prior[self._answers == 0] = -np.inf  # never seen: ruled out here
        logits: F64 = product[:, :-1] - product[:, -1:] * _relative(size) + _difference(prior)
        return logits[None]

    def learn(self, text: WordRows, label: int, weight: float) -> None:
        """Add one answer."""
        ids = text.presence.indices
        self._answers[label] += weight
        self._totals[label] += weight * len(ids)
        self._counts[ids, label] += weight
        self._update(ids)

    def dump(self) -> Arrays:
        """Return the whole state."""
        return {
            "answers": self._answers.copy(),
            "totals": self._totals.copy(),
            "counts": self._counts.copy(),
        }

    def load(self, state: Mapping[str, NDArray[Any]], classes: int) -> None:
        """Take over what :meth:`dump` returned; its arrays know the number of classes."""
        self._answers, self._totals = state["answers"].copy(), state["totals"].copy()
        self._counts = state["counts"].copy()
        self._rebuild()


def _difference(values: F64) -> F64:
    """Return values (..., classes) as logits (..., width): the margin where there are two."""
    return values[..., 1:] - values[..., :1] if values.shape[-1] == 2 else values


def _relative(values: F64) -> F64:
    """Return values (..., classes) as logits relative to the mean over classes."""
    if values.shape[-1] == 2:
        return _difference(values)
    relative: F64 = values - values.mean(-1, keepdims=True)
    return relative
