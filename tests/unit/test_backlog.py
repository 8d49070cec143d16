"""The backlog: what it picks, what it writes, and that it writes nothing unless told to."""

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
    requests,
    settle,
    trained,
    truthful_replies,
    written,
)
from support.messages import START_MS, TOPIC, gaussian_events, organic, truth_of

from stream_al.asked_before import AskedBefore
from stream_al.backlog import Backlog, Choice
from stream_al.engine import Engine
from stream_al.log.memory import MemoryLog
from stream_al.log.protocol import EVENTS, LABEL_REQUESTS, TOPICS, Log
from stream_al.outputs import OutputWriter, is_backlog, request_id
from stream_al.ticket import BACKLOG

NOW_MS = START_MS + 5_000


def backlog_of(log: Log, engine: Engine, **options: Any) -> Backlog:
    """Return a backlog over a log with an engine's model."""
    return Backlog(log, engine, OutputWriter(engine.learner, **options))


def untouched(n: int = 400, **options: Any) -> tuple[MemoryLog, Engine]:
    """Return a log of events that nobody has decided, and an engine that never ran."""
    log = MemoryLog(clock=Clock())
    feed(log, gaussian_events(n, seed=7))
    return log, make_engine(log, **options)


def with_a_model(events: int = 400) -> tuple[MemoryLog, Engine]:
    """Return a log with old events that were asked about by another task's rule, and a fitted engine."""
    log, engine = trained(300)
    feed(log, gaussian_events(events, seed=7))
    return log, engine


def ids(choice: Choice) -> list[str]:
    return [each.candidate.event_id for each in choice.picked]


def in_backlog(log: Log, partitions: int = 1) -> list[dict[str, Any]]:
    values = [value for p in range(partitions) for value in written(log, LABEL_REQUESTS, p)]
    return [orjson.loads(value) for value in values if is_backlog(value)]


def bounds(log: Log) -> dict[tuple[str, int], tuple[int, int]]:
    return {(topic, p): log.bounds(topic, p) for topic in TOPICS for p in range(log.partitions(topic))}


@pytest.mark.parametrize("k", [1, 7, 40])
@pytest.mark.parametrize("make", [untouched, with_a_model])
def test_k_is_exactly_respected(make, k):
    log, engine = make()
    backlog = backlog_of(log, engine)
    choice = backlog.choose(k)
    assert len(set(ids(choice))) == len(choice.picked) == k
    assert backlog.ask(choice.picked, NOW_MS) == k
    assert [request["event"]["event_id"] for request in in_backlog(log)] == ids(choice)


@pytest.mark.parametrize("make", [untouched, with_a_model])
def test_choosing_writes_nothing_and_is_a_function_of_the_log(make):
    log, engine = make()
    before, states = bounds(log), {p: engine.policy.encode(s) for p, s in engine.states.items()}
    choice = backlog_of(log, engine).choose(20)
    assert bounds(log) == before
    assert {p: engine.policy.encode(s) for p, s in engine.states.items()} == states
    again = backlog_of(log, engine).choose(20)
    assert again == choice


def test_a_request_says_what_it_is_in_its_ticket_alone():
    log, engine = with_a_model()
    backlog = backlog_of(log, engine, suggestion_share=1.0, guidelines="Look twice.", overlap=2)
    choice = backlog.choose(5)
    backlog.ask(choice.picked, NOW_MS)
    for request, picked in zip(in_backlog(log), choice.picked, strict=True):
        candidate = picked.candidate
        ticket = engine.learner.office.verify(request["ticket"])
        assert (ticket.channel, ticket.propensity, ticket.totals) == (BACKLOG, None, (0, 0.0, 0))
        assert ticket.request_id == request["request_id"] == request_id(TOPIC, candidate.event_id)
        assert (ticket.partition, ticket.offset) == (candidate.partition, candidate.offset)
        assert ticket.model_version == engine.learner.position
        assert (ticket.served, ticket.confidence) == (candidate.label, candidate.confidence)
        assert ticket.served is not None
        assert (request["overlap"], request["guidelines"]) == (2, "Look twice.")
        assert ticket.asked_at == request["asked_at"] == NOW_MS
        assert not {"suggestion", "channel", "propensity"} & request.keys()
        assert request["priority"] == round(100 * candidate.score / 65_535)


