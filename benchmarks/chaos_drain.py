"""Waiting until everything that was sent to the groups is decided, answered and folded by every replica."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from benchmarks.chaos_checks import committed, read_all
from benchmarks.chaos_replicas import PARTITIONS, Group, patiently
from benchmarks.chaos_traffic import Traffic
from stream_al.log.protocol import DEAD_LETTERS, EVENTS, LABEL_REPLIES, Log

DRAIN_SECONDS = 180.0
LOOK_SECONDS = 0.5

Pair = tuple[Group, Traffic]


def drain(pairs: Sequence[Pair]) -> list[str]:
    """End the traffic and wait; return what did not come to rest in time."""
    failed = []
    for job in ("events", "answers"):
        for _, traffic in pairs:
            traffic.finish(job)
        waiting = list(pairs)
        deadline = time.monotonic() + DRAIN_SECONDS
        while waiting and time.monotonic() < deadline:
            waiting = [pair for pair in waiting if not _at_rest(pair, folded=job == "answers")]
        failed += [f"{group.name}: not drained of {job} in {DRAIN_SECONDS:g} s" for group, _ in waiting]
    return failed


def statuses(group: Group) -> list[dict[str, Any]]:
    """Return ``/status`` with the fingerprint of every replica that answers."""
    return [status for replica in group.replicas if (status := replica.status()) is not None]


def _at_rest(pair: Pair, *, folded: bool) -> bool:
    """Return whether all events are decided and, if asked for, all replies folded by every replica."""
    group, traffic = pair
    group.watch()
    time.sleep(LOOK_SECONDS)
    with closing(patiently(group.client)) as log:
        ends = {p: log.bounds(EVENTS, p)[1] for p in range(PARTITIONS)}
        if any(at is None or at[0] != ends[p] for p, at in committed(group).items()):
            return False
        if not folded:
            return True
        found = [status["model"]["position"] for status in statuses(group)]
        return (
            len(found) == len(group.replicas)
            and not any(_rest_of_replies(log, position) for position in set(found))
            and len(read_all(log, DEAD_LETTERS, 0)) >= len(traffic.books.bad)
        )


def _rest_of_replies(log: Log, position: int) -> bool:
    """Return whether any reply follows a position; the topic's end would also count markers."""
    return bool(log.tail(LABEL_REPLIES, 0, position, 1))
