"""What only the SQLite log has: a file, an owner, other processes, retention, and disks that refuse."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from stream_al.errors import CommitLost, LogError, LogOwned
from stream_al.log.protocol import (
    EVENTS,
    LABEL_REPLIES,
    PREDICTIONS,
    Batch,
    Output,
    Progress,
)
from stream_al.log.sqlite import SqliteLog
from stream_al.log.sqlite_file import explained, transaction, truncate_wal


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start another process; ``sys.argv[1:]`` are the arguments."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return output


SERVE_UNTIL_KILLED = """
    import sys
    from stream_al.log.protocol import Output, Progress
    from stream_al.log.sqlite import SqliteLog

    log = SqliteLog(sys.argv[1], owner=True)
    log.poll(10, 0)
    batch = log.poll(1, 5.0)
    log.commit(batch, [Output("predictions", 0, None, b"committed")], {0: Progress(1, "committed")})
    log.poll(1, 5.0)
    log._connection.execute("BEGIN IMMEDIATE")  # killed in the middle of a commit
    log._lanes["predictions", 0].write([(None, b"torn")], 0)
    print("ready", flush=True)
    sys.stdin.read()
"""


# One owner.


def test_second_owner_is_refused_by_process_id(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with SqliteLog(path) as log:
        log.append_many(EVENTS, [(None, b"a"), (None, b"b")])
    owner = python(SERVE_UNTIL_KILLED, path)
    assert owner.stdout is not None
    assert owner.stdout.readline() == "ready\n"
    with pytest.raises(LogOwned, match=rf"served by process {owner.pid} on host .*stop that one"):
        SqliteLog(path, owner=True)
    with SqliteLog(path) as client:  # reading needs no ownership
        assert [record.value for record in client.tail(PREDICTIONS, 0, 0, 9)] == [b"committed"]
    owner.kill()
    owner.communicate()


def test_a_killed_owner_is_taken_over_at_once_and_nothing_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with SqliteLog(path) as log:
        log.append_many(EVENTS, [(None, b"a"), (None, b"b")])
    owner = python(SERVE_UNTIL_KILLED, path)
    assert owner.stdout is not None
    assert owner.stdout.readline() == "ready\n"
    owner.kill()
    owner.communicate()
    with SqliteLog(path, owner=True) as log:
        assert log.poll(10, 0).restored == {0: Progress(1, "committed")}
        assert [record.value for record in log.poll(10, 0).records[0]] == [b"b"]
        assert [record.value for record in log.tail(PREDICTIONS, 0, 0, 9)] == [b"committed"]
        log.check_integrity()


def test_an_owner_whose_lock_file_was_deleted_is_fenced_then_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    old = SqliteLog(path, owner=True)
    old.poll(1, 0)
    (tmp_path / "log.db.lock").unlink()
    new = SqliteLog(path, owner=True)
    with pytest.raises(LogOwned):
        old.poll(1, 0)
    with pytest.raises(CommitLost):
        old.commit(Batch(), [], {})
    new.close()
    assert old.poll(1, 0).restored == {0: Progress(0, "")}  # the other is gone
    old.close()


def test_a_link_to_the_log_is_the_same_log(tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "log.db")
    with SqliteLog(tmp_path / "log.db", owner=True), pytest.raises(LogOwned):
        SqliteLog(link, owner=True)


def test_only_the_owner_polls_and_commits(tmp_path: Path) -> None:
    with SqliteLog(tmp_path / "log.db") as log:
        with pytest.raises(LogError, match="owner=True"):
            log.poll(1, 0)
        with pytest.raises(LogError, match="owner=True"):
            log.commit(Batch(), [], {})


# Other processes.


def test_poll_wakes_up_when_another_process_appends(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with SqliteLog(path, owner=True) as log:
        log.poll(1, 0)
        producer = python(
            "import sys; from stream_al.log.sqlite import SqliteLog; "
            "SqliteLog(sys.argv[1]).append('events', None, b'hello')",
            path,
        )
        batch = log.poll(1, 60.0)
        assert [record.value for record in batch.records[0]] == [b"hello"]
        finished(producer)


def test_many_writers_and_a_service_never_meet_a_locked_file(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    code = """
        import sys
        from stream_al.log.sqlite import SqliteLog

        log = SqliteLog(sys.argv[1])  # four processes make the file at once
        for number in range(40):
            log.append_many("events", [(b"%s" % sys.argv[2].encode(), b"%d" % number)] * 3)
            log.append("label-replies", None, b"%d" % number)
            found = log.read("events", sys.argv[2], 10)
            log.ack(sys.argv[2], found)
        log.close()
    """
    writers = [python(code, path, name) for name in "abcd"]
    seen: list[bytes] = []
    with SqliteLog(path, owner=True) as log:
        progress = dict(log.poll(500, 0).restored or {})
        while len(seen) < 480:
            batch = log.poll(50, 30.0)
            records = batch.records[0]
            seen += [(record.key or b"") + record.value for record in records]
            progress[0] = Progress(records[-1].offset + 1, "S")
            log.commit(batch, [Output(PREDICTIONS, 0, None, b"p") for _ in records], progress)
        for writer in writers:
            finished(writer)
        for name in (b"a", b"b", b"c", b"d"):
            assert [v for v in seen if v[:1] == name] == [name + b"%d" % (n // 3) for n in range(120)]
        assert log.bounds(LABEL_REPLIES, 0) == (0, 160)
        assert log.bounds(PREDICTIONS, 0) == (0, 480)
        log.check_integrity()


# The write-ahead log.


def test_write_ahead_log_is_emptied_when_it_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_al.log.sqlite.WAL_LIMIT_BYTES", 2**20)
    with SqliteLog(tmp_path / "log.db", owner=True) as log:
        for _ in range(20):
            log.append_many(EVENTS, [(None, b"e" * 1000)] * 500)
            assert (tmp_path / "log.db-wal").stat().st_size <= 2**20
        assert log.bounds(EVENTS, 0) == (0, 10_000)


def test_a_reader_that_never_ends_does_not_stop_the_writers(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with SqliteLog(path) as reader, SqliteLog(path) as log:
        reader._connection.execute("BEGIN")
        reader.tail(EVENTS, 0, 0, 1)
        log.append(EVENTS, None, b"a")
        assert not truncate_wal(log._connection)
        reader._connection.execute("ROLLBACK")
        assert truncate_wal(log._connection)
        assert (tmp_path / "log.db-wal").stat().st_size == 0
        assert [record.value for record in reader.tail(EVENTS, 0, 0, 1)] == [b"a"]


# Files that refuse: what was found, what was expected, what to do.


def test_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"no directory .*nowhere; create it first"):
        SqliteLog(tmp_path / "nowhere" / "log.db")


def test_a_directory_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="is a directory"):
        SqliteLog(tmp_path)


def test_a_place_where_nobody_may_write() -> None:
    with pytest.raises(LogError, match="needs to read and write"):
        SqliteLog("/proc/stream-al.db")


def test_a_text_file_is_no_log(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database\n" * 100)
    with pytest.raises(LogError, match="expected a log made by stream-al"):
        SqliteLog(path)
    assert path.read_text() == "not a database\n" * 100


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE t (x)")
    other.commit()
    other.close()
    before = path.read_bytes()
    with pytest.raises(LogError, match="another program"):
        SqliteLog(path)
    assert path.read_bytes() == before


def test_a_newer_format_asks_for_an_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with SqliteLog(path) as log:
        log._connection.execute("PRAGMA user_version = 99")
    with pytest.raises(LogError, match=r"format 99, but this release reads formats up to 1; upgrade"):
        SqliteLog(path)


def test_another_number_of_partitions(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    SqliteLog(path, 4).close()
    with pytest.raises(LogError, match=r"has 4 event partitions, but 2 were asked for.*set partitions = 4"):
        SqliteLog(path, 2)
    with SqliteLog(path) as log:
        assert log.partitions(EVENTS) == 4
    with pytest.raises(LogError, match="at least 1"):
        SqliteLog(tmp_path / "none.db", 0)


def test_settings_of_durability(tmp_path: Path) -> None:
    with pytest.raises(LogError, match='expected "FULL" or "NORMAL"'):
        SqliteLog(tmp_path / "log.db", synchronous="OFF")


def test_a_damaged_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with SqliteLog(path, owner=True) as log:
        log.append_many(EVENTS, [(None, b"e" * 1000)] * 2000)
    content = bytearray(path.read_bytes())
    content[20 * 8192 : 40 * 8192] = b"\xff" * (20 * 8192)
    path.write_bytes(content)
    log = SqliteLog(path)
    with pytest.raises(LogError, match=r"damaged.*keep a copy"):
        log.check_integrity()
    with pytest.raises(LogError, match=r"damaged.*keep a copy"):
        log.tail(EVENTS, 0, 0, 10_000)
    log.close()


def test_a_lock_that_is_never_released(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with SqliteLog(path) as holder, SqliteLog(path, busy_timeout_seconds=0.02) as log:
        with (
            transaction(holder._connection),
            pytest.raises(LogError, match=r"another process kept it locked.*fuser"),
        ):
            log.append(EVENTS, None, b"a")
        assert log.append(EVENTS, None, b"a").offset == 0


def test_a_full_disk_loses_nothing_and_the_service_goes_on_after_it(tmp_path: Path) -> None:
    with SqliteLog(tmp_path / "log.db", owner=True) as log:
        log.append_many(EVENTS, [(None, b"e")] * 200)
        log.poll(1, 0)
        log.commit(log.poll(500, 0), [], {0: Progress(200, "S")})
        batch = log.poll(1, 0)
        pages = log._connection.execute("PRAGMA page_count").fetchone()[0]
        log._connection.execute(f"PRAGMA max_page_count = {pages}")
        large = [Output(PREDICTIONS, 0, None, b"p" * 100_000)] * 10
        with pytest.raises(LogError, match="nothing of this call was written; make room on the disk"):
            log.commit(batch, large, {0: Progress(7, "lost")})
        log._connection.execute("PRAGMA max_page_count = 1000000")
        assert log.poll(1, 0).restored == {0: Progress(200, "S")}
        log.commit(log.poll(1, 0), large, {0: Progress(200, "T")})
        assert log.bounds(PREDICTIONS, 0) == (0, 10)


def test_a_read_only_file_says_so(tmp_path: Path) -> None:
    with SqliteLog(tmp_path / "log.db") as log:
        log._connection.execute("PRAGMA query_only = 1")  # file modes do not stop a privileged user
        with pytest.raises(LogError, match=r"readonly.*make the file and its directory writable"):
            log.append(EVENTS, None, b"a")


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (sqlite3.SQLITE_IOERR_FSYNC, "the disk failed"),
        (sqlite3.SQLITE_READONLY_DIRECTORY, "writable for this user"),
        (sqlite3.SQLITE_CORRUPT_INDEX, "the file is damaged"),
        (sqlite3.SQLITE_SCHEMA, "PRAGMA integrity_check"),
    ],
)
def test_errors_that_are_hard_to_provoke(code: int, advice: str) -> None:
    error = sqlite3.OperationalError("something")
    error.sqlite_errorcode = code
    with (
        pytest.raises(LogError, match=f"/some/log.db: something; .*{re.escape(advice)}"),
        explained(Path("/some/log.db")),
    ):
        raise error


def test_a_closed_log_says_so(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.db")
    log.close()
    log.close()
    with pytest.raises(LogError, match="used until it is closed"):
        log.append(EVENTS, None, b"a")


def test_the_file_alone_is_the_log_after_close(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with SqliteLog(path, owner=True) as log:
        log.append(EVENTS, None, b"a")
    assert sorted(f.name for f in tmp_path.iterdir()) == ["log.db", "log.db.lock"]
    moved = path.rename(tmp_path / "moved.db")
    with SqliteLog(moved) as log:
        assert [record.value for record in log.tail(EVENTS, 0, 0, 1)] == [b"a"]
