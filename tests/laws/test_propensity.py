"""The propensity in a ticket is the probability of the ask, given all that came before: a frequency."""

from __future__ import annotations

import numpy as np
import pytest
from support.messages import START_MS
from support.streams import ignore, never_near, scores_of

from stream_al.query.ledger import Budget
from stream_al.query.policies import POLICIES
from stream_al.query.policy import Feedback, ScoredEvent

SALTS, EVENTS = 600, 120


@pytest.mark.parametrize(
    ("policy", "budget"),
    [
        ("ranked", Budget(0.05)),
        ("ranked", Budget(0.3, credit=0.0)),
        ("ranked", Budget(0.2, overlap=2, floor_share=0.5)),
        *((policy, Budget(0.1, credit=0.0)) for policy in sorted(POLICIES)),
    ],
)
def test_an_event_is_asked_as_often_as_its_propensities_say(policy, budget):
    """Over many salts, asks minus propensities are martingale differences: their sums are near zero."""
    scores = scores_of("bursts", EVENTS, np.random.default_rng(2))
    events = [ScoredEvent(f"e{i}", START_MS + 1_000 * i, s) for i, s in enumerate(scores)]
    surplus, variance = np.zeros(EVENTS), np.zeros(EVENTS)
    floor_surplus = 0.0
    for salt in range(SALTS):
        rule = POLICIES[policy](budget, salt)
        _, decisions = rule.decide(rule.initial(), events, Feedback(5, 3e4), never_near, ignore)
        chance = np.array([d.propensity or 0.0 for d in decisions])
        surplus += np.array([d.asked for d in decisions]) - chance
        variance += chance * (1.0 - chance)
        payable = sum(d.propensity is not None for d in decisions)
        floors = sum(d.floor and d.propensity is not None for d in decisions)
        floor_surplus += floors - payable * budget.floor_share * budget.asks_per_event
    deviation = np.abs(surplus) / np.sqrt(variance + 1.0)
    assert deviation.max() < 4.5
    assert abs(surplus.sum()) < 4.0 * np.sqrt(variance.sum() + 1.0)
    rate = budget.floor_share * budget.asks_per_event
    assert abs(floor_surplus) < 4.0 * np.sqrt(SALTS * EVENTS * rate)


def test_weights_are_unbiased():
    """The mean over salts of the sum of inverse propensities is the number of events that could be asked."""
    budget = Budget(0.3, credit=0.0)
    events = [ScoredEvent(f"e{i}", START_MS, 30_000) for i in range(EVENTS)]
    surplus = []
    for salt in range(SALTS):
        rule = POLICIES["ranked"](budget, salt)
        state, decisions = rule.decide(rule.initial(), events, Feedback(), never_near, ignore)
        surplus.append(state.inverse_propensity - sum(d.propensity is not None for d in decisions))
    error = float(np.std(surplus)) / np.sqrt(SALTS)
    assert abs(float(np.mean(surplus))) < 4.0 * error