def test_the_best_scored_are_the_candidates():
    log, engine = with_a_model()
    choice = backlog_of(log, engine).choose(5)
    everything = backlog_of(log, engine).choose(10_000)
    scores = sorted((each.candidate.score for each in everything.picked), reverse=True)
    assert choice.candidates == 50
    assert everything.candidates == everything.events - everything.already_asked
    assert min(each.candidate.score for each in choice.picked) >= scores[60]


def test_what_was_asked_or_labelled_is_left_out():
    log, engine = with_a_model()
    live = {request["event"]["event_id"] for request in requests(log)}
    known = gaussian_events(400, seed=7)[:5]
    answer(log, [organic(event, truth_of(event)) for event in known])
    choice = backlog_of(log, engine).choose(10_000)
    assert not live & set(ids(choice))
    assert not {event["event_id"] for event in known} & set(ids(choice))
    assert choice.already_asked == len(live) + 5


def test_an_answered_event_stays_left_out_when_its_request_is_forgotten():
    log, _ = with_a_model()
    event_id = requests(log)[0]["event"]["event_id"]

    class Forgetful:
        """The same log after retention: no requests."""

        def __getattr__(self, name: str) -> Any:
            return getattr(log, name)

        def tail(self, topic: str, partition: int, start: int, count: int) -> list[Any]:
            return [] if topic == LABEL_REQUESTS else log.tail(topic, partition, start, count)

    assert event_id in AskedBefore(Forgetful())  # type: ignore[arg-type]  # quacks like one
    assert "never" not in AskedBefore(log)


def test_asking_again_asks_others_and_the_same_event_once():
    log, engine = with_a_model()
    first = backlog_of(log, engine).choose(10)
    backlog_of(log, engine).ask(first.picked, NOW_MS)
    assert backlog_of(log, engine).ask(first.picked, NOW_MS) == 0
    late = backlog_of(log, engine)  # it has read the requests before another one asks
    second = late.choose(10)
    assert not set(ids(first)) & set(ids(second))
    assert second.already_asked == first.already_asked + 10
    backlog_of(log, engine).ask(second.picked[:4], NOW_MS)
    assert late.ask(second.picked, NOW_MS) == 6
    assert len({request["request_id"] for request in in_backlog(log)}) == 20


def wave(centre: dict[str, float], n: int, noise: float, seed: int) -> list[dict[str, Any]]:
    """Return near-copies of one event."""
    rng = np.random.default_rng(seed)
    return [
        {
            "event_id": f"wave{seed}-{i}",
            "features": {name: value + float(noise * rng.normal()) for name, value in centre.items()},
        }
        for i in range(n)
    ]


def best_scored(log: Log, engine: Engine) -> dict[str, float]:
    """Return the features of the event with the highest score."""
    picked = backlog_of(log, engine).choose(10_000).picked
    return dict(max(picked, key=lambda each: each.candidate.score).candidate.encoded.numbers)


@pytest.mark.parametrize("make", [untouched, with_a_model])
@pytest.mark.parametrize("noise", [0.0, 1e-4])
def test_a_wave_of_copies_is_asked_once_and_hides_nothing(make, noise):
    log, engine = make()
    feed(log, wave(best_scored(log, engine), 3_000, noise, seed=5))
    choice = backlog_of(log, engine).choose(30)
    assert len(choice.picked) == 30
    assert sum(event_id.startswith("wave") for event_id in ids(choice)) <= 1
    assert noise or choice.passes == 1  # exact copies take one place


def test_an_id_that_stands_twice_is_asked_once():
    """The second one has contents of its own, and is a candidate only when the log is read again."""
    log, engine = with_a_model()
    feed(log, wave(best_scored(log, engine), 3_000, 1e-4, seed=5))
    (first,) = [each for each in ids(backlog_of(log, engine).choose(70)) if each.startswith("wave")]
    feed(log, [{"event_id": first, "features": {"x0": 40.0, "x1": -40.0, "x2": 40.0, "x3": -40.0}}])
    choice = backlog_of(log, engine).choose(70)
    assert choice.passes > 1
    assert ids(choice).count(first) == 1
    assert len(set(ids(choice))) == 70


