"""Labels as organic replies, and answered requests as rows for an offline model."""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import orjson
from numpy.typing import NDArray

from stream_al.build import build_learner
from stream_al.datasets import infer_labels
from stream_al.decode import decode_reply
from stream_al.errors import ConfigurationError, DataError
from stream_al.learner import Learner
from stream_al.log.protocol import LABEL_REPLIES, Log, Record
from stream_al.models.inputs import Inputs
from stream_al.models.protocol import State
from stream_al.settings import Settings
from stream_al.table import Table
from stream_al.ticket import BACKLOG, BATCH, Ticket
from stream_al_schemas import LabelReply

CHUNK = 500
IMPORTER = "import"
"""Who gives imported labels: one voter, so a second import of the same events changes nothing."""
IMPORTS = uuid5(NAMESPACE_URL, "stream-al/imported-labels")
Pair = tuple[bytes | None, bytes]
_Vote = tuple[str, bool]


def check_importable(table: Table, settings: Settings) -> None:
    """Refuse a table whose labels the fold would not learn, before anything is appended.

    Raises
    ------
    ConfigurationError
        Organic labels are switched off.
    DataError
        A label is not declared, or there are more than may be open.
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
    if strange and len(declared) + len(strange) > settings.task.max_open_labels:
        raise DataError(
            f"{table.name} brings {len(strange)} labels beside the {len(declared)} in task.labels; expected "
            f"at most {settings.task.max_open_labels} in all; raise task.max_open_labels, or merge rare ones"
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


class _Nothing:
    """A model that learns nothing: where only the fold's labels are wanted, not what they teach."""

    classes = 0
    fitted = False

    def grow(self, classes: int) -> None:
        self.classes = max(self.classes, classes)

    def predict_proba(self, batch: Inputs) -> NDArray[np.float64]:
        return np.full((len(batch.dense), self.classes), 1.0 / max(1, self.classes))

    def learn(self, x: Inputs, y: int, weight: float) -> None:
        pass

    def observe(self, x: Inputs, weight: float) -> None:
        pass

    def members(self, batch: Inputs) -> None:
        return None

    def dump(self) -> None:
        return None

    def load(self, state: State) -> None:
        pass


def answered_requests(log: Log, settings: Settings) -> Iterator[dict[str, Any]]:
    """Yield one row for each request that people have labelled, in the order in which the model learned them.

    The reply log is folded as the engine does it, so exactly what was learned is exported. A request that
    waits for more votes is none yet.
    """
    rows: list[dict[str, Any]] = []
    votes: defaultdict[_Vote, list[int]] = defaultdict(list)

    def enter(ticket: Ticket, label: str, weight: float) -> None:
        times = votes.pop(_vote_on(ticket), [])
        if ticket.overlap == 1 or learner.now < ticket.resolve_by:  # else its time was up, without a vote now
            times.append(now)
        rows.append(_row(ticket, label, weight, times))

    configured = build_learner(settings)
    learner = Learner(_Nothing(), configured.office, configured.options, on_label=enter)
    position = log.bounds(LABEL_REPLIES, 0)[0]
    while records := log.tail(LABEL_REPLIES, 0, position, CHUNK):
        for record in records:
            now, counted = record.timestamp_ms, learner.outcomes["vote"]
            learner.fold([record])
            if learner.outcomes["vote"] > counted:
                votes[_vote_on(_ticket_of(record, learner))].append(now)
        yield from rows
        rows.clear()
        position = records[-1].offset + 1


def _vote_on(ticket: Ticket) -> _Vote:
    """Return what is voted on: the backlog may have a request of the same id."""
    return ticket.request_id, ticket.channel == BACKLOG


def _ticket_of(record: Record, learner: Learner) -> Ticket:
    """Return the ticket of a reply that was counted as a vote."""
    reply = decode_reply(record.value)
    assert isinstance(reply, LabelReply) and reply.ticket is not None  # noqa: S101, PT018 - a vote has one
    return learner.office.verify(reply.ticket)


def _row(ticket: Ticket, label: str, weight: float, times: list[int]) -> dict[str, Any]:
    return {
        "request_id": ticket.request_id,
        "event_id": ticket.event_id,
        "label": label,
        "label_weight": weight,
        "votes": len(times),
        "propensity": None if ticket.channel == BATCH else ticket.propensity,
        "channel": ticket.channel,
        "served": ticket.served,
        "confidence": ticket.confidence,
        "weight": ticket.weight,
        "model_version": ticket.model_version,
        "asked_at": ticket.asked_at,
        "answered_at": times[-1],
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
