"""When simulated answers arrive, in rows of the table: what the virtual clock of a simulation obeys."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_al.annotators import Annotators
from stream_al.table import Table

I64 = NDArray[np.int64]
MS_PER_EVENT = 1_000
"""Virtual milliseconds between two events of a table without a time column."""
START_MS = 1_700_000_000_000


def times_of(table: Table) -> I64:
    """Return the log time of every row (n,) in ms: the table's clock, or a second an event."""
    if table.timestamps_ms is not None:
        return table.timestamps_ms
    return START_MS + MS_PER_EVENT * np.arange(table.n, dtype=np.int64)


def event_id(table: Table, row: int) -> str:
    """Return the id that a table gives to a row's event."""
    return f"{table.name}-{row}"


def person_id(asked_id: str, number: int) -> str:
    """Return under which id person ``number`` answers about an event."""
    return asked_id if number == 0 else f"{asked_id}#{number + 1}"


def due_row(times: I64, row: int, delay: float, unit: str) -> int:
    """Return the first row before which an answer about ``row`` is there; at the earliest the next one."""
    if unit == "events":
        return row + max(1, int(np.ceil(delay)))
    return max(row + 1, int(np.searchsorted(times, times[row] + delay)))


def due_rows(people: Annotators, table: Table, times: I64, overlap: int) -> I64:
    """Return, for every row, before which row the first answer would be there if it was asked about."""
    n = table.n
    due = np.full(n, np.iinfo(np.int64).max)
    rows = np.arange(n)
    for number in range(overlap):
        delays = people.delay.delays(person_id(event_id(table, i), number) for i in range(n))
        if people.delay.unit == "events":
            late = np.ceil(np.minimum(delays, float(n)))  # after the end is never, and fits an integer
            found = rows + np.maximum(1, late.astype(np.int64))
        else:
            found = np.maximum(rows + 1, np.searchsorted(times, times + delays))
        due = np.minimum(due, found)
    return due
