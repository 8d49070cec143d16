"""Every policy and every score: cuts change nothing, the books balance, S survives, crashes are not seen.

Small streams, so that a new name costs little: each policy with the default score, each score with the
default policy, both ways to begin, and the rare class that replaces the score.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

import orjson
import pytest
from support.centroid import CentroidModel
from support.crashes import Crash, CrashingLog, Plan
from support.engines import (
    PATIENT,
    Clock,
    answer,
    feed,
    make_engine,
    make_learner,
    outputs,
    requests,
    truthful_replies,
    written,
)
from support.messages import CLASSES, gaussian_events, reply, truth_of

from stream_al.build import build_engine
from stream_al.engine import Engine
from stream_al.log.memory import MemoryLog
from stream_al.log.protocol import LABEL_REPLIES, PREDICTIONS, Log
from stream_al.models.committee import Committee
from stream_al.query.ledger import Budget
from stream_al.query.policies import POLICIES
from stream_al.query.scores import SCORES
from stream_al.settings import make_settings


class Strategy(NamedTuple):
    """What is configured; as in the settings."""

    policy: str = "ranked"
    score: str = "margin"
    cold_start: str = "none"
    positive: str | None = None

    def __str__(self) -> str:
        return "-".join(str(part) for part in self if part not in ("none", None))


STRATEGIES = [
    *(Strategy(policy) for policy in POLICIES),
    *(Strategy(score=score) for score in SCORES),
    Strategy(score="hybrid:0"),
    Strategy(cold_start="coverage"),
    Strategy("split", "hybrid", "coverage"),
    Strategy(positive=CLASSES[0]),
    Strategy(score="hybrid", cold_start="coverage", positive=CLASSES[0]),
]
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES, ids=str)

# ---- cuts, the ledger, the state ---------------------------------------------------------------------

STAGES = (30, 110, 100)
"""Events decided at one model position; then people answer what was asked."""
WHOLE = 500


@cache
def run(strategy: Strategy, size: int) -> dict[str, list[bytes]]:
    """Return what the stream leaves in the log, polled in pieces of one size."""
    settings = make_settings(
        {
            "task": {"labels": CLASSES, "positive": strategy.positive},
            "query": {
                "budget": 0.15,
                "policy": strategy.policy,
                "score": strategy.score,
                "cold_start": strategy.cold_start,
            },
            "engine": {"max_batch": size, "fold_milliseconds": 1000 * PATIENT},
        }
    )
    log = MemoryLog(clock=Clock())
    engine = build_engine(settings, log)
    events = iter(gaussian_events(sum(STAGES), seed=3, columns=6, spread=0.7))
    engine.tick()
    answered = 0
    for number in STAGES:
        while engine.fold_some():
            pass
        feed(log, [next(events) for _ in range(number)])
        done = 0
        while done < number:
            done += engine.tick(lambda: None).events
            check_state(engine)
        asked = requests(log)
        answer(log, truthful_replies(asked[answered:]))
        answered = len(asked)
    return outputs(log)


def check_state(engine: Engine) -> None:
    """S survives its own text, and no more was spent than is promised."""
    state, budget = engine.states[0], engine.policy.budget
    text = engine.policy.encode(state)
    assert engine.policy.decode(text) == state
    assert engine.policy.encode(engine.policy.decode(text)) == text
    assert state.ledger.balanced()
    assert state.ledger.spent == state.asked * budget.cost
    grant = budget.limit // 2 + budget.credit_units
    assert state.ledger.spent <= state.events * budget.income + grant


@every_strategy
@pytest.mark.parametrize("size", [1, 7, 64])
def test_cuts_change_nothing(strategy, size):
    whole = run(strategy, WHOLE)
    for kind, values in run(strategy, size).items():
        assert values == whole[kind], kind


@every_strategy
def test_it_scores_and_asks(strategy):
    """What the law above is about: many different scores, and requests among them."""
    whole = run(strategy, WHOLE)
    last = [orjson.loads(value) for value in whole["predictions"][-STAGES[-1] :]]
    assert len({prediction["uncertainty"] for prediction in last}) > 2  # a vote of few has few outcomes
    assert sum(prediction["asked"] for prediction in last) >= 5


@pytest.mark.parametrize("score", ["hybrid", "hybrid:0"])
def test_what_was_asked_counts_at_once(score, monkeypatch):
    """Without the news of each request the cuts show: the law above guards something."""
    whole, afresh = run(Strategy(score=score), WHOLE), run.__wrapped__
    monkeypatch.setattr("stream_al.novelty._Columns.follow", lambda self, reservoir: None)
    assert afresh(Strategy(score=score), 1) == whole
    assert afresh(Strategy(score=score), WHOLE)["predictions"] != whole["predictions"]


# ---- crashes -----------------------------------------------------------------------------------------

EVENTS, BATCH, DELAY, RESTART_AFTER = 48, 16, 12, 32


def crashing_run(strategy: Strategy, plan: Plan) -> dict[str, list[bytes]]:
    """Return what a run leaves in the log, with a planned restart; after a crash the next process goes on."""
    log = MemoryLog(clock=Clock())
    feed(log, [orjson.dumps(event) for event in gaussian_events(EVENTS, seed=1)])
    for until, restless in ((RESTART_AFTER, plan), (EVENTS, plan), (EVENTS, Plan())):
        log.rebalance()
        with suppress(Crash):
            session(CrashingLog(log.member(), restless), strategy, until)
    return {**outputs(log), "replies": written(log, LABEL_REPLIES)}


def session(log: CrashingLog, strategy: Strategy, until: int) -> None:
    """Start a new process and run it until so many events are predicted."""
    committee = Committee(lambda seed: CentroidModel(len(CLASSES), seed), 3, 1.0, 0)
    engine = make_engine(
        log,
        make_learner(committee, positive=strategy.positive),
        budget=Budget(0.4),
        max_batch=BATCH,
        policy=strategy.policy,
        score=strategy.score.partition(":")[0],
        cold_start=strategy.cold_start,
    )
    while True:
        answer_what_is_due(log.log)
        tick = engine.tick()
        idle = not (tick.committed or tick.restored)
        if log.log.bounds(PREDICTIONS, 0)[1] >= until and (idle or until < EVENTS):
            return


def answer_what_is_due(log: Log) -> None:
    """Let people answer in order, each request a few events later."""
    done = log.bounds(PREDICTIONS, 0)[1]
    sent = sum(b'"kind":"sample"' not in value for value in written(log, LABEL_REPLIES))
    due = [r for r in requests(log) if int(r["event"]["event_id"].split("-")[1]) + DELAY <= done]
    answer(log, [reply(r["ticket"], truth_of(r["event"])) for r in due[sent:]])


@every_strategy
def test_a_crash_around_any_commit_changes_nothing(strategy):
    undisturbed = Plan()
    expected = crashing_run(strategy, undisturbed)
    assert len(expected["predictions"]) == EVENTS
    assert len(expected["requests"]) > 15
    commits = [n for n, operation in enumerate(undisturbed.operations) if operation == "commit"]
    assert len(commits) == EVENTS // BATCH
    for number in commits:
        for phase in ("before", "after"):
            found: dict[str, Any] = crashing_run(strategy, Plan((number, phase)))
            assert found == expected, f"after a crash {phase} operation {number}"
