"""The live table: the stream on top, one line a replica below, what happened last under them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from benchmarks.demo_kafka.processes import Replica
from benchmarks.demo_kafka.tally import Tally

NOTES_SHOWN = 6


def screen(
    tally: Tally, replicas: Sequence[Replica], share: float, extra: float, notes: Sequence[str]
) -> Group:
    """Return what is to be seen at this moment.

    Parameters
    ----------
    tally : Tally
    replicas : sequence of Replica
    share, extra : float
        The budget: at most ``share`` of the events and so many requests more.
    notes : sequence of str
        What happened, oldest first.
    """
    happened = [Text(note, style="dim") for note in notes[-NOTES_SHOWN:]]
    return Group(_stream(tally, replicas, share, extra), _replicas(replicas), *happened)


def _stream(tally: Tally, replicas: Sequence[Replica], share: float, extra: float) -> Table:
    table = Table(title="live, on Kafka", title_justify="left", show_header=False)
    table.add_column(style="dim")
    table.add_column(min_width=52)
    events = tally.events.total()
    statuses = [replica.status for replica in replicas if replica.status is not None]
    newest = max(statuses, key=lambda status: int(status["model"]["model_version"]), default=None)
    learned = newest["model"]["learned"] if newest else 0
    for name, cell in (
        ("events", f"{events:,}"),
        ("predictions", f"{tally.predicted:,}"),
        ("asked", f"{tally.asked:,} of at most {share * events + extra:,.0f}"),
        ("open", f"{max(0, tally.asked - tally.answered):,}"),
        ("learned", f"{learned:,}"),
        ("share asked", f"{tally.asked / max(1, events):.2%} (budget {share:.0%} + {extra:g} questions)"),
        ("estimated accuracy", accuracy(newest)),
    ):
        table.add_row(name, cell)
    return table


def accuracy(status: dict[str, Any] | None) -> str:
    """Return the estimate with its interval in words, or why there is none.

    >>> accuracy({"estimate": {"accuracy": 0.96, "lower": 0.9, "upper": 0.99}})
    '0.960  [0.900, 0.990]'
    """
    if status is None:
        return "no replica answers"
    found = status["estimate"]
    if "accuracy" not in found:
        return str(found["reason"])
    return f"{found['accuracy']:.3f}  [{found['lower']:.3f}, {found['upper']:.3f}]"


def _replicas(replicas: Sequence[Replica]) -> Table:
    table = Table("replica", "state", "partitions", "lag (events)", "lag (seconds)", "model version")
    for replica in replicas:
        status = replica.status
        if status is None:
            since = replica.killed_at
            state = f"killed {time.monotonic() - since:.0f} s ago" if since is not None else "starting"
            table.add_row(replica.name, Text(state, style="red"), *["–"] * 4)
            continue
        behind = status["lag"]["events"]
        table.add_row(
            replica.name,
            Text("serving", style="green"),
            " ".join(sorted(behind, key=int)) or "none yet",
            f"{sum(lag['records'] for lag in behind.values()):,}",
            f"{max((lag['seconds'] for lag in behind.values()), default=0.0):.1f}",
            f"{status['model']['model_version']:,}",
        )
    return table
