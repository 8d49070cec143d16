"""A user's mistake: one message that says what was found and what to do, and a documented exit code."""

from __future__ import annotations

import io
import os
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from stream_al.log.sqlite import SqliteLog

from .conftest import Run


@pytest.mark.parametrize("command", ["init --from", "produce", "labels import", "simulate"])
def test_missing_label_column(run: Run, points: Path, command: str) -> None:
    ran = run(*command.split(), points, "--label", "sidee")
    assert ran.code == 3
    assert "has no label column 'sidee'" in ran.err
    assert "did you mean 'side'" in ran.err
    assert not Path("stream-al.db").exists()


@pytest.mark.parametrize("command", ["init --from", "produce", "labels import"])
def test_empty_file(run: Run, tmp_path: Path, command: str) -> None:
    (tmp_path / "empty.csv").write_text("")
    ran = run(*command.split(), "empty.csv", "--label", "y")
    assert ran.code == 3
    assert "empty.csv is empty" in ran.err


def test_empty_lines_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty.ndjson").write_text("\n")
    ran = run("produce", "empty.ndjson")
    assert (ran.code, "is empty" in ran.err) == (3, True)


def test_file_that_is_not_there(run: Run) -> None:
    ran = run("produce", "nowhere.csv", "--label", "y")
    assert (ran.code, "does not exist" in ran.err) == (3, True)


