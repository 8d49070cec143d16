"""What commands print: results on stdout, everything else on stderr; errors as one clear message."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.progress import Progress

out = Console(highlight=False, soft_wrap=True)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
err = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a JSON document, indented; other programs read this."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def print_line(value: Any) -> None:
    """Print a JSON value as one line and flush, so that a reader of the pipe has it at once."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def print_rows(title: str, rows: Iterable[tuple[str, object]]) -> None:
    """Print a table of names and values; nothing in them is taken for markup."""
    table = Table(title=Text(title), title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    for name, value in rows:
        table.add_row(Text(name), Text(str(value)))
    out.print(table)


def harmless(text: str) -> str:
    """Return text without control characters: what came from a stream must not steer a terminal.

    >>> harmless("a\\x1b[2Jb")
    'a\ufffd[2Jb'
    """
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def say(message: str) -> None:
    """Tell the person something that is no result."""
    err.print(Text(message))


def fail(message: str) -> None:
    """Tell the person what went wrong."""
    err.print(Text("error: ", style="bold red").append(message, style="not bold default"))


def progress() -> Progress:
    """Return a progress bar that is shown in terminals only and leaves nothing behind."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )
