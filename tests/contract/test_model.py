"""Every kind of model passes the public suite."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stream_al.conformance.model import CHECKS
from stream_al.models.protocol import ModelFactory
from stream_al.models.registry import make_model

MODELS = (
    "pool",
    "river:river.naive_bayes.GaussianNB",
    f"river:{__name__}.scaled_logistic",
    "sklearn:sklearn.linear_model.SGDClassifier?loss=log_loss",
    "sklearn:sklearn.linear_model.SGDClassifier?loss=hinge",
    "sklearn:sklearn.naive_bayes.GaussianNB?var_smoothing=0.001",
    "refit:sklearn.linear_model.LogisticRegression?max_iter=10",
    "refit:sklearn.neighbors.KNeighborsClassifier",
)


def scaled_logistic() -> object:
    from river import linear_model, preprocessing

    return preprocessing.StandardScaler() | linear_model.LogisticRegression()


def factory(name: str) -> ModelFactory:
    return lambda classes, seed: make_model(name, classes, seed)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", MODELS)
def test_contract(name: str, check: Callable[[ModelFactory], None]) -> None:
    check(factory(name))
