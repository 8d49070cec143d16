"""Scores that follow what was asked: each request counts for the very next event of its partition."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from support.engines import (
    Clock,
    answer,
    feed,
    make_engine,
    make_learner,
    outputs,
    predictions,
    requests,
    settle,
    trained,
    truthful_replies,
)
from support.messages import START_MS, gaussian_events, organic, sample, truth_of

from stream_al.log.memory import MemoryLog
from stream_al.log.protocol import EVENTS, LABEL_REPLIES, Record
from stream_al.query.ledger import Budget
from stream_al.query.reservoir import SIZE, STRIDE
from stream_al.query.score_context import ScoreContext
from stream_al.query.scores import SCORES, hybrid, margin
from stream_al.query_scores import QueryScores
from stream_al.replay import replay_decisions

TAUGHT = 60


def engine_of(log: MemoryLog, **settings: Any) -> Any:
    """Return an engine that has learned 60 labels that nobody asked for."""
    learner = make_learner()
    events = gaussian_events(TAUGHT, seed=6)
    answer(log, [organic(event, truth_of(event)) for event in events])
    engine = make_engine(log, learner, **settings)
    engine.tick()
    while engine.fold_some(before=TAUGHT):
        pass
    return engine


def stay() -> None:
    """Fold nothing: the model position stays."""


@pytest.mark.parametrize("size", [1, 9])
def test_partitions_follow_their_own_requests_however_the_stream_is_cut(size):
    found = []
    for batch in (500, size):
        log = MemoryLog(partitions=2, clock=Clock())
        engine = engine_of(log, score="hybrid", budget=Budget(0.6, partitions=2), max_batch=batch)
        for number, event in enumerate(gaussian_events(300, seed=2)):
            log.append(EVENTS, b"key %d" % (number % 10), orjson.dumps(event), timestamp_ms=START_MS)
        together = 0
        while (tick := engine.tick(stay)).events:
            together = max(together, len({partition for partition, _, _ in tick.decided}))
        assert together == 1 + (batch > 1)
        found.append([outputs(log, partition) for partition in (0, 1)])
    for whole, cut in zip(*found, strict=True):
        assert whole["predictions"] == cut["predictions"]
        assert whole["requests"] == cut["requests"]
    assert (
        max(len(whole["requests"]) for whole in found[0]) > SIZE + STRIDE
    )  # some are forgotten in one batch


def test_the_next_event_knows_what_was_asked():
    """The same row again and again: once it is asked it is a copy, and only its uncertainty is left."""
    log = MemoryLog(clock=Clock())
    engine = engine_of(log, score="hybrid", budget=Budget(0.05), near_duplicates=False)
    row = gaussian_events(1, seed=4)[0]["features"]
    feed(log, [{"event_id": f"same-{i}", "features": row} for i in range(6)])
    engine.tick(stay)
    first, *others = predictions(log)
    assert first["asked"]
    doubt = others[0]["uncertainty"]
    assert first["uncertainty"] == pytest.approx(0.5 + doubt, abs=1e-4)
    assert {other["uncertainty"] for other in others} == {doubt}


def test_a_replay_decides_the_same():
    log = MemoryLog(clock=Clock())
    engine = make_engine(log, score="hybrid", cold_start="coverage", budget=Budget(0.3))
    for start in range(0, 120, 40):
        feed(log, gaussian_events(120, seed=2)[start : start + 40])
        settle(engine)
        answer(log, truthful_replies(requests(log)[-8:]))
    again = replay_decisions(
        log, lambda played: make_engine(played, score="hybrid", cold_start="coverage", budget=Budget(0.3))
    )
    assert again.difference is None
    assert again.outputs > 130
    other = replay_decisions(log, lambda played: make_engine(played, score="hybrid", budget=Budget(0.3)))
    assert other.difference is not None


def test_near_duplicates_are_told_apart_from_novelty():
    """The filter may be off while a score looks at what was asked, and the other way round."""
    asked = {}
    for near_duplicates in (True, False):
        log = MemoryLog(clock=Clock())
        engine = engine_of(log, score="hybrid", budget=Budget(0.3), near_duplicates=near_duplicates)
        row = gaussian_events(1, seed=4)[0]["features"]
        feed(log, [{"event_id": f"same-{i}", "features": row} for i in range(40)])
        engine.tick(stay)
        asked[near_duplicates] = sum(p["asked"] for p in predictions(log))
    assert asked[True] < asked[False] / 2


def test_coverage_begins_before_anything_is_learned():
    """From the second sample on there is a scale, and what was asked tells events apart."""
    log = MemoryLog(clock=Clock())
    engine = make_engine(log, cold_start="coverage", budget=Budget(0.1))
    for start in (0, 40):
        feed(log, gaussian_events(80, seed=2)[start : start + 40])
        engine.tick()
        engine.tick()
    assert not engine.learner.model.fitted
    first, second = predictions(log)[:40], predictions(log)[40:]
    assert {p["uncertainty"] for p in first} == {1.0}
    assert len({p["uncertainty"] for p in second if p["uncertainty"] < 1.0}) > 30


def test_recent_events_are_those_of_the_model_position():
    _, engine = trained()
    learner = engine.learner
    batch = learner.recent_samples[:20]
    ids = [f"e{i}" for i in range(20)]
    kept = QueryScores(SCORES["density"], 0)
    before = kept(learner, learner.score(batch), ids)
    values = [sample(f"s{i}", {f"x{j}": 3.0 for j in range(4)}) for i in range(64)]
    at = learner.position
    learner.fold([Record(LABEL_REPLIES, 0, at + i, START_MS + i, None, v) for i, v in enumerate(values)])
    after = kept(learner, learner.score(batch), ids)
    assert after == QueryScores(SCORES["density"], 0)(learner, learner.score(batch), ids)
    assert after != before


# ---- a score of somebody's own ---------------------------------------------------------------------


def decided(score: Any, events: int = 200) -> tuple[QueryScores, list[int]]:
    log, engine = trained(budget=Budget(0.2), near_duplicates=False)
    engine.scores = QueryScores(score, 0)
    feed(log, gaussian_events(events, seed=5))
    found: list[int] = []
    for _ in range(20):
        found += [decision.score for _, _, decision in engine.tick().decided]
    assert len(found) == events
    return engine.scores, found


def test_an_own_score_may_look_at_what_was_asked_and_need_not_say_so():
    def mine(context: ScoreContext) -> Any:
        return hybrid(context)

    def careful(context: ScoreContext) -> Any:
        """Look only where there is something to tell apart, and fear the worst."""
        try:
            return hybrid(context) if margin(context).any() else margin(context)
        except Exception:
            return margin(context)

    _, expected = decided(hybrid)
    assert decided(mine)[1] == expected
    assert decided(careful)[1] == expected
    assert decided(margin)[1] != expected


def test_what_fails_is_counted_once_however_often_it_is_scored():
    def half(context: ScoreContext) -> Any:
        novelty = context.novelty()
        return np.where(np.arange(len(novelty)) % 2, np.nan, novelty)

    def never(context: ScoreContext) -> Any:
        context.novelty()
        raise ZeroDivisionError("by design")

    assert decided(half)[0].failures == 100
    scores, found = decided(never)
    assert (scores.failures, scores.error) == (200, "ZeroDivisionError: by design")
    assert set(found) == {0}
