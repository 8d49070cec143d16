"""``tail``: what stands in a topic, and what comes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from stream_al.log.protocol import TOPICS, Log, Record
from stream_al_consumers.cursor import Cursor, newest
from stream_al_consumers.options import ConfigOption, JsonOption, LogOption
from stream_al_consumers.output import harmless, out, print_line

NEWEST = 10
CHUNK = 500


def tail(
    topic: Annotated[str, typer.Argument(help=f"One of {', '.join(TOPICS)}.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    start: Annotated[
        int | None,
        typer.Option("--from", help="First offset; the last 10 records without. 0 is everything."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--max", help="Stop after so many records.", min=1)] = None,
    config: ConfigOption = None,
    log: LogOption = None,
    json: JsonOption = False,
) -> None:
    """Print records of a topic, oldest first in each partition; --json prints one object a line."""
    from contextlib import closing

    from stream_al.errors import ConfigurationError
    from stream_al_consumers.configuration import idle_seconds, open_log, read_settings

    if topic not in TOPICS:
        raise ConfigurationError(f"there is no topic {topic!r}; the topics are {', '.join(TOPICS)}")
    settings = read_settings(config, log)
    with closing(open_log(settings)) as source:
        places = _places(source, topic, start)
        _print_records(places, limit, 2 * idle_seconds(settings) if follow else None, as_json=json)


def _places(log: Log, topic: str, start: int | None) -> list[Cursor]:
    """Return where to begin in each partition."""
    places = []
    for partition in range(log.partitions(topic)):
        first, end = log.bounds(topic, partition)
        if start is None:
            found = newest(log, topic, partition, NEWEST)[-NEWEST:]
            begin = found[0].offset if found else end
        else:
            begin = max(first, start)
        places.append(Cursor(log, topic, partition, begin))
    return places


def _print_records(places: list[Cursor], limit: int | None, pause: float | None, *, as_json: bool) -> None:
    """Print until there is no more, or with a pause until interrupted."""
    import time

    printed = 0
    while True:
        found = 0
        for place in places:
            records = place.take(CHUNK if limit is None else min(CHUNK, limit - printed))
            for record in records:
                _print_record(record, as_json)
            found += len(records)
            printed += len(records)
        if limit is not None and printed >= limit:
            return
        if not found:
            if pause is None:
                return
            time.sleep(pause)


def _print_record(record: Record, as_json: bool) -> None:
    from datetime import UTC, datetime

    if as_json:
        print_line(_as_json(record))
        return
    moment = datetime.fromtimestamp(record.timestamp_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    text = harmless(record.value.decode(errors="replace"))
    out.print(f"{record.partition}/{record.offset}", moment, text, markup=False)


def _as_json(record: Record) -> dict[str, Any]:
    import base64

    from stream_al.errors import InvalidMessage
    from stream_al.strict_json import decode_json

    found: dict[str, Any] = {
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "key": None if record.key is None else record.key.decode(errors="replace"),
    }
    try:
        found["value"] = decode_json(record.value)
    except InvalidMessage:
        found["base64"] = base64.b64encode(record.value).decode()
    return found
