"""One transaction after another, and never a guess about one that failed.

A producer whose transaction raised is thrown away; the start of the next one makes the broker abort what was
left open. All waits are bounded: the client's own calls wait for ever, and can lose their request.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from kafka import KafkaProducer, TopicPartition
from kafka.errors import (
    AuthorizationError,
    CommitFailedError,
    KafkaConfigurationError,
    KafkaError,
    KafkaTimeoutError,
    UnknownError,
)
from kafka.structs import OffsetAndMetadata

from stream_al.errors import CommitLost, LogError
from stream_al.log.kafka_connection import KafkaOptions, discard, explain
from stream_al.log.kafka_mended import obedient
from stream_al.log.protocol import Output

logger = logging.getLogger(__name__)

MAX_FAILURES = 5
"""Transactions that fail in a row, other than by fencing, before the process gives up."""
PRODUCER_ATTEMPTS = 4
SLOWEST_BYTES_A_SECOND = 2**20
OVERHEAD = 128
"""Bytes that a record's frame may take beside its key and value."""


class Fenced(CommitLost):
    """The group went on without us: no failure of anything."""


class Transactions:
    """The transactional side of one member.

    Parameters
    ----------
    options : KafkaOptions
    beat : callable
        Called before each wait.

    Attributes
    ----------
    outcomes : Counter
        Transactions by outcome: ``committed``, ``fenced``, ``failed``.
    producer : KafkaProducer or None
        None after a failure, until the next start.
    """

    def __init__(self, options: KafkaOptions, beat: Callable[[], None]) -> None:
        self.outcomes: Counter[str] = Counter(committed=0, fenced=0, failed=0)
        self.producer: KafkaProducer | None = None
        self._options = options
        self._beat = beat
        self._failures = 0
        # without an instance_id a random one: recovery is slower, exactness the same
        self._transactional_id = f"{options.group}-{options.instance_id or secrets.token_hex(8)}"

    def start(self, attempts: int = PRODUCER_ATTEMPTS) -> None:
        """Make a producer and let the broker abort what its predecessor left open.

        A lost request would be waited for in vain, so a producer that gets no answer is thrown away.

        Raises
        ------
        LogError
            No attempt succeeded, or it is not permitted.
        """
        for attempt in range(1, attempts + 1):
            self._beat()
            try:
                self.producer = obedient(
                    KafkaProducer(
                        **self._options.producer(),
                        transactional_id=self._transactional_id,
                        transaction_timeout_ms=int(1000 * self._options.transaction_seconds),
                    )
                )
                self.producer.init_transactions()
            except KafkaError as error:
                self.discard()
                if attempt == attempts or isinstance(error, AuthorizationError | KafkaConfigurationError):
                    raise explain(error, self._options, "starting a transactional producer") from error
                logger.warning("init_transactions: %r", error)
            else:
                return

    def run(
        self,
        outputs: Sequence[Output],
        places: Mapping[tuple[str, int], TopicPartition],
        positions: Mapping[TopicPartition, OffsetAndMetadata],
        member: Any,
    ) -> None:
        """Write outputs and positions, all or nothing.

        Parameters
        ----------
        outputs : sequence of Output
        places : mapping
            From each output's topic and partition to its full name.
        positions : mapping
            Next offset and state of events partitions.
        member : ConsumerGroupMetadata
            As it was when the events were polled: the broker refuses those of another generation.

        Raises
        ------
        Fenced
            The group went on without us; nothing was written.
        CommitLost
            It failed, and nobody knows whether anything was written.
        LogError
            It failed for the fifth time in a row.
        """
        try:
            if self.producer is None:
                self.start()
            producer = self.producer
            assert producer is not None  # noqa: S101 - started above
            producer.begin_transaction()
            if outputs:
                self._send(producer, outputs, places)
            manager = producer._transaction_manager
            self._wait(producer, manager.send_offsets_to_transaction(dict(positions), member))
            self._wait(producer, manager.begin_commit())
        except Exception as error:
            self.discard()
            if isinstance(error, CommitFailedError):
                self.outcomes["fenced"] += 1
                raise Fenced(f"another member owns the partitions now: {error}") from error
            self._count_failure(error)
            raise CommitLost(f"the transaction failed: {type(error).__name__}: {error}") from error
        self._failures = 0
        self.outcomes["committed"] += 1

    def discard(self) -> None:
        """Throw the producer away without aborting: the next one's start does that, and is bounded."""
        producer, self.producer = self.producer, None
        if producer is not None:
            discard(producer)

    def _send(
        self,
        producer: KafkaProducer,
        outputs: Sequence[Output],
        places: Mapping[tuple[str, int], TopicPartition],
    ) -> None:
        """Send the outputs and wait for every one: a commit may succeed although a batch has expired.

        They go straight to the client's accumulator: its ``send`` spends more time on checks and messages,
        all of which are the same for a whole batch, than the rest of a record's way takes.
        """
        known = producer._metadata.partitions_for_topic
        strangers = {place.topic for place in places.values() if known(place.topic) is None}
        for topic in strangers:  # all are named before one is waited for: they come with one answer
            producer._sender.add_topic(topic)
        for topic in strangers:
            producer._wait_on_metadata(topic, int(1000 * self._options.answer_seconds))
        for place in places.values():
            producer._transaction_manager.maybe_add_partition_to_transaction(place)
        producer._ensure_valid_record_size(max(len(o.key or b"") + len(o.value) for o in outputs) + OVERHEAD)
        append, futures, size = producer._accumulator.append, [], 0
        for topic, partition, key, value in outputs:
            future, full, new, _ = append(places[topic, partition], None, key, value, [])
            futures.append(future)
            size += len(value)
            if full or new:
                producer._sender.wakeup()
        self._beat()
        # a slow line may take its time over much, but not longer than the transaction lives
        seconds = self._options.answer_seconds + size / SLOWEST_BYTES_A_SECOND
        deadline = time.monotonic() + min(seconds, self._options.transaction_seconds)
        with suppress(UnknownError):  # a batch too large for its topic is being sent in two halves
            producer.flush(deadline - time.monotonic())
        for future in futures:
            if not future.succeeded():
                future.get(max(0.0, deadline - time.monotonic()))

    def _wait(self, producer: KafkaProducer, result: Any) -> None:
        self._beat()
        producer._sender.wakeup()
        if not result.wait(timeout_ms=int(1000 * self._options.answer_seconds)):
            raise KafkaTimeoutError(f"no answer from the coordinator in {self._options.answer_seconds:g} s")

    def _count_failure(self, error: BaseException) -> None:
        self.outcomes["failed"] += 1
        self._failures += 1
        logger.warning("commit failed (%d in a row): %r", self._failures, error)
        if self._failures >= MAX_FAILURES:
            why = explain(error, self._options, "committing")
            raise LogError(
                f"{MAX_FAILURES} commits in a row failed, the last: {why}{rivals(self._options)}"
            ) from error


def rivals(options: KafkaOptions) -> str:
    """Return the question that a member with an id of its own must ask when it is refused."""
    if options.instance_id is None:
        return ""
    return f"; is another process running with kafka.instance_id = {options.instance_id!r}?"
