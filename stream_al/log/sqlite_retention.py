"""What a SQLite log forgets: old events, predictions and requests, a few at a time.

Never an event that was not committed past, never a reply, never a dead letter, and never the newest
requests of a partition, since the query rule refills its reservoir from them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from itertools import takewhile
from math import inf

from stream_al.log.embedded import Place
from stream_al.log.protocol import EVENTS, LABEL_REQUESTS, SINGLE_PARTITION
from stream_al.log.sqlite_file import PAGE_BYTES, pragma
from stream_al.log.sqlite_lane import Lane

KEPT_REQUESTS = 1024
"""Newest requests of each partition that are always kept: 64 slots, filled by hash, need some 300."""

_CHUNK = 256
_AGE_CHECK_MS = 1000
_VACUUM_PAGES = 128


class Retention:
    """Bounds the file by size and by age; works inside the caller's transaction.

    Parameters
    ----------
    connection : sqlite3.Connection
        Of the log file.
    lanes : mapping of (topic, partition) to Lane
        All partitions.
    max_bytes : int
        Pages in use, less what replies and dead letters hold, are kept below this.
    max_age_seconds : float
        Older records go, by the log's time.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        lanes: Mapping[Place, Lane],
        max_bytes: int,
        max_age_seconds: float,
    ) -> None:
        self._connection = connection
        self._lanes = [lane for (topic, _), lane in lanes.items() if topic not in SINGLE_PARTITION]
        self._max_bytes = max_bytes
        self._max_age_ms = int(max_age_seconds * 1000)
        self._next_age_check_ms = 0

    def step(self, now_ms: int, max_records: int) -> int:
        """Forget about ``max_records`` records at most that are too many or too old; return how many."""
        self._give_back()
        if now_ms < self._next_age_check_ms and not self._too_large():
            return 0
        cutoff_ms = now_ms - self._max_age_ms
        fronts = {lane: front for lane in self._lanes if (front := self._front(lane)) is not None}
        forgotten = 0
        while forgotten < max_records:
            lane = min(fronts, key=fronts.__getitem__, default=None)
            too_large = self._too_large()
            if lane is None or not (too_large or fronts[lane] < cutoff_ms):
                self._next_age_check_ms = now_ms + _AGE_CHECK_MS
                break
            forgotten += self._forget_chunk(lane, inf if too_large else cutoff_ms)
            front = self._front(lane)
            if front is None:
                del fronts[lane]
            else:
                fronts[lane] = front
        return forgotten

    def _front(self, lane: Lane) -> int | None:
        """Return the time of the oldest record that may go, or None."""
        oldest = lane.oldest(self._end(lane), 1)
        return oldest[0][1] if oldest else None

    def _forget_chunk(self, lane: Lane, before_ms: float) -> int:
        """Forget the oldest records up to the first that is not older than ``before_ms``; return how many."""
        ripe = [
            offset
            for offset, _ in takewhile(lambda row: row[1] < before_ms, lane.oldest(self._end(lane), _CHUNK))
        ]
        lane.forget(ripe[-1] + 1)
        return len(ripe)

    def _too_large(self) -> bool:
        """Return whether the pages of the forgettable topics exceed the bound."""
        used = pragma(self._connection, "page_count") - pragma(self._connection, "freelist_count")
        if used * PAGE_BYTES <= self._max_bytes:
            return False
        marks = ", ".join("?" * len(SINGLE_PARTITION))
        statement = f"SELECT sum(written_bytes) FROM lane WHERE topic IN ({marks})"  # noqa: S608
        kept = self._connection.execute(statement, tuple(SINGLE_PARTITION)).fetchone()[0]
        return bool(used * PAGE_BYTES - kept > self._max_bytes)

    def _end(self, lane: Lane) -> int:
        """Return the offset from which a lane's records must stay."""
        if lane.topic == EVENTS:
            statement = "SELECT next_offset FROM progress WHERE partition = ?"
            row = self._connection.execute(statement, (lane.partition,)).fetchone()
            return int(row[0]) if row else 0
        following = lane.bounds()[1]
        return following - KEPT_REQUESTS if lane.topic == LABEL_REQUESTS else following

    def _give_back(self) -> None:
        """Return some free pages to the file system when they are many; else inserts take them again."""
        free = pragma(self._connection, "freelist_count")
        if free > _VACUUM_PAGES + pragma(self._connection, "page_count") // 8:
            for _ in range(
                _VACUUM_PAGES
            ):  # sqlite3 steps a statement without columns once, and a step frees one
                self._connection.execute("PRAGMA incremental_vacuum(1)")
