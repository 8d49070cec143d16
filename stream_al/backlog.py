"""The backlog: what would be asked about events that are in the log already, outside the stream's budget.

For a new task on old data, or a few labels more than the stream may ask for. All events are read once and
scored with one model; the best-scored ones are candidates, and of those the ones that are farthest from
each other and from what was asked before are picked. Nothing of the live service is touched: a request of
the backlog is one that somebody appended. Its ticket says so, and has no propensity, so no ledger, no
reservoir and no estimate counts it; its answer is learned like any other.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain

import numpy as np
import orjson
from numpy.typing import NDArray

from stream_al.asked_before import AskedBefore
from stream_al.columns import Columns
from stream_al.decode import DecodedEvent
from stream_al.encode import EncodedInput, encode
from stream_al.engine import Engine
from stream_al.learner import Learner
from stream_al.log.protocol import EVENTS, LABEL_REQUESTS, Log, Record
from stream_al.models.scaler import Scaler
from stream_al.novelty import near_fraction
from stream_al.outputs import OutputWriter
from stream_al.query.coin import Coin
from stream_al.query.farthest import Cover, farthest_first
from stream_al.query.policy import UNSCORED
from stream_al.query.projection import DIMENSIONS, Projection
from stream_al.query.window import SCALE
from stream_al.replay import CHUNK, chunks_of, event_of

F64 = NDArray[np.float64]
PER_PICK = 10
MAX_CANDIDATES = 10_000
MAX_PASSES = 10
"""Times that the log is read at most. A second time is needed only where near-duplicates of a few events
took the places of all candidates; they are passed over then."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An event that could be asked about: where it stands, its score u (16 bits), what is predicted."""

    partition: int
    offset: int
    event_id: str
    score: int
    coin: float
    label: str | None
    confidence: float
    encoded: EncodedInput


@dataclass(frozen=True, slots=True)
class Picked:
    """A picked event, and its distance to the nearest one picked or asked before it; None for the first."""

    candidate: Candidate
    distance: float | None


@dataclass(slots=True)
class Choice:
    """What was found.

    Attributes
    ----------
    events, invalid, unscored : int
        Events read, and those that are no events, or that the query score failed on.
    already_asked : int
        Left out for having a request, an answer or a label.
    candidates : int
        From which was picked.
    passes : int
        Times that the log was read.
    picked : list of Picked
        In the order of picking.
    """

    events: int = 0
    invalid: int = 0
    unscored: int = 0
    already_asked: int = 0
    candidates: int = 0
    passes: int = 0
    picked: list[Picked] = field(default_factory=list)


class Backlog:
    """Picks events of a log, and asks about them.

    Parameters
    ----------
    log : Log
    engine : Engine
        Never run; its learner is the model that scores, its options and scores are the stream's.
    writer : OutputWriter
        Of the same learner.
    """

    def __init__(self, log: Log, engine: Engine, writer: OutputWriter) -> None:
        self._log = log
        self._learner = engine.learner
        self._scores = engine.scores
        self._options = engine.options
        self._writer = writer
        self._coin = Coin("backlog", engine.options.seed)
        self._asked = AskedBefore(log)

    def choose(self, k: int, advance: Callable[[int], None] = lambda done: None) -> Choice:
        """Return at most k events that are worth asking about and unlike each other.

        A function of the log and the seed: asked again, it is the same.

        Parameters
        ----------
        k : int
            1 to 10,000.
        advance : callable, optional
            Called with the number of records read in this pass.
        """
        choice = Choice()
        best = self._best(k, choice, lambda candidates: candidates, advance)
        candidates = best.ranked()
        choice.candidates = len(candidates)
        space = _Space(self._learner, candidates, self._options.seed)
        near = near_fraction(self._learner.columns)
        cover = Cover(space(self._asked.inputs(self._learner.office)), near)

        def uncovered(candidates: list[Candidate]) -> list[Candidate]:
            taken = {each.candidate.event_id for each in choice.picked}
            far = cover.squares(space([each.encoded for each in candidates])) > cover.limit
            pairs = zip(candidates, far.tolist(), strict=True)
            return [each for each, is_far in pairs if is_far and each.event_id not in taken]

        while True:
            points = space([candidate.encoded for candidate in candidates])
            picks = farthest_first(points, cover, k - len(choice.picked))
            choice.picked += [Picked(candidates[pick.row], pick.distance) for pick in picks]
            idle = choice.passes > 1 and not picks
            if len(choice.picked) == k or not best.overflowed or idle or choice.passes == MAX_PASSES:
                return choice
            best = self._best(k, choice, uncovered, advance)
            candidates = best.ranked()

    def ask(self, picked: Sequence[Picked], now_ms: int) -> int:
        """Append a label request for each of these events; return how many there were to append.

        What was asked about in the meantime, or forgotten by retention, is left out.
        """
        self._asked.refresh()
        requests = []
        for candidate in (each.candidate for each in picked):
            records = self._log.tail(EVENTS, candidate.partition, candidate.offset, 1)
            event = event_of(records[0], self._options.event_map) if records else None
            if event is None or event.event_id != candidate.event_id or event.event_id in self._asked:
                continue
            u = candidate.score / SCALE
            requests.append(
                self._writer.backlog_request(
                    records[0], event, candidate.encoded, candidate.label, candidate.confidence, u, now_ms
                )
            )
        for start in range(0, len(requests), CHUNK):
            self._log.append_many(LABEL_REQUESTS, requests[start : start + CHUNK])
        return len(requests)

    # ---- reading ------------------------------------------------------------------------------

    def _best(
        self,
        k: int,
        choice: Choice,
        keep: Callable[[list[Candidate]], list[Candidate]],
        advance: Callable[[int], None],
    ) -> _Best:
        """Read all events and return the best-scored candidates among those that are to be kept."""
        best, first, done = _Best(max(k, min(PER_PICK * k, MAX_CANDIDATES))), choice.passes == 0, 0
        choice.passes += 1
        partitions = range(self._log.partitions(EVENTS))
        for records in chain.from_iterable(chunks_of(self._log, EVENTS, p) for p in partitions):
            events = [(record, event_of(record, self._options.event_map)) for record in records]
            valid = [(record, event) for record, event in events if event is not None]
            fresh = [(record, event) for record, event in valid if event.event_id not in self._asked]
            found = self._scored(fresh) if fresh else []
            if first:
                choice.events += len(valid)
                choice.invalid += len(records) - len(valid)
                choice.already_asked += len(valid) - len(fresh)
                choice.unscored += len(fresh) - len(found)
            for candidate in keep([each for each in found if best.wants(each)]):
                best.offer(candidate)
            done += len(records)
            advance(done)
        return best

    def _scored(self, events: Sequence[tuple[Record, DecodedEvent]]) -> list[Candidate]:
        """Return the events with their scores, those that the score fails on left out."""
        encoded = [encode(event, self._options.encoding) for _, event in events]
        ids = [event.event_id for _, event in events]
        scored = self._learner.score(encoded)
        rows = np.arange(len(events))
        best, shown = scored.best(rows), scored.shown[rows].max(axis=1).tolist()
        labels = self._learner.labels
        return [
            Candidate(
                record.partition,
                record.offset,
                event.event_id,
                score,
                coin,
                None if top is None else labels[top],
                0.0 if top is None else confidence,
                x,
            )
            for (record, event), score, coin, top, confidence, x in zip(
                events,
                self._scores.alone(self._learner, scored, ids),
                self._coin.many(ids),
                best,
                shown,
                encoded,
                strict=True,
            )
            if score != UNSCORED
        ]


