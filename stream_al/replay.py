"""Replay: does the log alone give what the service has, to the bit?

Two questions. The fold: is the whole reply log, folded from its beginning, the same model as the newest
base and the tail behind it? The decisions: with every recorded model position, do the same events give
the same predictions and label requests, byte for byte?
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, dropwhile, filterfalse
from typing import NamedTuple

import orjson

from stream_al.decode import DecodedEvent, decode_event, decode_mapped
from stream_al.engine import Engine, Tick
from stream_al.errors import InvalidMessage, LogError
from stream_al.learner import Learner
from stream_al.log.protocol import (
    EVENTS,
    LABEL_REPLIES,
    LABEL_REQUESTS,
    PREDICTIONS,
    Batch,
    Log,
    Output,
    Position,
    Progress,
    Record,
)
from stream_al.mapping import EventMap
from stream_al.outputs import is_backlog
from stream_al.query.reservoir import SIZE, STRIDE

CHUNK = 500
Advance = Callable[[int], None]


def fold_to(log: Log, learner: Learner, end: int, advance: Advance = lambda done: None) -> str:
    """Fold the reply log up to an offset and return the model's fingerprint there."""
    while learner.position < end:
        records = log.tail(LABEL_REPLIES, 0, learner.position, min(CHUNK, end - learner.position))
        records = [record for record in records if record.offset < end]
        if not records:
            break
        learner.fold(records)
        advance(learner.position)
    return learner.fingerprint()


def what_is_gone(log: Log, partitions: Sequence[int] | None = None) -> str | None:
    """Return why decisions of these partitions (all without) cannot be made again, None where all is kept."""
    chosen = range(log.partitions(EVENTS)) if partitions is None else partitions
    places = [(topic, p) for topic in (EVENTS, PREDICTIONS, LABEL_REQUESTS) for p in chosen]
    for topic, partition in (*places, (LABEL_REPLIES, 0)):
        first = log.bounds(topic, partition)[0]
        if first > 0:
            return (
                f"{topic} before offset {first} of partition {partition} are forgotten; decisions can be "
                "replayed while all events, predictions, requests and replies are kept (log.max_bytes, "
                "log.max_age_seconds)"
            )
    return None


@dataclass(slots=True)
class Compared:
    """Decisions replayed so far.

    Attributes
    ----------
    outputs : int
        Predictions and requests that were compared.
    difference : str or None
        The first output that was not the same.
    """

    outputs: int = 0
    difference: str | None = None


class Run(NamedTuple):
    """Some events of one partition that were decided at one model position, bad ones between them."""

    position: int
    partition: int
    records: list[Record]


