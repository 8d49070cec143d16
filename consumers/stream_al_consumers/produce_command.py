"""``produce``: a file's rows as events on the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
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

    The log itself says how far an earlier run came, so a kill at any moment loses and doubles nothing.
    """
    from contextlib import closing
    from itertools import islice

    from stream_al.errors import ConfigurationError
    from stream_al.log.protocol import EVENTS
    from stream_al_consumers.configuration import open_log, read_settings

    if rate is not None and rate <= 0:
        raise ConfigurationError(f"--rate is {rate:g}; expected events a second, above 0")
    settings = read_settings(config, log)
    if file.suffix in LINES:
        source = _lines(file, head)
    else:
        _name_the_label(file, label, no_label)
        source = _rows(file, label, text, time, listed(categorical), listed(drop), head)
    done = 0
    with closing(open_log(settings, create=True)) as events, progress() as bar:
        start = skip if again else max(skip, source.already_there(events, skip))
        task = bar.add_task("appending events", total=max(0, source.total - start))
        for chunk in _paced(islice(source.pairs, start, None), rate):
            events.append_many(EVENTS, chunk)
            done += len(chunk)
            bar.update(task, completed=done)
    if start > skip:
        say(f"{start} rows stood in the log already; --again appends them once more")
    if json:
        print_json({"appended": done, "already_there": max(0, start - skip), "log": str(settings.log.path)})
    else:
        out.print(f"{done} events appended to {settings.log.path}", markup=False)


class Source(NamedTuple):
    """Rows to append, and behind which of them an earlier run stopped; rows that are skipped do not count."""

    total: int
    pairs: Iterator[Pair]
    already_there: Callable[[Log, int], int]


def _behind_newest(log: Log, place_of: Callable[[Record], int | None]) -> int:
    """Return how many of the first rows stand in the log where each is unique: its newest record tells."""
    from stream_al.log.protocol import EVENTS

    found = 0
    for partition in range(log.partitions(EVENTS)):
        first, end = log.bounds(EVENTS, partition)
        while end > first:
            start = max(first, end - SCANNED)
            places = [place_of(record) for record in log.tail(EVENTS, partition, start, end - start)]
            newest = max((place for place in places if place is not None), default=None)
            if newest is not None:
                found = max(found, newest + 1)
                break
            end = start
    return found


def _behind_prefix(log: Log, lines: list[bytes], skip: int) -> int:
    """Return behind which line to go on, where lines may repeat.

    Appends are in order, so an earlier run left the longest beginning of the file that the log holds, each
    line as often as it stands there. Where the log has forgotten its own beginning, it is the shortest one
    that holds all that is left of it: a line may then be doubled, but none is lost.
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
    left = held.total()
    for n, digest in enumerate(digests):
        here = held[digest] > 0
        if left == 0 or (complete and not here):
            return skip + n
        if here:
            held[digest] -= 1
            left -= 1
    return skip + len(digests)


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

    def place_of(record: Record) -> int | None:
        row = table.row_of(record.key.decode(errors="replace")) if record.key else None
        return row if row is not None and table.event_json(row) == record.value else None

    pairs = ((f"{table.name}-{i}".encode(), table.event_json(i)) for i in range(table.n))
    return Source(table.n, pairs, lambda log, skip: _behind_newest(log, place_of))


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
        ((key(line), line) for line in lines),
        lambda log, skip: _behind_prefix(log, lines, skip),
    )


def _paced(pairs: Iterator[Pair], rate: float | None) -> Iterator[list[Pair]]:
    """Yield the pairs in chunks, no faster than ``rate`` a second."""
    import time
    from itertools import islice

    size = CHUNK if rate is None else max(1, min(CHUNK, int(rate / 20)))
    start, sent = time.monotonic(), 0
    while chunk := list(islice(pairs, size)):
        yield chunk
        sent += len(chunk)
        if rate is not None:
            time.sleep(max(0.0, start + sent / rate - time.monotonic()))
