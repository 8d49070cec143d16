"""When each replica of a group last committed, watched from outside; and for how long nobody did."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from types import TracebackType
from typing import Self

from benchmarks.chaos_replicas import Group, Replica

PERIOD_SECONDS = 0.1


class Pulse:
    """The moments at which replicas were seen to have committed something; a context manager.

    Each replica is asked for its counter ten times a second, which brokers have no part in.

    Parameters
    ----------
    group : Group
    """

    def __init__(self, group: Group) -> None:
        self._beats: dict[str, list[float]] = {replica.name: [] for replica in group.replicas}
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._watch, args=(each,)) for each in group.replicas]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _watch(self, replica: Replica) -> None:
        seen = 0
        while not self._over.wait(PERIOD_SECONDS):
            asked_at, found = time.monotonic(), replica.commits()
            if found > seen:
                self._beats[replica.name].append(asked_at)
            seen = found or seen

    def silence(self, since: float, until: float) -> tuple[float, float]:
        """Return the longest time in a window without a commit of the group, and of any one replica.

        A silence that began before the window counts from its beginning.
        """
        everybody = sorted(beat for beats in self._beats.values() for beat in beats)
        each = max(_longest(beats, since, until) for beats in self._beats.values())
        return _longest(everybody, since, until), each


def _longest(beats: list[float], since: float, until: float) -> float:
    """Return the longest gap between beats that overlaps a window.

    >>> _longest([0.0, 1.0, 4.0, 5.0], 2.0, 4.5)
    3.0
    """
    before = [beat for beat in beats if beat <= since][-1:] or [since]
    within = [beat for beat in beats if since < beat < until]
    after = [beat for beat in beats if beat >= until][:1] or [until]
    marks = before + within + after
    return max(b - a for a, b in pairwise(marks))
