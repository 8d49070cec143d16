"""Policies: the public suite over all of them, and what THE rule prefers."""

from __future__ import annotations

import numpy as np
import pytest
from support.messages import START_MS
from support.streams import ignore, never_near

from stream_al.conformance.policy import CHECKS, check_policy
from stream_al.query.ledger import Budget
from stream_al.query.listed import ListedPolicy
from stream_al.query.policies import POLICIES
from stream_al.query.policy import Feedback, RankedPolicy, ScoredEvent


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", sorted(POLICIES))
def test_every_policy_conforms(name, check):
    check(POLICIES[name])


def test_the_suite_names_what_fails():
    class Greedy(RankedPolicy):
        def decide(self, *arguments):
            state, decisions = super().decide(*arguments)
            return state, [decision._replace(asked=True) for decision in decisions]

    with pytest.raises(AssertionError, match=r"check_every_ask_is_paid|check_propensities"):
        check_policy(Greedy)


def asked_scores(feedback: Feedback) -> tuple[float, float]:
    """Return the mean score of asked and of all events, long after the head start."""
    rng = np.random.default_rng(0)
    events = [ScoredEvent(f"e{i}", START_MS + i, int(rng.integers(65_536))) for i in range(6_000)]
    rule = RankedPolicy(Budget(0.05))
    _, decisions = rule.decide(rule.initial(), events, feedback, never_near, ignore)
    late = decisions[2_000:]
    return (
        float(np.mean([d.score for d in late if d.asked])) / 65_535,
        float(np.mean([d.score for d in late])) / 65_535,
    )


def test_a_fresh_model_asks_what_is_uncertain():
    asked, everything = asked_scores(Feedback(100_000, 1.0))
    assert asked > everything + 0.25


def test_a_stale_model_asks_more_evenly():
    fresh, _ = asked_scores(Feedback(100_000, 1.0))
    stale, everything = asked_scores(Feedback(0, None))
    assert everything - 0.05 < stale < fresh - 0.1


def test_the_list_is_asked_and_nothing_else():
    policy = ListedPolicy(Budget(0.1), {"e3", "e7"}, 10)
    events = [ScoredEvent(f"e{i}", START_MS, 0) for i in range(10)]
    state, decisions = policy.decide(policy.initial(), events, Feedback(), never_near, ignore)
    assert [i for i, d in enumerate(decisions) if d.asked] == [3, 7]
    assert state.inverse_propensity == pytest.approx(10.0)
    assert state.ledger.balanced()
