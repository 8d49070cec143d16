"""LabelRequest: please tell us the label of this event."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from stream_al_schemas.base import Label, Message, Milliseconds
from stream_al_schemas.event import Event

Ticket = Annotated[str, Field(min_length=16, max_length=1_000_000, pattern=r"^[A-Za-z0-9_.=\-]+$")]


class LabelRequest(Message):
    """A question for people. Nothing in it biases the answer; copy ``ticket`` back untouched."""

    request_id: Annotated[UUID, Field(strict=False)]
    event: Event
    labels: list[Label] = Field(description="Labels to choose from; empty while none is known.")
    suggestion: Label | None = None
    priority: int = Field(ge=0, le=100, description="Higher is more urgent.")
    overlap: int = Field(default=1, ge=1, le=16, description="Answers wanted from different people.")
    ttl_seconds: int = Field(gt=0, description="A wish: later answers are still learned and counted late.")
    asked_at: Milliseconds
    guidelines: str | None = None
    ticket: Ticket
