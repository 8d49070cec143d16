"""A model that says NaN of an event knows nothing of it; the stream goes on, and nothing is left of it."""

from __future__ import annotations

import numpy as np
import pytest
from support.centroid import CentroidModel
from support.engines import (
    Clock,
    answer,
    feed,
    make_engine,
    make_learner,
    predictions,
    requests,
    settle,
    truthful_replies,
)
from support.messages import CLASSES, gaussian_events

from stream_al.log.memory import MemoryLog
from stream_al.query.ledger import Budget


class Silent(CentroidModel):
    """Says NaN of everything while ``silent``."""

    silent = False

    def predict_proba(self, batch):
        return super().predict_proba(batch) * (float("nan") if self.silent else 1.0)


@pytest.mark.parametrize("window", [None, 20])
def test_a_model_that_says_nan_knows_nothing_and_leaves_no_trace(window):
    log = MemoryLog(clock=Clock())
    model = Silent()
    engine = make_engine(log, make_learner(model), budget=Budget(0.3), window=window)
    for seed in range(6):
        model.silent = seed in (2, 3)
        feed(log, gaussian_events(60, seed=seed))
        settle(engine)
        told = predictions(log)[60 * seed + 1 :]
        assert all(p["probabilities"][c] is not None for p in told for c in CLASSES)
        if model.silent:
            assert {p["uncertainty"] for p in told} == {1.0}
        answer(log, truthful_replies(requests(log)[-5:]))
    assert np.isfinite(engine.learner.recalibration.apply(np.full((1, 3), 1 / 3))).all()
    assert len({p["label"] for p in predictions(log)[-60:]}) == 3