class _Best:
    """The candidates of highest score, so many at most; a coin an id decides among equals.

    So while nothing is learned, and all scores are 1, they are a uniform sample. Of exact copies one is
    held, and so is one of events with the same id.
    """

    def __init__(self, size: int) -> None:
        self.overflowed = False
        self._size = size
        self._heap: list[tuple[int, float, int, Candidate, bytes]] = []
        self._held: set[bytes | str] = set()
        self._offered = 0

    def wants(self, candidate: Candidate) -> bool:
        """Return whether there is room for a candidate of this score."""
        wanted = len(self._heap) < self._size or (candidate.score, candidate.coin) > self._heap[0][:2]
        self.overflowed = self.overflowed or not wanted
        return wanted

    def offer(self, candidate: Candidate) -> None:
        """Hold the candidate, in place of the worst one where there is no more room."""
        copy = blake2b(orjson.dumps(candidate.encoded.to_message()), digest_size=16).digest()
        if copy in self._held or candidate.event_id in self._held:
            return
        self._held |= {copy, candidate.event_id}
        self._offered += 1
        entry = (candidate.score, candidate.coin, -self._offered, candidate, copy)
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, entry)
            return
        self.overflowed = True
        *_, worst, its_copy = heapq.heappushpop(self._heap, entry)
        self._held -= {its_copy, worst.event_id}

    def ranked(self) -> list[Candidate]:
        """Return the held candidates, best first."""
        return [entry[3] for entry in sorted(self._heap, reverse=True)]


class _Space:
    """The reservoir's embedding, with the learner's scale.

    A learner that has seen nothing of the stream yet has no columns: then columns and scale are those of
    the first candidates, which are a uniform sample.
    """

    def __init__(self, learner: Learner, candidates: Sequence[Candidate], seed: int) -> None:
        self._project = Projection(seed)
        self._columns, self._scaler = learner.columns, learner.scaler
        if self._columns or self._columns.has_words:
            return
        options = learner.options
        self._columns = Columns(options.column_limit, options.encoding.bits)
        self._scaler = Scaler(options.scale_memory)
        for candidate in candidates:
            self._columns.register(candidate.encoded)
        self._scaler.grow(np.array(self._columns.indicator, dtype=bool))
        for candidate in candidates:
            row = self._columns.inputs([candidate.encoded], self._scaler, pad=False)
            self._scaler.observe(row.dense[0], 1.0)

    def __call__(self, encoded: Sequence[EncodedInput]) -> F64:
        """Return the embeddings (n, 64) of n inputs."""
        if not encoded:
            return np.zeros((0, DIMENSIONS))
        inputs = self._columns.inputs(encoded, self._scaler, pad=False)
        return self._project(inputs, range(len(encoded)))
