"""Asking in batches: a partition's share of a tick is decided block by block.

What the candidates of the open block contain is kept in memory, and read again from the log after a
restart, as the inputs of the last requests are. An event that the log has forgotten by then is a
candidate no more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_al.errors import InvalidMessage
from stream_al.learner import Learner, Scored
from stream_al.log.protocol import EVENTS, Log, Output, Record
from stream_al.novelty import BatchNovelty
from stream_al.outputs import OutputWriter
from stream_al.query.batched import BatchedPolicy
from stream_al.query.block import MILLION, NO_LABEL, Block
from stream_al.query.diverse import diverse_best
from stream_al.query.policy import Decision, Feedback, ScoredEvent
from stream_al.query.state import QueryState, id_hash
from stream_al.query_scores import Following
from stream_al.work import Held, PartitionMemory, Work

logger = logging.getLogger(__name__)
READ = 500
"""Events read at once where candidates are looked up."""
F64 = NDArray[np.float64]


class Late(NamedTuple):
    """A request about an event that had passed before: made right before event ``place`` of the tick."""

    place: int
    partition: int
    offset: int
    event_id: str


@dataclass(slots=True)
class Decided:
    """What became of one partition's share of a tick; places of ``late`` count within the share."""

    state: QueryState
    held: Mapping[int, Held]
    decisions: list[Decision] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    late: list[Late] = field(default_factory=list)


class Batches:
    """Decides by a batched policy, and writes what a block's end asks.

    Parameters
    ----------
    policy : BatchedPolicy
    learner : Learner
    writer : OutputWriter
    """

    def __init__(self, policy: BatchedPolicy, learner: Learner, writer: OutputWriter) -> None:
        self._policy = policy
        self._learner = learner
        self._writer = writer

    def decide(
        self,
        part: Work,
        memory: PartitionMemory,
        times_ms: Sequence[int],
        scores: Sequence[int] | Following,
        novelty: BatchNovelty,
        scored: Scored,
        first_row: int,
    ) -> Decided:
        """Return decisions and outputs of a partition's events, in their order; ``memory`` is not changed.

        ``first_row`` is the first event's row in ``scored``.
        """
        feedback = self._learner.feedback(part.partition)
        contents = _Contents(part, memory.held, novelty, scored, first_row)
        found = Decided(memory.state, {})
        ids = [event.event_id for _, event in part.valid]
        offsets = [record.offset for record, _ in part.valid]
        score: Callable[[], Sequence[int]]
        if isinstance(scores, Following):
            score = scores.of(slice(first_row, first_row + len(ids)), novelty.distances)
        else:
            score = partial(list, scores)
        for number, start, end in self._policy.spans(memory.state, offsets, times_ms):
            found.state, asks = self._policy.turn(
                found.state, number, times_ms[start], feedback, contents.choose
            )
            for ask in asks:
                held = contents[ask.candidate.offset]
                novelty.asked_earlier(held.encoded)
                found.outputs.append(self._writer.late_request(held, ask))
                found.late.append(Late(start, part.partition, held.record.offset, held.event.event_id))
            while start < end:
                contents.start = start
                events = list(map(ScoredEvent, ids[start:end], times_ms[start:end], score()[start:end]))
                if isinstance(scores, Following):
                    events = events[: self._until_asked(found.state, events, feedback, contents)]
                before, span = found.state, slice(start, start + len(events))
                found.state, decisions = self._policy.decide_within(before, events, feedback, contents)
                found.decisions += decisions
                found.outputs += self._writer.write(
                    part.partition,
                    part.valid[span],
                    part.encoded[span],
                    decisions,
                    scored,
                    first_row + start,
                    before,
                )
                start = span.stop
        found.held = contents.of(found.state.block)
        return found

    def _until_asked(
        self, state: QueryState, events: Sequence[ScoredEvent], feedback: Feedback, contents: _Contents
    ) -> int:
        """Return how many events stand up to the first that the floor asks about: a score may follow it."""
        _, decisions = self._policy.decide(state, events, feedback, contents.near, lambda _: None)
        return next((i for i, each in enumerate(decisions, 1) if each.asked), len(events))


