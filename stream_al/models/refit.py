"""Any scikit-learn classifier, fitted anew on remembered answers: ``refit:sklearn.svm.SVC?answers=500``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_al.errors import ConfigurationError
from stream_al.models.dotted import factory, parameters
from stream_al.models.dual import refit_due
from stream_al.models.estimator import check_estimator, estimator_proba, quiet
from stream_al.models.flat import Layout
from stream_al.models.inputs import Inputs
from stream_al.models.memory import bounded
from stream_al.models.protocol import F64, State
from stream_al.models.remembering import RememberingModel

ANSWERS = 300


class RefitModel(RememberingModel):
    """An estimator with ``fit`` behind the model protocol.

    Parameters
    ----------
    classes : int
    build : callable
        Makes a new estimator for every fit; two of them must fit alike, so it has a fixed seed.
    answers : int
        Answers remembered, and fitted on after every ``1 + n // 50`` new ones.
    standardise : bool
        False gives the estimator dense values as they came, for those that do their own scaling.

    Notes
    -----
    Inputs are standardised columns, and words folded to 1,024 columns. While all answers remembered are
    of one class, or the estimator refuses so few rows, probabilities are smoothed frequencies. The
    state holds the rows of the last fit, and loading fits them again.
    """

    def __init__(
        self,
        classes: int,
        build: Callable[[], Any],
        answers: int = ANSWERS,
        *,
        standardise: bool = True,
    ) -> None:
        check_estimator(build, "fit")
        self._raw = not standardise
        self._build = build
        super().__init__(classes, answers)
        self._new = 0
        self._fit(Layout(), np.zeros((0, 0)), np.zeros(0, dtype=np.int64), np.zeros(0))

    def learn(self, x: Inputs, y: int, weight: float) -> None:
        """Remember one answer, and fit when enough are new."""
        self._counts[y] += 1
        self._new += 1
        memory = self._memory
        memory.add(x, y, bounded(weight))
        if refit_due(len(memory), self._new):
            self._new = 0
            layout = replace(memory.layout, raw=self._raw)
            rows = memory.matrix(x.scaler, raw=self._raw)
            self._fit(layout, rows, memory.labels.copy(), memory.weights.copy())

    def _fit(self, layout: Layout, rows: F64, labels: NDArray[np.int64], weights: F64) -> None:
        self._layout, self._rows, self._labels, self._weights = layout, rows, labels, weights
        self._estimator = None
        if len(np.unique(labels)) < 2 or not layout.columns:
            return
        with quiet():
            estimator = self._build()
        more = {"sample_weight": weights} if "sample_weight" in parameters(estimator.fit) else {}
        try:
            with quiet():
                estimator.fit(rows, labels, **more)
            estimator_proba(estimator, rows[:1], self.classes)
        except ValueError:  # too few rows for it (neighbours, folds); settings were tried at the start
            return
        self._estimator = estimator

    def dump(self) -> State:
        """Return the remembered answers, and the rows of the last fit."""
        return {
            **{f"memory.{field}": array for field, array in self._memory.dump().items()},
            "counts": self._counts.copy(),
            "new": np.array(self._new),
            "layout": np.array([self._layout.words, self._layout.dense]),
            "fit.rows": self._rows.copy(),
            "fit.labels": self._labels.copy(),
            "fit.weights": self._weights.copy(),
        }

    def load(self, state: State) -> None:
        """Take over what :meth:`dump` returned."""
        start = "memory."
        memory = {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
        self._memory.load(memory)
        self._counts = state["counts"].copy()
        self._new = int(state["new"])
        words, dense = state["layout"].tolist()
        fit = [state[f"fit.{field}"].copy() for field in ("rows", "labels", "weights")]
        self._fit(Layout(bool(words), dense, self._raw), fit[0], fit[1], fit[2])


def refit_model(path: str, settings: dict[str, Any], classes: int, seed: int) -> RefitModel:
    """Return the scikit-learn classifier at a dotted path; ``answers`` and ``standardise`` are ours.

    Raises
    ------
    ConfigurationError
        ``answers`` is not a whole number of at least 2, or ``standardise`` no boolean.
    """
    settings = dict(settings)
    answers = settings.pop("answers", ANSWERS)
    if not isinstance(answers, int) or answers < 2:
        raise ConfigurationError(f"answers={answers!r}; expected a whole number of at least 2")
    standardise = settings.pop("standardise", True)
    if not isinstance(standardise, bool):
        raise ConfigurationError(f"standardise={standardise!r}; expected true or false")
    return RefitModel(classes, factory(path, settings, seed), answers, standardise=standardise)
