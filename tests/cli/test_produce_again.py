"""A file that is produced again: what is refused, what goes on, and what is said about its columns."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from stream_al.log.memory import MemoryLog
from stream_al.log.protocol import EVENTS, Record
from stream_al.log.sqlite import SqliteLog
from stream_al.table import assemble, coded, doubtful_columns
from stream_al_consumers.produce_command import CHUNK, SCANNED, Held, _held_lines, _held_rows

from .conftest import Run, reading

LABEL = ("--label", "y")
TEXT = (*LABEL, "--text", "text")


def notes(rows: int, *, file: str = "my.csv", edited: Sequence[int] = ()) -> Path:
    """Write a table with a column of free text."""
    lines = [f"{i % 7},row {i}{' (edited)' * (i in edited)},{'uv'[i % 2]}\n" for i in range(rows)]
    Path(file).write_text("a,text,y\n" + "".join(lines))
    return Path(file)


def appended(log: str = "stream-al.db") -> list[str]:
    with reading(log) as events:
        count = events.partitions(EVENTS)
        records = [r for p in range(count) for r in events.tail(EVENTS, p, 0, 100_000)]
    return [json.loads(record.value)["event_id"] for record in records]


# ---- the same ids with other contents ---------------------------------------------------------------


@pytest.mark.parametrize("partitions", [1, 3])
def test_other_options_than_last_time_are_refused(run: Run, partitions: int) -> None:
    Path("stream-al.toml").write_text(f"[log]\npartitions = {partitions}\n")
    file = notes(300)
    assert run("produce", file, *LABEL, "--json").json["appended"] == 300
    ran = run("produce", file, *TEXT, "--json")
    assert (ran.code, ran.out) == (2, "")
    assert "stream-al.db holds 300 of the ids in my.csv with other contents, 'my-0' for one" in ran.err
    assert all(way in ran.err for way in ("same options", "--again", "new log"))
    assert len(appended()) == 300
    assert run("produce", file, *LABEL, "--json").json == {
        "appended": 0,
        "already_there": 300,
        "log": "stream-al.db",
    }


def test_a_run_that_was_killed_goes_on_with_its_own_options_only(run: Run) -> None:
    file = notes(300)
    run("produce", file, *TEXT, "--head", 120)
    ran = run("produce", file, *LABEL)
    assert (ran.code, "holds 120 of the ids" in ran.err) == (2, True)
    assert run("produce", file, *TEXT, "--json").json["appended"] == 180
    assert sorted(appended()) == sorted(f"my-{i}" for i in range(300))


def test_again_and_a_new_log_take_other_options(run: Run) -> None:
    file = notes(60)
    run("produce", file, *LABEL)
    assert run("produce", file, *TEXT, "--log", "other.db", "--json").json["appended"] == 60
    assert run("produce", file, *TEXT, "--again", "--json").json["appended"] == 60
    for options in (LABEL, TEXT):  # both stand there now: nothing is left to append
        assert run("produce", file, *options, "--json").json["appended"] == 0


def test_a_row_that_was_edited_is_refused_and_rows_that_were_added_are_not(run: Run) -> None:
    run("produce", notes(100), *TEXT)
    ran = run("produce", notes(120, edited=[97]), *TEXT)
    assert (ran.code, "holds 1 of the ids in my.csv" in ran.err, "'my-97'" in ran.err) == (2, True, True)
    assert len(appended()) == 100
    assert run("produce", notes(120), *TEXT, "--json").json["appended"] == 20


def test_rows_that_are_skipped_are_not_looked_at(run: Run) -> None:
    file = notes(100)
    run("produce", file, *LABEL, "--head", 40)
    assert run("produce", file, *TEXT, "--skip", 40, "--json").json["appended"] == 60
    ran = run("produce", file, "--label", "a", "--skip", 90)
    assert (ran.code, "holds 10 of the ids" in ran.err, "'my-90'" in ran.err) == (2, True, True)


def line(name: str, text: str = "hi") -> bytes:
    return json.dumps({"event_id": name, "text": text}).encode()


def test_lines_that_were_edited_are_refused(run: Run) -> None:
    mine = Path("mine.ndjson")
    mine.write_bytes(b"\n".join(line(f"e{i}") for i in range(50)))
    run("produce", mine)
    mine.write_bytes(b"\n".join(line(f"e{i}", "ho" if i in (20, 30, 49) else "hi") for i in range(60)))
    ran = run("produce", mine)
    assert (ran.code, "holds 3 of the ids in mine.ndjson" in ran.err, "'e20'" in ran.err) == (2, True, True)
    assert len(appended()) == 50
    assert run("produce", mine, "--again", "--json").json["appended"] == 60


@pytest.mark.parametrize("skip", [0, 1, 2])
def test_an_id_may_repeat_within_a_file_of_lines(run: Run, skip: int) -> None:
    Path("mine.ndjson").write_bytes(b"\n".join([line("a", "1"), line("b"), line("a", "2"), line("a", "3")]))
    assert run("produce", "mine.ndjson", "--head", 2, "--json").json["appended"] == 2
    assert run("produce", "mine.ndjson", "--skip", skip, "--json").json["appended"] == 2
    assert appended() == ["a", "b", "a", "a"]


@pytest.mark.parametrize(
    "record",
    [
        (b"e1", b"not json"),
        (b"e1", b'{"text": "no id"}'),
        (b"e1", line("another id")),
        (None, line("e1", "without a key")),
        (b"x", line("x", "of another file")),
    ],
)
def test_a_record_without_one_of_the_ids_changes_nothing(
    run: Run, record: tuple[bytes | None, bytes]
) -> None:
    Path("e.csv").write_text("a,y\n1,u\n2,v\n")
    Path("mine.ndjson").write_bytes(line("e1"))
    key, value = record
    with reading() as log:
        log.append(EVENTS, key, value)
        log.append(EVENTS, key and key.replace(b"e1", b"e-1"), value.replace(b'"e1"', b'"e-2"'))
    assert run("produce", "mine.ndjson", "--json").json["appended"] == 1
    assert run("produce", "e.csv", *LABEL, "--json").json["appended"] == 2


# ---- broken-off chunks, and how much is read --------------------------------------------------------


def test_a_broken_chunk_is_completed_whatever_else_stands_there() -> None:
    lines = [line(f"e{i}") for i in range(900)]
    with closing(MemoryLog(partitions=3)) as log:
        there = [*range(CHUNK), *range(CHUNK, 900, 3)]
        log.append_many(EVENTS, [(b"e%d" % i, lines[i]) for i in there])
        lost = [i for i in range(899) if i not in set(there)]
        assert _held_lines(log, lines, 0) == Held(900, lost)
        other = line("e501", "other")
        log.append(EVENTS, b"e501", other)
        assert _held_lines(log, lines, 0) == Held(900, lost, (501,))
        assert _held_lines(log, lines, 502).others == ()


def test_rows_of_a_broken_chunk_with_other_contents() -> None:
    def row_of(record: Record) -> int | None:
        return int(record.key) if record.key is not None and record.key.isdigit() else None

    def same(record: Record, row: int) -> bool:
        return record.value == line(str(row))

    with closing(MemoryLog(partitions=3)) as log:
        log.append_many(EVENTS, [(b"%d" % i, line(str(i))) for i in range(0, 90, 3)])
        lost = [i for i in range(87) if i % 3]
        assert _held_rows(log, row_of, 0, same) == Held(88, lost)
        for row in (3, 4, 87, 88, 89):  # 3 and 87 stand there as they should, too
            log.append(EVENTS, b"%d" % row, line(str(row), "other"))
        assert _held_rows(log, row_of, 0, same) == Held(88, lost, (4, 88, 89))
        assert _held_rows(log, row_of, 89, same).others == (89,)


def test_no_more_of_the_log_is_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    file = notes(2 * SCANNED + 100)
    run("produce", file, *TEXT)
    read: list[int] = []
    tail = SqliteLog.tail

    def counted(self: SqliteLog, topic: str, partition: int, start: int, count: int) -> list[Record]:
        records = tail(self, topic, partition, start, count)
        read.append(len(records))
        return records

    monkeypatch.setattr(SqliteLog, "tail", counted)
    assert run("produce", file, *TEXT, "--json").json["appended"] == 0
    assert read == [SCANNED]  # the newest records tell
    read.clear()
    assert run("produce", file, *LABEL).code == 2
    assert read == [SCANNED, SCANNED, 100]  # as where nothing of the file is found, a piece at a time


# ---- doubtful columns ------------------------------------------------------------------------------


def test_produce_warns_of_columns_once_and_not_in_its_result(run: Run) -> None:
    ran = run("produce", notes(60), *LABEL, "--json")
    assert ran.json["appended"] == 60
    assert ran.err.count("warning: column 'text' has 60 different strings in 60 rows") == 1
    assert "--text text" in ran.err
    assert "warning" not in run("produce", notes(60, file="other.csv"), *TEXT).err


def test_what_a_warning_proposes_can_be_typed(run: Run) -> None:
    names = ["my notes", "a,b[1]", "$it's"]
    cells = [f"row {i}" for i in range(60)]
    table = assemble("t", {name: coded(cells) for name in names}, coded(["u", "v"] * 30))
    Path("t.csv").write_text(
        'my notes,"a,b[1]",$it\'s,n,y\n'
        + "".join(f"{c},{c},{c},{i % 7},{'uv'[i % 2]}\n" for i, c in enumerate(cells))
    )
    for name, doubt in zip(names, doubtful_columns(table), strict=True):
        as_text, left_out = (shlex.split(part.split(")")[0]) for part in doubt.split("(")[1:])
        assert as_text == ["--text", name]
        for words in (as_text, left_out):
            ran = run("produce", "t.csv", *LABEL, *words, "--again")
            assert (ran.code, f"column {name!r} has" in ran.err) == (0, False)


def test_where_the_free_text_is_named_another_column_can_only_be_left_out() -> None:
    cells = [f"row {i}" for i in range(60)]
    table = assemble("t", {"id": coded(cells)}, coded(["u", "v"] * 30), texts=cells)
    assert doubtful_columns(table) == [
        "column 'id' has 60 different strings in 60 rows: leave it out (--drop id)"
    ]
    numbered = assemble("t", {"no, of row": np.arange(60.0)}, coded(["u", "v"] * 30))
    assert doubtful_columns(numbered) == [
        "column 'no, of row' counts the rows: leave it out (--drop 'no? of row')"
    ]


@pytest.mark.parametrize(
    ("options", "features"),
    [(("--text", "my text"), 3), (("--drop", "my*"), 2), (("--drop", "a, b", "--text", "my text"), 1)],
)
def test_init_reads_as_it_says_the_others_should(run: Run, options: tuple[str, ...], features: int) -> None:
    rows = (f"{i % 7},{i % 5},row {i},{'uv'[i % 2]}\n" for i in range(60))
    Path("my.csv").write_text("a,b,my text,y\n" + "".join(rows))
    ran = run("init", "--from", "my.csv", *LABEL, *options, "--json")
    assert (ran.code, ran.err) == (0, "")
    assert f"(60 rows, {features} features)" in Path("stream-al.toml").read_text()
    following = [shlex.split(command, comments=True) for command in ran.json["next"]]
    (simulate,) = (words for words in following if words[1] == "simulate")
    (produce,) = (words for words in following if words[1] == "produce")
    wanted = [word.replace(", ", ",") for word in options]
    for words in (simulate, produce):
        assert {*wanted} <= {*words}
    assert run(*produce[1 : produce.index("--rate")], "--json").json["appended"] == 60
    assert "warning" not in run(*simulate[1:], "--no-baseline").err


def test_init_drops_what_it_warns_of(run: Run) -> None:
    assert "--drop text" in run("init", "--from", notes(60), *LABEL).err
    assert run("init", "--from", "my.csv", *LABEL, "--drop", "text", "--force").err == ""
    refused = run("init", "--from", "my.csv", *LABEL, "--drop", "txt", "--force")
    assert (refused.code, "nothing to drop matches 'txt'" in refused.err) == (3, True)
