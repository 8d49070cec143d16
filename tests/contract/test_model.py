"""Every kind of model passes the public suite."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from river import linear_model, preprocessing

from stream_al.conformance.model import CHECKS
from stream_al.models.protocol import ModelFactory, OnlineModel
from stream_al.models.registry import make_model

MODELS = (
    "pool",
    "river:river.naive_bayes.GaussianNB",
    pytest.param(f"river:{__name__}.scaled_logistic", marks=pytest.mark.slow),
    "sklearn:sklearn.linear_model.SGDClassifier?loss=log_loss",
    pytest.param("sklearn:sklearn.linear_model.SGDClassifier?loss=hinge", marks=pytest.mark.slow),
    "sklearn:sklearn.naive_bayes.GaussianNB?var_smoothing=0.001",
    "refit:sklearn.linear_model.LogisticRegression?max_iter=10",
    "committee:3:sklearn:sklearn.naive_bayes.GaussianNB",
    pytest.param("committee:3x6:pool", marks=pytest.mark.slow),
    pytest.param("refit:sklearn.neighbors.KNeighborsClassifier", marks=pytest.mark.slow),
)


def scaled_logistic() -> object:
    return preprocessing.StandardScaler() | linear_model.LogisticRegression()


def factory(name: str) -> ModelFactory:
    def make(classes: int, seed: int) -> OnlineModel:
        return make_model(name, classes, seed)

    return make


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", MODELS)
def test_contract(name: str, check: Callable[[ModelFactory], None]) -> None:
    check(factory(name))
