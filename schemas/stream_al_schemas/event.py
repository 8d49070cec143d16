"""Event: something to be judged, without a label."""

from __future__ import annotations

import math
from typing import Annotated, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from stream_al_schemas.base import Identifier, Message, Payload, present

FeatureName = Annotated[str, Field(min_length=1, max_length=256)]
FeatureValue = bool | int | float | str | None
MAX_FEATURES = 4096


class Event(Message):
    """An event to score: at least one of ``features``, ``text`` and ``vector``.

    Null is a missing value. A number that overflows a double counts as missing too, never as an error.
    Images and audio come as ``vector`` (an embedding) with their address in ``payload``.
    """

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [present("features"), present("text"), present("vector")]}
    )

    event_id: Identifier
    timestamp: str | int | float | None = Field(
        default=None, description="The producer's own time; data, never a clock."
    )
    features: dict[FeatureName, FeatureValue] | None = Field(
        default=None,
        max_length=MAX_FEATURES,
        description="Numbers and booleans by name; strings are categories.",
    )
    text: str | None = None
    vector: list[float | None] | None = Field(default=None, max_length=MAX_FEATURES)
    weight: Annotated[float, Field(gt=0, le=1e6)] | None = Field(
        default=None, description="How much its label should count when it is learned; 1 when absent."
    )
    payload: Payload = None

    @field_validator("features", mode="before")
    @classmethod
    def _overflow_in_features_is_missing(cls, value: object) -> object:
        if isinstance(value, dict):
            return {k: None if _overflowed(v) else v for k, v in value.items()}
        return value

    @field_validator("vector", mode="before")
    @classmethod
    def _overflow_in_vector_is_missing(cls, value: object) -> object:
        if isinstance(value, list):
            return [None if _overflowed(v) else v for v in value]
        return value

    @model_validator(mode="after")
    def _has_content(self) -> Self:
        if self.features is None and self.text is None and self.vector is None:
            raise ValueError("an event needs at least one of features, text, vector")
        return self


def _overflowed(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
