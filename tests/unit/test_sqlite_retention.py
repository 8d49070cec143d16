"""What the SQLite log forgets, and what it never does."""

from __future__ import annotations

from pathlib import Path

from stream_al.log.protocol import (
    DEAD_LETTERS,
    EVENTS,
    LABEL_REPLIES,
    LABEL_REQUESTS,
    PREDICTIONS,
    Output,
    Progress,
)
from stream_al.log.sqlite import SqliteLog
from stream_al.log.sqlite_retention import KEPT_REQUESTS


class Clock:
    def __init__(self) -> None:
        self.now_ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now_ms


def serve(log: SqliteLog, rounds: int, size: int = 600, outputs: tuple[str, ...] = (PREDICTIONS,)) -> None:
    """Append, poll and commit 200 events a round."""
    progress = dict(log.poll(1, 0).restored or {})
    for _ in range(rounds):
        log.append_many(EVENTS, [(b"k", b"e" * size)] * 200)
        batch = log.poll(500, 0)
        for partition, records in batch.records.items():
            progress[partition] = Progress(records[-1].offset + 1, "S" * 2500)
        written = [Output(topic, 0, None, b"o" * size) for topic in outputs] * 200
        log.commit(batch, written, progress)


def test_file_stays_bounded_and_keeps_what_must_be_kept(tmp_path: Path) -> None:
    path, bound = tmp_path / "log.db", 4 * 2**20
    with SqliteLog(path, owner=True, max_bytes=bound, synchronous="NORMAL") as log:
        log.append_many(LABEL_REPLIES, [(None, b"reply")] * 500)
        log.append_many(DEAD_LETTERS, [(None, b"letter")] * 50)
        sizes = []
        for _ in range(12):
            serve(log, rounds=10)
            sizes.append(path.stat().st_size)
        assert max(sizes) <= 1.2 * bound
        assert sum(f.stat().st_size for f in tmp_path.iterdir()) <= 1.2 * bound + 16 * 2**20
        first, following = log.bounds(EVENTS, 0)
        assert following == 12 * 10 * 200
        assert 1000 < following - first < following / 4
        assert log.tail(EVENTS, 0, 0, 1)[0].offset == first
        assert log.bounds(LABEL_REPLIES, 0) == (0, 500)
        assert len(log.tail(LABEL_REPLIES, 0, 0, 1000)) == 500
        assert log.bounds(DEAD_LETTERS, 0) == (0, 50)
        log.check_integrity()


def test_unconsumed_events_are_never_forgotten(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "log.db"
    with SqliteLog(path, 2, clock, owner=True, max_bytes=2**20, max_age_seconds=60) as log:
        log.append_many(EVENTS, [(b"%d" % n, b"e" * 1000) for n in range(4000)])
        clock.now_ms += 3_600_000
        assert log.retain() == 0
        log.poll(1, 0)
        batch = log.poll(10_000, 0)
        log.commit(batch, [], {0: Progress(100, "S")})
        while log.retain():
            pass
        assert log.bounds(EVENTS, 0)[0] == 100
        assert log.bounds(EVENTS, 1)[0] == 0


def test_age_forgets_by_the_clock_of_the_log(tmp_path: Path) -> None:
    clock = Clock()
    with SqliteLog(tmp_path / "log.db", clock=clock, owner=True, max_age_seconds=60) as log:
        serve(log, 1)
        clock.now_ms += 30_000
        serve(log, 1)
        clock.now_ms += 31_000
        assert log.retain() == 400
        assert log.bounds(EVENTS, 0) == (200, 400)
        assert log.bounds(PREDICTIONS, 0) == (200, 400)


def test_newest_requests_stay_for_the_reservoir(tmp_path: Path) -> None:
    clock = Clock()
    with SqliteLog(tmp_path / "log.db", clock=clock, owner=True, max_age_seconds=60) as log:
        serve(log, 10, outputs=(LABEL_REQUESTS,))
        clock.now_ms += 3_600_000
        while log.retain():
            pass
        assert log.bounds(LABEL_REQUESTS, 0) == (2000 - KEPT_REQUESTS, 2000)
        assert log.bounds(EVENTS, 0) == (2000, 2000)


def test_offsets_go_on_after_everything_was_forgotten(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "log.db"
    with SqliteLog(path, clock=clock, owner=True, max_age_seconds=60) as log:
        serve(log, 1)
        clock.now_ms += 3_600_000
        log.retain()
        assert log.tail(EVENTS, 0, 0, 10) == []
    with SqliteLog(path) as log:
        assert log.append(EVENTS, None, b"next").offset == 200


def test_freed_pages_go_back_to_the_file_system(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with SqliteLog(path, owner=True) as log:
        serve(log, 50)
    large = path.stat().st_size
    with SqliteLog(path, owner=True, max_bytes=2**20) as log:
        while log.retain():
            pass
        serve(log, 60)
    assert path.stat().st_size < large / 2
