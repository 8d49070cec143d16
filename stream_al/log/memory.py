"""A log in plain memory, for tests and simulation: the whole contract, nothing kept.

Any handle that polls is a member of the one consumer group; handles share their storage. Nothing
is thread-safe, so a poll never waits: nobody else could append meanwhile.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import count, repeat
from typing import Self

from stream_al.errors import CommitLost, LogError
from stream_al.log.embedded import (
    Pair,
    Place,
    by_place,
    check_progress,
    partition_counts,
    partition_of,
    partitions_of,
    spread,
    wall_clock_ms,
)
from stream_al.log.protocol import EVENTS, TOPICS, Batch, Output, Position, Progress, Record

# Builds a Record in C: half the time of Record(...), whose __new__ is Python.
_record: Callable[[Iterable[object]], Record] = partial(tuple.__new__, Record)


class _Lane:
    """One partition: records with dense offsets from ``first``."""

    __slots__ = ("first", "partition", "records", "topic")

    def __init__(self, topic: str, partition: int) -> None:
        self.topic, self.partition = topic, partition
        self.first = 0
        self.records: list[Record] = []

    @property
    def next_offset(self) -> int:
        return self.first + len(self.records)

    def add(self, pair: Pair, timestamp_ms: int) -> int:
        offset = self.first + len(self.records)
        self.records.append(_record((self.topic, self.partition, offset, timestamp_ms, *pair)))
        return offset

    def extend(self, pairs: Sequence[Pair], timestamp_ms: int) -> int:
        """Add the pairs and return the offset of the first."""
        start = self.next_offset
        keys, values = zip(*pairs, strict=True)
        place = repeat(self.topic), repeat(self.partition), count(start), repeat(timestamp_ms)
        self.records.extend(map(_record, zip(*place, keys, values, strict=False)))  # the first four never end
        return start

    def cut(self, from_offset: int, max_records: int) -> list[Record]:
        start = max(from_offset - self.first, 0)
        return self.records[start : start + max_records]


class _Storage:
    """What all handles of one log share."""

    def __init__(self, partitions: int, clock: Callable[[], int]) -> None:
        self.counts = partition_counts(partitions)
        self.clock = clock
        self.lanes = {topic: [_Lane(topic, p) for p in range(self.counts[topic])] for topic in TOPICS}
        self.progress: dict[int, Progress] = {}
        self.acknowledged: dict[tuple[str, Place], int] = {}
        self.members: list[MemoryLog] = []
        self.generation = 0

    def topic(self, topic: str) -> list[_Lane]:
        partitions_of(self.counts, topic)
        return self.lanes[topic]

    def lane(self, topic: str, partition: int) -> _Lane:
        lanes = self.topic(topic)
        if not 0 <= partition < len(lanes):
            raise LogError(
                f"{topic} has {len(lanes)} partitions (from 0); partition {partition} was asked for"
            )
        return lanes[partition]


class MemoryLog:
    """A log in memory.

    A handle joins the consumer group at its first poll; the partitions are dealt out over the
    members, and every change makes all of them poll ``restored`` again. ``MemoryLog()`` alone
    is a log with its single member.

    Parameters
    ----------
    partitions : int
        Number of partitions of ``events``, ``predictions`` and ``label-requests``.
    clock : callable returning int
        The log's time in milliseconds; a simulation gives its virtual clock.

    Examples
    --------
    >>> log = MemoryLog(clock=lambda: 0)
    >>> log.append("events", b"key", b"value")
    Position(partition=0, offset=0)
    >>> log.poll(500, 0.0).restored
    {0: Progress(next_offset=0, state='')}
    >>> batch = log.poll(500, 0.0)
    >>> log.commit(batch, [Output("predictions", 0, None, b"0.5")], {0: Progress(1, "S")})
    >>> [record.value for record in log.tail("predictions", 0, 0, 10)]
    [b'0.5']
    """

    def __init__(self, partitions: int = 1, clock: Callable[[], int] = wall_clock_ms) -> None:
        self._attach(_Storage(partitions, clock))

    def _attach(self, storage: _Storage) -> None:
        self._storage = storage
        self._generation = -1
        self._fence: object = None
        self._next: dict[int, int] = {}

    def member(self) -> Self:
        """Return another handle of the same log; it joins the group when it polls first."""
        handle = type(self).__new__(type(self))
        handle._attach(self._storage)
        return handle

    def rebalance(self) -> None:
        """Make every member join again at its next poll; one that never polls again is dead and gone."""
        self._storage.members.clear()
        self._storage.generation += 1

    def truncate(self, topic: str, partition: int, before_offset: int) -> None:
        """Forget the records with ``offset < before_offset``, so that a long simulation stays small."""
        lane = self._storage.lane(topic, partition)
        forgotten = min(max(before_offset - lane.first, 0), len(lane.records))
        del lane.records[:forgotten]
        lane.first += forgotten

    # The engine's side.

    def poll(self, max_records: int, timeout_seconds: float) -> Batch:
        """Return the next events of the owned partitions; see :meth:`Log.poll`. Never waits."""
        if self._fence is None or self._generation != self._storage.generation:
            return self._restore()
        records: dict[int, Sequence[Record]] = {}
        for partition in list(self._next):
            found = self._storage.lanes[EVENTS][partition].cut(self._next[partition], max_records)
            if found:
                records[partition] = found
                max_records -= len(found)
                # Behind the others now, so that no partition starves under a small max_records.
                del self._next[partition]
                self._next[partition] = found[-1].offset + 1
        return Batch(records, None, self._fence)

    def _restore(self) -> Batch:
        storage = self._storage
        if self not in storage.members:
            storage.members.append(self)
            storage.generation += 1
        mine, members = storage.members.index(self), len(storage.members)
        restored = {
            partition: storage.progress.get(partition, Progress(lane.first, ""))
            for partition, lane in enumerate(storage.lanes[EVENTS])
            if partition % members == mine
        }
        self._generation = storage.generation
        self._fence = object()
        self._next = {partition: progress.next_offset for partition, progress in restored.items()}
        return Batch({}, restored, self._fence)

    def commit(self, batch: Batch, outputs: Sequence[Output], progress: Mapping[int, Progress]) -> None:
        """Write outputs and progress atomically; see :meth:`Log.commit`.

        After any error the next poll restores the truth.

        Raises
        ------
        CommitLost
            The membership changed since the batch was polled.
        LogError
            An output goes nowhere, or a partition is not owned; nothing was written.
        """
        storage = self._storage
        fence, self._fence = self._fence, None
        if fence is None or batch.fence is not fence or self._generation != storage.generation:
            raise CommitLost(
                "the membership changed after this batch was polled, so nothing of it was committed; "
                "poll again to read the truth back"
            )
        check_progress(progress, self._next)
        places = by_place(outputs, storage.counts)
        now = storage.clock()
        for (topic, partition), pairs in places.items():
            storage.lanes[topic][partition].extend(pairs, now)
        storage.progress.update(progress)
        self._fence = fence

    # Everybody's side.

    def tail(self, topic: str, partition: int, from_offset: int, max_records: int) -> list[Record]:
        """Return records with ``offset >= from_offset``, oldest first."""
        return self._storage.lane(topic, partition).cut(from_offset, max_records)

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Return (first kept offset, next offset to be written)."""
        lane = self._storage.lane(topic, partition)
        return lane.first, lane.next_offset

    def partitions(self, topic: str) -> int:
        """Return the number of partitions of a topic."""
        return partitions_of(self._storage.counts, topic)

    def append(
        self, topic: str, key: bytes | None, value: bytes, *, timestamp_ms: int | None = None
    ) -> Position:
        """Append one record at the partition of its key, at the clock's time unless told."""
        lanes = self._storage.topic(topic)
        turn = sum(lane.next_offset for lane in lanes) if key is None else 0
        partition = partition_of(key, len(lanes), turn)
        time_ms = self._storage.clock() if timestamp_ms is None else timestamp_ms
        return Position(partition, lanes[partition].add((key, value), time_ms))

    def append_many(
        self, topic: str, records: Sequence[Pair], *, timestamp_ms: int | None = None
    ) -> list[Position]:
        """Append several records, each at the partition of its key, all at one time."""
        lanes = self._storage.topic(topic)
        places = spread(records, len(lanes), sum(lane.next_offset for lane in lanes))
        lots: defaultdict[int, list[Pair]] = defaultdict(list)
        for partition, pair in zip(places, records, strict=True):
            lots[partition].append(pair)
        time_ms = self._storage.clock() if timestamp_ms is None else timestamp_ms
        offsets = {partition: count(lanes[partition].extend(lot, time_ms)) for partition, lot in lots.items()}
        return [Position(partition, next(offsets[partition])) for partition in places]

    def read(self, topic: str, group: str, max_records: int) -> list[Record]:
        """Return the records behind the group's acknowledged position."""
        found: list[Record] = []
        for lane in self._storage.topic(topic):
            start = self._storage.acknowledged.get((group, (topic, lane.partition)), 0)
            found += lane.cut(start, max_records - len(found))
        return found

    def ack(self, group: str, records: Sequence[Record]) -> None:
        """Move the group's position behind these records, never backwards."""
        acknowledged = self._storage.acknowledged
        for record in records:
            slot = group, (record.topic, record.partition)
            acknowledged[slot] = max(acknowledged.get(slot, 0), record.offset + 1)

    def close(self) -> None:
        """Leave the group, if this handle was a member; the records stay with the other handles."""
        if self in self._storage.members:
            self._storage.members.remove(self)
            self._storage.generation += 1
        self._fence = None
