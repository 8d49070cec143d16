"""``produce``: a file's rows as events on the log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

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

CHUNK = 500
LINES = (".ndjson", ".jsonl")
Pair = tuple[bytes | None, bytes]


def produce(
    file: Annotated[Path, typer.Argument(help="CSV(.gz), Parquet, npz, or NDJSON with one event a line.")],
    label: Annotated[
        str | None, typer.Option(help="Column of the label: it is left out of the events.")
    ] = None,
    text: TextOption = None,
    time: TimeOption = None,
    categorical: CategoricalOption = "",
    drop: DropOption = "",
    head: HeadOption = None,
    skip: Annotated[int, typer.Option(help="Leave out the first rows: to go on after a stop.", min=0)] = 0,
    rate: Annotated[float | None, typer.Option(help="Events a second; as fast as possible without.")] = None,
    config: ConfigOption = None,
    log: LogOption = None,
    json: JsonOption = False,
) -> None:
    """Append a file's rows to the log as events.

    Running it twice appends the events twice; a retried event is scored again, but not asked about again
    soon. After an interruption it says how many rows to skip.
    """
    from contextlib import closing

    from stream_al.errors import ConfigurationError
    from stream_al.log.protocol import EVENTS
    from stream_al_consumers.configuration import open_log, read_settings

    if rate is not None and rate <= 0:
        raise ConfigurationError(f"--rate is {rate:g}; expected events a second, above 0")
    settings = read_settings(config, log)
    if file.suffix in LINES:
        total, pairs = _lines(file, head, skip)
    else:
        total, pairs = _rows(file, label, text, time, listed(categorical), listed(drop), head, skip)
    done = 0
    with closing(open_log(settings, create=True)) as events, progress() as bar:
        task = bar.add_task("appending events", total=total)
        try:
            for chunk in _paced(pairs, rate):
                events.append_many(EVENTS, chunk)
                done += len(chunk)
                bar.update(task, completed=done)
        except KeyboardInterrupt:
            say(f"stopped after {done} events; go on with --skip {skip + done}")
            raise
    if json:
        print_json({"appended": done, "log": str(settings.log.path)})
    else:
        out.print(f"{done} events appended to {settings.log.path}", markup=False)


def _rows(
    file: Path,
    label: str | None,
    text: str | None,
    time: str | None,
    categorical: tuple[str, ...],
    drop: tuple[str, ...],
    head: int | None,
    skip: int,
) -> tuple[int, Iterator[Pair]]:
    """Return the number of events and the events of a table."""
    from stream_al.datasets import read_table
    from stream_al.errors import ConfigurationError

    if label is None:
        raise ConfigurationError(
            f"{file.name} is a table: name its label column with --label, so that the answer stays out of "
            "the events; a stream that has no labels can be produced as NDJSON, one event a line"
        )
    table = read_table(file, label=label, text=text, time=time, categorical=categorical, drop=drop, head=head)
    rows = range(min(skip, table.n), table.n)
    return len(rows), ((f"{table.name}-{i}".encode(), table.event_json(i)) for i in rows)


def _lines(file: Path, head: int | None, skip: int) -> tuple[int, Iterator[Pair]]:
    """Return the number of lines and the lines as they are, each with its event's id as key."""
    import orjson

    from stream_al.errors import DataError

    try:
        lines = [line for line in file.read_bytes().split(b"\n") if line.strip()][skip:head]
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}); check the path") from error
    if not lines and not skip:
        raise DataError(f"{file} is empty; expected one JSON event a line")

    def key(line: bytes) -> bytes | None:
        try:
            return str(orjson.loads(line)["event_id"]).encode()
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return None  # the engine judges events; a bad one becomes a dead letter

    return len(lines), ((key(line), line) for line in lines)


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
