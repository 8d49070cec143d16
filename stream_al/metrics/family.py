"""A metric family: its name, type, scope, and how it is read off a snapshot.

A family's *scope* says how replicas add up. ``log``: a function of the log, the same on every replica
(``max by (job)``). ``partition``: from a partition's state, on one replica (``sum``). ``process``: its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from stream_al.query.state import QueryState
from stream_al.snapshot import BucketCounts, Snapshot

Reading = tuple[tuple[str, ...], float | BucketCounts]
Read = Callable[[Snapshot], Iterable[Reading]]
PARTITION = ("partition",)
"""Labels of a family of scope ``partition``."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name, type, scope, sentence, and how it is read off a snapshot."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    scope: Literal["log", "partition", "process"]
    help: str
    read: Read
    labels: tuple[str, ...] = ()


def one(value: Callable[[Snapshot], float | BucketCounts | None]) -> Read:
    """Read one number; the series is absent while there is none."""

    def read(snapshot: Snapshot) -> Iterable[Reading]:
        found = value(snapshot)
        return () if found is None else (((), found),)

    return read


def each(value: Callable[[QueryState], float]) -> Read:
    """Read one number a partition."""
    return lambda snapshot: [((str(p),), value(state)) for p, state in sorted(snapshot.partitions.items())]
