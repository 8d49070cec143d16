"""Reading predictions: behind an offset, or of one event."""

from __future__ import annotations

import orjson

from stream_al.log.protocol import PREDICTIONS, Log, Record
from stream_al_consumers.cursor import Cursor

REACH = 10_000
"""Newest predictions of each partition among which one event is looked for."""
CHUNK = 1_000


def read_after(log: Log, partition: int, after: int, count: int) -> list[Record]:
    """Return predictions with ``offset > after``, oldest first."""
    return log.tail(PREDICTIONS, partition, after + 1, count)


class Finder:
    """Looks for the prediction of one event among the newest ones, and then among those that come.

    Parameters
    ----------
    log : Log
    event_id : str
    """

    def __init__(self, log: Log, event_id: str) -> None:
        self._log = log
        self._event_id = event_id
        self._cursors: list[Cursor] = []
        # as the engine writes it: most records need no parsing
        self._needle = b'"event_id":' + orjson.dumps(event_id)

    def look(self) -> list[Record]:
        """Return the newest prediction of the event found since the last look, or nothing."""
        newest: list[Record] = []
        if not self._cursors:
            for partition in range(self._log.partitions(PREDICTIONS)):
                first, end = self._log.bounds(PREDICTIONS, partition)
                self._cursors.append(Cursor(self._log, PREDICTIONS, partition, max(first, end - REACH)))
        for cursor in self._cursors:
            while records := cursor.take(CHUNK):
                for record in records:
                    if self._needle in record.value and self._is_it(record):
                        newest = [record]
        return newest

    def _is_it(self, record: Record) -> bool:
        return bool(orjson.loads(record.value)["event_id"] == self._event_id)
