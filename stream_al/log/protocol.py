"""The log: what the engine asks of Kafka, SQLite or plain memory.

A log holds named topics; a topic has partitions; a partition is an ordered sequence of records.
Offsets grow but need not be dense (Kafka's transaction markers take some). The engine's side is
``poll``, ``commit`` and ``tail``; everybody else appends, reads and acknowledges. Fencing is the
log's business: the engine only ever sees "committed" or :class:`~stream_al.errors.CommitLost`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

EVENTS = "events"
PREDICTIONS = "predictions"
LABEL_REQUESTS = "label-requests"
LABEL_REPLIES = "label-replies"
DEAD_LETTERS = "dead-letters"
TOPICS = (EVENTS, PREDICTIONS, LABEL_REQUESTS, LABEL_REPLIES, DEAD_LETTERS)
"""Topic names without their prefix; a log adds the prefix where one is configured."""

SINGLE_PARTITION = frozenset({LABEL_REPLIES, DEAD_LETTERS})
"""Topics with exactly one partition whatever the number of event partitions: the reply log is
totally ordered, since the model is a fold of it."""


class Record(NamedTuple):
    """One record of a log.

    ``timestamp_ms`` is the log's time (append time where the log keeps it), in milliseconds since
    the epoch; it need not be monotone, the engine makes it so.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes


class Output(NamedTuple):
    """A record to be written inside a commit; the partition is the sender's choice."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes


class Position(NamedTuple):
    """Where an append landed."""

    partition: int
    offset: int


class Progress(NamedTuple):
    """What a commit stores for one events partition: the next offset to read, and the query state."""

    next_offset: int
    state: str


@dataclass(frozen=True, slots=True)
class Batch:
    """What one poll brought.

    Attributes
    ----------
    records : mapping of partition to records
        Events in offset order; a partition without records is absent.
    restored : mapping of partition to Progress, or None
        Not None: the membership is new. It names *every* owned partition and REPLACES all memory
        that the caller holds (``state`` is ``""`` where nothing was committed yet); ``records`` is
        empty then.
    fence : object
        Opaque; handed back to ``commit``.
    """

    records: Mapping[int, Sequence[Record]] = field(default_factory=dict)
    restored: Mapping[int, Progress] | None = None
    fence: object = None


@runtime_checkable
class Log(Protocol):
    """A durable, partitioned, ordered log with atomic commits.

    The public suite :func:`stream_al.conformance.check_log` says, executable, what is required.
    """

    def poll(self, max_records: int, timeout_seconds: float) -> Batch:
        """Return the next events after the last poll, at most ``max_records`` over all partitions.

        The first poll after a start, after any change of membership and after a
        :class:`~stream_al.errors.CommitLost` returns ``restored`` and no records.
        """
        ...

    def commit(self, batch: Batch, outputs: Sequence[Output], progress: Mapping[int, Progress]) -> None:
        """Write ``outputs`` and ``progress`` atomically: all of it, or nothing.

        Raises
        ------
        CommitLost
            Nothing was written, or it is unknown whether it was. The next poll restores the truth.
        """
        ...

    def tail(self, topic: str, partition: int, from_offset: int, max_records: int) -> list[Record]:
        """Return committed records with ``offset >= from_offset``, oldest first.

        Fewer than ``max_records`` only where there are no more.
        """
        ...

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Return (first kept offset, next offset to be written) of a partition, committed records only."""
        ...

    def partitions(self, topic: str) -> int:
        """Return the number of partitions of a topic."""
        ...

    def append(self, topic: str, key: bytes | None, value: bytes) -> Position:
        """Append one record at the partition that the key falls on; durable on return."""
        ...

    def append_many(self, topic: str, records: Sequence[tuple[bytes | None, bytes]]) -> list[Position]:
        """Append several records at once, atomically where the log can; durable on return."""
        ...

    def read(self, topic: str, group: str, max_records: int) -> list[Record]:
        """Return the records that follow the group's acknowledged position, over all partitions.

        Reading does not move the position: reading again without :meth:`ack` gives the same records.
        """
        ...

    def ack(self, group: str, records: Sequence[Record]) -> None:
        """Move the group's position behind these records; at least once, never backwards."""
        ...

    def close(self) -> None:
        """Release the log; unfinished commits are not written."""
        ...
