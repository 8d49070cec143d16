"""One full and one minimal example of every message: documentation, and golden files of version 1.

``schemas/examples`` holds them as bytes. A change of a model that changes these bytes, or that no longer
reads them, breaks other people's programs.
"""

from __future__ import annotations

from uuid import UUID

from stream_al_schemas.base import Message, Source
from stream_al_schemas.control import Control
from stream_al_schemas.dead_letter import DeadLetter, Failure
from stream_al_schemas.event import Event
from stream_al_schemas.label_reply import LabelReply
from stream_al_schemas.label_request import LabelRequest
from stream_al_schemas.prediction import Prediction
from stream_al_schemas.sample import EncodedMessage, Sample

ASKED_AT = 1_767_225_600_000
"""Midnight of 1 January 2026, UTC, in milliseconds."""
_TICKET = "0.eyJyZXF1ZXN0X2lkIjoiZXhhbXBsZSJ9.c2lnbmF0dXJl"

_EVENT = Event(
    event_id="payment-7421",
    timestamp="2026-01-01T00:00:00Z",
    features={"amount": 129.9, "items": 3, "new_device": True, "country": "NZ", "age_days": None},
    text="Two tickets, please. Größe: 42 €",
    vector=[0.25, -1.5, None],
    weight=2.0,
    payload={"image": "https://example.org/7421.png", "order": {"lines": [1, 2.5, None, "gift"]}},
)
_TEXT_EVENT = Event(event_id="comment-1", text="first!")

FULL: tuple[Message, ...] = (
    _EVENT,
    Prediction(
        event_id="payment-7421",
        label="fraud",
        probabilities={"fraud": 0.75, "genuine": 0.25},
        uncertainty=0.5,
        model_version=1024,
        asked=True,
        predicted_at=ASKED_AT,
    ),
    LabelRequest(
        request_id=UUID("7c5a1b9e-0d6f-5e0f-9a53-3f1d5a8f2b11"),
        event=_EVENT,
        labels=["fraud", "genuine"],
        suggestion="fraud",
        priority=80,
        overlap=3,
        ttl_seconds=604_800,
        asked_at=ASKED_AT,
        guidelines="Fraud is a payment that its owner did not want.",
        ticket=_TICKET,
    ),
    LabelReply(
        reply_id="reply-1",
        ticket=_TICKET,
        label="genuine",
        annotator_id="ann",
        confidence=0.9,
        started_at=ASKED_AT + 60_000,
        replied_at="2026-01-01T00:01:30Z",
        tool="terminal",
    ),
    Sample(
        event_id="payment-7421",
        source=Source(topic="stream-al.events", partition=2, offset=7421),
        input=EncodedMessage(
            numbers={"amount": 129.9, "items": 3.0, "new_device": 1.0, "vector[0]": 0.25, "vector[1]": -1.5},
            categories=["country=NZ"],
            words={"1207": 1, "7340": 2},
        ),
        q=0.002,
    ),
    Control(add_labels=["chargeback"], chosen_asks=False, floor_asks=True),
    DeadLetter(
        source=Source(topic="stream-al.events", partition=0, offset=9),
        stage="event",
        error=Failure(code="invalid", message="an event needs at least one of features, text, vector"),
        key="cGF5bWVudC03NDIx",
        value="eyJldmVudF9pZCI6IngifQ==",
        length=16,
        sha256="4513cf4f5ad64225dfa80cabab326cacda0f1b2a49089d51f900b7761b35bfdc",
        failed_at=ASKED_AT,
    ),
)
"""Every field that can stand beside the others, in the order of ``MESSAGES``."""

MINIMAL: tuple[Message, ...] = (
    _TEXT_EVENT,
    Prediction(
        event_id="comment-1",
        probabilities={},
        uncertainty=1.0,
        model_version=0,
        asked=False,
        predicted_at=ASKED_AT,
    ),
    LabelRequest(
        request_id=UUID("0b0d6f3a-8a52-5c4e-8a39-6d9f0e0f6a01"),
        event=_TEXT_EVENT,
        labels=[],
        priority=0,
        ttl_seconds=1,
        asked_at=0,
        ticket=_TICKET,
    ),
    LabelReply(reply_id="reply-2", event=_TEXT_EVENT, status="labelled", label="spam", annotator_id="import"),
    Sample(
        event_id="comment-1",
        source=Source(topic="stream-al.events", partition=0, offset=0),
        input=EncodedMessage(),
        q=1.0,
    ),
    Control(chosen_asks=True),
    DeadLetter(
        source=Source(topic="stream-al.label-replies", partition=0, offset=0),
        stage="reply",
        error=Failure(code="not_json", message="found nothing; expected a JSON object"),
        value="",
        length=0,
        sha256="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        failed_at=0,
    ),
)
"""Only what is required, in the order of ``MESSAGES``."""
