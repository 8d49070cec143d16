"""``tail``: what stands in a topic, and what comes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from stream_al.log.protocol import TOPICS, Log, Record
from stream_al_consumers.options import ConfigOption, JsonOption, LogOption
from stream_al_consumers.output import harmless, out, print_line

NEWEST = 10
CHUNK = 500
FOLLOW_SECONDS = 0.1


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
    from stream_al_consumers.configuration import open_log, read_settings

    if topic not in TOPICS:
        raise ConfigurationError(f"there is no topic {topic!r}; the topics are {', '.join(TOPICS)}")
    with closing(open_log(read_settings(config, log))) as source:
        _print_records(source, topic, start, limit, follow=follow, as_json=json)


def _print_records(
    log: Log, topic: str, start: int | None, limit: int | None, *, follow: bool, as_json: bool
) -> None:
    import time

    positions = {}
    for partition in range(log.partitions(topic)):
        first, end = log.bounds(topic, partition)
        positions[partition] = max(first, end - NEWEST) if start is None else max(first, start)
    printed = 0
    while True:
        found = 0
        for partition, position in positions.items():
            room = CHUNK if limit is None else min(CHUNK, limit - printed)
            records = log.tail(topic, partition, position, room) if room > 0 else []
            for record in records:
                _print_record(record, as_json)
            if records:
                positions[partition] = records[-1].offset + 1
            found += len(records)
            printed += len(records)
        if limit is not None and printed >= limit:
            return
        if not found:
            if not follow:
                return
            time.sleep(FOLLOW_SECONDS)


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
