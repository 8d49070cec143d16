"""Explain tells what happened: decided again from the log, and from what is left when that is gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import pytest
from support.engines import Clock, answer, feed, make_engine, make_learner, requests, settle, truthful_replies
from support.messages import gaussian_events

from stream_al.decode import decode_event
from stream_al.encode import encode, from_message
from stream_al.engine import Engine
from stream_al.errors import DataError
from stream_al.explain import Explainer
from stream_al.explanation import Explanation, NearestRequest
from stream_al.log.protocol import EVENTS, LABEL_REQUESTS, PREDICTIONS, Log
from stream_al.log.sqlite import SqliteLog
from stream_al.query.ledger import Budget
from stream_al.query.policies import POLICIES
from stream_al.query.policy import Decision, query_coins
from stream_al.query.projection import Projection
from stream_al.query.reservoir import remembered
from stream_al.query.score_context import ScoreContext
from stream_al.query.uncertainty import margin
from stream_al.query.window import SCALE
from stream_al.query_scores import QueryScores
from stream_al.replay import fold_to

PIECES = (40, 40, 3, 50, 40)


class Happened(NamedTuple):
    """One decision of a live run."""

    partition: int
    event_id: str
    decision: Decision
    position: int


class Run(NamedTuple):
    """A log with a live run in it."""

    log: SqliteLog
    make: Any
    engine: Engine
    decided: list[Happened]


def stream(seed: int) -> list[dict[str, Any] | bytes]:
    """Return events among which some are copies, some come again under their id, and some are none."""
    rng = np.random.default_rng(seed)
    events: list[dict[str, Any] | bytes] = []
    for i, event in enumerate(gaussian_events(sum(PIECES), seed=seed)):
        kind = rng.random()
        if i > 40 and kind < 0.2:
            event = {**event, "features": {f"x{j}": 1.0 for j in range(4)}}
        elif i > 40 and kind < 0.3:
            event = {**event, "event_id": f"e{seed}-{rng.integers(20)}"}
        events.append(event if kind < 0.97 else b"no event")
    return events


def live_run(path: Path, seed: int = 0, partitions: int = 1, **options: Any) -> Run:
    """Run an engine over a stream in several batches; answers come one batch late, and some never."""
    clock = Clock()
    log = SqliteLog(path, partitions, clock=clock, owner=True)
    make = partial(
        make_engine,
        **{"budget": Budget(0.2, capacity=4.0, credit=2.0), "seed": seed, "max_batch": 16} | options,
    )
    engine = make(log)
    decided: list[Happened] = []
    events, answered = stream(seed), [0] * partitions
    for size in PIECES:
        feed(log, events[:size])
        del events[:size]
        clock.now_ms += 60_000
        while True:
            tick = engine.tick()
            decided += [Happened(p, event.event_id, d, tick.model_version) for p, event, d in tick.decided]
            if not (tick.committed or tick.restored):
                break
        clock.now_ms += 60_000
        for p in range(partitions):
            waiting = requests(log, p)[answered[p] :][:-2]
            answer(log, truthful_replies(waiting)[:: 1 if p else 2])
            answered[p] += len(waiting)
    return Run(log, make, engine, decided)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    found = live_run(tmp_path / "log.db")
    with closing(found.log):
        yield found


def occurrences(decided: list[Happened]) -> Iterator[tuple[int, Happened]]:
    """Yield each decision with the number of its event among those of its id, as the log lists them."""
    seen: dict[str, int] = {}
    for happened in sorted(decided, key=lambda each: each.partition):
        seen[happened.event_id] = seen.get(happened.event_id, 0) + 1
        yield seen[happened.event_id], happened


def assert_tells(found: Explanation, happened: Happened, seed: int = 0) -> None:
    decision = happened.decision
    assert found.source == "log"
    assert found.equal
    assert (found.partition, found.model_version) == (happened.partition, happened.position)
    assert found.asked == decision.asked
    assert found.channel == (decision.channel if decision.asked else None)
    assert found.score == decision.score / SCALE
    for name in ("rank", "probability", "propensity", "tokens", "near_duplicate"):
        assert getattr(found, name) == getattr(decision, name), name
    assert found.decided_at == decision.now
    assert [found.floor_coin, found.query_coin] == [c[0] for c in query_coins(seed)([happened.event_id])]
    hit = found.floor_coin < found.floor_threshold
    assert hit == decision.floor
    assert found.chance is not None
    coins = hit or found.query_coin < found.chance
    affordable = decision.tokens >= 1
    assert found.asked == (coins and affordable and not found.refused)
    if found.refused:
        assert decision.probability == 0.0
        assert found.near_duplicate or found.asked_before
    if found.near_duplicate:
        assert found.nearest is not None
        assert found.nearest.distance <= max(found.nearest.radius, 1e-6)


def test_every_event_of_a_run_is_explained_as_it_happened(run: Run) -> None:
    explain = Explainer(run.log, run.make)
    told = []
    for occurrence, happened in occurrences(run.decided):
        found = explain(happened.event_id, occurrence)
        assert_tells(found, happened)
        told.append(found)
    assert len(told) > 160
    assert {found.channel for found in told} == {"floor", "chosen", None}
    assert any(found.refused and found.near_duplicate for found in told)
    assert any(found.refused and found.asked_before for found in told)
    assert any(not found.asked and found.tokens is not None and found.tokens < 1 for found in told)
    assert len({found.model_version for found in told}) > 10
    assert any(found.answers for found in told)
    assert {found.gone for found in told} == {None}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", [1, 2])
def test_explanations_are_what_happened_for_every_policy(policy: str, seed: int, tmp_path: Path) -> None:
    run = live_run(tmp_path / "log.db", seed, partitions=3, policy=policy)
    with closing(run.log):
        explain = Explainer(run.log, run.make)
        some = list(occurrences(run.decided))
        asked = [each for each in some if each[1].decision.asked]
        for occurrence, happened in (*some[:: len(some) // 8], *asked[:: len(asked) // 5]):
            assert_tells(explain(happened.event_id, occurrence), happened, seed)


def test_a_refused_copy_has_an_asked_copy_as_its_nearest(run: Run) -> None:
    copies = {
        event["event_id"]
        for event in stream(0)
        if isinstance(event, dict) and set(event["features"].values()) == {1.0}
    }
    refused = [each for each in run.decided if each.decision.near_duplicate and each.event_id in copies]
    asked = {each.event_id for each in run.decided if each.decision.asked}
    assert len(refused) > 2
    for happened in refused:
        nearest = Explainer(run.log, run.make)(happened.event_id).nearest
        assert nearest is not None
        assert nearest.event_id in copies & asked
        assert nearest.distance == 0.0


def test_the_nearest_is_what_a_search_through_the_tickets_finds(run: Run) -> None:
    """At the model position of the event, whose scale is that of the distance."""
    tickets = [run.engine.learner.office.verify(request["ticket"]) for request in requests(run.log)]
    project = Projection(0)
    for occurrence, happened in list(occurrences(run.decided))[60::4]:
        found = Explainer(run.log, run.make)(happened.event_id, occurrence)
        assert found.offset is not None
        learner = make_learner()
        fold_to(run.log, learner, found.model_version or 0)
        before = [ticket for ticket in tickets if ticket.offset < found.offset]
        before = before[-remembered(len(before)) :]
        event = decode_event(run.log.tail(EVENTS, 0, found.offset, 1)[0].value)
        encoded = [
            *(from_message(ticket.input) for ticket in before),
            encode(event, learner.options.encoding),
        ]
        points = project(learner.columns.inputs(encoded, learner.scaler, pad=False), range(len(encoded)))
        gaps = np.sqrt(((points[:-1] - points[-1]) ** 2).sum(axis=1))
        assert found.nearest is not None
        assert found.nearest.distance == pytest.approx(float(gaps.min()), rel=1e-12)
        assert found.nearest.event_id in [
            ticket.event_id for ticket, gap in zip(before, gaps, strict=True) if gap <= gaps.min() + 1e-12
        ]


def test_it_tells_the_answers_and_what_was_predicted(run: Run) -> None:
    asked = requests(run.log)
    first = Explainer(run.log, run.make)(asked[0]["event"]["event_id"])
    assert first.request_id == asked[0]["request_id"]
    assert [(answer.annotator_id, answer.status) for answer in first.answers] == [("ann", "labelled")]
    assert first.answers[0].label == asked[0]["event"]["payload"]["truth"]
    assert Explainer(run.log, run.make)(asked[-1]["event"]["event_id"]).answers == ()
    last = run.decided[-1]
    told = Explainer(run.log, run.make)(last.event_id)
    made = orjson.loads(run.log.tail(PREDICTIONS, 0, len(run.decided) - 1, 1)[0].value)
    assert made["event_id"] == last.event_id
    assert told.predicted == made["label"]
    assert told.confidence == made["probabilities"][made["label"]]


def test_it_stops_at_the_event(run: Run) -> None:
    engines: list[Engine] = []

    def make(log: Log) -> Engine:
        engines.append(run.make(log))
        return engines[-1]

    steps: list[tuple[int, int]] = []
    early = run.decided[30]
    assert_tells(Explainer(run.log, make, advance=lambda *step: steps.append(step))(early.event_id), early)
    assert sum(state.events for state in engines[-1].states.values()) == 31
    assert steps[-1][0] <= steps[-1][1] + 1


def test_a_wrong_record_is_told(run: Run) -> None:
    """A recorded decision that the engine does not make again explains nothing behind it."""
    run.log._connection.execute(
        'UPDATE "predictions-0" SET value = CAST(replace(CAST(value AS TEXT), \'"asked":false\', '
        '\'"asked":true\') AS BLOB) WHERE offset = (SELECT max(offset) - 40 FROM "predictions-0")'
    )
    at = len(run.decided) - 41
    assert Explainer(run.log, run.make)(run.decided[at - 1].event_id).equal
    for happened in (run.decided[at], run.decided[at + 7]):
        found = Explainer(run.log, run.make)(happened.event_id)
        assert not found.equal
        assert found.difference is not None
        assert repr(run.decided[at].event_id) in found.difference
        assert found.source in ("prediction", "ticket")


def test_what_is_forgotten_is_told_from_the_ticket(run: Run) -> None:
    explain = Explainer(run.log, run.make)
    chosen = [each for each in run.decided if each.decision.asked and each.decision.channel == "chosen"]
    before = {each.event_id: explain(each.event_id) for each in chosen[-3:]}
    run.log._lanes[EVENTS, 0].forget(10)
    for event_id, whole in before.items():
        found = explain(event_id)
        assert found.source == "ticket"
        assert found.gone is not None
        assert "events before offset 10" in found.gone
        assert set(found.missing) == {"rank", "chance", "tokens", "nearest", "asked_before"}
        assert found.probability == pytest.approx(whole.probability)
        assert found.score == pytest.approx(whole.score, abs=1e-6)
        for name in ("propensity", "channel", "model_version", "decided_at", "floor_coin", "query_coin"):
            assert getattr(found, name) == getattr(whole, name), name
        assert (found.predicted, found.answers) == (whole.predicted, whole.answers)
        assert "its chance was" in found.sentence()


def test_what_was_not_asked_is_told_from_its_prediction(run: Run) -> None:
    explain = Explainer(run.log, run.make)
    happened = next(each for each in reversed(run.decided) if not each.decision.asked)
    run.log._lanes[EVENTS, 0].forget(len(stream(0)))
    found = explain(happened.event_id)
    assert (found.source, found.asked, found.offset) == ("prediction", False, None)
    assert found.gone == "the event itself is forgotten"
    assert found.score == pytest.approx(happened.decision.score / SCALE, abs=1e-6)
    assert "no longer known" in found.sentence()
    asked = next(each for each in reversed(run.decided) if each.decision.asked)
    run.log._lanes[LABEL_REQUESTS, 0].forget(1_000)
    found = explain(asked.event_id)
    assert (found.source, found.asked, found.channel, found.request_id) == ("prediction", True, None, None)
    assert found.sentence().startswith("asked: ")


def test_without_predictions_only_the_ticket_is_left(tmp_path: Path) -> None:
    run = live_run(tmp_path / "log.db", predictions="none")
    with closing(run.log):
        explain = Explainer(run.log, run.make, unrecorded="nothing is written")
        happened = next(each for each in run.decided if each.decision.asked)
        found = explain(happened.event_id)
        assert (found.source, found.gone) == ("ticket", "nothing is written")
        assert "score" in found.missing
        other = next(each for each in run.decided if not each.decision.asked)
        with pytest.raises(DataError, match="no prediction and no label request"):
            explain(other.event_id)


def test_an_unknown_id_and_one_that_is_not_decided(run: Run) -> None:
    explain = Explainer(run.log, run.make)
    with pytest.raises(DataError, match=r"'never'.*expected an id as it stands there; look with"):
        explain("never")
    feed(run.log, [{"event_id": "waits", "features": {"x0": 1.0}}])
    with pytest.raises(DataError, match=r"'waits' stands at offset .* not decided yet"):
        explain("waits")
    with pytest.raises(DataError, match="1 events with the id 'waits'; occurrence 2"):
        explain("waits", 2)


def test_a_retry_that_is_not_decided_is_not_taken_for_the_first_one(run: Run) -> None:
    happened = run.decided[30]
    feed(run.log, [{"event_id": happened.event_id, "features": {"x0": 1.0}}])
    explain = Explainer(run.log, run.make)
    assert explain(happened.event_id).source == "log"
    with pytest.raises(DataError, match="not decided yet"):
        explain(happened.event_id, explain(happened.event_id).occurrences)


def test_an_id_is_found_however_its_json_is_written(run: Run) -> None:
    feed(run.log, [b'{"event_id": "\\u00fcber\\/1", "features": {"x0": 0.5}}'])
    settle(run.engine)
    assert Explainer(run.log, run.make)("über/1").source == "log"


def test_an_event_that_no_score_could_say_anything_of(tmp_path: Path) -> None:
    def some(context: ScoreContext) -> Any:
        return np.where(context.inputs.dense[:, 0] > 0.0, np.nan, margin(context))

    def make(log: Log, **options: Any) -> Engine:
        engine = make_engine(log, **options)
        engine.scores = QueryScores(some, 0)
        return engine

    log = SqliteLog(tmp_path / "log.db", clock=Clock(), owner=True)
    with closing(log):
        engine = make(log, budget=Budget(0.2))
        events = gaussian_events(300)
        for start in (0, 100, 200):
            feed(log, events[start : start + 100])
            settle(engine)
            answer(log, truthful_replies(requests(log)[-10:]))
        explain = Explainer(log, partial(make, budget=Budget(0.2)))
        bad = [event["event_id"] for event in events[150:200] if event["features"]["x0"] > 0.0]
        good = [event["event_id"] for event in events[150:200] if event["features"]["x0"] <= 0.0]
        assert len(bad) > 5 < len(good)
        for event_id in bad[:5]:
            found = explain(event_id)
            assert (found.equal, found.scored, found.score, found.refused) == (True, False, None, False)
            assert found.chance == 0.0
        assert all(explain(event_id).scored for event_id in good[:3])


SENTENCES = [
    ({"asked": True, "channel": "floor", "floor_coin": 0.001, "floor_threshold": 0.005}, "fell on 0.001"),
    ({"asked": True, "channel": "chosen", "chance": 0.31, "query_coin": 0.12}, "its chance was 0.31 and"),
    ({"asked": True, "floor_coin": 0.001, "floor_threshold": 0.005}, "asked: the floor coin fell on 0.001"),
    ({"asked": True}, "asked: its chance is no longer known"),
    ({"asked": True, "channel": "backlog"}, "outside the stream's budget"),
    ({"chance": 0.031, "query_coin": 0.62}, "not asked: its chance was 0.031 and the coin fell on 0.62"),
    ({"chance": 0.5, "tokens": 0.4}, "the budget was spent: 0.4 tokens at hand"),
    ({"chance": 0.0, "tokens": 1.5}, "the last one is kept for the floor"),
    ({"chance": 0.0, "asking": False}, "paused the chosen asks"),
    ({"chance": 0.0, "asking": False, "floor_asking": False}, "paused all asks"),
    ({"chance": 0.5, "capped": True}, "query.daily_cap"),
    ({"chance": 0.0, "scored": False}, "the query score failed"),
    ({"chance": 0.5, "refused": True, "asked_before": True}, "among the last 64"),
    ({"chance": 0.5, "refused": True, "nearest": NearestRequest("e7", 0.1, 0.2)}, "near-duplicate of 'e7'"),
    ({}, "its chance is no longer known"),
]


@pytest.mark.parametrize(("facts", "words"), SENTENCES)
def test_sentences(facts: dict[str, Any], words: str) -> None:
    told: dict[str, Any] = {"asked": False, "source": "log", "tokens": 5.0, **facts}
    assert words in Explanation("e1", 0, 0, **told).sentence()
