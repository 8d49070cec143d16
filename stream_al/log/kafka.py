"""The log of production: Apache Kafka, exactly once, scaled out by consumer group.

The protocol, each step of which was paid for:

- Outputs, offsets and the query state (as the offset's metadata) are one transaction.
- Memory is valid for one ``(member id, generation)`` only. After any other thing that the group says, and
  after every commit that did not succeed, all partitions are read back and replace all memory. There is no
  rebalance listener: it is not called when it matters, in a rejoin under a new member id.
- Nothing is ever reasoned about the outcome of a commit that raised: see
  :mod:`~stream_al.log.kafka_transactions`. The committed offset is the truth.
- A group that moved on without us fences the commit. That is no failure; five other ones in a row are.
- While the group is not stable, nothing is done but polling: a join that completes between two polls would
  be thrown away by the client.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from kafka import KafkaConsumer, TopicPartition
from kafka.coordinator.base import MemberState
from kafka.errors import KafkaError, KafkaTimeoutError, NoOffsetForPartitionError
from kafka.structs import OffsetAndMetadata

from stream_al.errors import CommitLost, ConfigurationError, LogError
from stream_al.log.embedded import check_progress
from stream_al.log.kafka_client import ASKING, KafkaClient, records_of
from stream_al.log.kafka_connection import KafkaOptions, explain, explained, quiet
from stream_al.log.kafka_mended import obedient
from stream_al.log.kafka_transactions import Fenced, Transactions, rivals
from stream_al.log.protocol import EVENTS, Batch, Output, Progress

logger = logging.getLogger(__name__)

SETTLING_SECONDS = 5.0
"""How long one poll waits for the group to be stable; the loop turns in between."""
SILENCE_SECONDS = 60.0
"""How long the truth may be unreadable before the process gives up."""


@dataclass(frozen=True, slots=True, eq=False)
class _Membership:
    """What a batch is valid for: one member id and generation, and all that was read back under it."""

    metadata: Any

    @property
    def identity(self) -> tuple[str, int]:
        return self.metadata.member_id, self.metadata.generation_id


class _Undecided(KafkaTimeoutError):  # type: ignore[misc]  # the client has no types
    """A committed position cannot be told: a transaction over it is still open."""


class KafkaLog(KafkaClient):
    """A log on Kafka topics.

    One object is used by one thread at a time.

    Parameters
    ----------
    options : KafkaOptions
    member : bool
        Take part in the group: only a member polls and commits. Everything else needs no membership.
    beat : callable
        Called at every step that may take long: the watchdog's.
    stopping : callable returning bool
        A poll returns as soon as it can when this is true.

    Attributes
    ----------
    rebalances : int
        How often all memory was replaced.

    Raises
    ------
    LogError
        No broker answers, it refuses us, or a topic does not exist.
    """

    def __init__(
        self,
        options: KafkaOptions,
        *,
        member: bool = False,
        beat: Callable[[], None] = lambda: None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        quiet()
        self.rebalances = 0
        self._stopping = stopping
        self._membership: _Membership | None = None
        self._refused: tuple[str, int] | None = None
        self._owned: dict[int, int] = {}
        self._epochs: dict[int, int] = {}
        self._last_ms: dict[int, int] = {}
        self._silent_since: float | None = None
        self._transactions = Transactions(options, beat)
        self._member: KafkaConsumer | None = None
        super().__init__(options, beat)
        if member:
            try:
                self._transactions.start()  # aborts what a dead predecessor left open, before we join
                with explained(options, f"joining group {options.group}"):
                    self._member = obedient(KafkaConsumer(**options.member()))
                    self._member.subscribe([options.topic(EVENTS)])
            except BaseException:
                self.close()
                raise

    # ---- polling ------------------------------------------------------------------------------

    def poll(self, max_records: int, timeout_seconds: float) -> Batch:
        """Return the next events of the partitions that were read back; see :meth:`Log.poll`.

        Raises
        ------
        ConfigurationError
            The group has no position yet and ``start`` is not set.
        LogError
            The truth could not be read for a minute.
        """
        if self._transactions.producer is None and not self._renewed():
            return Batch()
        records, metadata = self._poll_once(max_records, timeout_seconds)
        settling_until = time.monotonic() + SETTLING_SECONDS
        while metadata.state != MemberState.STABLE:
            self._membership = None
            self._beat()
            self._pick_up_join()
            if self._stopping() or time.monotonic() > settling_until:
                return Batch()
            records, metadata = self._poll_once(max_records, 0.5)
        identity = metadata.member_id, metadata.generation_id
        if identity == self._refused:  # fenced: our own client learns of it with the next heartbeat
            self._note_silence(CommitLost(f"refused{rivals(self.options)}"), "getting back into the group")
            time.sleep(0.05)
            return Batch()
        if self._membership is None or self._membership.identity != identity:
            return self._restore(_Membership(metadata))  # the records are dropped: all positions are sought
        if not records and not self._heard():
            self._membership = None
            self._note_silence(
                KafkaTimeoutError("the group's coordinator does not answer"), "staying in the group"
            )
            return Batch()
        self._silent_since = None
        found = {}
        for place, polled in records.items():
            found[place.partition] = records_of(EVENTS, polled)
            self._epochs[place.partition] = -1 if polled[-1].leader_epoch is None else polled[-1].leader_epoch
            self._last_ms[place.partition] = polled[-1].timestamp
        return Batch(found, None, self._membership)

    def _poll_once(self, max_records: int, timeout_seconds: float) -> tuple[Mapping[Any, list[Any]], Any]:
        consumer = self._joined()
        try:
            records = consumer.poll(int(1000 * timeout_seconds), max_records=max_records)
        except NoOffsetForPartitionError:
            records, self._membership = {}, None
        except KafkaError as error:  # also while the broker is merely away, whatever the time-out says
            logger.warning("poll: %r", error)
            records, self._membership = {}, None
            self._note_silence(error, "polling events")
            time.sleep(0.1)
        return records, consumer.group_metadata()  # in the same breath: it says whom the records are for

    def _heard(self) -> bool:
        """Return whether the group's coordinator is known and answers: an empty poll says nothing of that."""
        coordinator = self._joined()._coordinator
        return not (coordinator.coordinator_unknown() or coordinator.heartbeat.session_timeout_expired())

    def _pick_up_join(self) -> None:
        """Make the client look at a join that it has forgotten.

        Where a change of metadata led to the join and it completed between two polls, the client sees no
        need to join any more, never takes the answer, and stays outside of the group for ever.
        """
        coordinator = self._joined()._coordinator
        if not coordinator.need_rejoin():
            coordinator.request_rejoin()

    def _restore(self, membership: _Membership) -> Batch:
        """Read back what is committed of every assigned partition; it replaces all memory."""
        self._membership = None
        self._epochs.clear()
        self._last_ms.clear()
        try:
            restored = self._read_back()
            self._pin(membership, restored)
        except (KafkaError, CommitLost) as error:  # the coordinator is away, or a transaction is open
            logger.warning("read back: %r", error)
            if isinstance(error, Fenced):
                self._refused = membership.identity
            self._note_silence(error, "reading the committed positions back")
            return Batch()
        self._silent_since = None
        self._membership = membership
        self._owned = {place.partition: at.next_offset for place, (at, _) in restored.items()}
        self.rebalances += 1
        return Batch({}, {place.partition: at for place, (at, _) in restored.items()}, membership)

    def _read_back(self) -> dict[TopicPartition, tuple[Progress, bool]]:
        """Return each partition's committed progress, and whether there was any; seek there.

        Waits until a predecessor's open transaction is decided.
        """
        consumer, answer_ms = self._joined(), self._answer_ms
        places = sorted(consumer.assignment())
        if not places:
            return {}
        asking = self._consumer(ASKING)
        first = asking.beginning_offsets(places, timeout_ms=answer_ms)
        end = asking.end_offsets(places, timeout_ms=answer_ms)
        restored: dict[TopicPartition, tuple[Progress, bool]] = {}
        for place in places:
            self._beat()
            try:
                found = consumer.committed(place, metadata=True, timeout_ms=answer_ms)
            except KafkaTimeoutError as error:
                raise _Undecided(f"{place.topic}/{place.partition}: {error}") from error
            if found is None:
                restored[place] = Progress(self._start(place, first[place], end[place]), ""), False
            else:
                restored[place] = (
                    Progress(self._kept(place, found.offset, first[place], end[place]), found.metadata),
                    True,
                )
            consumer.seek(place, restored[place][0].next_offset)
        return restored

    def _kept(self, place: TopicPartition, offset: int, first: int, end: int) -> int:
        """Return where to go on: the committed offset, or the oldest event where retention took some."""
        if offset > end:
            raise LogError(
                f"group {self.options.group} stands at offset {offset} of {place.topic}/{place.partition}, "
                f"which ends at {end}: was the topic made anew? Give the service a new kafka.group"
            )
        if offset < first:
            logger.error(
                "%d events of %s/%d were deleted by retention before they were scored",
                first - offset,
                place.topic,
                place.partition,
            )
        return max(offset, first)

    def _start(self, place: TopicPartition, first: int, end: int) -> int:
        """Return where a group without a position begins."""
        start = self.options.start
        if start is None:
            raise ConfigurationError(
                f'group {self.options.group} starts for the first time; set kafka.start to "earliest" '
                'to score the events that are there already, to "latest" for those that come from now on, '
                "or to a time"
            )
        if start == "earliest":
            return first
        if start == "latest":
            return end
        found = self._consumer(ASKING).offsets_for_times({place: start}, timeout_ms=self._answer_ms)[place]
        return end if found is None else int(found.offset)

    def _pin(self, membership: _Membership, restored: Mapping[TopicPartition, tuple[Progress, bool]]) -> None:
        """Commit the positions of a first start: "latest" must mean the same after the next rebalance."""
        fresh = {
            place: OffsetAndMetadata(at.next_offset, "", -1)
            for place, (at, known) in restored.items()
            if not known
        }
        if fresh:
            self._transactions.run([], {}, fresh, membership.metadata)

    def _note_silence(self, error: BaseException, what: str) -> None:
        """Give up where the truth has been unreadable for too long."""
        now = time.monotonic()
        self._silent_since = self._silent_since or now
        if now - self._silent_since > SILENCE_SECONDS:
            raise LogError(
                f"{what}: not possible for {SILENCE_SECONDS:.0f} s; "
                + (
                    f"a transaction seems to hang on the broker ({error}): see "
                    "`kafka-transactions.sh find-hanging`"
                    if isinstance(error, _Undecided)
                    else str(explain(error, self.options, what))
                )
            ) from error

    # ---- committing ---------------------------------------------------------------------------

    def commit(self, batch: Batch, outputs: Sequence[Output], progress: Mapping[int, Progress]) -> None:
        """Write outputs and progress in one transaction; see :meth:`Log.commit`.

        Raises
        ------
        CommitLost
            Nothing was committed, or nobody knows; the next poll reads the truth back.
        LogError
            An output goes nowhere, a partition is not owned, or five commits in a row failed.
        """
        membership = self._membership
        if membership is None or batch.fence is not membership:
            raise CommitLost(
                "this batch is older than the last `restored`, so nothing of it was committed; "
                "poll again to read the truth back"
            )
        self._membership = None  # until it is known that all went well
        check_progress(progress, self._owned)
        places = {output[:2]: self._place(*output[:2]) for output in outputs}
        events = self.options.topic(EVENTS)
        positions = {
            TopicPartition(events, p): OffsetAndMetadata(at.next_offset, at.state, self._epochs.get(p, -1))
            for p, at in progress.items()
        }
        try:
            self._transactions.run(outputs, places, positions, membership.metadata)
        except Fenced:
            self._refused = membership.identity
            raise
        self._membership = membership

    def _renewed(self) -> bool:
        """Try to replace a producer that was thrown away: readers wait behind what it left open."""
        try:
            self._transactions.start(attempts=1)
        except LogError as error:
            logger.warning("%s", error)
            self._note_silence(error, "starting a transactional producer")
            return False
        return True

    # ---- everything else ----------------------------------------------------------------------

    @property
    def outcomes(self) -> Counter[str]:
        """Commits by outcome: ``committed``, ``fenced``, ``failed``."""
        return self._transactions.outcomes

    @property
    def settled(self) -> bool:
        """Whether the group is stable and everything was read back: memory is valid."""
        return self._membership is not None

    def lag(self) -> dict[int, tuple[int, float]]:
        """Return how far each owned partition is behind: in offsets, and in seconds of log time.

        Known from the last fetch, so it costs no question to the broker.
        """
        consumer, now_ms = self._joined(), time.time() * 1000.0
        found = {}
        for place in consumer.assignment():
            if place.partition not in self._owned:
                continue
            end = consumer.highwater(place)
            try:
                position = consumer.position(place, timeout_ms=0)
            except KafkaError:  # not known at present
                position = None
            behind = max(0, end - position) if end is not None and position is not None else 0
            last_ms = self._last_ms.get(place.partition)
            seconds = max(0.0, now_ms - last_ms) / 1000.0 if behind and last_ms is not None else 0.0
            found[place.partition] = behind, seconds
        return found

    def retain(self) -> int:
        """Do nothing: the brokers forget by themselves, as their topics are configured."""
        return 0

    def close(self) -> None:
        """Leave the group and close every connection; unfinished commits are not written."""
        member, self._member = self._member, None
        self._membership = None
        if member is not None:
            if self._transactions.producer is None:
                with suppress(LogError):
                    self._transactions.start(attempts=1)
            with suppress(KafkaError):
                # bounded: it may queue behind a join of its own on the same connection
                member.close(autocommit=False, timeout_ms=5_000)
        self._transactions.discard()
        super().close()

    def __enter__(self) -> Self:
        """Return the log itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _joined(self) -> KafkaConsumer:
        if self._member is None:
            raise LogError(
                "the log was opened as a client, and only a member of the group polls and commits; "
                "open it with member=True"
            )
        return self._member
