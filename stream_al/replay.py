"""Replay: does the log alone give what the service has, to the bit?

Two questions. The fold: is the whole reply log, folded from its beginning, the same model as the newest
base and the tail behind it? The decisions: with every recorded model position, do the same events give
the same predictions and label requests, byte for byte?
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import dropwhile, groupby
from typing import NamedTuple

import orjson

from stream_al.decode import decode_event, decode_mapped
from stream_al.engine import Engine
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


def what_is_gone(log: Log) -> str | None:
    """Return why decisions cannot be replayed any more, or None where everything is kept."""
    for topic in (EVENTS, PREDICTIONS, LABEL_REQUESTS):
        for partition in range(log.partitions(topic)):
            first = log.bounds(topic, partition)[0]
            if first > 0:
                return (
                    f"{topic} before offset {first} of partition {partition} are forgotten; decisions can be "
                    "replayed while all events, predictions and requests are kept (log.max_bytes, "
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


class _Run(NamedTuple):
    """Events of one partition that were decided at one model position, bad ones between them."""

    position: int
    partition: int
    records: list[Record]


class ScriptedLog:
    """A log that plays back recorded batches and compares what is committed with what was recorded.

    Parameters
    ----------
    log : Log
        The recorded one; it is only read.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._batch: Batch | None = Batch(
            restored={p: Progress(0, "") for p in range(log.partitions(EVENTS))}
        )
        self._recorded = {
            (topic, p): _records(log, topic, p)
            for topic in (PREDICTIONS, LABEL_REQUESTS)
            for p in range(log.partitions(topic))
        }
        self.compared = Compared()

    def play(self, records: Mapping[int, Sequence[Record]]) -> None:
        """Set what the next poll returns."""
        self._batch = Batch(records=records)

    def poll(self, max_records: int, timeout_seconds: float) -> Batch:
        """Return what was set."""
        batch, self._batch = self._batch, None
        return batch or Batch()

    def commit(self, batch: Batch, outputs: Sequence[Output], progress: Mapping[int, Progress]) -> None:
        """Compare the outputs with the record; nothing is written."""
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
    log : Log
        With everything kept (:func:`what_is_gone`) and ``predictions = all``.
    make_engine : callable
        Makes an engine with an unfitted learner on the log that it is given.
    advance : callable, optional
        Called with the number of events replayed so far.
    from_beginning : bool
        Whether the first event was decided; else a partition begins at the event of its first prediction.
    """
    scripted = ScriptedLog(log)
    engine = make_engine(scripted)
    engine.options = replace(engine.options, guard_topic=False)
    event_map = engine.options.event_map
    engine.tick()  # restores the empty state
    runs = [_runs(log, p, event_map, from_beginning=from_beginning) for p in range(log.partitions(EVENTS))]
    done = 0
    for position, group in groupby(heapq.merge(*runs, key=_place), key=lambda run: run.position):
        for run in group:
            for start in range(0, len(run.records), engine.options.max_batch):
                scripted.play({run.partition: run.records[start : start + engine.options.max_batch]})
                engine.tick(fold=lambda v=position: _fold_before(engine, v))  # type: ignore[misc]  # bound now
                if scripted.compared.difference is not None:
                    return scripted.compared
            done += len(run.records)
            advance(done)
    scripted.finish()
    return scripted.compared


def _place(run: _Run) -> tuple[int, int]:
    return run.position, run.partition


def _fold_before(engine: Engine, position: int) -> None:
    while engine.learner.position < position and engine.fold_some(before=position):
        pass


def _runs(log: Log, partition: int, event_map: EventMap | None, *, from_beginning: bool) -> Iterator[_Run]:
    """Yield a partition's decided events by model position; the n-th valid event has the n-th prediction."""
    predictions = _records(log, PREDICTIONS, partition)
    position = 0
    collected: list[Record] = []
    for record in _decided(log, partition, event_map, from_beginning=from_beginning):
        if _event_id(record, event_map) is not None:
            prediction = next(predictions, None)
            if prediction is None:
                break  # not decided yet
            recorded: int = orjson.loads(prediction.value)["model_version"]
            if recorded != position and collected:
                yield _Run(position, partition, collected)
                collected = []
            position = recorded
        collected.append(record)
    if collected:
        yield _Run(position, partition, collected)


def _decided(
    log: Log, partition: int, event_map: EventMap | None, *, from_beginning: bool
) -> Iterator[Record]:
    """Yield a partition's events from where the service once began."""
    events = _records(log, EVENTS, partition)
    if from_beginning:
        return events
    first = next(_records(log, PREDICTIONS, partition), None)
    if first is None:
        return iter(())
    began: str = orjson.loads(first.value)["event_id"]
    return dropwhile(lambda record: _event_id(record, event_map) != began, events)


def _event_id(record: Record, event_map: EventMap | None) -> str | None:
    """Return the id of an event, None where it is invalid."""
    try:
        if event_map is None:
            return decode_event(record.value).event_id
        source = f"{record.topic}/{record.partition}/{record.offset}"
        return decode_mapped(record.value, event_map, source).event_id
    except InvalidMessage:
        return None


def _records(log: Log, topic: str, partition: int) -> Iterator[Record]:
    position = log.bounds(topic, partition)[0]
    end = log.bounds(topic, partition)[1]
    while position < end:
        records = log.tail(topic, partition, position, CHUNK)
        if not records:
            return
        yield from (record for record in records if record.offset < end)
        position = records[-1].offset + 1


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
