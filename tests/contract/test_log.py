"""Every log passes the public suite; and the suite catches logs that break the contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from stream_al.conformance.log import CHECKS, Check, LogUnderTest, MakeLog, check_log
from stream_al.errors import CommitLost
from stream_al.log.memory import MemoryLog
from stream_al.log.protocol import Batch, Log, Output, Position, Progress, Record
from stream_al.log.sqlite import SqliteLog


class MemoryUnderTest:
    patience_seconds = 0.05

    def __init__(self, partitions: int, kind: type[MemoryLog] = MemoryLog) -> None:
        self._log = kind(partitions)

    def member(self) -> Log:
        return self._log.member()

    def client(self) -> Log:
        return self._log.member()

    def restart(self) -> Log:
        self._log.rebalance()  # who never polls again is dead
        return self._log.member()

    def close(self) -> None:
        self._log.close()


class SqliteUnderTest:
    patience_seconds = 5.0

    def __init__(self, path: Path, partitions: int) -> None:
        self._path = path
        self._handles = [SqliteLog(path, partitions)]
        self._members: list[SqliteLog] = []

    def member(self) -> Log:
        # A second owner gets in only where the lock fails, as when somebody deletes its file.
        self._path.with_name(self._path.name + ".lock").unlink(missing_ok=True)
        self._members.append(SqliteLog(self._path, owner=True))
        return self._members[-1]

    def client(self) -> Log:
        self._handles.append(SqliteLog(self._path))
        return self._handles[-1]

    def restart(self) -> Log:
        for member in self._members:
            member.close()
        return self.member()

    def close(self) -> None:
        for log in self._handles + self._members:
            log.close()


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> MakeLog:
    if request.param == "memory":
        return MemoryUnderTest
    return lambda partitions: SqliteUnderTest(tmp_path / "log.db", partitions)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_log(check: Check, make: MakeLog) -> None:
    check(make)


def test_every_check_says_why() -> None:
    names = [check.__name__ for check in CHECKS]
    assert len(set(names)) == len(names) >= 25
    for check in CHECKS:
        assert check.__name__.startswith("check_")
        assert check.__doc__ is not None
        assert len(check.__doc__.strip().splitlines()) == 1


def test_the_suite_runs_as_a_whole() -> None:
    check_log(MemoryUnderTest)


# The suite has teeth: each of these logs is wrong in one way, and a named check says so.


class LosesState(MemoryLog):
    def commit(self, batch: Batch, outputs: Sequence[Output], progress: Mapping[int, Progress]) -> None:
        super().commit(
            batch, outputs, {p: Progress(at.next_offset, at.state[:3000]) for p, at in progress.items()}
        )


class WritesOutputsOfLostCommits(MemoryLog):
    def commit(self, batch: Batch, outputs: Sequence[Output], progress: Mapping[int, Progress]) -> None:
        try:
            super().commit(batch, outputs, progress)
        except CommitLost:
            for output in outputs:
                self._storage.lane(output.topic, output.partition).add(output[2:], 0)
            raise


class CommitsWithoutAFence(MemoryLog):
    def commit(self, batch: Batch, outputs: Sequence[Output], progress: Mapping[int, Progress]) -> None:
        with suppress(CommitLost):
            super().commit(batch, outputs, progress)


class ForgetsOffsets(MemoryLog):
    def commit(self, batch: Batch, outputs: Sequence[Output], progress: Mapping[int, Progress]) -> None:
        super().commit(batch, outputs, {p: Progress(0, at.state) for p, at in progress.items()})


class SkipsRestore(MemoryLog):
    def poll(self, max_records: int, timeout_seconds: float) -> Batch:
        batch = super().poll(max_records, timeout_seconds)
        return batch if batch.restored is None else super().poll(max_records, timeout_seconds)


class MovesAckBack(MemoryLog):
    def ack(self, group: str, records: Sequence[Record]) -> None:
        for record in records:
            self._storage.acknowledged[group, (record.topic, record.partition)] = record.offset + 1


class AcksOnRead(MemoryLog):
    def read(self, topic: str, group: str, max_records: int) -> list[Record]:
        found = super().read(topic, group, max_records)
        self.ack(group, found)
        return found


class OneGroupForAll(MemoryLog):
    def ack(self, group: str, records: Sequence[Record]) -> None:
        super().ack("", records)

    def read(self, topic: str, group: str, max_records: int) -> list[Record]:
        return super().read(topic, "", max_records)


class IgnoresKeys(MemoryLog):
    def append_many(
        self, topic: str, records: Sequence[tuple[bytes | None, bytes]], *, timestamp_ms: int | None = None
    ) -> list[Position]:
        return super().append_many(topic, [(None, value) for _, value in records], timestamp_ms=timestamp_ms)


class TailsBeyondTheOffset(MemoryLog):
    def tail(self, topic: str, partition: int, from_offset: int, max_records: int) -> list[Record]:
        return super().tail(topic, partition, from_offset + 1 if from_offset else 0, max_records)


class PollsTooMuch(MemoryLog):
    def poll(self, max_records: int, timeout_seconds: float) -> Batch:
        return super().poll(500, timeout_seconds)


@pytest.mark.parametrize(
    ("kind", "law"),
    [
        (LosesState, "check_state_comes_back_verbatim"),
        (WritesOutputsOfLostCommits, "check_stale_commit_is_lost"),
        (CommitsWithoutAFence, "check_stale_commit_is_lost"),
        (ForgetsOffsets, "check_committed_events_never_come_again"),
        (SkipsRestore, "check_first_poll_restores"),
        (MovesAckBack, "check_ack_never_moves_back"),
        (AcksOnRead, "check_read_without_ack_repeats"),
        (OneGroupForAll, "check_groups_are_independent"),
        (IgnoresKeys, "check_same_key_same_partition"),
        (TailsBeyondTheOffset, "check_tail_from_any_offset"),
        (PollsTooMuch, "check_max_records_is_kept"),
    ],
)
def test_suite_catches(kind: type[MemoryLog], law: str) -> None:
    (check,) = (check for check in CHECKS if check.__name__ == law)
    make: Callable[[int], LogUnderTest] = lambda partitions: MemoryUnderTest(partitions, kind)  # noqa: E731
    with pytest.raises(AssertionError):
        check(make)
