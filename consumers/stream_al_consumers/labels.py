"""Labels as organic replies, and answered requests as rows for an offline model."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from uuid import NAMESPACE_URL, uuid5

import orjson

from stream_al.datasets import infer_labels
from stream_al.decode import decode_reply
from stream_al.errors import ConfigurationError, DataError, InvalidMessage, InvalidTicket
from stream_al.log.protocol import LABEL_REPLIES, Log, Record
from stream_al.settings import Settings
from stream_al.table import Table
from stream_al.ticket import Ticket, TicketOffice
from stream_al.votes import resolve
from stream_al_schemas import LabelReply

CHUNK = 500
IMPORTER = "import"
"""Who gives imported labels: one voter, so a second import of the same events changes nothing."""
IMPORTS = uuid5(NAMESPACE_URL, "stream-al/imported-labels")
Pair = tuple[bytes | None, bytes]


def check_importable(table: Table, settings: Settings) -> None:
    """Refuse a table whose labels the fold would not learn, before anything is appended.

    Raises
    ------
    ConfigurationError
        Organic labels are switched off.
    DataError
        A label is not declared.
    """
    if not settings.labels.organic:
        raise ConfigurationError("labels.organic is false, so imported labels teach nothing; set it to true")
    declared = settings.task.labels
    strange = [label for label in infer_labels(table) if label not in declared]
    if strange and not settings.task.open_labels:
        raise DataError(
            f"{table.name} holds the labels {', '.join(map(repr, strange[:10]))}; expected one of "
            f"{', '.join(declared)}; add them to task.labels, or set task.open_labels = true"
        )


def organic_replies(table: Table) -> Iterator[list[Pair]]:
    """Yield the rows that have a label as replies, in chunks, each with its key."""
    for start in range(0, table.n, CHUNK):
        chunk: list[Pair] = []
        for i in range(start, min(start + CHUNK, table.n)):
            label = table.label(i)
            if label is not None:
                event_id = f"{table.name}-{i}"
                chunk.append((event_id.encode(), _organic(event_id, table.event_json(i), label)))
        if chunk:
            yield chunk


def _organic(event_id: str, event: bytes, label: str) -> bytes:
    reply = {
        "schema_version": 1,
        "kind": "reply",
        "reply_id": str(uuid5(IMPORTS, event_id)),
        "event": orjson.Fragment(event),
        "status": "labelled",
        "label": label,
        "annotator_id": IMPORTER,
        "tool": "stream-al labels import",
    }
    return orjson.dumps(reply)


@dataclass(slots=True)
class _Answers:
    """Votes on one request until they make a label."""

    ticket: Ticket
    voters: set[str] = field(default_factory=set)
    labels: list[str] = field(default_factory=list)
    answered_at: int = 0


def answered_requests(log: Log, settings: Settings) -> Iterator[dict[str, Any]]:
    """Yield one row for each request that people have labelled, in the order of the answers.

    The same votes count as in the fold: the first of each annotator, in time, until there are as many as
    were wanted.
    """
    office = TicketOffice(settings.events_topic(), settings.secrets())
    requests: dict[str, _Answers] = {}
    for record, reply, ticket in _ticketed(log, office):
        answers = requests.setdefault(ticket.request_id, _Answers(ticket))
        late = record.timestamp_ms - ticket.asked_at > 1000 * settings.labels.accepted_for_seconds
        if reply.annotator_id in answers.voters or late:
            continue
        answers.voters.add(reply.annotator_id)
        if reply.label is None or len(answers.labels) >= ticket.overlap:
            continue
        answers.labels.append(reply.label)
        answers.answered_at = record.timestamp_ms
        if len(answers.labels) == ticket.overlap:
            yield from _row(answers, settings)
    for answers in requests.values():  # fewer votes than wanted: their time was up
        if 0 < len(answers.labels) < answers.ticket.overlap:
            yield from _row(answers, settings)


def _ticketed(log: Log, office: TicketOffice) -> Iterator[tuple[Record, LabelReply, Ticket]]:
    position = log.bounds(LABEL_REPLIES, 0)[0]
    while records := log.tail(LABEL_REPLIES, 0, position, CHUNK):
        for record in records:
            try:
                reply = decode_reply(record.value)
                if isinstance(reply, LabelReply) and reply.ticket is not None:
                    yield record, reply, office.verify(reply.ticket)
            except (InvalidMessage, InvalidTicket):
                continue  # it has its dead letter
        position = records[-1].offset + 1


def _row(answers: _Answers, settings: Settings) -> Iterator[dict[str, Any]]:
    ticket = answers.ticket
    verdict = resolve(answers.labels, max(len(ticket.labels), len(settings.task.labels)))
    if verdict is not None:  # a tie is no label
        yield {
            "request_id": ticket.request_id,
            "event_id": ticket.event_id,
            "label": verdict.label,
            "label_weight": verdict.weight,
            "votes": len(answers.labels),
            "propensity": ticket.propensity,
            "channel": ticket.channel,
            "served": ticket.served,
            "confidence": ticket.confidence,
            "weight": ticket.weight,
            "model_version": ticket.model_version,
            "asked_at": ticket.asked_at,
            "answered_at": answers.answered_at,
            "input": dict(ticket.input),
        }


def write_rows(rows: Iterator[dict[str, Any]], path: Path | None) -> int:
    """Write rows as JSON lines, or as CSV where the name says so; return how many.

    Raises
    ------
    DataError
        The file cannot be written, or its name says neither.
    """
    if path is not None and path.suffix not in (".jsonl", ".ndjson", ".csv"):
        raise DataError(f"{path}: expected a name that ends in .jsonl or .csv")
    count = 0
    try:
        with (
            nullcontext(sys.stdout) if path is None else path.open("w", encoding="utf-8", newline="") as file
        ):
            if path is not None and path.suffix == ".csv":
                return _write_csv(list(rows), file)
            for row in rows:
                file.write(orjson.dumps(row).decode() + "\n")
                count += 1
    except BrokenPipeError:
        raise
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}); name another file") from error
    return count


def _write_csv(rows: list[dict[str, Any]], file: IO[str]) -> int:
    """Write one column a feature; hashed words have no place in a table and are left out."""
    flat = [_flat(row) for row in rows]
    columns = list(dict.fromkeys(name for row in flat for name in row))
    writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return len(flat)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    features = {f"feature.{name}": value for name, value in row["input"].get("numbers", {}).items()}
    for category in row["input"].get("categories", ()):
        name, _, value = category.partition("=")
        features[f"feature.{name}"] = value
    return {name: value for name, value in row.items() if name != "input"} | features
