"""A textbook pool-based experiment, to the figure, and the same data as a stream."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split

from stream_al.annotators import Annotators, Delay
from stream_al.datasets import read_table
from stream_al.models.inputs import Inputs, pad_dense
from stream_al.models.registry import make_model
from stream_al.models.scaler import Scaler
from stream_al.query.scores import ScoreContext, least_confidence
from stream_al.settings import load_settings
from stream_al.simulate import Plan, Simulation

MODEL = "refit:sklearn.linear_model.LogisticRegression?max_iter=2000&standardise=false"


@pytest.fixture(scope="module")
def parts() -> tuple[np.ndarray, ...]:
    x, y = make_classification(
        1000,
        n_features=10,
        n_informative=5,
        n_redundant=0,
        n_clusters_per_class=1,
        flip_y=0.1,
        random_state=42,
    )
    rest, test_x, rest_y, test_y = train_test_split(x, y, test_size=0.1, stratify=y, random_state=42)
    warm_x, pool_x, warm_y, pool_y = train_test_split(
        rest, rest_y, train_size=0.1, stratify=rest_y, random_state=42
    )
    return warm_x, warm_y, pool_x, pool_y, test_x, test_y


def test_twenty_queries_from_a_pool_lift_the_hold_out_from_88_to_91(parts):
    warm_x, warm_y, pool_x, pool_y, test_x, test_y = parts
    model = make_model(MODEL, classes=2, seed=0)
    scaler = Scaler()
    scaler.grow(np.zeros(10, bool))

    def scored(rows: np.ndarray) -> np.ndarray:
        inputs = Inputs(len(rows), pad_dense(rows), scaler)
        context = ScoreContext(model.predict_proba(inputs), [""] * len(rows), inputs)
        return least_confidence(context)[: len(rows)]

    def accuracy() -> float:
        found = model.predict_proba(Inputs(len(test_x), pad_dense(test_x), scaler))[: len(test_x)]
        return float((found.argmax(1) == test_y).mean())

    for row, label in zip(warm_x, warm_y, strict=True):
        model.learn(Inputs(1, row[None], scaler), int(label), 1.0)
    assert (len(warm_x), accuracy()) == (90, 0.88)
    for _ in range(20):
        best = int(scored(pool_x).argmax())
        model.learn(Inputs(1, pool_x[best][None], scaler), int(pool_y[best]), 1.0)
        pool_x, pool_y = np.delete(pool_x, best, 0), np.delete(pool_y, best)
    assert accuracy() == 0.91


def test_as_a_stream_the_hold_out_is_as_good(parts, tmp_path):
    warm_x, warm_y, pool_x, pool_y, test_x, test_y = parts
    file = tmp_path / "article.npz"
    labels = np.array([f"class-{label}" for label in np.concatenate([warm_y, pool_y, test_y])])
    np.savez(file, X=np.concatenate([warm_x, pool_x, test_x]), y=labels)
    table = read_table(file, label="y")
    final = []
    for seed in range(5):
        settings = load_settings(
            None,
            {
                "seed": seed,
                "query": {"budget": 0.025, "credit": 0, "score": "least_confidence"},
                "model": {"name": MODEL},
                "task": {"open_labels": True},
                "outputs": {"predictions": "none"},
            },
        )
        people = Annotators(Delay.parse("none"), no_answer=0.0, noise=0.0)
        run = Simulation(table, settings, people, Plan(initial=90, holdout=0.1))()
        assert run.holdout[0] == (90, 0.88)
        final.append(run.holdout[-1][1])
    assert np.mean(final) >= 0.89 - 1e-12
