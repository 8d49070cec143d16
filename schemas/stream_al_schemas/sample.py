"""Sample: an unlabelled input that the model may see; written by the engine only."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stream_al_schemas.base import Identifier, Message, Source

WordId = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,6})$")]
WordCount = Annotated[int, Field(ge=1)]


class EncodedMessage(Message):
    """An event's encoded input, as it stands in samples and tickets.

    Text is present as hashed word ids only.
    """

    numbers: dict[str, float | None] = Field(default_factory=dict)
    categories: list[str] = Field(default_factory=list, description="Pairs name=value.")
    words: dict[WordId, WordCount] | None = Field(default=None, description="Hashed word id to count.")


class Sample(Message):
    """One event in 1/q was written to label-replies as well, in the commit of its prediction."""

    kind: Literal["sample"] = "sample"
    event_id: Identifier
    source: Source
    input: EncodedMessage
    q: Annotated[float, Field(gt=0, le=1, description="Probability with which the event was sampled.")]
