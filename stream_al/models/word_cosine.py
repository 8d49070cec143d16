"""Word expert b: kernel logistic regression with the kernel 60 (cos + 0.1) on 300 remembered answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from stream_al.models.dual import fit_dual, refit_due
from stream_al.models.expert import Arrays
from stream_al.models.memory import SIZE, to_forget
from stream_al.models.softmax import F64, widen, width
from stream_al.models.words import WordRows, table_product

SCALE = 60.0
BIAS = 0.1


class WordCosine:
    """Cosine kernel machine on damped counts.

    The kernel is linear in the rows of length 1, so after a fit the coefficients of the answers are
    added up into one weight a word, and scoring costs no more than a linear model.

    Parameters
    ----------
    classes : int
    columns : int
        Hashed words.
    """

    size = 1

    def __init__(self, classes: int, columns: int) -> None:
        self._classes = classes
        self._new = 0
        self._texts: list[tuple[NDArray[np.int64], F64]] = []
        self._labels: list[int] = []
        self._answer_weights: list[float] = []
        self._table = np.zeros((columns, width(classes)))
        self._constant = np.zeros(width(classes))

    def grow(self, classes: int) -> None:
        """Add classes of which nothing is said yet."""
        self._table = widen(self._table, self._classes, classes).astype(np.float64)
        self._constant = widen(self._constant, self._classes, classes).astype(np.float64)
        self._classes = classes

    def logits(self, texts: WordRows) -> F64:
        """Return logits (1, m, width) of m texts."""
        return (table_product(texts.damped, self._table) + self._constant)[None]

    def learn(self, text: WordRows, label: int, weight: float) -> None:
        """Remember one answer, and refit when enough are new."""
        if len(self._labels) == SIZE:
            oldest = to_forget(np.array(self._labels))
            for remembered in (self._texts, self._labels, self._answer_weights):
                del remembered[oldest]
        self._texts.append((text.damped.indices, text.damped.data))
        self._labels.append(label)
        self._answer_weights.append(weight)
        self._new += 1
        n = len(self._labels)
        if self._classes >= 2 and refit_due(n, self._new):
            self._refit(n)

    def _refit(self, n: int) -> None:
        self._new = 0
        indptr, ids, values = self._rows()
        texts = csr_array((values, ids, indptr), shape=(n, len(self._table)))
        cosine = (texts @ texts.T).toarray().astype(np.float32)
        gram = np.float32(SCALE) * (cosine + np.float32(BIAS))
        weights = np.array(self._answer_weights, dtype=np.float32)
        said = (table_product(texts, self._table) + self._constant).astype(np.float32)
        fitted = fit_dual(gram, np.array(self._labels), weights, self._classes, said)
        if fitted is None:  # what was fitted before goes on
            return
        scaled = SCALE * fitted.coefficients.astype(np.float64)
        self._table = table_product(texts.T, scaled)
        self._constant = BIAS * scaled.sum(0)

    def _rows(self) -> tuple[NDArray[np.int64], NDArray[np.int64], F64]:
        """Return the remembered texts as compressed rows: indptr, ids, values."""
        lengths = [len(ids) for ids, _ in self._texts]
        indptr = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
        if not lengths:
            return indptr, np.zeros(0, dtype=np.int64), np.zeros(0)
        ids = np.concatenate([ids for ids, _ in self._texts]).astype(np.int64)
        return indptr, ids, np.concatenate([values for _, values in self._texts])

    def dump(self) -> Arrays:
        """Return the whole state."""
        indptr, ids, values = self._rows()
        return {
            "new": np.array(self._new),
            "indptr": indptr,
            "ids": ids,
            "values": values,
            "labels": np.array(self._labels, dtype=np.int64),
            "answer_weights": np.array(self._answer_weights, dtype=np.float64),
            "table": self._table.copy(),
            "constant": self._constant.copy(),
        }

    def load(self, state: Mapping[str, NDArray[Any]], classes: int) -> None:
        """Take over what :meth:`dump` returned."""
        self._classes = classes
        self._new = int(state["new"])
        self._table, self._constant = state["table"].copy(), state["constant"].copy()
        cuts = state["indptr"][1:-1]
        texts = zip(np.split(state["ids"], cuts), np.split(state["values"], cuts), strict=True)
        self._texts = list(texts) if len(state["labels"]) else []
        self._labels = state["labels"].tolist()
        self._answer_weights = state["answer_weights"].tolist()
