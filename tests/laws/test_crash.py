"""A crash at any log operation, then a restart: the same outputs as if nothing had happened.

Replies are scripted: what people have sent is a function of what the log holds, so a run that crashed
meets the same people. The run has one planned restart in its middle, so that the operations of a start
are crashed as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import orjson
import pytest
from support.crashes import PHASES, Crash, CrashingLog, Plan
from support.engines import Clock, feed, make_engine, make_learner, outputs, requests, written
from support.messages import START_MS, gaussian_events, office, reply, ticket, truth_of

from stream_al.log.memory import MemoryLog
from stream_al.log.protocol import LABEL_REPLIES, PREDICTIONS, Log
from stream_al.log.sqlite import SqliteLog
from stream_al.query.ledger import Budget

EVENTS = 64
BATCH = 16
DELAY = 20
"""Events that pass before an answer."""
MS_PER_RECORD = 1_000
WINDOWS = (None, 12, "12s")
"""Length of a block: every event on the spot, events, log time."""
RESTART_AFTER = 32

Open = Callable[[], Log]


def memory_log(_: Path, clock: Clock) -> Open:
    log = MemoryLog(clock=clock)

    def reopen() -> Log:
        log.rebalance()
        return log.member()

    return reopen


def sqlite_log(path: Path, clock: Clock) -> Open:
    opened: list[SqliteLog] = []

    def reopen() -> Log:
        for old in opened:
            old.close()
        opened[:] = [SqliteLog(path / "log.db", clock=clock, owner=True, synchronous="NORMAL")]
        return opened[0]

    return reopen


LOGS = {"memory": memory_log, "sqlite": sqlite_log}


def people(log: Log) -> list[bytes]:
    """Return all replies that people have sent by now, in order."""
    done = log.bounds(PREDICTIONS, 0)[1]
    due = []
    for request in requests(log):
        place = (request["asked_at"] - START_MS) // MS_PER_RECORD
        due.append((place + DELAY, reply(request["ticket"], truth_of(request["event"]))))
    forged = office(other="another secret of 16+ bytes").issue(ticket())
    due += [(33, b"\xff\xfe not a message"), (49, reply(forged, "a")), (56, b'{"kind": "reply"}')]
    return [value for when, value in sorted(due) if when <= done]


def answer_what_is_due(log: CrashingLog) -> None:
    sent = [value for value in written(log.log, LABEL_REPLIES) if b'"kind":"sample"' not in value]
    if missing := people(log.log)[len(sent) :]:
        log.append_many(LABEL_REPLIES, [(None, value) for value in missing])


def session(log: CrashingLog, window: int | str | None, *, until: int) -> None:
    """Start a new process and run it until so many events are predicted and all answers are folded."""
    engine = make_engine(log, make_learner(), budget=Budget(0.3), max_batch=BATCH, window=window)
    while True:
        answer_what_is_due(log)
        tick = engine.tick()
        idle = not (tick.committed or tick.restored)
        if log.log.bounds(PREDICTIONS, 0)[1] >= until and (idle or until < EVENTS):
            return


def run(kind: str, path: Path, plan: Plan, window: int | str | None) -> dict[str, list[bytes]]:
    """Return what a run leaves in the log; after a crash, the next process takes over."""
    path.mkdir()
    clock = Clock()
    reopen = LOGS[kind](path, clock)
    log = reopen()
    events = gaussian_events(EVENTS, seed=1)
    values = [orjson.dumps(event) for event in events]
    for place in (5, 30, 31, 60):
        values.insert(place, b'{"event_id": "hostile"}')
    for value in values:
        feed(log, [value])
        clock.now_ms += MS_PER_RECORD
    for until in (RESTART_AFTER, EVENTS):
        with suppress(Crash):
            session(CrashingLog(log, plan), window, until=until)
        log = reopen()
    # whatever crashed, this finishes it
    session(CrashingLog(log, Plan()), window, until=EVENTS)
    return {**outputs(log), "replies": written(log, LABEL_REPLIES)}


def channel_of(request: bytes) -> str:
    return office().verify(orjson.loads(request)["ticket"]).channel


def crash_points(plan: Plan) -> Iterator[tuple[int, str]]:
    for number in range(len(plan.operations)):
        for phase in PHASES:
            yield number, phase


@pytest.mark.slow
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("kind", sorted(LOGS))
def test_a_crash_anywhere_changes_nothing(kind, window, tmp_path):
    undisturbed = Plan()
    expected = run(kind, tmp_path / "undisturbed", undisturbed, window)
    assert len(expected["predictions"]) == EVENTS
    assert len(expected["dead letters"]) == 4 + 3
    assert len(expected["requests"]) > 15
    late = [value for value in expected["requests"] if channel_of(value) == "batch"]
    assert (len(late) > 5) == (window is not None)
    assert {"poll", "commit", "tail", "bounds", "append"} == set(undisturbed.operations)
    points = list(crash_points(undisturbed))
    for number, phase in points:
        found = run(kind, tmp_path / f"{number}-{phase}", Plan((number, phase)), window)
        name = f"{phase} operation {number} ({undisturbed.operations[number]})"
        for topic, values in expected.items():
            assert found[topic] == values, f"{topic} after a crash {name}"
    print(f"{kind}: {len(points)} crash points, {len(undisturbed.operations)} operations")
