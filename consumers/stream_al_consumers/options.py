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

TableArgument = Annotated[Path, typer.Argument(help="CSV, CSV.gz, Parquet or npz (X, y).")]
PositiveOption = Annotated[str | None, typer.Option("--positive", help="The rare class that matters.")]
LabelsOption = Annotated[
    str, typer.Option("--labels", help="Declared labels, separated by commas; open without.")
]
InitialOption = Annotated[int, typer.Option("--initial", help="First rows that arrive labelled.", min=0)]
BudgetOption = Annotated[float, typer.Option("--budget", help="Labels per event.")]
CreditOption = Annotated[float, typer.Option("--credit", help="Labels spent ahead at the start, paid back.")]
ColdStartOption = Annotated[
    str,
    typer.Option(
        "--cold-start", help="none, or coverage: at first what is farthest from all that was asked."
    ),
]
ClassWeightOption = Annotated[
    str,
    typer.Option("--class-weight", help="none, sqrt, balanced: how much more a rare class's answers count."),
]
DelayOption = Annotated[
    str,
    typer.Option("--delay", help="none, fixed:N, lognormal:MEDIAN,SIGMA; in events, or 5m with --time."),
]
NoAnswerOption = Annotated[float, typer.Option("--no-answer", help="Share of requests never answered.")]
NoiseOption = Annotated[float, typer.Option("--noise", help="Share of wrong answers.")]
TickOption = Annotated[int | None, typer.Option("--tick", help="Events a tick, as when live.", min=1)]
ResultOption = Annotated[
    str | None,
    typer.Option("--json", metavar="OUT", help="Write the result here as JSON; - prints it."),
]
PlotOption = Annotated[Path | None, typer.Option("--plot", help="Write the picture here.")]


def listed(text: str) -> tuple[str, ...]:
    """Return what a comma-separated option names.

    >>> listed("a, b,")
    ('a', 'b')
    """
    return tuple(part.strip() for part in text.split(",") if part.strip())
