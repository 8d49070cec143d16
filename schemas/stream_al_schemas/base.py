"""What all messages share: frozen, versioned, tolerant readers, finite numbers, bounded sizes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

Identifier = Annotated[str, Field(min_length=1, max_length=256)]
Label = Annotated[str, Field(min_length=1, max_length=256)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Milliseconds = Annotated[int, Field(ge=0, description="Milliseconds since the Unix epoch (log time).")]
Payload = Annotated[
    dict[str, JsonValue] | None, Field(description="For people's eyes; it never reaches the model.")
]
MAX_EVENT_BYTES = 256 * 1024
"""An event above this is dead-lettered without being parsed."""


class Message(BaseModel):
    """Base of every message: unknown fields are ignored by readers, so writers may add some."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)

    schema_version: Literal[1] = 1

    def to_json(self) -> bytes:
        """Return the message as compact UTF-8 JSON."""
        return self.model_dump_json(exclude_none=True).encode()


class Source(BaseModel):
    """Where a record stands: topic, partition, offset."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    topic: Identifier
    partition: Annotated[int, Field(ge=0)]
    offset: Annotated[int, Field(ge=0)]


JsonObject = dict[str, Any]


def present(name: str) -> JsonObject:
    """Return the JSON Schema rule that a field stands there and is not null."""
    return {"required": [name], "properties": {name: {"not": {"type": "null"}}}}
