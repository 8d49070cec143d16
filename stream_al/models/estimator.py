"""scikit-learn classifiers, asked for probabilities whatever they offer, and kept quiet."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_al.errors import ConfigurationError
from stream_al.models.flat import in_blocks
from stream_al.models.protocol import F64
from stream_al.models.softmax import probabilities


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what estimators warn about when they see few rows."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def estimator_proba(estimator: Any, rows: F64, classes: int) -> F64:
    """Return probabilities (n, classes) of a fitted estimator whose labels are class numbers.

    Those of ``predict_proba``; else the softmax (two classes: logistic) of ``decision_function``; else
    certainty of what ``predict`` says. Rows that come out as no number are uniform.
    """
    known = np.asarray(estimator.classes_, dtype=np.int64)
    with quiet():
        found = in_blocks(lambda block: _asked(estimator, block, known), rows)
    proba = np.zeros((len(rows), classes))
    proba[:, known] = found
    total = proba.sum(1, keepdims=True)
    good = np.isfinite(total) & (total > 0) & (proba.min(1, keepdims=True) >= 0)
    return np.where(good, proba / np.where(good, total, 1.0), 1.0 / classes)


def _asked(estimator: Any, block: F64, known: NDArray[np.int64]) -> F64:
    if hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict_proba(block), dtype=np.float64)
    if hasattr(estimator, "decision_function"):
        decision = np.asarray(estimator.decision_function(block), dtype=np.float64)
        return probabilities(decision.reshape(len(block), -1), len(known))
    return np.asarray(np.asarray(estimator.predict(block))[:, None] == known, dtype=np.float64)


def frequencies(counts: F64) -> F64:
    """Return class frequencies (classes,) with one answer added to each: for when nothing can be fitted."""
    smoothed: F64 = (counts + 1.0) / (counts.sum() + len(counts))
    return smoothed


def check_estimator(build: Callable[[], Any], method: str) -> None:
    """Fit an estimator on a few made-up rows, so that wrong settings show at the start.

    Raises
    ------
    ConfigurationError
        It has no ``method``, or refuses its settings.
    """
    with quiet():
        estimator = build()
    name = type(estimator).__name__
    if not hasattr(estimator, method):
        raise ConfigurationError(
            f"{name} has no {method}(); sklearn: needs partial_fit(), refit: takes any classifier with fit()"
        )
    rows = np.random.default_rng(0).standard_normal((60, 2))
    labels = np.arange(60) % 2
    classes = {"classes": np.arange(2)} if method == "partial_fit" else {}
    try:
        with quiet():
            getattr(estimator, method)(rows, labels, **classes)
            estimator_proba(estimator, rows, 2)
    except Exception as error:
        raise ConfigurationError(f"{name} fails on sixty rows of two classes: {error}") from error
