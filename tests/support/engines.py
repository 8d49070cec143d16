"""Engines over logs, without a configuration file, with a model of the test's choice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from stream_al.engine import Engine, EngineOptions
from stream_al.learner import Learner, LearnerOptions
from stream_al.log.memory import MemoryLog
from stream_al.log.protocol import DEAD_LETTERS, EVENTS, LABEL_REPLIES, LABEL_REQUESTS, PREDICTIONS, Log
from stream_al.models.protocol import OnlineModel
from stream_al.outputs import OutputWriter
from stream_al.query.batched import BatchedPolicy
from stream_al.query.block import Window
from stream_al.query.ledger import Budget
from stream_al.query.policies import POLICIES
from stream_al.query.scores import SCORES
from stream_al.query_scores import QueryScores
from stream_al.ticket import TicketOffice
from support.centroid import CentroidModel
from support.messages import CLASSES, START_MS, office, reply, truth_of

PATIENT = 1e9
"""Seconds of folding: tests never let the wall clock decide."""


class Clock:
    """A log's time that moves only when told."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


def make_learner(
    model: OnlineModel | None = None, tickets: TicketOffice | None = None, **options: Any
) -> Learner:
    """Return an unfitted learner of three declared classes."""
    chosen = LearnerOptions(**{"labels": CLASSES, **options})
    return Learner(model or CentroidModel(), tickets or office(), chosen)


def make_engine(
    log: Log,
    learner: Learner | None = None,
    *,
    budget: Budget | None = None,
    policy: str = "ranked",
    score: str = "margin",
    cold_start: str = "none",
    window: int | str | None = None,
    seed: int = 0,
    max_batch: int = 500,
    near_duplicates: bool = True,
    event_map: Any = None,
    **outputs: Any,
) -> Engine:
    """Return an engine that never waits."""
    learner = learner or make_learner()
    budget = budget or Budget(0.1)
    options = EngineOptions(
        seed=seed,
        max_batch=max_batch,
        fold_seconds=PATIENT,
        poll_seconds=0.0,
        near_duplicates=near_duplicates,
        encoding=learner.options.encoding,
        event_map=event_map,
    )
    writer = OutputWriter(learner, seed=seed, overlap=budget.overlap, **outputs)
    scores = QueryScores(SCORES[score], seed, coverage=cold_start == "coverage")
    rule = (
        POLICIES[policy](budget, seed)
        if window is None
        else BatchedPolicy(budget, Window.parse(window), seed)
    )
    return Engine(log, learner, rule, scores, writer, options)


def feed(log: Log, events: Iterable[dict[str, Any] | bytes]) -> None:
    """Append events."""
    values = [event if isinstance(event, bytes) else orjson.dumps(event) for event in events]
    log.append_many(EVENTS, [(None, value) for value in values])


def settle(engine: Engine, ticks: int = 10_000) -> None:
    """Tick until the log is idle."""
    for _ in range(ticks):
        tick = engine.tick()
        if not (tick.committed or tick.restored or tick.lost):
            return
    raise AssertionError(f"the engine is still busy after {ticks} ticks")


def written(log: Log, topic: str, partition: int = 0) -> list[bytes]:
    """Return the values of a topic's partition."""
    first, end = log.bounds(topic, partition)
    return [record.value for record in log.tail(topic, partition, first, max(1, end - first))]


def outputs(log: Log, partition: int = 0) -> dict[str, list[bytes]]:
    """Return everything an engine writes for a partition."""
    samples = [value for value in written(log, LABEL_REPLIES) if b'"kind":"sample"' in value]
    return {
        "predictions": written(log, PREDICTIONS, partition),
        "requests": written(log, LABEL_REQUESTS, partition),
        "samples": samples,
        "dead letters": written(log, DEAD_LETTERS),
    }


def predictions(log: Log, partition: int = 0) -> list[dict[str, Any]]:
    """Return decoded predictions."""
    return [orjson.loads(value) for value in written(log, PREDICTIONS, partition)]


def requests(log: Log, partition: int = 0) -> list[dict[str, Any]]:
    """Return decoded label requests."""
    return [orjson.loads(value) for value in written(log, LABEL_REQUESTS, partition)]


def truthful_replies(asked: Iterable[dict[str, Any]]) -> list[bytes]:
    """Return one right answer a request."""
    return [reply(request["ticket"], truth_of(request["event"])) for request in asked]


def answer(log: Log, values: Iterable[bytes]) -> None:
    """Append replies."""
    log.append_many(LABEL_REPLIES, [(None, value) for value in values])


def trained(n: int = 300, **settings: Any) -> tuple[MemoryLog, Engine]:
    """Return a log and an engine that has asked about n events and learned the answers."""
    from support.messages import gaussian_events

    log = MemoryLog(clock=Clock())
    engine = make_engine(log, **settings)
    feed(log, gaussian_events(n))
    settle(engine)
    answer(log, truthful_replies(requests(log)))
    feed(log, gaussian_events(1, seed=99))
    settle(engine)
    return log, engine
