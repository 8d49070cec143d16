"""The engine: fold the replies, poll events, encode, score, decide, commit, adopt.

One tick is one micro-batch and one atomic commit; what the tick decided is adopted in memory only after
the log has taken it. All that is remembered between two ticks is either in the committed state of a
partition or a fold of a log, so a crash anywhere loses nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, repeat

import numpy as np

from stream_al.batches import Batches, Late, read_again
from stream_al.decode import DecodedEvent, decode_event, decode_mapped
from stream_al.encode import EncodedInput, EncodingOptions, encode
from stream_al.errors import CommitLost, InvalidMessage, LogUnreachable, WrongTopic
from stream_al.following import decide_following
from stream_al.learner import Learner, Scored
from stream_al.log.protocol import (
    LABEL_REPLIES,
    LABEL_REQUESTS,
    Batch,
    Log,
    Output,
    Progress,
    Record,
)
from stream_al.mapping import EventMap
from stream_al.novelty import BatchNovelty, Novelty
from stream_al.outputs import OutputWriter, dead_letter_output
from stream_al.own_requests import numbered_requests
from stream_al.query.batched import BatchedPolicy
from stream_al.query.coin import PlaceCoin
from stream_al.query.policy import Decision, QueryPolicy, ScoredEvent
from stream_al.query.projection import Projection
from stream_al.query.reservoir import remembered
from stream_al.query.state import QueryState
from stream_al.query_scores import Following, QueryScores
from stream_al.stage_clock import StageClock
from stream_al.work import Held, PartitionMemory, Work

logger = logging.getLogger(__name__)
# Builds a ScoredEvent in C: a third of the time of ScoredEvent(...), once an event.
_scored_event: Callable[[tuple[object, ...]], ScoredEvent] = partial(tuple.__new__, ScoredEvent)
FOLD_CHUNK = 256
WRONG_TOPIC_AFTER = 1_000
SAMPLE_FLOOR = 0.002
SAMPLE_FIRST = 256


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How the engine runs; everything that changes outputs is also part of the query configuration.

    Attributes
    ----------
    max_batch : int
        Events a tick at most.
    fold_seconds : float
        Time for folding replies while events wait.
    poll_seconds : float
        How long one poll may wait for events.
    guard_topic : bool
        Stop where the first 1,000 records hold no valid event; a replay knows better.
    """

    seed: int = 0
    max_batch: int = 500
    fold_seconds: float = 0.1
    poll_seconds: float = 0.05
    near_duplicates: bool = True
    encoding: EncodingOptions = field(default_factory=EncodingOptions)
    event_map: EventMap | None = None
    guard_topic: bool = True


@dataclass(slots=True)
class Tick:
    """What one tick did: for metrics, progress bars and tests.

    Attributes
    ----------
    committed : bool
        False where there was nothing to do, or the commit was lost.
    decided : list of (partition, event, decision)
        In offset order within a partition.
    late : list of Late
        Requests about events that had passed before, where the policy asks in batches.
    stage_seconds : dict
        Time by stage.
    """

    committed: bool = False
    restored: bool = False
    lost: bool = False
    events: int = 0
    dead_letters: int = 0
    asked: int = 0
    model_version: int = 0
    decided: list[tuple[int, DecodedEvent, Decision]] = field(default_factory=list)
    late: list[Late] = field(default_factory=list)
    scored: Scored | None = None
    stage_seconds: dict[str, float] = field(default_factory=dict)

    def restart(self) -> None:
        """Forget what was decided: the batch is decided again."""
        self.decided.clear()
        self.late.clear()
        self.events = self.asked = self.dead_letters = 0


Cut = Callable[[Tick], int]