def read_again(
    log: Log, partition: int, state: QueryState, understood: Callable[[Record], Held]
) -> tuple[dict[int, Held], int]:
    """Return the candidates of a restored state by their offsets, read from the log, and how many are gone.

    Parameters
    ----------
    log : Log
    partition : int
    state : QueryState
        What the log has forgotten, or what is another event under a new mapping, is taken out of it.
    understood : callable
        Decodes and encodes a record, or raises InvalidMessage.
    """
    if state.block is None:
        return {}, 0
    held = {}
    identities = {candidate.offset: candidate.identity for candidate in state.block.candidates}
    for record in _at(log, partition, sorted(identities)):
        with suppress(InvalidMessage):
            found = understood(record)
            if id_hash(found.event.event_id) == identities[record.offset]:
                held[record.offset] = found
    forgotten = len(state.block.candidates) - len(held)
    if forgotten:
        logger.warning(
            "%d candidates of partition %d are no longer in the log and will not be asked about; "
            "keep events longer than query.window",
            forgotten,
            partition,
        )
    state.block.candidates = [each for each in state.block.candidates if each.offset in held]
    return held, forgotten


class _Contents:
    """What a batched policy asks about a partition's events; i counts from ``start``."""

    def __init__(
        self,
        part: Work,
        held: Mapping[int, Held],
        novelty: BatchNovelty,
        scored: Scored,
        first_row: int,
    ) -> None:
        self.start = 0
        self._part = part
        self._held = held
        self._novelty = novelty
        self._rows = {record.offset: i for i, (record, _) in enumerate(part.valid)}
        self._embedded: dict[int, F64] = {}
        rows = np.arange(first_row, first_row + len(part.valid))
        self._best = scored.best(rows)
        self._shown = scored.shown[rows]

    def __getitem__(self, offset: int) -> Held:
        i = self._rows.get(offset)
        return self._held[offset] if i is None else Held(*self._part.valid[i], self._part.encoded[i])

    def of(self, block: Block | None) -> dict[int, Held]:
        """Return the candidates of a block by their offsets."""
        return {} if block is None else {held.offset: self[held.offset] for held in block.candidates}

    def near(self, i: int) -> bool:
        """Return whether event i is a near-duplicate of a remembered request."""
        return self._novelty.near(self.start + i)

    def alike(self, i: int, offsets: Sequence[int]) -> list[bool]:
        """Return which candidates are closer to event i than requests typically lie apart."""
        return self._novelty.alike(self.start + i, self._embeddings(offsets)) if offsets else []

    def served(self, i: int) -> tuple[int, int, int]:
        """Return offset, served class and its confidence in millionths of event i."""
        place = self.start + i
        offset, best = self._part.valid[place][0].offset, self._best[place]
        if best is None:
            return offset, NO_LABEL, 0
        return offset, best, int(np.rint(self._shown[place, best] * MILLION))

    def asked(self, i: int) -> None:
        """Remember event i as asked about."""
        self._novelty.asked(self.start + i)

    def choose(self, offsets: Sequence[int], count: int) -> list[int]:
        """Return the offsets to ask about: farthest first, or the best if there is nothing to compare by."""
        reservoir = self._novelty.reservoir()
        if reservoir is None:
            return list(offsets[:count])
        return [offsets[i] for i in diverse_best(self._embeddings(offsets), reservoir, count)]

    def _embeddings(self, offsets: Sequence[int]) -> F64:
        for offset in offsets:
            if offset not in self._embedded:
                self._embedded[offset] = self._novelty.embedding_of(self[offset].encoded)
        return np.array([self._embedded[offset] for offset in offsets])


def _at(log: Log, partition: int, offsets: list[int]) -> Iterator[Record]:
    """Yield the events that the log still holds at these ascending offsets; neighbours are read together."""
    while offsets:
        records = log.tail(EVENTS, partition, offsets[0], min(READ, offsets[-1] - offsets[0] + 1))
        wanted = set(offsets)
        yield from (record for record in records if record.offset in wanted)
        end = records[-1].offset if records else offsets[-1]
        offsets = [offset for offset in offsets if offset > end]
