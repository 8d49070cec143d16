"""LabelReply: a person's answer, or an organic label (chargeback, appeal, import)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from stream_al_schemas.base import Identifier, Label, Message, Share, present
from stream_al_schemas.event import Event
from stream_al_schemas.label_request import Ticket

When = str | int | float | None


class LabelReply(Message):
    """An answer to a request (with its ticket) or an organic label (with its event), never both."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [present("ticket"), present("event")],
            "if": {"properties": {"status": {"const": "labelled"}}},
            "then": present("label"),
            "else": {"not": present("label")},
        }
    )

    kind: Literal["reply"] = "reply"
    reply_id: Identifier
    ticket: Ticket | None = None
    event: Event | None = None
    status: Literal["labelled", "skipped", "unsure"] = "labelled"
    label: Label | None = None
    annotator_id: Identifier
    confidence: Share | None = None
    started_at: When = None
    replied_at: When = None
    tool: Annotated[str, Field(max_length=256)] | None = None

    @model_validator(mode="after")
    def _is_an_answer(self) -> Self:
        if (self.ticket is None) == (self.event is None):
            raise ValueError("a reply carries either the request's ticket or, unasked, the event itself")
        if (self.label is None) == (self.status == "labelled"):
            raise ValueError("a reply has a label when its status is labelled, and only then")
        return self
