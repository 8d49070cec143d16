"""``produce``: a file's rows as events on the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from stream_al_consumers.options import (
    CategoricalOption,
    ConfigOption,
    DropOption,
    HeadOption,
    JsonOption,
    LogOption,
    TextOption,
    TimeOption,
    listed,
)
from stream_al_consumers.output import out, print_json, progress, say

if TYPE_CHECKING:
    from stream_al.log.protocol import Log, Record

CHUNK = 500
"""Rows appended at once."""
SCANNED = 5_000
"""Records read at once when looking for where an earlier run stopped."""
LINES = (".ndjson", ".jsonl")
Pair = tuple[bytes | None, bytes]


def produce(
    file: Annotated[Path, typer.Argument(help="CSV(.gz), Parquet, npz, or NDJSON with one event a line.")],
    label: Annotated[
        str | None, typer.Option(help="Column of the label: it is left out of the events.")
    ] = None,
    no_label: Annotated[bool, typer.Option("--no-label", help="The file has no label column.")] = False,
    text: TextOption = None,
    time: TimeOption = None,
    categorical: CategoricalOption = "",
    drop: DropOption = "",
    head: HeadOption = None,
    skip: Annotated[int, typer.Option(help="Leave out the first rows.", min=0)] = 0,
    again: Annotated[
        bool, typer.Option("--again", help="Append rows even where the log holds them already.")
    ] = False,
    rate: Annotated[float | None, typer.Option(help="Events a second; as fast as possible without.")] = None,
    config: ConfigOption = None,
    log: LogOption = None,
    json: JsonOption = False,
) -> None:
    """Append a file's rows to the log as events; run again, it goes on where it was stopped.

    The log itself says how far an earlier run came, so a kill at any moment loses and doubles nothing; but
    --again begins at the first row each time.
    """
    from contextlib import closing
    from itertools import chain

    from stream_al.errors import ConfigurationError
    from stream_al.log.protocol import EVENTS
    from stream_al_consumers.configuration import log_name, open_log, read_settings

    if rate is not None and rate <= 0:
        raise ConfigurationError(f"--rate is {rate:g}; expected events a second, above 0")
    settings = read_settings(config, log)
    if file.suffix in LINES:
        source = _lines(file, head)
    else:
        _name_the_label(file, label, no_label)
        source = _rows(file, label, text, time, listed(categorical), listed(drop), head)
    done, name = 0, log_name(settings)
    with closing(open_log(settings, create=True)) as events, progress() as bar:
        held = Held(skip, []) if again else source.held(events, skip)
        begin = max(skip, held.end)
        there = begin - skip - len(held.gaps)
        task = bar.add_task("appending events", total=max(0, source.total - begin) + len(held.gaps))
        # what a broken-off chunk left open goes first and alone: only ever one chunk has gaps
        for chunk in chain(_chunks(held.gaps, None), _chunks(range(begin, source.total), rate)):
            events.append_many(EVENTS, [source.pair(row) for row in chunk])
            done += len(chunk)
            bar.update(task, completed=done)
    if there:
        say(f"{there} rows stood in the log already; --again appends them once more")
    if json:
        print_json({"appended": done, "already_there": there, "log": name})
    else:
        out.print(f"{done} events appended to {name}", markup=False)


class Held(NamedTuple):
    """Rows that the log holds: those before ``end`` but for ``gaps``; rows that are skipped do not count.

    A chunk is appended before the next one begins, but on Kafka it may be broken off in some partitions
    only. So all gaps lie within the last chunk.
    """

    end: int
    gaps: list[int]


class Source(NamedTuple):
    """Rows to append, and which of them an earlier run left in a log."""

    total: int
    pair: Callable[[int], Pair]
    held: Callable[[Log, int], Held]


def _held_rows(log: Log, row_of: Callable[[Record], int | None], skip: int) -> Held:
    """Return which rows stand in the log where each is unique: its newest records tell."""
    from stream_al.log.protocol import EVENTS

    found, forgotten = set[int](), False
    for partition in range(log.partitions(EVENTS)):
        first, end = log.bounds(EVENTS, partition)
        mine = set[int]()
        while end > first:
            start = max(first, end - SCANNED)
            rows = {row_of(r) for r in log.tail(EVENTS, partition, start, end - start) if r.offset < end}
            mine |= {row for row in rows if row is not None}
            if mine and min(mine) <= max(mine) - CHUNK:
                break  # in order within a partition: what is older belongs to older chunks
            end = start
        else:
            forgotten = forgotten or first > 0
        found |= mine
    newest = max(found, default=-1)
    oldest = max(skip, newest - CHUNK + 1)
    if forgotten:  # what the log has forgotten is not missing
        oldest = max(oldest, min((row for row in found if row >= oldest), default=oldest))
    return Held(newest + 1, [row for row in range(oldest, newest) if row not in found])


def _held_lines(log: Log, lines: list[bytes], skip: int) -> Held:
    """Return which lines stand in the log where lines may repeat.

    Appends are in order, so an earlier run left the longest beginning of the file that the log holds, each
    line as often as it stands there, and perhaps more of the chunk in which it was broken off. Where the log
    has forgotten its own beginning, it is the shortest one that holds all that is left of it: a line may
    then be doubled, but none is lost.
    """
    from stream_al.log.protocol import EVENTS

    digests = [_digest(line) for line in lines[skip:]]
    wanted, held, complete = Counter(digests), Counter[bytes](), True
    for partition in range(log.partitions(EVENTS)):
        position = log.bounds(EVENTS, partition)[0]
        complete = complete and position == 0
        while records := log.tail(EVENTS, partition, position, SCANNED):
            held.update(digest for r in records if (digest := _digest(r.value)) in wanted)
            position = records[-1].offset + 1
    held &= wanted
    left, end, gaps = held.total(), 0, list[int]()
    for n, digest in enumerate(digests):
        if left == 0 or (gaps and n >= gaps[0] + CHUNK):
            break
        if held[digest] > 0:
            held[digest] -= 1
            left -= 1
            end = n + 1
        elif complete:
            gaps.append(n)
        else:
            end = n + 1  # forgotten, as its beginning is
    return Held(skip + end, [skip + gap for gap in gaps if gap < end])


def _digest(line: bytes) -> bytes:
    from hashlib import blake2b

    return blake2b(line, digest_size=16).digest()


def _name_the_label(file: Path, label: str | None, no_label: bool) -> None:
    """Raise unless it is said which column is the answer: as a feature it would give itself away."""
    from stream_al.errors import ConfigurationError

    if (label is None) != no_label:
        raise ConfigurationError(
            f"{file.name} is a table: name its label column with --label, so that the answer stays out of "
            "the events, or say --no-label if it has none"
        )


def _rows(
    file: Path,
    label: str | None,
    text: str | None,
    time: str | None,
    categorical: tuple[str, ...],
    drop: tuple[str, ...],
    head: int | None,
) -> Source:
    """Return the events of a table, one a row."""
    from stream_al.datasets import read_table

    table = read_table(file, label=label, text=text, time=time, categorical=categorical, drop=drop, head=head)

    def row_of(record: Record) -> int | None:
        row = table.row_of(record.key.decode(errors="replace")) if record.key else None
        return row if row is not None and table.event_json(row) == record.value else None

    def pair(row: int) -> Pair:
        return f"{table.name}-{row}".encode(), table.event_json(row)

    return Source(table.n, pair, lambda log, skip: _held_rows(log, row_of, skip))


def _lines(file: Path, head: int | None) -> Source:
    """Return the lines of a file as they are, each with its event's id as key."""
    import orjson

    from stream_al.errors import DataError

    try:
        lines = [line for line in file.read_bytes().split(b"\n") if line.strip()][:head]
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}); check the path") from error
    if not lines:
        raise DataError(f"{file} is empty; expected one JSON event a line")

    def key(line: bytes) -> bytes | None:
        try:
            return str(orjson.loads(line)["event_id"]).encode()
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return None  # the engine judges events; a bad one becomes a dead letter

    return Source(
        len(lines),
        lambda i: (key(lines[i]), lines[i]),
        lambda log, skip: _held_lines(log, lines, skip),
    )


def _chunks(rows: Sequence[int], rate: float | None) -> Iterator[Sequence[int]]:
    """Yield the rows in chunks, no faster than ``rate`` a second."""
    import time

    size = CHUNK if rate is None else max(1, min(CHUNK, int(rate / 20)))
    began = time.monotonic()
    for start in range(0, len(rows), size):
        chunk = rows[start : start + size]
        yield chunk
        if rate is not None:
            time.sleep(max(0.0, began + (start + len(chunk)) / rate - time.monotonic()))
