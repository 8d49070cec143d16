"""Incremental scikit-learn classifiers: ``sklearn:sklearn.linear_model.SGDClassifier?loss=log_loss``.

scikit-learn fixes classes and columns at the first ``partial_fit``. Here an estimator knows exactly the
classes and columns of the answers so far; when an answer brings a new one, a new estimator learns the
last 1,000 answers with one call. So no slots are reserved: empty ones cost time, and some estimators
(`GaussianNB`) give no number while a class or a column is empty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from stream_al.errors import DataError
from stream_al.models.dotted import factory, parameters
from stream_al.models.estimator import check_estimator, quiet
from stream_al.models.inputs import Inputs
from stream_al.models.memory import bounded
from stream_al.models.protocol import F64, State
from stream_al.models.remembering import RememberingModel

REMEMBERED = 1000


class PartialFitModel(RememberingModel):
    """An estimator with ``partial_fit`` behind the model protocol.

    Parameters
    ----------
    classes : int
    build : callable
        Makes the estimator; called again for each new class or column.

    Notes
    -----
    Inputs are standardised columns, and words folded to 1,024 columns. While all answers are of one
    class, probabilities are its smoothed frequency. Weights are passed on where ``partial_fit`` takes
    ``sample_weight``. The estimator is a Python object and is not dumped.
    """

    def __init__(self, classes: int, build: Callable[[], Any]) -> None:
        check_estimator(build, "partial_fit")
        self._build = build
        super().__init__(classes, REMEMBERED)

    def learn(self, x: Inputs, y: int, weight: float) -> None:
        """Learn one answer; one that is new in kind makes a new estimator."""
        new = self._counts[y] == 0 or not self._layout.covers(x)
        self._counts[y] += 1
        self._memory.add(x, y, bounded(weight))
        memory = self._memory
        if new:
            self._layout = memory.layout
            self._estimator = None
            labels = np.unique(memory.labels)
            if len(labels) > 1 and self._layout.columns:
                with quiet():
                    self._estimator = self._build()
                self._fit(memory.matrix(x.scaler), memory.labels, memory.weights, classes=labels)
        elif self._estimator is not None:
            self._fit(self._layout.matrix(x), np.array([y]), np.array([bounded(weight)]))

    def _fit(self, rows: F64, labels: Any, weights: F64, **first: Any) -> None:
        more = first
        if "sample_weight" in parameters(self._estimator.partial_fit):
            more = {**first, "sample_weight": weights}
        with quiet():
            self._estimator.partial_fit(rows, labels, **more)

    def dump(self) -> None:
        """Return None: the log is folded instead."""

    def load(self, state: State) -> None:
        """Refuse: there is nothing to load from.

        Raises
        ------
        DataError
            Always.
        """
        raise DataError(
            "an incremental scikit-learn model has no state to load; fold the reply log from its start"
        )


def sklearn_model(path: str, settings: dict[str, Any], classes: int, seed: int) -> PartialFitModel:
    """Return the incremental scikit-learn classifier at a dotted path."""
    return PartialFitModel(classes, factory(path, settings, seed))