@pytest.mark.parametrize("make", [untouched, with_a_model])
def test_a_second_event_of_an_id_is_no_candidate(make):
    log, engine = make()
    feed(log, [{"event_id": "twice", "features": {"x0": x, "x1": x}} for x in (20.0, -20.0)])
    assert ids(backlog_of(log, engine).choose(10_000)).count("twice") == 1


def test_where_near_copies_take_every_place_the_log_is_read_again():
    log, engine = with_a_model()
    feed(log, wave(best_scored(log, engine), 3_000, 1e-4, seed=5))
    choice = backlog_of(log, engine).choose(30)
    assert (choice.passes, choice.candidates) == (2, 300)
    assert [event_id.startswith("wave") for event_id in ids(choice)] == [True] + 29 * [False]


def test_near_copies_of_what_was_asked_take_nobodys_place():
    log, engine = with_a_model()
    centre = best_scored(log, engine)
    feed(log, wave(centre, 1, 0.0, seed=5))
    backlog = backlog_of(log, engine)
    only = [each for each in backlog.choose(10_000).picked if each.candidate.encoded.numbers == centre]
    assert backlog.ask(only, NOW_MS) == 1
    feed(log, wave(centre, 3_000, 1e-4, seed=6))
    choice = backlog_of(log, engine).choose(20)
    assert (len(choice.picked), choice.passes) == (20, 2)
    assert not any(event_id.startswith("wave6") for event_id in ids(choice))


def test_without_a_model_it_spreads_over_a_uniform_sample():
    log, engine = untouched(2_000)
    choice = backlog_of(log, engine).choose(20)
    assert not engine.learner.model.fitted
    assert {each.candidate.score for each in choice.picked} == {65_535}
    assert {each.candidate.label for each in choice.picked} == {None}
    assert choice.candidates == 200
    offsets = sorted(each.candidate.offset for each in backlog_of(log, engine).choose(1_000).picked)
    assert 850 < float(np.mean(offsets)) < 1_150
    gaps = [each.distance for each in choice.picked[1:]]
    assert gaps == sorted(gaps, reverse=True)
    assert choice.picked[0].distance is None
    truths = {truth_of(event) for event in gaussian_events(2_000, seed=7) if event["event_id"] in ids(choice)}
    assert len(truths) == 3


def test_bad_records_and_several_partitions():
    log = MemoryLog(3, clock=Clock())
    feed(log, [*gaussian_events(200, seed=7), b"no event", b"{}"])
    engine = make_engine(log)
    steps: list[int] = []
    backlog = backlog_of(log, engine)
    choice = backlog.choose(60, steps.append)
    assert (choice.events, choice.invalid) == (200, 2)
    assert {each.candidate.partition for each in choice.picked} == {0, 1, 2}
    assert steps == sorted(steps)
    assert steps[-1] == 202
    backlog.ask(choice.picked, NOW_MS)
    assert {request["event"]["event_id"] for request in in_backlog(log, 3)} == set(ids(choice))


def test_an_event_that_retention_took_is_left_out():
    log, engine = untouched()
    backlog = backlog_of(log, engine)
    choice = backlog.choose(10)

    class Emptied:
        """The same log when retention has taken the events."""

        def __getattr__(self, name: str) -> Any:
            return getattr(log, name)

        def tail(self, topic: str, partition: int, start: int, count: int) -> list[Any]:
            return log.tail(topic, partition, 390 if topic == EVENTS else start, count)

    backlog._log = Emptied()  # type: ignore[assignment]  # quacks like one
    assert backlog.ask(choice.picked, NOW_MS) == sum(each.candidate.offset == 390 for each in choice.picked)


def test_an_answer_teaches_as_any_other():
    log, engine = with_a_model()
    backlog = backlog_of(log, engine)
    backlog.ask(backlog.choose(10).picked, NOW_MS)
    learned = engine.learner.outcomes["learned"]
    answer(log, truthful_replies(in_backlog(log)))
    settle(engine)
    assert engine.learner.outcomes["learned"] == learned + 10
