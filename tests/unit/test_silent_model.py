"""What a model says that is no probability is nothing: the stream goes on, and nothing is left of it."""

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


class Boastful(CentroidModel):
    """Says of some events what adds up to more than one, or to one with something below nothing."""

    def predict_proba(self, batch):
        said = super().predict_proba(batch)
        said[batch.dense[:, 0] > 1.0] *= 1.001
        said[batch.dense[:, 1] > 1.0] = [1.5, -0.5, 0.0]
        return said


@pytest.mark.parametrize("window", [None, 20])
def test_every_ticket_verifies_whatever_the_model_says(window):
    log = MemoryLog(clock=Clock())
    learner = make_learner(Boastful())
    engine = make_engine(log, learner, budget=Budget(0.5), window=window)
    for seed in range(3):
        feed(log, gaussian_events(60, seed=seed))
        settle(engine)
        asked = requests(log)
        tickets = [learner.office.verify(request["ticket"]) for request in asked]
        answer(log, truthful_replies(asked[-20:]))
    assert len(tickets) > 40
    assert any(ticket.confidence == pytest.approx(1 / 3) for ticket in tickets)  # of those nothing is known
    log.rebalance()
    restarted = make_engine(log, make_learner(Boastful()), budget=Budget(0.5), window=window)
    settle(restarted)
    assert restarted.states[0].asked == engine.states[0].asked


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
        answer(log, truthful_replies(requests(log)[-15:]))
    assert np.isfinite(engine.learner.recalibration.apply(np.full((1, 3), 1 / 3))).all()
    assert len({p["label"] for p in predictions(log)[-60:]}) == 3
