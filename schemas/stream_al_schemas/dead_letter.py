"""DeadLetter: a record that could not be used, kept with its bytes and the reason."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from stream_al_schemas.base import Message, Milliseconds, Source

MAX_KEPT_BYTES = 64 * 1024
"""At most this many raw bytes are kept; length and digest always describe the whole."""


class Failure(BaseModel):
    """Why a record could not be used."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    code: str
    message: Annotated[str, Field(max_length=2000)]
    where: Annotated[str, Field(max_length=512)] = ""


class DeadLetter(Message):
    """A record that could not be used."""

    source: Source
    stage: Literal["event", "reply"]
    error: Failure
    key: str | None = Field(default=None, description="Base64.")
    value: str = Field(description="Base64 of the first 64 kB.")
    length: int = Field(ge=0, description="Bytes of the whole value.")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="Digest of the whole value.")
    failed_at: Milliseconds