def test_one_class_only(run: Run, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("a,y\n1,spam\n2,spam\n")
    ran = run("init", "--from", "one.csv", "--label", "y")
    assert ran.code == 3
    assert "only the label 'spam'" in ran.err
    assert "at least two classes" in ran.err
    assert not Path("stream-al.toml").exists()


def test_a_label_column_that_holds_no_classes(run: Run, tmp_path: Path) -> None:
    rows = "".join(f"{i},text {i}\n" for i in range(200))
    (tmp_path / "free.csv").write_text("a,y\n" + rows)
    ran = run("init", "--from", "free.csv", "--label", "y")
    assert (ran.code, "200 different values" in ran.err) == (3, True)


def test_port_in_use_is_told_before_the_log_is_touched(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ran = run("serve", "--port", taken.getsockname()[1])
    assert ran.code == 2
    assert "cannot listen on 127.0.0.1" in ran.err
    assert "choose another http.port" in ran.err
    assert not Path("stream-al.db").exists()


def test_two_services_on_one_file(run: Run) -> None:
    with closing(SqliteLog("stream-al.db", owner=True)):
        ran = run("serve", "--port", 0)
    assert ran.code == 4
    assert f"is served by process {os.getpid()}" in ran.err
    assert "stop that one first" in ran.err


def test_locked_database(run: Run, points: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("produce", points, "--label", "side", "--head", 5)
    opened = SqliteLog.__init__

    def impatient(self: SqliteLog, *args: object, **options: object) -> None:
        opened(self, *args, **(options | {"busy_timeout_seconds": 0.05}))  # type: ignore[arg-type]  # as given

    monkeypatch.setattr(SqliteLog, "__init__", impatient)
    with closing(sqlite3.connect("stream-al.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        ran = run("produce", points, "--label", "side", "--head", 5, "--again")
    assert ran.code == 4
    assert "another process kept it locked" in ran.err


def test_read_only_database(run: Run, points: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("produce", points, "--label", "side", "--head", 5)
    opened = SqliteLog.__init__

    def unwritable(self: SqliteLog, *args: object, **options: object) -> None:
        opened(self, *args, **options)  # type: ignore[arg-type]  # as given
        self._connection.execute("PRAGMA query_only = ON")  # permissions do not stop root

    monkeypatch.setattr(SqliteLog, "__init__", unwritable)
    ran = run("produce", points, "--label", "side", "--head", 5, "--again")
    assert ran.code == 4
    assert "make the file and its directory writable" in ran.err


def test_log_where_nobody_may_write(run: Run, points: Path) -> None:
    ran = run("produce", points, "--label", "side", "--log", "/proc/stream-al.db")
    assert ran.code == 4
    assert "cannot be opened or made" in ran.err


def test_corrupt_database(run: Run, points: Path) -> None:
    run("produce", points, "--label", "side", "--head", 300)
    log = Path("stream-al.db")
    log.write_bytes(log.read_bytes()[:8192] + bytes(len(log.read_bytes()) - 8192))
    ran = run("serve", "--port", 0)
    assert (ran.code, "damaged" in ran.err) == (4, True)


def test_a_file_that_is_no_database(run: Run) -> None:
    Path("stream-al.db").write_text("This is a letter to my aunt, and it is long enough. " * 40)
    ran = run("serve", "--port", 0)
    assert (ran.code, "not a database" in ran.err, "name another file" in ran.err) == (4, True, True)


def test_unknown_configuration_key(run: Run) -> None:
    Path("stream-al.toml").write_text("[query]\nbugdet = 0.1\n")
    for command in (["serve", "--port", "0"], ["config", "show"], ["tail", "events"]):
        ran = run(*command)
        assert ran.code == 2
        assert "unknown key 'query.bugdet'" in ran.err
        assert "did you mean 'budget'" in ran.err


@pytest.mark.parametrize("budget", ["0", "-0.1", "1.5"])
def test_budget_out_of_range(run: Run, points: Path, budget: str) -> None:
    Path("stream-al.toml").write_text(f"[query]\nbudget = {budget}\n")
    assert run("serve", "--port", 0).code == 2
    ran = run("init", "--from", points, "--label", "side", "--force", f"--budget={budget}")
    assert ran.code == 2
    assert "above 0 and at most 1" in ran.err


@pytest.mark.parametrize("key", ["budget", "floor_share", "capacity", "credit", "suggestion_share"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e300"])
def test_numbers_that_are_none(run: Run, key: str, value: str) -> None:
    Path("stream-al.toml").write_text(f"[query]\n{key} = {value}\n")
    ran = run("config", "show")
    assert (ran.code, f"query.{key}" in ran.err) == (2, True)


def test_an_environment_that_contradicts_itself(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_AL__QUERY__BUDGET", "0.1")
    monkeypatch.setenv("STREAM_AL__QUERY", "5")
    ran = run("config", "show")
    assert (ran.code, "__QUERY" in ran.err) == (2, True)
    monkeypatch.setenv("STREAM_AL__QUERY", "{budget = 0.2, overlap = 2}")
    assert run("config", "show", "--json").json["query"]["budget"] == 0.1


def test_configuration_that_is_not_there(run: Run) -> None:
    ran = run("serve", "--config", "mine.toml")
    assert (ran.code, "mine.toml does not exist" in ran.err) == (2, True)


def test_other_hosts_need_a_token(run: Run) -> None:
    Path("stream-al.toml").write_text('[task]\nopen_labels = true\n[http]\nhost = "0.0.0.0"\nport = 0\n')
    ran = run("serve")
    assert (ran.code, "there is no token" in ran.err) == (2, True)
    assert not Path("stream-al.db").exists()


def test_reading_a_log_that_is_not_there(run: Run) -> None:
    for command in (["tail", "events"], ["replay"], ["labels", "export"]):
        ran = run(*command)
        assert (ran.code, "there is no log stream-al.db" in ran.err) == (4, True)


def test_label_needs_a_person(run: Run, points: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("produce", points, "--label", "side", "--head", 1)
    monkeypatch.setattr("sys.stdin", io.StringIO("1"))
    ran = run("label")
    assert (ran.code, "standard input is no terminal" in ran.err) == (2, True)


def test_unknown_topic(run: Run) -> None:
    ran = run("tail", "evnts")
    assert (ran.code, "label-replies" in ran.err) == (2, True)


def test_live_delays_are_times(run: Run, points: Path) -> None:
    ran = run("annotator", "--answers", points, "--label", "side", "--delay", "fixed:10")
    assert (ran.code, "fixed:5s" in ran.err) == (2, True)


def test_import_of_undeclared_labels_appends_nothing(run: Run, points: Path) -> None:
    Path("stream-al.toml").write_text('[task]\nlabels = ["left", "up"]\n')
    ran = run("labels", "import", points, "--label", "side")
    assert (ran.code, "'right'" in ran.err) == (3, True)
    assert not Path("stream-al.db").exists()


def test_import_of_more_classes_than_may_be_open_appends_nothing(run: Run) -> None:
    Path("many.csv").write_text("a,y\n" + "".join(f"{i},class-{i % 40}\n" for i in range(80)))
    Path("stream-al.toml").write_text('[task]\nlabels = ["left"]\nopen_labels = true\nmax_open_labels = 40\n')
    ran = run("labels", "import", "many.csv", "--label", "y")
    assert (ran.code, "raise task.max_open_labels" in ran.err) == (3, True)
    assert not Path("stream-al.db").exists()
