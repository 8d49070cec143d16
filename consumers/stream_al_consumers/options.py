"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Configuration file; stream-al.toml when there is one."),
]
LogOption = Annotated[
    Path | None, typer.Option("--log", help="The log's file, in place of the configured one.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for other programs.")]
LabelOption = Annotated[str, typer.Option("--label", help="Column of the label.")]
TextOption = Annotated[str | None, typer.Option("--text", help="Column of free text.")]
TimeOption = Annotated[str | None, typer.Option("--time", help="Column of the event's time.")]
CategoricalOption = Annotated[
    str, typer.Option("--categorical", help="Columns whose numbers are names, separated by commas.")
]
DropOption = Annotated[
    str, typer.Option("--drop", help="Columns to leave out, names or globs, separated by commas.")
]
HeadOption = Annotated[int | None, typer.Option("--head", help="Read the first rows only.", min=1)]


def listed(text: str) -> tuple[str, ...]:
    """Return what a comma-separated option names.

    >>> listed("a, b,")
    ('a', 'b')
    """
    return tuple(part.strip() for part in text.split(",") if part.strip())
