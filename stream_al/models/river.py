"""Any river classifier as a model: ``river:river.tree.HoeffdingTreeClassifier?grace_period=50``.

river's models read dicts of raw numbers, since its pipelines bring their own scaler; a factory
function (``river:mypkg.models.make``) may return such a pipeline.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from river.multiclass import OneVsRestClassifier

from stream_al.errors import ConfigurationError, DataError
from stream_al.models.dotted import factory, parameters
from stream_al.models.inputs import Inputs
from stream_al.models.memory import bounded
from stream_al.models.protocol import F64, State
from stream_al.models.scaler import LARGEST


class RiverModel:
    """A river classifier behind the model protocol.

    Parameters
    ----------
    classes : int
    build : callable
        Makes the classifier, anything with ``learn_one`` and ``predict_proba_one``. One that knows only
        two classes is wrapped in `OneVsRestClassifier`: classes may be added.

    Notes
    -----
    Values are cut to ±1e30, missing ones are left out. Where the model gives no probability, or none
    that is a number, the classes are equally likely. An answer's weight is passed on where
    ``learn_one`` takes ``w``. The state is a tree of Python objects and is not dumped.
    """

    def __init__(self, classes: int, build: Callable[[], Any]) -> None:
        model = build()
        for method in ("learn_one", "predict_proba_one"):
            if not hasattr(model, method):
                raise ConfigurationError(
                    f"{type(model).__name__} has no {method}(); a river: model must be a river classifier"
                )
        self._takes_weight = "w" in parameters(model.learn_one)
        binary = not getattr(model, "_multiclass", True)
        self._model = OneVsRestClassifier(model) if binary else model
        self._takes_weight &= not binary
        self._classes = classes
        self._fitted = False

    @property
    def classes(self) -> int:
        """Classes known."""
        return self._classes

    @property
    def fitted(self) -> bool:
        """Whether anything was learned."""
        return self._fitted

    def grow(self, classes: int) -> None:
        """Make room for more classes."""
        self._classes = max(self._classes, classes)

    def predict_proba(self, batch: Inputs) -> F64:
        """Return probabilities (m, classes), one row after the other."""
        proba = np.full((len(batch.dense), self._classes), 1.0 / max(1, self._classes))
        if self._fitted and self._classes > 1:
            for i, row in enumerate(_dicts(batch)):
                found = np.zeros(self._classes)
                for label, p in self._scored(row).items():
                    found[int(label)] = p
                total = found.sum()
                if np.isfinite(total) and total > 0 and found.min() >= 0:
                    proba[i] = found / total
        return proba

    def _scored(self, row: dict[str, float]) -> dict[Any, float]:
        try:
            with np.errstate(all="ignore"):
                scored: dict[Any, float] = self._model.predict_proba_one(row)
                return scored
        except ArithmeticError:  # absurd numbers overflow in some models
            return {}

    def learn(self, x: Inputs, y: int, weight: float) -> None:
        """Learn one answer; one that overflows in the model is left out."""
        self._fitted = True
        (row,) = _dicts(x)
        more = {"w": bounded(weight)} if self._takes_weight else {}
        try:
            with np.errstate(all="ignore"):
                self._model.learn_one(row, y, **more)
        except ArithmeticError:
            return

    def observe(self, x: Inputs, weight: float) -> None:
        """Do nothing."""

    def members(self, batch: Inputs) -> None:
        """Return None: no committee."""

    def dump(self) -> None:
        """Return None: the log is folded instead."""

    def load(self, state: State) -> None:
        """Refuse: there is nothing to load from.

        Raises
        ------
        DataError
            Always.
        """
        raise DataError("a river model has no state to load; fold the reply log from its start")


def _dicts(x: Inputs) -> list[dict[str, float]]:
    columns = x.columns or tuple(str(j) for j in range(x.dense.shape[1]))
    return replace(x, dense=np.clip(x.dense, -LARGEST, LARGEST), columns=columns).as_dicts()


def river_model(path: str, settings: dict[str, Any], classes: int, seed: int) -> RiverModel:
    """Return the river classifier at a dotted path, or made by the function there."""
    return RiverModel(classes, factory(path, settings, seed))
