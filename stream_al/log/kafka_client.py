"""Everybody's side of a Kafka log: append, tail, bounds, read and acknowledge.

Readers are assigned by hand and read committed records only. ``tail`` is complete: it returns less than it
was asked for only where there is no more, whatever has or has not arrived from the broker yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import filterfalse
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import CommitFailedError, KafkaError, KafkaTimeoutError, OffsetOutOfRangeError
from kafka.structs import OffsetAndMetadata

from stream_al.errors import LogError
from stream_al.log.embedded import Pair, partitions_of
from stream_al.log.kafka_connection import ASK_AGAIN_SECONDS, KafkaOptions, answered, discard, explained
from stream_al.log.kafka_mended import obedient
from stream_al.log.protocol import LABEL_REPLIES, TOPICS, Position, Record

# Builds a Record in C: a third of the time of Record(...), once an event.
_record: Callable[[tuple[object, ...]], Record] = partial(tuple.__new__, Record)
POLL_MS = 20
"""How long one wait for records that are known to exist may take before the end is asked for again."""

FOLLOWING, SCANNING, ASKING = "follow", "scan", "ask"
"""Three consumers: the reply log's, one for reading anywhere, and one that only asks, since a broker
answers a question behind a waiting fetch only when that fetch is over."""
SHORT_POLL_MS = 5
STALLED_SECONDS = 10.0
"""How long records that are known to exist may fail to come."""
SPREAD_SECONDS = 5.0
"""How long new topics may be unknown to some of the brokers."""


class KafkaClient:
    """Topics of one prefix, for whoever is not the engine.

    Used by one thread at a time.

    Parameters
    ----------
    options : KafkaOptions
    beat : callable
        Called while something is waited for: the watchdog's.

    Raises
    ------
    LogError
        No broker answers, it refuses us, or a topic does not exist.
    """

    def __init__(self, options: KafkaOptions, beat: Callable[[], None] = lambda: None) -> None:
        self.options = options
        self._beat = beat
        self._producer: KafkaProducer | None = None
        self._consumers: dict[str, KafkaConsumer] = {}
        self._readers: dict[str, _Reader] = {}
        self._counts: dict[str, int] = {}
        self._answer_ms = int(1000 * options.answer_seconds)
        try:
            with explained(options, "connecting"):
                self._counts = self._partition_counts()
        except BaseException:
            self.close()
            raise

    def _partition_counts(self) -> dict[str, int]:
        """Return them once every topic is seen.

        A broker hears of new topics later than the one that made them, later still if it has just been
        started; and which broker is asked, the client chooses at random.
        """
        consumer, deadline = self._consumer(ASKING), time.monotonic() + SPREAD_SECONDS
        wanted = {name: self.options.topic(name) for name in TOPICS}
        while missing := list(filterfalse(answered(consumer.topics).__contains__, wanted.values())):
            if time.monotonic() > deadline:
                raise LogError(
                    f"{','.join(self.options.bootstrap)} has no topic {', '.join(missing)}; make them with "
                    "`stream-al topics create`, or set log.prefix to that of the topics you have, or let "
                    "this user describe them: Kafka hides what somebody may not see"
                )
            self._beat()
            time.sleep(ASK_AGAIN_SECONDS)
        return {name: len(consumer.partitions_for_topic(topic)) for name, topic in wanted.items()}

    # ---- reading ------------------------------------------------------------------------------

    def partitions(self, topic: str) -> int:
        """Return the number of partitions of a topic."""
        return partitions_of(self._counts, topic)

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Return (first kept offset, end of what is committed); markers of transactions count as offsets."""
        place = self._place(topic, partition)
        with explained(self.options, f"asking for the bounds of {place.topic}"):
            consumer = self._consumer(ASKING)
            first = consumer.beginning_offsets([place])[place]
            return first, max(first, consumer.end_offsets([place])[place])

    def tail(self, topic: str, partition: int, from_offset: int, max_records: int) -> list[Record]:
        """Return committed records with ``offset >= from_offset``, oldest first, as many as there are.

        The reply log has a reader of its own, which the broker sends new records without being asked; it
        only goes forward, since a question that waits at the end would hold up whoever looks back.
        """
        place = self._place(topic, partition)
        if max_records <= 0:
            return []
        with explained(self.options, f"reading {place.topic}"):
            follows = topic == LABEL_REPLIES and self._reader(FOLLOWING).is_ahead(from_offset)
            reader = self._reader(FOLLOWING if follows else SCANNING)
            return reader.take(topic, place, from_offset, max_records)

    def _reader(self, purpose: str) -> _Reader:
        if purpose not in self._readers:
            self._readers[purpose] = _Reader(self._consumer(purpose), self._consumer(ASKING), self._beat)
        return self._readers[purpose]

    # ---- groups of readers --------------------------------------------------------------------

    def read(self, topic: str, group: str, max_records: int) -> list[Record]:
        """Return the records behind the group's acknowledged position, over all partitions."""
        found: list[Record] = []
        with explained(self.options, f"reading {self.options.topic(topic)}"):
            keeper = self._keeper(group)
            for partition in range(self.partitions(topic)):
                if len(found) >= max_records:
                    break
                place = self._place(topic, partition)
                start = keeper.committed(place, timeout_ms=self._answer_ms)
                if start is None:
                    start = keeper.beginning_offsets([place])[place]
                found += self._reader(SCANNING).take(topic, place, start, max_records - len(found))
        return found

    def ack(self, group: str, records: Sequence[Record]) -> None:
        """Move the group's position behind these records, never backwards; durable on return."""
        ends: dict[TopicPartition, int] = {}
        for record in records:
            place = self._place(record.topic, record.partition)
            ends[place] = max(ends.get(place, 0), record.offset + 1)
        if not ends:
            return
        with explained(self.options, f"acknowledging for {group}"):
            keeper = self._keeper(group)
            for place in list(ends):
                ends[place] = max(ends[place], keeper.committed(place, timeout_ms=self._answer_ms) or 0)
            keeper.assign(list(ends))
            try:
                keeper.commit({place: OffsetAndMetadata(end, "", -1) for place, end in ends.items()})
            except CommitFailedError as error:
                raise LogError(
                    f"the group {self._group(group)} has members of its own, so its position cannot be set "
                    "from here; stop the other consumers of that name, or take another name"
                ) from error

    def _keeper(self, group: str) -> KafkaConsumer:
        return self._consumer(f"group {group}", group_id=self._group(group))

    def _group(self, group: str) -> str:
        return f"{self.options.group}.{group}"

    # ---- writing ------------------------------------------------------------------------------

    def append(self, topic: str, key: bytes | None, value: bytes) -> Position:
        """Append one record; :meth:`append_many` is far cheaper per record."""
        return self.append_many(topic, [(key, value)])[0]

    def append_many(self, topic: str, records: Sequence[Pair]) -> list[Position]:
        """Append records at the partitions of their keys (murmur2, as every Kafka client does).

        Acknowledged by all replicas in sync on return. Not atomic: after an error some may have been
        written, and writing them again doubles those.
        """
        partitions_of(self._counts, topic)
        with explained(self.options, f"writing to {self.options.topic(topic)}"):
            if self._producer is None:
                self._producer = obedient(KafkaProducer(**self.options.producer()))
            full_name, send = self.options.topic(topic), self._producer.send
            deadline = time.monotonic() + self.options.transaction_seconds + self.options.answer_seconds
            try:
                futures = [send(full_name, value, key=key) for key, value in records]
                written = [future.get(max(0.0, deadline - time.monotonic())) for future in futures]
            except BaseException:  # the client's own producer survives neither a lost batch nor a lost start
                producer, self._producer = self._producer, None
                discard(producer)
                raise
        return [Position(each.partition, each.offset) for each in written]

    def close(self) -> None:
        """Close every connection; may be called twice."""
        producer, self._producer = self._producer, None
        if producer is not None:
            discard(producer)  # all that was appended is acknowledged
        while self._consumers:
            with suppress(KafkaError):
                self._consumers.popitem()[1].close(autocommit=False, timeout_ms=1_000)

    # ---- inside -------------------------------------------------------------------------------

    def _place(self, topic: str, partition: int) -> TopicPartition:
        number = partitions_of(self._counts, topic)
        if not 0 <= partition < number:
            raise LogError(f"{topic} has {number} partitions (from 0); partition {partition} was asked for")
        return TopicPartition(self.options.topic(topic), partition)

    def _consumer(self, purpose: str, **more: Any) -> KafkaConsumer:
        if purpose not in self._consumers:
            # who reads here and there must not wait for a long poll of the place before
            wait = {} if purpose == FOLLOWING else {"fetch_max_wait_ms": SHORT_POLL_MS}
            self._consumers[purpose] = obedient(KafkaConsumer(**self.options.consumer(), **wait, **more))
        return self._consumers[purpose]


