"""One partition of a SQLite log: a table whose rowid is the offset, and its row in ``lane``.

The row remembers the next offset, so an offset is never given twice even if every record was
deleted. Callers hold the transaction around everything that writes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import count, repeat

from stream_al.log.embedded import Pair
from stream_al.log.protocol import Record

# Builds a Record in C: half the time of Record(...), whose __new__ is Python.
_record: Callable[[Iterable[object]], Record] = partial(tuple.__new__, Record)


class Lane:
    """Reads, writes and forgets the records of one partition.

    Parameters
    ----------
    connection : sqlite3.Connection
        In autocommit mode.
    topic, partition : str, int
        Which one; the topic is one of ours, never a user's text, so it may stand in a statement.
    """

    def __init__(self, connection: sqlite3.Connection, topic: str, partition: int) -> None:
        self._connection = connection
        self.topic, self.partition = topic, partition
        table = f'"{topic}-{partition}"'
        self._insert = f"INSERT INTO {table} VALUES (?, ?, ?, ?)"  # noqa: S608
        self._select = f"SELECT * FROM {table} WHERE offset >= ? ORDER BY offset LIMIT ?"  # noqa: S608
        self._delete = f"DELETE FROM {table} WHERE offset < ?"  # noqa: S608
        self._times = f"SELECT offset, timestamp_ms FROM {table} WHERE offset < ? ORDER BY offset LIMIT ?"  # noqa: S608

    def bounds(self) -> tuple[int, int]:
        """Return (first kept offset, next offset to be written)."""
        statement = "SELECT first_offset, next_offset FROM lane WHERE topic = ? AND partition = ?"
        first, following = self._connection.execute(statement, (self.topic, self.partition)).fetchone()
        return first, following

    def write(self, pairs: Sequence[Pair], timestamp_ms: int) -> int:
        """Add records and return the offset of the first."""
        start = self.bounds()[1]
        keys, values = zip(*pairs, strict=True)
        rows = zip(count(start), repeat(timestamp_ms), keys, values, strict=False)  # the first two never end
        self._connection.executemany(self._insert, rows)
        self._connection.execute(
            "UPDATE lane SET next_offset = ?, written_bytes = written_bytes + ? "
            "WHERE topic = ? AND partition = ?",
            (start + len(pairs), sum(map(len, values)), self.topic, self.partition),
        )
        return start

    def read(self, from_offset: int, max_records: int) -> list[Record]:
        """Return records with ``offset >= from_offset``, oldest first."""
        if max_records <= 0:
            return []  # to SQLite a negative limit means none
        rows = self._connection.execute(self._select, (from_offset, max_records))
        topic, partition = self.topic, self.partition
        return [_record((topic, partition, *row)) for row in rows]

    def oldest(self, before_offset: int, max_records: int) -> list[tuple[int, int]]:
        """Return (offset, time in ms) of the oldest records with ``offset < before_offset``."""
        return self._connection.execute(self._times, (before_offset, max_records)).fetchall()

    def forget(self, before_offset: int) -> None:
        """Delete the records with ``offset < before_offset``."""
        self._connection.execute(self._delete, (before_offset,))
        self._connection.execute(
            "UPDATE lane SET first_offset = max(first_offset, ?) WHERE topic = ? AND partition = ?",
            (before_offset, self.topic, self.partition),
        )