class ScriptedLog:
    """A log that plays back recorded batches and compares what is committed with what was recorded.

    Parameters
    ----------
    log : Log
        The recorded one; it is only read.
    partitions : sequence of int
        Those of ``events`` that are played; they are independent of each other.

    Attributes
    ----------
    made : sequence of Output
        What was committed last.
    asked : mapping of partition to deque of str
        Ids of the last events that were asked about, oldest first: more than are remembered.
    """

    def __init__(self, log: Log, partitions: Sequence[int]) -> None:
        self._log = log
        self._batch: Batch | None = Batch(restored={p: Progress(0, "") for p in partitions})
        self._recorded = {(PREDICTIONS, p): records_of(log, PREDICTIONS, p) for p in partitions}
        self._recorded |= {(LABEL_REQUESTS, p): _live_requests(log, p) for p in partitions}
        self.compared = Compared()
        self.made: Sequence[Output] = ()
        self.asked = {p: deque[str](maxlen=SIZE + STRIDE) for p in partitions}

    def play(self, records: Mapping[int, Sequence[Record]]) -> None:
        """Set what the next poll returns."""
        self._batch = Batch(records=records)

    def poll(self, max_records: int, timeout_seconds: float) -> Batch:
        """Return what was set."""
        batch, self._batch = self._batch, None
        return batch or Batch()

    def commit(self, batch: Batch, outputs: Sequence[Output], progress: Mapping[int, Progress]) -> None:
        """Compare the outputs with the record; nothing is written."""
        self.made = outputs
        for output in outputs:
            recorded = self._recorded.get((output.topic, output.partition))
            if recorded is None or self.compared.difference is not None:
                continue  # samples and dead letters stand among other people's records
            expected = next(recorded, None)
            if expected is None:
                self.compared.difference = f"{_named(output.topic, output.value)}: made now, never recorded"
            elif expected.value != output.value:
                what = _named(output.topic, expected.value)
                self.compared.difference = f"{what}: recorded {_differing(expected.value, output.value)}"
            elif output.topic == LABEL_REQUESTS:
                self.asked[output.partition].append(orjson.loads(output.value)["event"]["event_id"])
            self.compared.outputs += 1

    def finish(self) -> None:
        """Note what was recorded but not made now."""
        for (topic, _), recorded in self._recorded.items():
            left = next(recorded, None)
            if left is not None and self.compared.difference is None:
                self.compared.difference = f"{_named(topic, left.value)}: recorded, not made now"

    def tail(self, topic: str, partition: int, from_offset: int, max_records: int) -> list[Record]:
        """Return recorded replies; requests were none when the run began."""
        return self._log.tail(topic, partition, from_offset, max_records) if topic == LABEL_REPLIES else []

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Return the bounds of recorded replies; everything else is empty when the run begins."""
        return self._log.bounds(topic, partition) if topic == LABEL_REPLIES else (0, 0)

    def partitions(self, topic: str) -> int:
        """Return the number of partitions of a topic."""
        return self._log.partitions(topic)

    def append(self, topic: str, key: bytes | None, value: bytes) -> Position:
        """Refuse: a replay writes nothing."""
        raise LogError("a replay writes nothing; append to the log itself")

    def append_many(self, topic: str, records: Sequence[tuple[bytes | None, bytes]]) -> list[Position]:
        """Refuse: a replay writes nothing."""
        raise LogError("a replay writes nothing; append to the log itself")

    def read(self, topic: str, group: str, max_records: int) -> list[Record]:
        """Return nothing: a replay has no readers."""
        return []

    def ack(self, group: str, records: Sequence[Record]) -> None:
        """Do nothing: a replay has no readers."""

    def close(self) -> None:
        """Leave the recorded log open: it is the caller's."""


class Rerun:
    """The real engine, run again over recorded events at the recorded model positions.

    Parameters
    ----------
    log : Log
        With everything kept (:func:`what_is_gone`) and ``predictions = all``; it is only read.
    make_engine : callable
        Makes an engine with an unfitted learner on the log that it is given.
    partitions : sequence of int, optional
        Of ``events``; all without. What one decides does not depend on the others.
    from_beginning : bool
        Whether the first event was decided; else a partition begins at the event of its first prediction.

    Attributes
    ----------
    engine : Engine
    scripted : ScriptedLog
        What the engine runs on; it compares.
    """

    def __init__(
        self,
        log: Log,
        make_engine: Callable[[Log], Engine],
        partitions: Sequence[int] | None = None,
        *,
        from_beginning: bool = True,
    ) -> None:
        self._log = log
        self._partitions = range(log.partitions(EVENTS)) if partitions is None else partitions
        self._from_beginning = from_beginning
        self.scripted = ScriptedLog(log, self._partitions)
        self.engine = make_engine(self.scripted)
        self.engine.options = replace(self.engine.options, guard_topic=False)
        self.engine.tick()  # restores the empty state

    def runs(self) -> Iterator[Run]:
        """Yield the decided events in the order of the model positions that they were decided at."""
        event_map = self.engine.options.event_map
        runs = [_runs(self._log, p, event_map, from_beginning=self._from_beginning) for p in self._partitions]
        return heapq.merge(*runs, key=lambda run: (run.position, run.partition))

    def fold(self, position: int) -> None:
        """Fold the reply log up to a model position."""
        while self.engine.learner.position < position and self.engine.fold_some(before=position):
            pass

    def decide(self, run: Run) -> Tick:
        """Decide a run's events and compare the outputs; return the last tick.

        After a difference nothing more is decided: the states need not be those of then.
        """
        size, tick = self.engine.options.max_batch, Tick()
        for start in range(0, len(run.records), size):
            if self.difference is not None:
                break
            self.scripted.play({run.partition: run.records[start : start + size]})
            tick = self.engine.tick(fold=lambda: self.fold(run.position))
        return tick

    @property
    def difference(self) -> str | None:
        """What was decided otherwise than it is recorded, first of all."""
        return self.scripted.compared.difference


