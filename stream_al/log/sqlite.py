"""The embedded default: a log in one SQLite file; one owner serves it, many processes write and read.

Write-ahead logging, one transaction a commit. Durability: with ``synchronous="FULL"`` what was
committed or appended survives a power cut; with ``"NORMAL"`` the end of it may not, though a
``kill -9`` never loses anything with either.
"""

from __future__ import annotations

import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Self

from stream_al.errors import CommitLost, LogError
from stream_al.log.embedded import (
    Pair,
    by_place,
    check_progress,
    partition_counts,
    partitions_of,
    spread,
    wall_clock_ms,
)
from stream_al.log.owner_lock import OwnerLock
from stream_al.log.protocol import EVENTS, Batch, Output, Position, Progress, Record
from stream_al.log.sqlite_file import (
    WAL_LIMIT_BYTES,
    explained,
    open_file,
    partitions_in,
    pragma,
    transaction,
    truncate_wal,
)
from stream_al.log.sqlite_lane import Lane
from stream_al.log.sqlite_retention import Retention

POLL_INTERVAL_SECONDS = 0.01
"""How often a waiting poll looks whether another process wrote (5 us a look)."""

_RETAIN_RECORDS = 1024


class SqliteLog:
    """A durable log in one file.

    One object is used by one thread at a time; threads and processes that share a log each open
    their own. Do not fork while a log is open: neither SQLite nor the owner's lock survives it.

    Parameters
    ----------
    path : str or Path
        The file, on a local file system; it is made if there is none. ``.lock``, ``-wal`` and
        ``-shm`` files stand beside it.
    partitions : int or None
        Number of partitions of ``events``, ``predictions`` and ``label-requests``. None: what the
        file has, 1 for a new one.
    clock : callable returning int
        The log's time in milliseconds.
    owner : bool
        Take the log for serving: only the owner polls and commits. Everything else needs no owner.
    max_bytes : int
        Old events (once committed past), predictions and requests go when the file, less replies
        and dead letters, grows above this.
    max_age_seconds : float
        They also go when they are older than this.
    synchronous : {"FULL", "NORMAL"}
        Whether each commit is on the disk, or only in the hands of the operating system.
    busy_timeout_seconds : float
        How long to wait for a writer in another process.

    Raises
    ------
    LogOwned
        ``owner`` was asked for while another live process serves the file.
    LogError
        The file cannot be used: no directory, no permission, damaged, another program's, made by a
        newer release, or with another number of partitions.
    """

    def __init__(
        self,
        path: str | Path,
        partitions: int | None = None,
        clock: Callable[[], int] = wall_clock_ms,
        owner: bool = False,
        max_bytes: int = 10 * 2**30,
        max_age_seconds: float = 7 * 86400,
        *,
        synchronous: str = "FULL",
        busy_timeout_seconds: float = 60.0,
    ) -> None:
        self._path = Path(path).resolve()  # one lock file, whatever link led here
        self._wal = self._path.with_name(self._path.name + "-wal")
        self._wal_limit_bytes = WAL_LIMIT_BYTES
        self._clock = clock
        self._lock = OwnerLock(self._path)
        self._owner = owner
        self._epoch = -1
        self._fence: object = None
        self._next: dict[int, int] = {}
        self._connection = open_file(self._path, partitions, synchronous, busy_timeout_seconds)
        try:
            with self._explained():
                self._counts = partition_counts(partitions_in(self._connection))
                places = [(topic, p) for topic, number in self._counts.items() for p in range(number)]
                self._lanes = {place: Lane(self._connection, *place) for place in places}
                self._retention = Retention(self._connection, self._lanes, max_bytes, max_age_seconds)
                if owner:
                    self._take_ownership()
        except BaseException:
            self.close()
            raise

    # The engine's side.

    def poll(self, max_records: int, timeout_seconds: float) -> Batch:
        """Return the next events, waiting for other processes to append some; see :meth:`Log.poll`.

        Raises
        ------
        LogOwned
            Another process took the log over and serves it.
        """
        self._require_owner()
        with self._explained():
            if self._fence is None or self._stored_epoch() != self._epoch:
                return self._restore()
            deadline = time.monotonic() + timeout_seconds
            seen = pragma(self._connection, "data_version")
            records = self._take(max_records)
            while not records and (left := deadline - time.monotonic()) > 0:
                time.sleep(min(left, POLL_INTERVAL_SECONDS))
                version = pragma(self._connection, "data_version")
                if version != seen:
                    seen, records = version, self._take(max_records)
            return Batch(records, None, self._fence)

    def _take(self, max_records: int) -> dict[int, Sequence[Record]]:
        records: dict[int, Sequence[Record]] = {}
        for partition in list(self._next):
            found = self._lanes[EVENTS, partition].read(self._next[partition], max_records)
            if found:
                records[partition] = found
                max_records -= len(found)
                # Behind the others now, so that no partition starves under a small max_records.
                del self._next[partition]
                self._next[partition] = found[-1].offset + 1
        return records

    def _restore(self) -> Batch:
        if self._stored_epoch() != self._epoch:
            self._take_ownership()
        restored = {partition: Progress(0, "") for partition in range(self._counts[EVENTS])}
        rows = self._connection.execute("SELECT partition, next_offset, state FROM progress")
        restored.update((partition, Progress(following, state)) for partition, following, state in rows)
        self._next = {partition: progress.next_offset for partition, progress in restored.items()}
        self._fence = object()
        return Batch({}, restored, self._fence)

    def commit(self, batch: Batch, outputs: Sequence[Output], progress: Mapping[int, Progress]) -> None:
        """Write outputs and progress in one transaction; see :meth:`Log.commit`.

        After any error the next poll restores the truth.

        Raises
        ------
        CommitLost
            Another process took the log over, or the batch is older than the last ``restored``.
        LogError
            An output goes nowhere, a partition is not owned, or the file refuses (full, read-only,
            damaged); nothing was written.
        """
        self._require_owner()
        fence, self._fence = self._fence, None
        if fence is None or batch.fence is not fence:
            raise CommitLost(
                "this batch is older than the last `restored`, so nothing of it was committed; "
                "poll again to read the truth back"
            )
        check_progress(progress, self._next)
        places = by_place(outputs, self._counts)
        now_ms = self._clock()
        turnover = len(outputs) + sum(map(len, batch.records.values()))
        with self._transaction():
            if self._stored_epoch() != self._epoch:
                raise CommitLost(
                    f"another process took {self._path} over, so nothing of this batch was committed; "
                    "poll again to read the truth back"
                )
            for place, pairs in places.items():
                self._lanes[place].write(pairs, now_ms)
            self._connection.executemany(
                "INSERT OR REPLACE INTO progress VALUES (?, ?, ?)",
                [(partition, *moved) for partition, moved in progress.items()],
            )
            self._retention.step(now_ms, max(_RETAIN_RECORDS, 4 * turnover))
        self._fence = fence

    def retain(self, max_records: int = _RETAIN_RECORDS) -> int:
        """Forget some old records, as each commit does too; return how many.

        A service calls this now and then while nothing arrives.
        """
        with self._transaction():
            return self._retention.step(self._clock(), max_records)

    # Everybody's side.

    def tail(self, topic: str, partition: int, from_offset: int, max_records: int) -> list[Record]:
        """Return records with ``offset >= from_offset``, oldest first."""
        with self._explained():
            return self._lane(topic, partition).read(from_offset, max_records)

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Return (first kept offset, next offset to be written)."""
        with self._explained():
            return self._lane(topic, partition).bounds()

    def partitions(self, topic: str) -> int:
        """Return the number of partitions of a topic."""
        return partitions_of(self._counts, topic)

    def append(self, topic: str, key: bytes | None, value: bytes) -> Position:
        """Append one record in a transaction of its own; :meth:`append_many` is far cheaper per record."""
        return self.append_many(topic, [(key, value)])[0]

    def append_many(self, topic: str, records: Sequence[Pair]) -> list[Position]:
        """Append several records atomically, each at the partition of its key; durable on return."""
        partitions = partitions_of(self._counts, topic)
        now_ms = self._clock()
        with self._transaction():
            places = spread(records, partitions, self._turn(topic) if partitions > 1 else 0)
            lots: defaultdict[int, list[Pair]] = defaultdict(list)
            for partition, pair in zip(places, records, strict=True):
                lots[partition].append(pair)
            offsets = {p: count(self._lanes[topic, p].write(lot, now_ms)) for p, lot in lots.items()}
        return [Position(partition, next(offsets[partition])) for partition in places]

    def read(self, topic: str, group: str, max_records: int) -> list[Record]:
        """Return the records behind the group's acknowledged position."""
        found: list[Record] = []
        with self._explained():
            for partition in range(partitions_of(self._counts, topic)):
                start = self._connection.execute(
                    "SELECT next_offset FROM acknowledged WHERE consumer = ? AND topic = ? AND partition = ?",
                    (group, topic, partition),
                ).fetchone()
                found += self._lanes[topic, partition].read(
                    start[0] if start else 0, max_records - len(found)
                )
        return found

    def ack(self, group: str, records: Sequence[Record]) -> None:
        """Move the group's position behind these records, never backwards; durable on return."""
        ends: defaultdict[tuple[str, int], int] = defaultdict(int)
        for record in records:
            place = record.topic, record.partition
            ends[place] = max(ends[place], record.offset + 1)
        with self._transaction():
            self._connection.executemany(
                "INSERT INTO acknowledged VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE "
                "SET next_offset = max(next_offset, excluded.next_offset)",
                [(group, *place, end) for place, end in ends.items()],
            )

    def check_integrity(self) -> None:
        """Let SQLite verify every page (minutes for a large file).

        Raises
        ------
        LogError
            The file is damaged.
        """
        with self._explained():
            (found,) = self._connection.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            raise LogError(
                f"the log {self._path} is damaged ({' '.join(found.split())}); stop all its users, "
                "keep a copy, and rescue it with `sqlite3 FILE .recover` or restore a backup"
            )

    def close(self) -> None:
        """Copy the write-ahead log into the file, close it and give up ownership; may be called twice."""
        with suppress(sqlite3.Error):  # nothing is lost: the next to open the file reads the write-ahead log
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self._connection.close()
        self._fence = None
        self._lock.release()

    def __enter__(self) -> Self:
        """Return the log itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    # Inside.

    def _lane(self, topic: str, partition: int) -> Lane:
        number = partitions_of(self._counts, topic)
        if not 0 <= partition < number:
            raise LogError(f"{topic} has {number} partitions (from 0); partition {partition} was asked for")
        return self._lanes[topic, partition]

    def _turn(self, topic: str) -> int:
        """Return how many records a topic ever had: whose turn it is among records without a key."""
        statement = "SELECT sum(next_offset) FROM lane WHERE topic = ?"
        return int(self._connection.execute(statement, (topic,)).fetchone()[0])

    def _require_owner(self) -> None:
        if not self._owner:
            raise LogError(
                f"{self._path} was opened as a client, and only its owner polls and commits; "
                "open it with owner=True"
            )

    def _stored_epoch(self) -> int:
        return int(self._connection.execute("SELECT epoch FROM owner").fetchone()[0])

    def _take_ownership(self) -> None:
        """Lock the file for serving, and let every commit of an earlier owner fail."""
        self._lock.release()  # an earlier lock may be on a lock file that somebody deleted
        self._lock.acquire()
        with transaction(self._connection):
            self._connection.execute("UPDATE owner SET epoch = epoch + 1")
            self._epoch = self._stored_epoch()

    def _explained(self) -> AbstractContextManager[None]:
        return explained(self._path)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with explained(self._path), transaction(self._connection):
            yield
        if self._wal.stat().st_size > self._wal_limit_bytes:
            with explained(self._path):
                emptied = truncate_wal(self._connection)
            # A reader that holds a transaction open makes every try wait: try again only much later.
            self._wal_limit_bytes = WAL_LIMIT_BYTES if emptied else 2 * self._wal.stat().st_size
