"""Control: an operator's decision that all replicas must see at the same place of the reply log."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from stream_al_schemas.base import Label, Message, present


class Control(Message):
    """Labels added, or asking paused and resumed; comes from the engine and the command line only."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [present("add_labels"), present("chosen_asks"), present("floor_asks")]}
    )

    kind: Literal["control"] = "control"
    add_labels: list[Label] | None = Field(default=None, max_length=1000)
    chosen_asks: bool | None = Field(default=None, description="false pauses chosen asks; the floor goes on.")
    floor_asks: bool | None = Field(
        default=None, description="false pauses all asks; estimates over it are withheld."
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.add_labels is None and self.chosen_asks is None and self.floor_asks is None:
            raise ValueError("a control message changes labels or asking")
        return self