def replay_decisions(
    log: Log,
    make_engine: Callable[[Log], Engine],
    advance: Advance = lambda done: None,
    *,
    from_beginning: bool = True,
) -> Compared:
    """Run every recorded decision again, at its recorded model position.

    Parameters
    ----------
    log, make_engine, from_beginning
        See :class:`Rerun`.
    advance : callable, optional
        Called with the number of events replayed so far.
    """
    rerun, done = Rerun(log, make_engine, from_beginning=from_beginning), 0
    for run in rerun.runs():
        rerun.decide(run)
        if rerun.difference is not None:
            return rerun.scripted.compared
        done += len(run.records)
        advance(done)
    rerun.scripted.finish()
    return rerun.scripted.compared


def _runs(log: Log, partition: int, event_map: EventMap | None, *, from_beginning: bool) -> Iterator[Run]:
    """Yield a partition's decided events by model position; the n-th valid event has the n-th prediction."""
    predictions = records_of(log, PREDICTIONS, partition)
    position = 0
    collected: list[Record] = []
    for record in _decided(log, partition, event_map, from_beginning=from_beginning):
        if event_id_of(record, event_map) is not None:
            prediction = next(predictions, None)
            if prediction is None:
                break  # not decided yet
            recorded: int = orjson.loads(prediction.value)["model_version"]
            if collected and (recorded != position or len(collected) >= CHUNK):
                yield Run(position, partition, collected)
                collected = []
            position = recorded
        collected.append(record)
    if collected:
        yield Run(position, partition, collected)


def _decided(
    log: Log, partition: int, event_map: EventMap | None, *, from_beginning: bool
) -> Iterator[Record]:
    """Yield a partition's events from where the service once began."""
    events = records_of(log, EVENTS, partition)
    if from_beginning:
        return events
    first = next(records_of(log, PREDICTIONS, partition), None)
    if first is None:
        return iter(())
    began: str = orjson.loads(first.value)["event_id"]
    return dropwhile(lambda record: event_id_of(record, event_map) != began, events)


def event_of(record: Record, event_map: EventMap | None) -> DecodedEvent | None:
    """Return the event that a record holds, None where it is invalid."""
    try:
        if event_map is None:
            return decode_event(record.value)
        source = f"{record.topic}/{record.partition}/{record.offset}"
        return decode_mapped(record.value, event_map, source)
    except InvalidMessage:
        return None


def event_id_of(record: Record, event_map: EventMap | None) -> str | None:
    """Return the id of an event, None where it is invalid."""
    event = event_of(record, event_map)
    return None if event is None else event.event_id


def records_of(log: Log, topic: str, partition: int) -> Iterator[Record]:
    """Yield what a partition holds now, from its beginning."""
    return chain.from_iterable(chunks_of(log, topic, partition))


def chunks_of(log: Log, topic: str, partition: int) -> Iterator[list[Record]]:
    """Yield what a partition holds now, from its beginning, at most 500 records at a time."""
    position, end = log.bounds(topic, partition)
    while position < end and (records := log.tail(topic, partition, position, CHUNK)):
        yield [record for record in records if record.offset < end]
        position = records[-1].offset + 1


def _live_requests(log: Log, partition: int) -> Iterator[Record]:
    """Yield the requests that the engine made; the backlog's stand among them."""
    return filterfalse(lambda record: is_backlog(record.value), records_of(log, LABEL_REQUESTS, partition))


def _named(topic: str, value: bytes) -> str:
    """Return what a message is about."""
    found = orjson.loads(value)
    event_id = found["event"]["event_id"] if topic == LABEL_REQUESTS else found["event_id"]
    return f"{topic.removesuffix('s')} of event {event_id!r}"


def _differing(recorded: bytes, made: bytes) -> str:
    """Return the first field in which two messages differ, and both values, short."""
    was, now = orjson.loads(recorded), orjson.loads(made)
    for name in dict.fromkeys((*was, *now)):
        if was.get(name) != now.get(name):
            return f"{name} = {str(was.get(name))[:200]}, made now {str(now.get(name))[:200]}"
    return "the same values in other bytes"
