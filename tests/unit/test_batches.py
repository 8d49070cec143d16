"""Batches through the engine: different things are asked, and a request says what was served before."""

from __future__ import annotations

from collections.abc import Sequence
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
    truthful_replies,
)
from support.messages import START_MS, gaussian_events, office, organic, sample, ticket

from stream_al.active import ActiveStream
from stream_al.answers import WINDOW, AnswerBook
from stream_al.build import make_policy, window_warning
from stream_al.engine import Engine
from stream_al.errors import ConfigurationError
from stream_al.explain import Explainer
from stream_al.log.memory import MemoryLog
from stream_al.log.protocol import EVENTS
from stream_al.query.batched import BatchedPolicy
from stream_al.query.block import MOST, Window
from stream_al.query.diverse import diverse_best
from stream_al.query.ledger import Budget
from stream_al.query.projection import DIMENSIONS
from stream_al.query.reservoir import Reservoir
from stream_al.replay import replay_decisions, what_is_gone
from stream_al.settings import make_settings
from stream_al.ticket import Ticket, Totals

BLOCK = 100
MS_PER_EVENT = 1_000


def ticket_of(request: dict[str, Any]) -> Ticket:
    return office().verify(request["ticket"])


def late(log: MemoryLog, partition: int = 0) -> list[Ticket]:
    """Return the tickets of the requests that the ends of blocks made."""
    tickets = [ticket_of(each) for each in requests(log, partition)]
    return [each for each in tickets if each.channel == "batch"]


def tick_by_tick(log: MemoryLog, clock: Clock, engine: Engine, events: Sequence[dict[str, Any]]) -> None:
    """Feed events a second apart, and decide them."""
    for event in events:
        feed(log, [event])
        clock.now_ms += MS_PER_EVENT
    settle(engine)


def run(n: int, **more: Any) -> tuple[MemoryLog, Engine]:
    """Return a log and an engine that has decided n events, without an answer."""
    clock = Clock()
    log = MemoryLog(clock=clock)
    engine = make_engine(log, **{"budget": Budget(0.1), "window": 50, **more})
    tick_by_tick(log, clock, engine, gaussian_events(n))
    return log, engine


# ---- what is asked ---------------------------------------------------------------------------------


def five_things(blocks: int, seed: int) -> list[dict[str, Any]]:
    """Return blocks of 64 sure events and 36 unsure ones: 24 near one place, 3 near each of four others."""
    rng = np.random.default_rng(seed)
    places = np.array([[0, 0, 0], [6, 0, 0], [-6, 0, 0], [0, 6, 0], [0, -6, 0]])
    events = []
    for _ in range(blocks):
        things = [0] * 24 + [1, 2, 3, 4] * 3 + [-1] * 64
        rng.shuffle(things)
        for thing in things:
            noise = rng.normal(size=4)
            if thing < 0:
                x = np.array([3.0 * rng.choice([-1, 1]), 0, 0, 0]) + 0.5 * noise
            else:
                x = np.array([0, *places[thing]]) + np.array([0.02, 0.3, 0.3, 0.3]) * noise
            features = {f"x{j}": float(value) for j, value in enumerate(x)}
            events.append(
                {"event_id": f"t{len(events)}", "features": features, "payload": {"truth": str(thing)}}
            )
    return events