class _Reader:
    """One consumer, reading one partition at a time, in order or from anywhere."""

    def __init__(self, consumer: KafkaConsumer, asking: KafkaConsumer, beat: Callable[[], None]) -> None:
        self._consumer = consumer
        self._asking = asking
        self._beat = beat
        self._place: TopicPartition | None = None
        self._next = -1

    def is_ahead(self, offset: int) -> bool:
        """Return whether an offset is not behind what was read last; after an error nothing was."""
        return offset >= self._next

    def take(self, topic: str, place: TopicPartition, from_offset: int, max_records: int) -> list[Record]:
        """Return committed records from an offset on: so many, or as many as there are."""
        consumer = self._consumer
        if place != self._place:
            consumer.assign([place])
            self._place, self._next = place, -1
        if from_offset != self._next:  # the client's own position also moves over markers
            consumer.seek(place, from_offset)
        self._next = -1  # until it is known that nothing was lost on the way
        found: list[Record] = []
        end, wait_ms = -1, 0
        reached, give_up = from_offset, time.monotonic() + STALLED_SECONDS
        while len(found) < max_records:
            try:
                polled = consumer.poll(wait_ms, max_records=max_records - len(found))
            except OffsetOutOfRangeError:
                first = self._asking.beginning_offsets([place])[place]
                if first <= from_offset:  # beyond the end: there is nothing yet
                    return found
                consumer.seek(place, first)
                continue
            if polled:
                found += records_of(topic, polled[place])
                wait_ms = 0
                continue
            # it moves over markers and aborted records, too; None while a new leader is asked where it stands
            position = consumer.position(place, timeout_ms=1_000) or reached
            if position >= end:
                end = self._asking.end_offsets([place])[place]
            if position >= end:
                break
            wait_ms = POLL_MS
            if position > reached:
                reached, give_up = position, time.monotonic() + STALLED_SECONDS
                self._beat()
            elif time.monotonic() > give_up:
                raise KafkaTimeoutError(
                    f"{place.topic}/{place.partition} ends at {end}, but nothing came behind {reached}"
                )
        self._next = found[-1].offset + 1 if found else from_offset
        return found


def records_of(topic: str, found: Sequence[Any]) -> list[Record]:
    """Return consumed records of one partition as ours; a tombstone has an empty value."""
    return [
        _record((topic, each.partition, each.offset, each.timestamp, each.key, each.value or b""))
        for each in found
    ]
