"""What the log suite needs: a log to test, the smallest engine to drive it, patience.

Nothing here assumes dense offsets, immediate assignment, or that a commit is visible at once.
"""

from __future__ import annotations

import reprlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import wraps
from typing import Protocol

from stream_al.log.protocol import EVENTS, Batch, Log, Output, Progress, Record


class LogUnderTest(Protocol):
    """One fresh, empty log, and the ways to get at it.

    Attributes
    ----------
    patience_seconds : float
        How long a check waits for what a log may do late: an assignment, a record becoming visible.
    """

    patience_seconds: float

    def member(self) -> Log:
        """Return a new engine-side handle. It may take partitions from earlier ones, which fences them."""
        ...

    def client(self) -> Log:
        """Return a handle for append, read, ack, tail and bounds."""
        ...

    def restart(self) -> Log:
        """Let every member die with what it did not commit, and return the one that starts in their place."""
        ...

    def close(self) -> None:
        """Release every handle and what lies under them."""
        ...


MakeLog = Callable[[int], LogUnderTest]
"""Makes a fresh log with that many event partitions."""

Check = Callable[[MakeLog], None]
"""One law of the contract; raises ``AssertionError`` where it does not hold."""


def law(checks: list[Check], *, partitions: int) -> Callable[[Callable[[LogUnderTest], None]], Check]:
    """Make a function of a log into a check that opens and closes its own, and add it to the list."""

    def register(body: Callable[[LogUnderTest], None]) -> Check:
        @wraps(body)
        def check(make: MakeLog) -> None:
            with closing(make(partitions)) as log:
                body(log)

        checks.append(check)
        return check

    return register


class SmallestEngine:
    """Polls, remembers how far it came, commits: what the real engine does, without a model.

    Parameters
    ----------
    log : LogUnderTest
        For its patience.
    member : Log
        The handle to drive.
    """

    def __init__(self, log: LogUnderTest, member: Log) -> None:
        self._patience_seconds = log.patience_seconds
        self.member = member
        self.batch = Batch()
        self.progress: dict[int, Progress] = {}

    def start(self, partitions: int) -> Mapping[int, Progress]:
        """Poll until ``restored`` names at least so many partitions; return it."""
        for _ in patiently(self._patience_seconds):
            self._poll(500)
            if self.batch.restored is not None and len(self.batch.restored) >= partitions:
                return self.batch.restored
        raise AssertionError(f"no poll returned `restored` with {partitions} partitions")

    def take(self, records: int, max_records: int = 500) -> list[Record]:
        """Poll until so many events came; return them in order of arrival."""
        found: list[Record] = []
        for _ in patiently(self._patience_seconds):
            found += self._poll(max_records)
            if self.batch.restored is not None:
                found = []  # the membership is new: what was polled before comes again
            if len(found) >= records:
                return found
        raise AssertionError(f"{len(found)} events were polled, {records} were expected")

    def commit(self, outputs: Sequence[Output] = (), state: str = "") -> None:
        """Commit everything polled so far, each partition with this state."""
        progress = {partition: Progress(at.next_offset, state) for partition, at in self.progress.items()}
        self.member.commit(self.batch, outputs, progress)

    def _poll(self, max_records: int) -> list[Record]:
        self.batch = self.member.poll(max_records, 0.05)
        if self.batch.restored is not None:
            expect(dict(self.batch.records), {}, "records of a poll that restores")
            self.progress = dict(self.batch.restored)
        records = [record for lot in self.batch.records.values() for record in lot]
        expect(len(records) <= max_records, True, f"at most {max_records} records over all partitions")
        for record in records:
            self.progress[record.partition] = Progress(record.offset + 1, "")
        return records


def started(log: LogUnderTest, partitions: int = 1) -> SmallestEngine:
    """Return an engine over a new member that owns all partitions."""
    engine = SmallestEngine(log, log.member())
    engine.start(partitions)
    return engine


def restarted(log: LogUnderTest, partitions: int = 1) -> SmallestEngine:
    """Return an engine that starts after every earlier member died."""
    engine = SmallestEngine(log, log.restart())
    engine.start(partitions)
    return engine


def patiently(seconds: float) -> Iterator[None]:
    """Yield at least once, and again until the time is over."""
    deadline = time.monotonic() + seconds
    yield
    while time.monotonic() < deadline:
        yield
        time.sleep(0.005)  # another try, no synchronisation: what is true at once was returned at once


def numbered(count: int, start: int = 0) -> list[bytes]:
    """Return the values ``start``, ``start + 1`` ... as text."""
    return [b"%d" % number for number in range(start, start + count)]


def append(client: Log, *values: bytes, topic: str = EVENTS) -> None:
    """Append values under one key."""
    client.append_many(topic, [(b"key", value) for value in values])


def values_in(log: LogUnderTest, client: Log, topic: str, expected: int, partition: int = 0) -> list[bytes]:
    """Return the values of a partition as soon as there are as many as expected."""
    return [record.value for record in records_in(log, client, topic, expected, partition)]


def records_in(log: LogUnderTest, client: Log, topic: str, expected: int, partition: int = 0) -> list[Record]:
    """Return the records of a partition as soon as there are as many as expected."""
    found: list[Record] = []
    for _ in patiently(log.patience_seconds):
        found = client.tail(topic, partition, 0, 10_000)
        if len(found) >= expected:
            break
    return found


def expect(found: object, expected: object, what: str) -> None:
    """Raise ``AssertionError`` unless the two are equal."""
    if found != expected:
        raise AssertionError(f"{what}: found {reprlib.repr(found)}, expected {reprlib.repr(expected)}")


def expect_raises(error: type[Exception], act: Callable[[], object], what: str) -> None:
    """Raise ``AssertionError`` unless the act raises this error."""
    try:
        act()
    except error:
        return
    raise AssertionError(f"{what}: nothing was raised, expected {error.__name__}")
