"""Readers of logs whose offsets are not dense, as Kafka's are: every record is followed by a marker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from stream_al.log.memory import MemoryLog
from stream_al.log.protocol import EVENTS, PREDICTIONS, Record
from stream_al_consumers.cursor import Cursor, newest
from stream_al_consumers.produce_command import CHUNK, Held, _held_lines, _held_rows


class SparseLog(MemoryLog):
    """A log in which the n-th record of a partition has offset 2 n; counts how often it was read."""

    reads = 0

    def tail(self, topic: str, partition: int, from_offset: int, max_records: int) -> list[Record]:
        self.reads += 1
        found = super().tail(topic, partition, (from_offset + 1) // 2, max_records)
        return [record._replace(offset=2 * record.offset) for record in found]

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        first, end = super().bounds(topic, partition)
        return 2 * first, 2 * end


@pytest.fixture
def log() -> Iterator[SparseLog]:
    with closing(SparseLog(partitions=3)) as log:
        yield log


def write(log: MemoryLog, rows: list[int], topic: str = EVENTS) -> None:
    log.append_many(topic, [(b"%d" % row, b"%d" % row) for row in rows])


def row_of(record: Record) -> int | None:
    return int(record.value) if record.value.isdigit() else None


def test_a_cursor_reads_everything_once_and_then_nothing(log: SparseLog) -> None:
    log.append_many(EVENTS, [(b"k", b"%d" % i) for i in range(10)])
    (partition,) = (p for p in range(3) if log.bounds(EVENTS, p)[1])
    cursor = Cursor(log, EVENTS, partition, 0)
    found = [record.value for _ in range(4) for record in cursor.take(4)]
    assert found == [b"%d" % i for i in range(10)]
    assert cursor.take(4) == []
    reads = log.reads
    assert cursor.take(4) == []
    assert log.reads == reads  # at the end it asks for the end only
    log.append(EVENTS, b"k", b"more")
    assert [record.value for record in cursor.take(4)] == [b"more"]


def test_a_cursor_stops_before_an_end(log: SparseLog) -> None:
    log.append_many(EVENTS, [(b"k", b"%d" % i) for i in range(10)])
    (partition,) = (p for p in range(3) if log.bounds(EVENTS, p)[1])
    cursor = Cursor(log, EVENTS, partition, 0)
    assert [record.value for record in cursor.take(100, 5)] == [b"0", b"1", b"2"]
    assert cursor.take(100, 5) == []
    assert cursor.position == 5
    assert [record.value for record in cursor.take(1)] == [b"3"]


@pytest.mark.parametrize("count", [1, 7, 40])
def test_the_newest_records(log: SparseLog, count: int) -> None:
    log.append_many(PREDICTIONS, [(b"k", b"%d" % i) for i in range(20)])
    found = {p: newest(log, PREDICTIONS, p, count) for p in range(3)}
    (records,) = (records for records in found.values() if records)
    assert len(records) >= min(count, 20)
    assert records[-1].value == b"19"


# ---- what an earlier `produce` left -----------------------------------------------------------------


def test_nothing_was_left(log: SparseLog) -> None:
    write(log, [])
    assert _held_rows(log, row_of, 5) == Held(0, [])


def test_whole_chunks_were_left(log: SparseLog) -> None:
    write(log, list(range(2 * CHUNK)))
    log.append(EVENTS, b"other", b"somebody else's")
    assert _held_rows(log, row_of, 0) == Held(2 * CHUNK, [])


@pytest.mark.parametrize("lost", [[CHUNK], [CHUNK, CHUNK + 7], list(range(CHUNK, CHUNK + 90, 2))])
def test_a_chunk_was_broken_off(log: SparseLog, lost: list[int]) -> None:
    write(log, list(range(CHUNK)))
    write(log, [row for row in range(CHUNK, CHUNK + 100) if row not in lost])
    assert _held_rows(log, row_of, 0) == Held(CHUNK + 100, lost)


def test_the_first_chunk_was_broken_off(log: SparseLog) -> None:
    write(log, [3, 4, 9])
    assert _held_rows(log, row_of, 0) == Held(10, [0, 1, 2, 5, 6, 7, 8])
    assert _held_rows(log, row_of, 4) == Held(10, [5, 6, 7, 8])


def test_lines_of_a_broken_chunk_are_completed(log: SparseLog) -> None:
    lines = [b"%d" % (i // 2) for i in range(20)]  # each of them twice
    log.append_many(EVENTS, [(line, line) for line in lines[:5] + lines[8:11]])
    held = _held_lines(log, lines, 0)
    missing = [*held.gaps, *range(held.end, 20)]
    log.append_many(EVENTS, [(lines[i], lines[i]) for i in missing])
    found = sorted(record.value for p in range(3) for record in log.tail(EVENTS, p, 0, 100))
    assert found == sorted(lines)
