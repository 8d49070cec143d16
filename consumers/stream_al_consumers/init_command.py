"""``init``: a commented configuration made from a look at a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream_al_consumers.options import (
    DropOption,
    HeadOption,
    JsonOption,
    LabelOption,
    TextOption,
    TimeOption,
    listed,
)
from stream_al_consumers.output import out, print_json, say


def init(
    source: Annotated[Path, typer.Option("--from", help="CSV(.gz), Parquet or npz with the true labels.")],
    label: LabelOption,
    text: TextOption = None,
    time: TimeOption = None,
    drop: DropOption = "",
    head: HeadOption = None,
    budget: Annotated[float, typer.Option(help="Labels per event: 0.05 asks 5 % of them.")] = 0.05,
    log: Annotated[
        str, typer.Option("--log", help='Where events will live: "kafka", or a file of its own (SQLite).')
    ] = "stream-al.db",
    to: Annotated[Path, typer.Option("--out", help="Where to write.")] = Path("stream-al.toml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite a configuration.")] = False,
    json: JsonOption = False,
) -> None:
    """Look at a file and write a commented stream-al.toml for its task."""
    from stream_al.datasets import doubtful_columns, read_table, require_two_labels
    from stream_al.errors import ConfigurationError
    from stream_al_consumers.init import commands, configuration, write_configuration

    if to.exists() and not force:
        raise ConfigurationError(f"{to} exists; use --force to overwrite it, or --out to write elsewhere")
    table = read_table(source, label=label, text=text, time=time, drop=listed(drop), head=head)
    require_two_labels(table)
    for doubt in doubtful_columns(table):
        say(f"warning: {doubt}")
    found = configuration(table, source, label, budget, log)
    settings = write_configuration(to, found)
    following = commands(source, label, text, time, log, listed(drop))
    if json:
        task = settings.task
        print_json(
            {
                "file": str(to),
                "rows": table.n,
                "labels": list(task.labels),
                "positive": task.positive,
                "bound": settings.budget().bound(),
                "next": following,
            }
        )
        return
    out.print(f"{to} written: {len(settings.task.labels)} labels, {settings.budget().bound()}", markup=False)
    out.print("next:", *(f"  {command}" for command in following), sep="\n", markup=False)
