"""How often predictions were right, over all events: for simulation, where every truth is known."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]


class ConfusionMatrix:
    """Counts of (truth, prediction), growing with the labels; every mean comes from these.

    Attributes
    ----------
    labels : list of str
        In order of first appearance, as truth or as prediction.
    counts : (k, k + 1) int64
        Rows are the truth, columns the prediction; the last column is "no prediction", which is
        always wrong.

    Examples
    --------
    >>> matrix = ConfusionMatrix()
    >>> matrix.add(["a", "b", "b", "a"], ["a", "b", "a", None])
    >>> matrix.accuracy, matrix.balanced_accuracy, matrix.total
    (0.5, 0.5, 4)
    """

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.counts: I64 = np.zeros((0, 1), dtype=np.int64)
        self._places: dict[str | None, int] = {}

    def add(self, truth: Iterable[str | None], predicted: Iterable[str | None]) -> None:
        """Count predictions that were made before their truth was known.

        Parameters
        ----------
        truth : n labels
            A row whose truth is None is left out: it can be neither right nor wrong.
        predicted : n labels
            None: the model had nothing to say yet.
        """
        pairs = [(t, p) for t, p in zip(truth, predicted, strict=True) if t is not None]
        for pair in pairs:
            for label in pair:
                if label is not None and label not in self._places:
                    self._places[label] = len(self.labels)
                    self.labels.append(label)
        k = len(self.labels)
        self._grow(k)
        place = self._places | {None: k}
        cells = np.array([place[t] * (k + 1) + place[p] for t, p in pairs], dtype=np.int64)
        self.counts += np.bincount(cells, minlength=k * (k + 1)).reshape(k, k + 1)

    def _grow(self, k: int) -> None:
        old = len(self.counts)
        if k == old:
            return
        counts = np.zeros((k, k + 1), dtype=np.int64)
        counts[:old, :old] = self.counts[:, :old]
        counts[:old, k] = self.counts[:, old]
        self.counts = counts

    @property
    def total(self) -> int:
        """Predictions counted."""
        return int(self.counts.sum())

    @property
    def accuracy(self) -> float:
        """Share of right predictions; NaN while empty."""
        return float(np.trace(self.counts)) / self.total if self.total else math.nan

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall of the classes that occurred; NaN while empty."""
        truth = self.counts.sum(axis=1)
        present = truth > 0
        return float((np.diagonal(self.counts)[present] / truth[present]).mean()) if self.total else math.nan

    @property
    def kappa(self) -> float:
        """Cohen's kappa: accuracy over chance, ``(acc - pe) / (1 - pe)``; NaN while empty.

        Chance ``pe`` is the agreement of independent labels with the same frequencies; 0 where that
        is 1 (one class, always predicted). Cohen, Educ. Psychol. Meas. 20(1), 1960.
        """
        return cohen_kappa(self.counts) if self.total else math.nan


def cohen_kappa(counts: NDArray[np.integer[Any]] | NDArray[np.floating[Any]]) -> float:
    """Return Cohen's kappa of a table (k, k + 1) of truth and prediction, the last column being none.

    Cells may be weights. NaN where all are 0.
    """
    total = float(counts.sum())
    if not total:
        return math.nan
    truth, predicted = counts.sum(axis=1), counts.sum(axis=0)[:-1]
    agreed, chance = float(np.trace(counts)) / total, float(truth @ predicted) / total**2
    return (agreed - chance) / (1.0 - chance) if chance < 1.0 else 0.0


def pr_auc(positive: NDArray[np.bool_], scores: NDArray[np.floating[Any]]) -> float:
    """Return the area under the precision-recall curve, as average precision.

    Parameters
    ----------
    positive : (n,) bool
        Rows of the positive class.
    scores : (n,) float
        Probability of the positive class, 0 where the model did not know it yet.

    Returns
    -------
    float
        NaN without any positive.
    """
    from sklearn.metrics import average_precision_score  # costs half a second, and few runs need it

    return float(average_precision_score(positive, scores)) if positive.any() else math.nan


def precision_at_1pct(positive: NDArray[np.bool_], scores: NDArray[np.floating[Any]]) -> float:
    """Return the share of positives among the one per cent with the highest scores.

    Rows that tie at the cut count in proportion (the expectation over all ways to break the tie), so
    the order of rows does not matter.

    Examples
    --------
    >>> precision_at_1pct(np.arange(200) < 1, np.zeros(200))
    0.005
    """
    n = len(scores)
    if not n:
        return math.nan
    top = math.ceil(n / 100)
    cut = np.partition(scores, n - top)[n - top]
    above, tied = scores > cut, scores == cut
    share = (top - above.sum()) / tied.sum()
    return float((positive[above].sum() + share * positive[tied].sum()) / top)
