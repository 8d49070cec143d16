"""Prediction: what the model said of one event, at one model position."""

from __future__ import annotations

from pydantic import Field

from stream_al_schemas.base import Identifier, Label, Message, Milliseconds, Share


class Prediction(Message):
    """One prediction an event, written in the same commit as the event's offset."""

    event_id: Identifier
    label: Label | None = Field(
        default=None, description="Most probable label; null or absent while nothing was learned."
    )
    probabilities: dict[str, Share] = Field(description="Tempered probabilities by label.")
    uncertainty: Share = Field(description="The query rule's score: 1 - margin unless configured otherwise.")
    model_version: int = Field(ge=0, description="v: the next offset of label-replies that was folded.")
    asked: bool
    predicted_at: Milliseconds
