"""``check``: what is wrong, before ``serve`` would say so."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream_al_consumers.options import ConfigOption, JsonOption, LogOption
from stream_al_consumers.output import out, print_json

_MARKS = {"ok": "green", "warning": "yellow", "error": "red"}


def check(
    data: Annotated[Path | None, typer.Option(help="Also look at a file that is to be produced.")] = None,
    label: Annotated[str | None, typer.Option(help="The file's label column.")] = None,
    integrity: Annotated[
        bool, typer.Option("--integrity", help="Let SQLite verify every page of the log (slow).")
    ] = False,
    config: ConfigOption = None,
    log: LogOption = None,
    json: JsonOption = False,
) -> None:
    """Look at settings, log, port, budget and data; exit 1 if anything is wrong. Nothing is changed."""
    from rich.text import Text

    from stream_al_consumers.check import findings

    found = list(findings(config, log, data, label, integrity=integrity))
    wrong = any(finding.level == "error" for finding in found)
    if json:
        print_json({"ok": not wrong, "findings": [finding._asdict() for finding in found]})
    else:
        for finding in found:
            mark = Text(f"{finding.level:8}", style=_MARKS[finding.level])
            out.print(mark.append(f"{finding.what}: {finding.message}", style="default"))
    if wrong:
        raise typer.Exit(1)