class Engine:
    """A streaming active learner over a log.

    Parameters
    ----------
    log : Log
    learner : Learner
    policy : QueryPolicy
    scores : QueryScores
        What the policy ranks.
    writer : OutputWriter
        Makes predictions, requests and samples.
    options : EngineOptions

    Notes
    -----
    Same events, same committed state, same sequence of model positions: byte-identical outputs,
    however the stream is cut into polls.
    """

    def __init__(
        self,
        log: Log,
        learner: Learner,
        policy: QueryPolicy,
        scores: QueryScores,
        writer: OutputWriter,
        options: EngineOptions,
    ) -> None:
        self.log = log
        self.learner = learner
        self.policy = policy
        self.options = options
        self.scores = scores
        self._writer = writer
        self._sample_coin = PlaceCoin("sample", options.seed)
        self._project = Projection(options.seed)
        self._batches = Batches(policy, learner, writer) if isinstance(policy, BatchedPolicy) else None
        self.forgotten_candidates = 0
        self._memory: dict[int, PartitionMemory] = {}
        self._unrestored: Mapping[int, Progress] | None = None
        self._rejected: list[tuple[Record, InvalidMessage]] = []
        self._held: dict[int, list[Record]] = {}
        self._seen_valid = False
        self._seen_invalid = 0

    @property
    def states(self) -> dict[int, QueryState]:
        """Committed state of every owned partition; not to be changed."""
        return {p: memory.state for p, memory in self._memory.items()}

    def novelty_of(self, partition: int, encoded: EncodedInput) -> BatchNovelty:
        """Return one input beside the remembered requests of an owned partition, as a batch of one."""
        inputs = self.learner.columns.inputs([encoded], self.learner.scaler, pad=True)
        refuse, novelty = self.options.near_duplicates, self._memory[partition].novelty
        return BatchNovelty(novelty, self.learner, self._project, [encoded], inputs, 0, refuse=refuse)

    def tick(self, fold: Callable[[], None] | None = None, cut: Cut | None = None) -> Tick:
        """Do one micro-batch: everything in it is committed at once, or nothing is.

        Parameters
        ----------
        fold : callable, optional
            Replaces the folding of what has arrived; a replay folds to the recorded position.
        cut : callable, optional
            Given the decisions of the batch, returns how many of its first events to commit now; the rest
            is decided again in the next tick. For one partition: a simulation cuts behind an ask that
            would be answered before the batch ends.

        Raises
        ------
        WrongTopic
            The first 1,000 records since the start hold no valid event.
        """
        tick = Tick()
        clock = StageClock(tick.stage_seconds)
        if self._unrestored is not None:  # reading the truth back was interrupted: nothing goes before it
            return self._restored(tick)
        if self._memory:
            (fold or self.fold_arrived)()
        clock.lap("fold")
        held = sum(map(len, self._held.values()))
        # behind many held-back records a poll still brings some, never more than the configured number
        room = max(min(64, self.options.max_batch), self.options.max_batch - held)
        batch = self.log.poll(room, self.options.poll_seconds)
        clock.lap("poll")
        if batch.restored is not None:
            self._unrestored = batch.restored
            return self._restored(tick)
        work = self._decode(self._take(batch))
        clock.lap("decode")
        if work is None or not (work or self._rejected):
            return tick
        tick.model_version = self.learner.position
        unscored = self.scores.failures
        outputs, drafts = self._decide(work, tick, clock)
        kept = cut(tick) if cut and len(work) == 1 else tick.events
        if kept < tick.events:
            work[0], self._held = work[0].cut_at(kept)
            tick.restart()
            self.scores.failures = unscored
            outputs, drafts = self._decide(work, tick, clock)
        progress = {
            p: Progress(draft.next_offset, self.policy.encode(draft.state)) for p, draft in drafts.items()
        }
        clock.lap("encode out")
        if not progress:
            return tick
        # what is not known to be committed is scored again, and counted then
        counted, self.scores.failures = self.scores.failures, unscored
        try:
            self.log.commit(batch, outputs, progress)
        except CommitLost:
            tick.lost = True
            self._held.clear()
            return tick
        self.scores.failures = counted
        clock.lap("commit")
        self._memory.update(drafts)
        if 0 in drafts:
            self._rejected.clear()
        tick.committed = True
        return tick

    # ---- the two folds ------------------------------------------------------------------------

    def fold_arrived(self) -> None:
        """Fold replies for at most the configured time; the rest waits for the next tick."""
        deadline = time.monotonic() + self.options.fold_seconds
        while self.fold_some() and time.monotonic() < deadline:
            pass

    def fold_some(self, before: int | None = None) -> bool:
        """Fold one chunk of the reply log, up to a position if given; return whether there may be more.

        A log returns as many records as there are, so a chunk that is not full was the last.
        """
        room = FOLD_CHUNK if before is None else min(FOLD_CHUNK, before - self.learner.position)
        records = self.log.tail(LABEL_REPLIES, 0, self.learner.position, room) if room > 0 else []
        if before is not None:
            records = [record for record in records if record.offset < before]
        self.learner.fold(records, self._reject)
        return 0 < room == len(records)

    def _reject(self, record: Record, error: InvalidMessage) -> None:
        """Keep a bad reply for its dead letter; only the owner of partition 0 writes it, once."""
        owner = self._memory.get(0)
        if owner is not None and record.offset >= owner.state.reply_position:
            self._rejected.append((record, error))

    def _restored(self, tick: Tick) -> Tick:
        """Finish a restore; where the log does not answer it raises, and the next tick does it again."""
        assert self._unrestored is not None  # noqa: S101 - the caller has seen it
        self._memory = {}
        self._restore(self._unrestored)
        self._unrestored = None
        tick.restored = True
        return tick

    def _restore(self, restored: Mapping[int, Progress]) -> None:
        """Replace all memory by what the log has committed, and fold at least as far as it had been."""
        self._held.clear()
        memory, missing = {}, 0
        for partition, committed in restored.items():
            state = self.policy.decode(committed.state)
            novelty = Novelty(state.asked, self._last_requests(partition, state.asked))
            held, forgotten = read_again(self.log, partition, state, self._understood)
            missing += forgotten
            memory[partition] = PartitionMemory(state, committed.next_offset, novelty, held)
        changed = [p for p, committed in restored.items() if self.policy.restarts(committed.state)]
        if changed:
            logger.warning(
                "the query configuration changed: score windows of partitions %s restart, the ledger goes on",
                changed,
            )
        folded = max((each.state.model_version for each in memory.values()), default=0)
        while self.learner.position < folded and self.fold_some():
            pass
        if self.learner.position < folded:
            raise LogUnreachable(
                f"the committed state had seen the replies up to {folded}, of which those from "
                f"{self.learner.position} on are not readable yet"
            )
        self._memory = memory
        self.forgotten_candidates += missing  # once a restore, however often it was begun
        self._rejected = list(self._unwritten())

    def _unwritten(self) -> Iterator[tuple[Record, InvalidMessage]]:
        """Yield bad replies that were folded already and have no dead letter yet, if partition 0 is owned."""
        owner = self._memory.get(0)
        position = self.learner.position if owner is None else owner.state.reply_position
        while position < self.learner.position:
            records = self.log.tail(LABEL_REPLIES, 0, position, FOLD_CHUNK)
            for record in records:
                position = record.offset + 1
                refusal = self.learner.refusal(record) if record.offset < self.learner.position else None
                if refusal is not None:
                    yield record, refusal
            if not records:
                return

    def _last_requests(self, partition: int, asked: int) -> list[EncodedInput]:
        """Return the inputs of the requests of a partition that are remembered, oldest first.

        Raises
        ------
        LogUnreachable
            The newest ones are committed but not readable yet: each topic of a transaction by itself.
        """
        count = remembered(asked)
        if not count:
            return []
        first, end = self.log.bounds(LABEL_REQUESTS, partition)
        reach = count
        while True:
            start = max(first, end - reach)
            found = self.log.tail(LABEL_REQUESTS, partition, start, max(1, end - start))
            numbered, unknown = numbered_requests(found, partition, self.learner.office)
            if len(numbered) + unknown >= count or start == first:
                break
            reach *= 4  # offsets are not dense on every log, and others' records are nobody's memory
        known = max(numbered, default=asked) + unknown
        if known < asked:
            raise LogUnreachable(
                f"partition {partition} has asked {asked} times, but only request {known} can be read yet"
            )
        return [numbered[number] for number in sorted(numbered) if number > asked - count]

    # ---- events in ----------------------------------------------------------------------------

    def _take(self, batch: Batch) -> dict[int, list[Record]]:
        """Return the batch behind what was held back while nothing valid had been seen."""
        taken = {p: list(records) for p, records in batch.records.items()}
        for partition, held in self._held.items():
            taken[partition] = held + taken.get(partition, [])
        return taken

    def _decode(self, records: dict[int, list[Record]]) -> list[Work] | None:
        """Return the decoded batch, or None while only invalid records were seen and more may come.

        A wrong topic is noticed before anything is committed: records are held back until the first
        valid one, or until the log is idle.
        """
        work = []
        fresh = sum(map(len, records.values())) > sum(map(len, self._held.values()))
        for partition in sorted(records):
            part = Work(partition, records[partition])
            for record in part.records:
                try:
                    event = self._event(record)
                    part.encoded.append(encode(event, self.options.encoding))
                    part.valid.append((record, event))
                except InvalidMessage as error:
                    part.invalid.append((record, error))
            self._seen_valid = self._seen_valid or bool(part.valid)
            work.append(part)
        if self.options.guard_topic and work and not self._seen_valid:
            invalid = sum(len(part.invalid) for part in work)
            if self._seen_invalid + invalid >= WRONG_TOPIC_AFTER:
                raise WrongTopic(
                    f"the first {self._seen_invalid + invalid} records hold no valid event (the last: "
                    f"{work[-1].invalid[-1][1]}); expected events; check the topic, or map your records with "
                    "[events.map]; "
                    + (
                        f"{self._seen_invalid} were dead-lettered"
                        if self._seen_invalid
                        else "nothing was committed"
                    )
                )
            if fresh:
                self._held = records
                return None
            self._seen_invalid += invalid
        self._held = {}
        return work

    def _event(self, record: Record) -> DecodedEvent:
        if self.options.event_map is None:
            return decode_event(record.value)
        source = f"{record.topic}/{record.partition}/{record.offset}"
        return decode_mapped(record.value, self.options.event_map, source)

    def _understood(self, record: Record) -> Held:
        event = self._event(record)
        return Held(record, event, encode(event, self.options.encoding))

    # ---- decisions out ------------------------------------------------------------------------

    def _decide(
        self, work: list[Work], tick: Tick, clock: StageClock
    ) -> tuple[list[Output], dict[int, PartitionMemory]]:
        """Score the whole batch at one model position, decide partition by partition, write outputs."""
        outputs: list[Output] = []
        drafts: dict[int, PartitionMemory] = {}
        encoded = list(chain.from_iterable(part.encoded for part in work))
        scored = tick.scored or (self.learner.score(encoded) if encoded else None)
        clock.lap("score")
        ids = [event.event_id for part in work for _, event in part.valid]
        scores = self.scores(self.learner, scored, ids) if scored else []
        tick.scored = scored
        clock.lap("query score")
        start = 0
        for part in work:
            memory = self._memory[part.partition]
            draft = replace(memory, next_offset=part.records[-1].offset + 1)
            drafts[part.partition] = draft
            stop = start + len(part.valid)
            if scored is not None and part.valid:
                mine = scores if isinstance(scores, Following) else scores[start:stop]
                self._decide_partition(part, memory, draft, scored, mine, start, tick, outputs)
            clock.lap("decide")
            outputs.extend(dead_letter_output(record, "event", error) for record, error in part.invalid)
            tick.dead_letters += len(part.invalid)
            start = stop
        owner = self._memory.get(0)
        if self._rejected and owner is not None:
            drafts.setdefault(0, replace(owner))
            outputs.extend(dead_letter_output(record, "reply", error) for record, error in self._rejected)
            tick.dead_letters += len(self._rejected)
        for partition, draft in drafts.items():
            if draft.state is self._memory[partition].state:
                draft.state = draft.state.copy()
            draft.state.model_version = self.learner.position
            if partition == 0:
                draft.state.reply_position = self.learner.position
        tick.events = len(encoded)
        return outputs, drafts

    def _decide_partition(
        self,
        part: Work,
        memory: PartitionMemory,
        draft: PartitionMemory,
        scored: Scored,
        scores: list[int] | Following,
        first_row: int,
        tick: Tick,
        outputs: list[Output],
    ) -> None:
        novelty = BatchNovelty(
            memory.novelty,
            self.learner,
            self._project,
            part.encoded,
            scored.inputs,
            first_row,
            refuse=self.options.near_duplicates,
        )
        ids = [event.event_id for _, event in part.valid]
        times = [record.timestamp_ms for record, _ in part.valid]
        before, feedback = memory.state, self.learner.feedback(part.partition)
        if self._batches is not None:
            found = self._batches.decide(part, memory, times, scores, novelty, scored, first_row)
            draft.state, draft.held, decisions = found.state, found.held, found.decisions
            tick.late.extend(late._replace(place=late.place + len(tick.decided)) for late in found.late)
            outputs.extend(found.outputs)
        elif isinstance(scores, Following):
            score = scores.of(slice(first_row, first_row + len(ids)), novelty.distances)
            draft.state, decisions = decide_following(
                self.policy, before, ids, times, feedback, novelty, score
            )
        else:
            events = list(map(_scored_event, zip(ids, times, scores, strict=True)))
            draft.state, decisions = self.policy.decide(before, events, feedback, novelty.near, novelty.asked)
        if self._batches is None:
            outputs.extend(
                self._writer.write(
                    part.partition, part.valid, part.encoded, decisions, scored, first_row, before
                )
            )
        draft.novelty = novelty.after()
        decoded = [event for _, event in part.valid]
        tick.decided.extend(zip(repeat(part.partition), decoded, decisions))
        tick.asked += draft.state.asked - before.asked
        outputs.extend(self._samples(part, before.events))

    def _samples(self, part: Work, seen: int) -> list[Output]:
        """Return samples for the scaler: q(n) = max(0.002, min(1, 256/n)), n = events so far."""
        coins = self._sample_coin(part.partition, [record.offset for record, _ in part.valid])
        hits: list[int] = np.flatnonzero(coins < sample_probability(seen + 1)).tolist()
        return [
            self._writer.sample(*part.valid[i], part.encoded[i], q)
            for i, q in ((i, sample_probability(seen + 1 + i)) for i in hits)
            if coins[i] < q
        ]


def sample_probability(n: int) -> float:
    """Return q(n), the probability that the n-th event of a partition is written as a sample."""
    return max(SAMPLE_FLOOR, min(1.0, SAMPLE_FIRST / n))
