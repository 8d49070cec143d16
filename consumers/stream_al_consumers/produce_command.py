"""``produce``: a file's rows as events on the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
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
    from stream_al.errors import ConfigurationError
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
    --again begins at the first row each time. Ids that the log holds with other contents are refused.
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
        if held.others:
            raise _other_contents(source, held, file.name, name)
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
    only. So all gaps lie within the last chunk. ``others`` are rows to be appended whose ids the log holds
    with other contents, one for each id.
    """

    end: int
    gaps: list[int]
    others: tuple[int, ...] = ()


class Source(NamedTuple):
    """Rows to append, and which of them an earlier run left in a log."""

    total: int
    pair: Callable[[int], Pair]
    held: Callable[[Log, int], Held]


def _other_contents(source: Source, held: Held, file: str, log: str) -> ConfigurationError:
    """Return the error that keeps events from being predicted, and paid for, twice."""
    from stream_al.errors import ConfigurationError

    key = source.pair(held.others[0])[0] or b""
    return ConfigurationError(
        f"{log} holds {len(held.others)} of the ids in {file} with other contents, {key.decode()!r} for one; "
        "expected what an earlier run appended, so nothing was appended now; read the same file with the "
        "same options as then (--text, --drop, …), or use a new log; --again appends all rows once more, and "
        "each is then predicted and paid for again"
    )


def _held_rows(
    log: Log,
    row_of: Callable[[Record], int | None],
    skip: int,
    same: Callable[[Record, int], bool] = lambda record, row: True,
) -> Held:
    """Return which rows stand in the log where each is unique: its newest records tell.

    ``row_of`` finds a record's row by its id, ``same`` says whether it has the contents of that row.
    """
    from stream_al.log.protocol import EVENTS

    found, others, forgotten = set[int](), set[int](), False
    for partition in range(log.partitions(EVENTS)):
        first, end = log.bounds(EVENTS, partition)
        mine = set[int]()
        while end > first:
            start = max(first, end - SCANNED)
            for record in log.tail(EVENTS, partition, start, end - start):
                row = row_of(record) if record.offset < end else None
                if row is not None and same(record, row):
                    mine.add(row)
                elif row is not None and _id(record.value) == record.key:
                    others.add(row)
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
    gaps = [row for row in range(oldest, newest) if row not in found]
    within, behind = set(gaps), max(newest + 1, skip)
    return Held(newest + 1, gaps, tuple(sorted(row for row in others if row >= behind or row in within)))


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
    strangers = _Strangers(lines, skip)
    for partition in range(log.partitions(EVENTS)):
        position = log.bounds(EVENTS, partition)[0]
        complete = complete and position == 0
        while records := log.tail(EVENTS, partition, position, SCANNED):
            for record in records:
                if (digest := _digest(record.value)) in wanted:
                    held[digest] += 1
                else:
                    strangers.look_at(record, digest)
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
    gaps, end = [skip + gap for gap in gaps if gap < end], skip + end
    return Held(end, gaps, strangers.among([*gaps, *range(end, len(lines))]))


class _Strangers:
    """Ids of a file's lines that the log holds with contents of no line of the file."""

    def __init__(self, lines: list[bytes], skip: int) -> None:
        self._lines, self._skip = lines, skip
        self._found = set[bytes]()

    @cached_property
    def _ids(self) -> set[bytes | None]:
        """Made when it is needed: where only this file was appended, it never is."""
        return {_id(line) for line in self._lines[self._skip :]}

    @cached_property
    def _skipped(self) -> set[bytes]:
        return {_digest(line) for line in self._lines[: self._skip]}

    def look_at(self, record: Record, digest: bytes) -> None:
        """Note the id of a record that is no line to be appended; one whose id is not in it says nothing."""
        key = record.key
        if key is not None and key in self._ids and digest not in self._skipped and _id(record.value) == key:
            self._found.add(key)

    def among(self, rows: Iterable[int]) -> tuple[int, ...]:
        """Return the first of the rows for every id that was found."""
        if not self._found:
            return ()
        first: dict[bytes, int] = {}
        for row in rows:
            key = _id(self._lines[row])
            if key is not None and key in self._found:
                first.setdefault(key, row)
        return tuple(first.values())


def _id(value: bytes) -> bytes | None:
    """Return the event's id, which is the key of its record."""
    import orjson

    try:
        return str(orjson.loads(value)["event_id"]).encode()
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None  # the engine judges events; a bad one becomes a dead letter


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
    """Return the events of a table, one a row; say which columns look like a mistake."""
    from stream_al.datasets import doubtful_columns, read_table

    table = read_table(file, label=label, text=text, time=time, categorical=categorical, drop=drop, head=head)
    for doubt in doubtful_columns(table):
        say(f"warning: {doubt}")

    def row_of(record: Record) -> int | None:
        return table.row_of(record.key.decode(errors="replace")) if record.key else None

    def same(record: Record, row: int) -> bool:
        return table.event_json(row) == record.value

    def pair(row: int) -> Pair:
        return f"{table.name}-{row}".encode(), table.event_json(row)

    return Source(table.n, pair, lambda log, skip: _held_rows(log, row_of, skip, same))


def _lines(file: Path, head: int | None) -> Source:
    """Return the lines of a file as they are, each with its event's id as key."""
    from stream_al.errors import DataError

    try:
        lines = [line for line in file.read_bytes().split(b"\n") if line.strip()][:head]
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}); check the path") from error
    if not lines:
        raise DataError(f"{file} is empty; expected one JSON event a line")

    return Source(
        len(lines),
        lambda i: (_id(lines[i]), lines[i]),
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
