"""Events and replies as bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from stream_al.ticket import Ticket, TicketOffice, Totals

CLASSES = ("a", "b", "c")
TOPIC = "stream-al.events"
START_MS = 1_700_000_000_000


def gaussian_events(n: int, seed: int = 0, *, columns: int = 4, spread: float = 2.0) -> list[dict[str, Any]]:
    """Return n events of three Gaussian classes; the class stands in the payload, for people's eyes."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(len(CLASSES), columns)) * spread
    labels = rng.integers(len(CLASSES), size=n)
    values = centres[labels] + rng.normal(size=(n, columns))
    return [
        {
            "event_id": f"e{seed}-{i}",
            "features": {f"x{j}": float(value) for j, value in enumerate(row)},
            "payload": {"truth": CLASSES[label]},
        }
        for i, (row, label) in enumerate(zip(values, labels, strict=True))
    ]


def truth_of(event: dict[str, Any]) -> str:
    """Return what people know about an event of ours."""
    return str(event["payload"]["truth"])


def reply(ticket: str, label: str | None, annotator: str = "ann", **more: Any) -> bytes:
    """Return an answer to a request."""
    message: dict[str, Any] = {"reply_id": f"r-{annotator}", "ticket": ticket, "annotator_id": annotator}
    if label is not None:
        message["label"] = label
    return orjson.dumps({"schema_version": 1, "kind": "reply", **message, **more})


def organic(event: dict[str, Any], label: str, annotator: str = "ann") -> bytes:
    """Return a label that nobody asked for."""
    message = {"kind": "reply", "reply_id": "o", "event": event, "label": label, "annotator_id": annotator}
    return orjson.dumps({"schema_version": 1, **message})


def sample(event_id: str, numbers: dict[str, float], q: float = 1.0) -> bytes:
    """Return a sample record."""
    source = {"topic": TOPIC, "partition": 0, "offset": 0}
    message = {
        "kind": "sample",
        "event_id": event_id,
        "source": source,
        "input": {"numbers": numbers},
        "q": q,
    }
    return orjson.dumps({"schema_version": 1, **message})


def ticket(number: int = 0, **changes: Any) -> Ticket:
    """Return a ticket with plausible contents."""
    fields: dict[str, Any] = {
        "request_id": f"00000000-0000-4000-8000-{number:012d}",
        "event_id": f"e{number}",
        "topic": TOPIC,
        "partition": 0,
        "offset": number,
        "labels": CLASSES,
        "input": {"numbers": {"x": float(number)}, "categories": []},
        "weight": 1.0,
        "served": "a",
        "confidence": 0.5,
        "propensity": 0.25,
        "channel": "chosen",
        "overlap": 1,
        "ttl_seconds": 3600,
        "resolve_by": START_MS + 3_600_000,
        "suggestion_shown": False,
        "model_version": 0,
        "asked_at": START_MS,
        "totals": Totals(number + 1, 4.0 * (number + 1), 0),
    }
    return Ticket(**{**fields, **changes})


def office(**keys: str) -> TicketOffice:
    """Return a ticket office, keyed where key ids are given."""
    return TicketOffice(TOPIC, {name: secret.encode() for name, secret in keys.items()})
