"""A log that crashes its process before, during or after any chosen operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from stream_al.log.memory import MemoryLog
from stream_al.log.protocol import Batch, Log, Output, Position, Progress, Record
from stream_al.log.sqlite import SqliteLog
from stream_al.log.sqlite_lane import Lane

PHASES = ("before", "during", "after")


class Crash(BaseException):
    """The process is gone; no handler of ours may catch it."""


class Plan:
    """Counts operations over all handles of a run and crashes at one of them.

    Parameters
    ----------
    at : (operation, phase) or None
        None never crashes.
    """

    def __init__(self, at: tuple[int, str] | None = None) -> None:
        self.at = at
        self.operations: list[str] = []

    def run(self, name: str, operation: Callable[[], Any], torn: Callable[[], Any] | None) -> Any:
        """Run one operation, or a part of it."""
        number = len(self.operations)
        self.operations.append(name)
        phase = self.at[1] if self.at and self.at[0] == number else None
        if phase == "before":
            raise Crash
        if phase == "during":
            if torn:
                torn()
            raise Crash
        result = operation()
        if phase == "after":
            raise Crash
        return result


class CrashingLog:
    """The engine's side of a log, and appending, under a plan."""

    def __init__(self, log: Log, plan: Plan) -> None:
        self.log = log
        self.plan = plan

    def poll(self, max_records: int, timeout_seconds: float) -> Batch:
        poll = lambda: self.log.poll(max_records, timeout_seconds)  # noqa: E731
        # torn: the log has moved on, the caller does not know it
        return self.plan.run("poll", poll, poll)

    def commit(self, batch: Batch, outputs: Sequence[Output], progress: Mapping[int, Progress]) -> None:
        commit = lambda: self.log.commit(batch, outputs, progress)  # noqa: E731
        self.plan.run("commit", commit, lambda: torn_write(self.log, commit))

    def tail(self, topic: str, partition: int, from_offset: int, max_records: int) -> list[Record]:
        return self.plan.run("tail", lambda: self.log.tail(topic, partition, from_offset, max_records), None)

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        return self.plan.run("bounds", lambda: self.log.bounds(topic, partition), None)

    def append_many(self, topic: str, records: Sequence[tuple[bytes | None, bytes]]) -> list[Position]:
        append = lambda: self.log.append_many(topic, records)  # noqa: E731
        return self.plan.run("append", append, lambda: torn_write(self.log, append))


def torn_write(log: Log, write: Callable[[], Any]) -> None:
    """Crash in the middle of a write: after the first records, inside the transaction.

    Plain memory has no middle: nothing else can run inside one of its calls.
    """
    if isinstance(log, MemoryLog):
        return
    assert isinstance(log, SqliteLog)
    honest = Lane.write

    def half(lane: Lane, pairs: Any, timestamp_ms: int) -> int:
        honest(lane, pairs, timestamp_ms)
        raise Crash

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lane, "write", half)
        with pytest.raises(Crash):
            write()