def unsure_asks(window: int | None) -> list[list[str]]:
    """Return, block by block, which of the five things were chosen; the model knows the sure events."""
    log = MemoryLog(clock=Clock())
    engine = make_engine(log, make_learner(labels=("a", "b")), budget=Budget(0.05, credit=0.0), window=window)
    rng = np.random.default_rng(1)
    for i in range(50):
        x0, *rest = np.array([3, 0, 0, 0]) + np.array([0.5, 3, 3, 0.5]) * rng.normal(size=4)
        for sign, label in ((1, "a"), (-1, "b")):
            numbers = {f"x{j}": float(value) for j, value in enumerate([sign * x0, *rest])}
            answer(
                log,
                [
                    sample(f"s{i}{label}", numbers),
                    organic({"event_id": f"s{i}{label}", "features": numbers}, label),
                ],
            )
    engine.tick()
    feed(log, five_things(12, seed=3))
    settle(engine)
    found: dict[int, list[str]] = {}
    for request in requests(log):
        thing, asked = request["event"]["payload"]["truth"], ticket_of(request)
        if thing != "-1" and asked.channel != "floor":
            found.setdefault(asked.offset // BLOCK, []).append(thing)
    return list(found.values())


def test_a_block_asks_about_different_things_where_the_rule_asks_about_one():
    """Two thirds of what is unsure is one thing: so are the rule's choices, and not those of a block."""
    at_once, batched = unsure_asks(None), unsure_asks(BLOCK)
    share = {
        name: np.mean([thing == "0" for block in asks for thing in block])
        for name, asks in (("at once", at_once), ("batched", batched))
    }
    print(share, at_once, batched)
    assert len(batched) > 8
    assert share["at once"] > 0.55
    assert share["batched"] < 0.45


def test_copies_take_one_place_of_a_block():
    """Before anything was asked only copies are alike: a block of two things asks about each once."""
    log = MemoryLog(clock=Clock())
    engine = make_engine(log, budget=Budget(0.3, floor_share=0.001), window=40, max_batch=10)
    two = [{"x": 1.0, "y": 0.0}, {"x": 0.0, "y": 1.0}]
    feed(log, [{"event_id": f"c{i}", "features": two[i % 2]} for i in range(81)])
    settle(engine)
    asked = [orjson.dumps(each["event"]["features"]) for each in requests(log)]
    assert len(asked) == len(set(asked)) == 2


def test_an_end_asks_16_times_at_most_and_fewer_where_less_is_held():
    log, _ = run(600, budget=Budget(0.9, credit=300.0, capacity=200.0, floor_share=0.01), window=300)
    ends = [each.asked_at for each in late(log)]
    assert max(ends.count(end) for end in ends) == MOST
    log, _ = run(40, budget=Budget(0.9, floor_share=0.01), window=4)
    ends = [each.asked_at for each in late(log)]
    assert max(ends.count(end) for end in ends) <= 4


def test_a_repeated_id_and_what_the_floor_asked_are_not_asked_again():
    clock = Clock()
    log = MemoryLog(clock=clock)
    engine = make_engine(log, budget=Budget(0.3, floor_share=0.3), window=50)
    events = gaussian_events(300)
    again = [{**event, "features": {"x0": float(i)}} for i, event in enumerate(events[:40])]
    tick_by_tick(log, clock, engine, [*events[:40], *again, *events[40:]])
    asked = [each["event"]["event_id"] for each in requests(log)]
    assert len(asked) == len(set(asked)) > 40


@pytest.mark.parametrize(("score", "cold_start"), [("hybrid", "none"), ("margin", "coverage")])
def test_a_score_that_follows_what_was_asked_does_so_however_the_stream_is_cut(score, cold_start):
    found = []
    for size in (500, 7, 1):
        clock = Clock()
        log = MemoryLog(clock=clock)
        budget = Budget(0.2, floor_share=0.3)
        engine = make_engine(
            log, window=40, score=score, cold_start=cold_start, max_batch=size, budget=budget
        )
        settle(engine)
        answer(log, [organic(event, event["payload"]["truth"]) for event in gaussian_events(20, seed=9)])
        for part in range(3):
            while engine.fold_some():
                pass
            position = engine.learner.position
            for event in gaussian_events(100, seed=part):
                feed(log, [event])
                clock.now_ms += MS_PER_EVENT
            while engine.tick(lambda: None).events:
                assert engine.learner.position == position
        assert len(late(log)) > 15
        found.append(outputs(log))
    assert found[0] == found[1] == found[2]


# ---- what a request says ---------------------------------------------------------------------------


def test_a_late_request_says_what_was_served_and_when_it_was_made():
    clock = Clock()
    log = MemoryLog(clock=clock)
    engine = make_engine(log, budget=Budget(0.1), window=50)
    events = gaussian_events(400)
    tick_by_tick(log, clock, engine, events[:60])
    answer(log, truthful_replies(requests(log)))
    tick_by_tick(log, clock, engine, events[60:])
    said = {each["event_id"]: each for each in predictions(log)}
    asked = late(log)
    assert len([each for each in asked if each.served is not None]) > 10
    for each in asked:
        then = said[each.event_id]
        assert (each.served, then["asked"]) == (then["label"], False)
        assert each.confidence == (0.0 if each.served is None else then["probabilities"][each.served])
        assert each.propensity == 1.0
        assert each.asked_at == START_MS + MS_PER_EVENT * (each.offset // 50 + 1) * 50, (
            "the next block's first"
        )
        assert each.resolve_by == each.asked_at + 1000 * each.ttl_seconds
    totals = [ticket_of(each).totals for each in requests(log)]
    assert [each.asked for each in totals] == list(range(1, len(totals) + 1))
    weights = np.diff([0.0] + [each.inverse_propensity for each in totals])
    channels = [ticket_of(each).channel for each in requests(log)]
    assert [w > 0 for w in weights] == [channel == "floor" for channel in channels]


def test_log_time_ends_a_block_with_the_first_event_behind_it():
    clock = Clock()
    log = MemoryLog(clock=clock)
    engine = make_engine(log, budget=Budget(0.3, floor_share=0.001), window="30s")
    events = gaussian_events(41)
    tick_by_tick(log, clock, engine, events[:40])
    first_end = {each.asked_at for each in late(log)}
    clock.now_ms += 1_800_000
    settle(engine)
    assert {each.asked_at for each in late(log)} == first_end, "an idle stream ends nothing"
    tick_by_tick(log, clock, engine, events[40:])
    assert {each.asked_at for each in late(log)} - first_end == {START_MS + 40 * MS_PER_EVENT + 1_800_000}


def test_every_partition_has_blocks_of_its_own():
    log = MemoryLog(partitions=2, clock=Clock())
    engine = make_engine(log, budget=Budget(0.3, floor_share=0.001, partitions=2), window=40)
    log.append_many(
        EVENTS, [(str(i % 2).encode(), orjson.dumps(e)) for i, e in enumerate(gaussian_events(200))]
    )
    settle(engine)
    counts = [log.bounds(EVENTS, p)[1] for p in (0, 1)]
    for p in (0, 1):
        assert {each.offset // 40 for each in late(log, p)} == set(range((counts[p] - 1) // 40))


# ---- restarts and replays --------------------------------------------------------------------------


def test_candidates_that_the_log_has_forgotten_are_dropped_and_cost_nothing():
    log, engine = run(80, budget=Budget(0.3, floor_share=0.001))
    held = [each.offset for each in engine.states[0].block.candidates]
    keep = sorted(held)[-2]
    log.truncate(EVENTS, 0, keep)
    log.rebalance()
    again = make_engine(log.member(), budget=Budget(0.3, floor_share=0.001), window=50)
    feed(log, gaussian_events(40, seed=5))
    settle(again)
    assert again.forgotten_candidates == len(held) - 2
    second = [each.offset for each in late(log) if 50 <= each.offset < 80]
    assert sorted(second) == sorted(held)[-2:]
    ledger = again.states[0].ledger
    assert ledger.balanced()
    assert ledger.spent == len(requests(log)) * again.policy.budget.cost


def test_a_replay_of_the_log_makes_the_same_bytes():
    clock = Clock()
    log = MemoryLog(clock=clock)
    engine = make_engine(log, window=30, max_batch=50, budget=Budget(0.2))
    for events in (gaussian_events(150), gaussian_events(250, seed=1)):
        tick_by_tick(log, clock, engine, events)
        answer(log, truthful_replies(requests(log)))
    assert what_is_gone(log) is None
    assert len(late(log)) > 20
    compared = replay_decisions(log, lambda scripted: make_engine(scripted, window=30, budget=Budget(0.2)))
    assert compared.difference is None
    assert compared.outputs == len(outputs(log)["predictions"]) + len(requests(log))
    other = replay_decisions(log, lambda scripted: make_engine(scripted, window=31, budget=Budget(0.2)))
    assert other.difference is not None


def test_an_event_is_explained_by_the_end_of_its_block():
    log, _ = run(200, budget=Budget(0.2))
    explain = Explainer(log, lambda scripted: make_engine(scripted, window=50, budget=Budget(0.2)))
    asked = late(log)[0]
    found = explain(asked.event_id)
    assert (found.source, found.asked, found.channel, found.propensity) == ("log", True, "batch", 1.0)
    assert "best of its block" in found.sentence()
    everything = {ticket_of(each).event_id for each in requests(log)}
    other = next(each["event_id"] for each in predictions(log) if each["event_id"] not in everything)
    assert "the end of its block has not chosen it" in explain(other).sentence()
    first_of, within = (predictions(log)[offset]["event_id"] for offset in (150, 151))
    assert (explain(first_of).nearest, explain(first_of).missing) == (None, ("nearest",))
    assert explain(within).missing == ()
    log.truncate(EVENTS, 0, 150)
    left = explain(asked.event_id)
    assert (left.source, left.channel, left.score) == ("ticket", "batch", found.score)


def test_the_library_hands_out_the_requests_of_a_block():
    stream = ActiveStream(labels=["even", "odd"], query={"window": 20, "budget": 0.3})
    pushed = [stream.push({"x": float(i)}) for i in range(100)]
    batches = [i for i, each in enumerate(pushed) if each.batch]
    assert batches
    assert all(i % 20 == 0 for i in batches)
    for i in batches:
        for request in pushed[i].batch:
            stream.answer(request, "odd")
    assert stream.engine.learner.outcomes["learned"] == sum(len(each.batch) for each in pushed)


# ---- the pieces ------------------------------------------------------------------------------------


def line(*places: float) -> np.ndarray:
    found = np.zeros((len(places), DIMENSIONS))
    found[:, 0] = places
    return found


def test_farthest_first_chooses_among_twice_as_many_of_the_best():
    nothing = Reservoir(line())
    assert diverse_best(line(0, 1, 5, 9), nothing, 2) == [0, 3]
    assert diverse_best(line(0, 1, 5, 2, 900), nothing, 2) == [0, 2], "900 is not among the best four"
    assert diverse_best(line(0, 1, 5, 9), Reservoir(line(0)), 2) == [3, 2], "0 was asked: far from it"
    assert diverse_best(line(0, 0, 0), nothing, 3) == [0], "copies are asked once"
    assert diverse_best(line(), nothing, 3) == []


def test_an_answer_of_a_batch_has_no_weight_in_the_estimate():
    book, alone = AnswerBook(), AnswerBook()
    for i in range(2 * WINDOW):
        floor = i % 3 == 0
        totals = Totals(i + 1, 20.0 * (i // 3 + 1), 0)
        one = ticket(i, asked_at=START_MS + i, propensity=0.05 if floor else 1.0, totals=totals,
                     channel="floor" if floor else "batch")  # fmt: skip
        book.enter(one, "a" if floor and i % 2 else "b", 0)
        if floor:
            alone.enter(one, "a" if i % 2 else "b", 0)
    mixed, honest = book.accuracy(START_MS + 10**6), alone.accuracy(START_MS + 10**6)
    assert mixed.hajek == honest.hajek
    assert mixed.bounds == honest.bounds
    assert (mixed.first, mixed.last) == (honest.first, honest.last)
    assert mixed.labelled_only.value < honest.labelled_only.value
    assert mixed.response_rate > 0.99


@pytest.mark.parametrize("value", [1, 0, -5, True, "", "5 bananas", "0.5s", "1e3", 10**17])
def test_a_window_that_is_none_is_an_error(value):
    with pytest.raises(ConfigurationError, match=r"query\.window.*expected a number of events"):
        make_settings({"query": {"window": value}})


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"policy": "random"}, 'needs "ranked"'),
        ({"budget": 1.0}, "asks about everything at once"),
    ],
)
def test_what_does_not_go_with_a_window_is_named(query, message):
    with pytest.raises(ConfigurationError, match=message):
        make_settings({"query": {"window": "5m", **query}})


def test_a_block_that_earns_more_than_its_end_can_ask_is_told():
    def warned(**query: Any) -> str | None:
        return window_warning(make_settings({"query": query}))

    assert warned() is None
    assert warned(window=355) is None
    assert warned(window="5m") is None
    assert "at most 355" in str(warned(window=356))


def test_the_window_is_part_of_the_configuration():
    def policy(**query: Any) -> Any:
        return make_policy(make_settings({"query": query, "task": {"labels": ["a", "b"]}}))

    found = policy(window="50")
    assert isinstance(found, BatchedPolicy)
    assert found.window == Window(50, "events")
    assert found.configuration == policy(window=50).configuration
    others = [policy(), policy(window=51), policy(window="50s")]
    other_labels = make_policy(make_settings({"query": {"window": 50}, "task": {"labels": ["b", "a"]}}))
    assert found.configuration not in {each.configuration for each in (*others, other_labels)}
