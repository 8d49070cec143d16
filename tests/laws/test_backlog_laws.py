"""What is asked from the backlog changes nothing of the stream: not S, not a decision, not an estimate."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.engines import Clock, answer, feed, make_engine, make_learner, outputs, settle, truthful_replies
from support.messages import CLASSES, START_MS, gaussian_events, office, reply, ticket

from stream_al.backlog import Backlog
from stream_al.encode import EncodedInput
from stream_al.learner import Learner
from stream_al.log.protocol import LABEL_REPLIES, Log, Record
from stream_al.log.sqlite import SqliteLog
from stream_al.outputs import OutputWriter, is_backlog
from stream_al.query.ledger import Budget
from stream_al.ticket import BACKLOG, Totals

PARTITIONS = 2
PIECES = (150, 200, 90, 160)


class Left(NamedTuple):
    """What a run leaves."""

    states: list[tuple[int, int, str]]
    reservoirs: dict[int, tuple[int, Sequence[EncodedInput]]]
    written: list[dict[str, list[bytes]]]
    accuracy: Any


def live_requests(log: Log, partition: int) -> list[bytes]:
    return [value for value in outputs(log, partition)["requests"] if not is_backlog(value)]


def run(path: Path, asks: int, seed: int, *, restart: bool) -> Left:
    """Run a service; somebody asks from the backlog between its ticks, in another connection."""
    clock = Clock()
    events = gaussian_events(sum(PIECES), seed=seed)
    log = SqliteLog(path, PARTITIONS, clock=clock, owner=True)
    make = {"budget": Budget(0.3, partitions=PARTITIONS), "max_batch": 32, "seed": seed}
    engine = make_engine(log, **make)
    answered = [0] * PARTITIONS
    for size in PIECES:
        feed(log, events[:size])
        del events[:size]
        clock.now_ms += 60_000
        engine.tick()
        if asks:
            with closing(SqliteLog(path, clock=clock)) as client:
                other = make_engine(client, engine.learner, seed=seed)
                backlog = Backlog(client, other, OutputWriter(engine.learner))
                assert backlog.ask(backlog.choose(asks).picked, clock.now_ms) == asks
        if restart:
            log.close()
            log = SqliteLog(path, clock=clock, owner=True)
            engine = make_engine(log, **make)
        settle(engine)
        for p in range(PARTITIONS):
            waiting = live_requests(log, p)[answered[p] :]
            answered[p] += len(waiting)
            answer(log, truthful_replies(map(orjson.loads, waiting[1:])))
    settle(engine)
    engine.fold_arrived()
    with closing(log):
        written = [outputs(log, p) | {"requests": live_requests(log, p)} for p in range(PARTITIONS)]
        reservoirs = {p: (m.novelty.asked, m.novelty.requests) for p, m in engine._memory.items()}
        rows = log._connection.execute("SELECT * FROM progress ORDER BY partition").fetchall()
        return Left(rows, reservoirs, written, engine.learner.accuracy())


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("restart", [False, True])
def test_state_decisions_and_reservoir_are_those_without_a_backlog(
    seed: int, restart: bool, tmp_path: Path
) -> None:
    """Also where more was asked from the backlog than the reservoir remembers, and it is read back."""
    alone = run(tmp_path / "alone.db", 0, seed, restart=restart)
    beside = run(tmp_path / "beside.db", 30, seed, restart=restart)
    assert beside.states == alone.states
    assert all(state for _, _, state in alone.states)
    assert beside.written == alone.written
    assert beside.reservoirs == alone.reservoirs
    assert all(asked > 64 for asked, _ in alone.reservoirs.values())
    assert beside.accuracy == alone.accuracy


def test_a_restart_reads_the_reservoir_back_from_behind_the_backlogs_requests(tmp_path: Path) -> None:
    with closing(SqliteLog(tmp_path / "log.db", clock=Clock(), owner=True)) as log:
        feed(log, gaussian_events(600))
        engine = make_engine(log, budget=Budget(0.2))
        settle(engine)
        backlog = Backlog(log, engine, OutputWriter(engine.learner))
        assert backlog.ask(backlog.choose(200).picked, START_MS) == 200
        before, columns = engine._memory[0].novelty, engine.learner.columns.names
    with closing(SqliteLog(tmp_path / "log.db", clock=Clock(), owner=True)) as log:
        again = make_engine(log, budget=Budget(0.2))
        assert again.tick().restored
        after = again._memory[0].novelty
        assert again.learner.columns.names == columns
    assert (after.asked, list(after.requests)) == (before.asked, list(before.requests))
    assert len(after.requests) > 64


# ---- the fold of the replies -------------------------------------------------------------------

STEP_MS = 1_000


class Reply(NamedTuple):
    """An answer to request ``number``, of the stream's own or the backlog's."""

    number: int
    backlog: bool
    label: str | None
    annotator: str


REPLIES = st.lists(
    st.builds(
        Reply,
        st.integers(0, 25),
        st.booleans(),
        st.sampled_from([*CLASSES, *CLASSES, None]),
        st.sampled_from(["ann", "bob", "cyd"]),
    ),
    max_size=60,
)


def record(place: int, offset: int, given: Reply, overlap: int) -> Record:
    """Return an answer as a record of the log."""
    asked = ticket(given.number, overlap=overlap, asked_at=START_MS, partition=given.number % 2)
    if given.backlog:
        asked = replace(asked, channel=BACKLOG, propensity=None, totals=Totals(0, 0.0, 0))
    status = {} if given.label else {"status": "skipped"}
    value = reply(office().issue(asked), given.label, given.annotator, **status)
    return Record(LABEL_REPLIES, 0, offset, START_MS + STEP_MS * place, None, value)


def records(replies: Sequence[Reply], overlap: int, *, backlog: bool) -> list[Record]:
    """Return the log with or without the backlog's answers, at the same moments; the last is the stream's."""
    last = Reply(26, False, "a", "ann")
    chosen = [(i, each) for i, each in enumerate([*replies, last]) if backlog or not each.backlog]
    return [record(place, offset, each, overlap) for offset, (place, each) in enumerate(chosen)]


def folded(log: Sequence[Record]) -> Learner:
    learner = make_learner()
    learner.fold(log)
    return learner


@given(replies=REPLIES, overlap=st.integers(1, 3))
def test_estimates_and_feedback_are_equal_with_and_without_its_answers(
    replies: list[Reply], overlap: int
) -> None:
    """Also where the stream and the backlog have asked about the same event."""
    beside = folded(records(replies, overlap, backlog=True))
    alone = folded(records(replies, overlap, backlog=False))
    assert beside.book.dump() == alone.book.dump()
    assert beside.accuracy() == alone.accuracy()
    assert beside.partitions == alone.partitions
    for p in range(2):
        ours, theirs = beside.feedback(p), alone.feedback(p)
        assert (ours.answers, ours.delay_ms) == (theirs.answers, theirs.delay_ms)


@given(replies=REPLIES)
def test_an_event_that_both_have_asked_about_teaches_one_label(replies: list[Reply]) -> None:
    labelled = [each for each in replies if each.label is not None]
    learner = folded(records(labelled, 1, backlog=True))
    events = {each.number for each in labelled} | {26}
    assert learner.outcomes["learned"] == sum(learner.learned_by_class) == len(events)
    assert sum(learner.outcomes.values()) == len(labelled) + 1


@pytest.mark.parametrize("backlog_ties", [True, False])
def test_a_tie_of_one_does_not_cost_the_label_of_the_other(backlog_ties: bool) -> None:
    tied = [Reply(0, backlog_ties, "a", "ann"), Reply(0, backlog_ties, "b", "bob")]
    agreed = [Reply(0, not backlog_ties, "a", "ann"), Reply(0, not backlog_ties, "a", "bob")]
    learner = folded([record(i, i, each, 2) for i, each in enumerate([*tied, *agreed])])
    assert (learner.outcomes["tied"], learner.outcomes["learned"]) == (1, 1)
    assert learner.learned_by_class == [1, 0, 0]


@given(replies=REPLIES, overlap=st.integers(1, 3), share=st.floats(0, 1))
def test_a_base_and_its_tail_are_the_whole_log(replies: list[Reply], overlap: int, share: float) -> None:
    log = records(replies, overlap, backlog=True)
    cut = int(share * len(log))
    first, second = folded(log[:cut]), make_learner()
    dumped = first.dump()
    assert dumped is not None
    second.load(orjson.loads(orjson.dumps(dumped[0])), dumped[1])
    second.fold(log[cut:])
    assert second.fingerprint() == folded(log).fingerprint()
