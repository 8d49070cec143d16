"""Data in: what becomes a feature, what is missing, and what is refused with which words."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from stream_al import delimited
from stream_al.datasets import BUNDLED, bundled, infer_labels, read_table, require_two_labels
from stream_al.errors import ConfigurationError, DataError
from stream_al_schemas import Event

CSV = """\
when,price,colour,member,note,meta_id,label
2024-01-01T00:00:00Z,1.5,red,true,"hello, you",7,yes
2024-01-01T00:01:00Z,,NA,,,8,no
2024-01-01T00:00:30,inf,blue,FALSE,"two
lines",9,
2024-01-01T01:02:00+01:00,1e999,red,true,x,10,yes
"""


@pytest.fixture
def csv_path(tmp_path: Path) -> Path:
    path = tmp_path / "shop.csv"
    path.write_text(CSV)
    return path


def write(tmp_path: Path, text: str | bytes, name: str = "data.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_table_becomes_events(csv_path: Path) -> None:
    table = read_table(csv_path, label="label", text="note", time="when", drop=["meta_*"])
    assert table.n == 4
    assert table.kinds == {"price": "number", "colour": "category", "member": "boolean"}
    assert table.event(0) == {
        "event_id": "shop-0",
        "features": {"price": 1.5, "colour": "red", "member": True},
        "text": "hello, you",
        "timestamp": 1704067200000,
    }
    assert table.event(1)["features"] == {"price": None, "colour": None, "member": None}
    assert [row["features"]["price"] for row in table.rows] == [1.5, None, None, None]
    assert [table.label(i) for i in range(4)] == ["yes", "no", None, "yes"]
    assert infer_labels(table) == ("yes", "no")


def test_the_clock_never_runs_backwards(csv_path: Path) -> None:
    table = read_table(csv_path, label="label", time="when")
    assert table.timestamps_ms is not None
    assert (table.timestamps_ms - table.timestamps_ms[0]).tolist() == [0, 60_000, 60_000, 120_000]
    assert table.steps_back == 1


def test_every_event_is_valid_and_its_json_says_the_same(csv_path: Path) -> None:
    table = read_table(csv_path, label="label", text="note", time="when")
    for i in range(table.n):
        Event.model_validate(table.event(i))
        assert json.loads(table.event_json(i)) == table.event(i)
        assert table.row_of(table.event(i)["event_id"]) == i


@pytest.mark.parametrize("event_id", ["shop-4", "shop-01", "shop--1", "other-1", "shop-", "shop-²", "1"])
def test_a_foreign_id_has_no_row(csv_path: Path, event_id: str) -> None:
    assert read_table(csv_path, label="label").row_of(event_id) is None


def test_gzip_head_byte_order_mark_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress("\ufeffx ,y\r\n1,a\r\n\r\n2,b\r\n3,c\r\n".encode()))
    table = read_table(path, label="y", head=2)
    assert [table.event(i) for i in range(table.n)] == [
        {"event_id": "a-0", "features": {"x": 1.0}},
        {"event_id": "a-1", "features": {"x": 2.0}},
    ]


def test_tabs_and_semicolons_are_seen_in_the_header(tmp_path: Path) -> None:
    for mark in "\t;":
        table = read_table(write(tmp_path, f"x{mark}y\n1{mark}a,b\n"), label="y")
        assert (table.event(0)["features"], table.label(0)) == ({"x": 1.0}, "a,b")


def test_categorical_forces_and_text_alone_is_enough(tmp_path: Path) -> None:
    path = write(tmp_path, "zip,note,label\n0123,hi,1\n,,2\n")
    table = read_table(path, label="label", categorical=["zip"], drop=["note"])
    assert [row["features"] for row in table.rows] == [{"zip": "0123"}, {"zip": None}]
    only_text = read_table(path, label="label", text="note", drop=["zip"])
    assert list(only_text.rows)[1] == {"event_id": "data-1", "text": ""}
    Event.model_validate(only_text.event(1))


@pytest.mark.parametrize("block", [1, 2, 3, 32_768])
def test_the_size_of_a_block_decides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(delimited, "BLOCK_ROWS", block)
    path = write(tmp_path, "a,b,c,d,label\n1,,1,1_0,x\n2,,true,2,y\n,true,,3,x\nz,NA,0,4,y\n")
    table = read_table(path, label="label")
    assert table.kinds == {"a": "category", "b": "boolean", "c": "category", "d": "category"}
    assert [list(row["features"].values()) for row in table.rows] == [
        ["1", None, "1", "1_0"],
        ["2", None, "true", "2"],
        [None, True, None, "3"],
        ["z", None, "0", "4"],
    ]


def test_labels_stand_as_they_are(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "x,label\n1,1.0\n2, NA\n3,\n4,1\n"), label="label")
    assert [table.label(i) for i in range(4)] == ["1.0", " NA", None, "1"]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["10", "11.5"], [10_000, 11_500]),
        (["1700000000000", "1700000000001"], [1_700_000_000_000, 1_700_000_000_001]),
        (["2024-01-01", "2024-01-02"], [1_704_067_200_000, 1_704_153_600_000]),
    ],
)
def test_times_may_be_seconds_milliseconds_or_iso(
    tmp_path: Path, cells: list[str], expected: list[int]
) -> None:
    path = write(tmp_path, "t,x,y\n" + "".join(f"{cell},1,a\n" for cell in cells))
    clock = read_table(path, label="y", time="t").timestamps_ms
    assert clock is not None
    assert clock.tolist() == expected


def test_parquet_gives_the_same_as_csv(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    moments = pa.array([0, 60_000_000, 30_000_000], pa.timestamp("us", tz="UTC"))
    columns = {
        "t": moments,
        "i": pa.array([1, None, 3], pa.int64()),
        "f": pa.array([0.5, float("inf"), float("nan")]),
        "b": pa.array([True, None, False]),
        "s": pa.array(["u", None, "v"]).dictionary_encode(),
        "digits": pa.array(["1.5", "", "2"]),
        "note": pa.array(["hi", None, "you"]),
        "y": pa.array([1, 0, None], pa.int8()),
    }
    parquet.write_table(pa.table(columns), path)
    table = read_table(path, label="y", time="t", text="note")
    assert [list(row["features"].values()) for row in table.rows] == [
        [1.0, 0.5, True, "u", 1.5],
        [None, None, None, None, None],
        [3.0, None, False, "v", 2.0],
    ]
    assert [table.label(i) for i in range(3)] == ["1", "0", None]
    assert table.timestamps_ms is not None
    assert table.timestamps_ms.tolist() == [0, 60_000, 60_000]
    assert table.texts == ["hi", "", "you"]
    assert read_table(path, label="y", categorical=["i"], head=1).event(0)["features"]["i"] == "1"


def test_npz_holds_a_matrix_and_arrays_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "z.npz"
    x = np.array([[[1.0, np.inf]], [[3.0, np.nan]]])
    np.savez(path, X=x, y=np.array([4, 5]), words=np.array(["a", "b"]), t=np.array([1, 2]), meta=np.zeros(2))
    table = read_table(path, label="y", text="words", time="t", categorical=["x0"])
    assert list(table.rows) == [
        {"event_id": "z-0", "features": {"x0": "1.0", "x1": None}, "text": "a", "timestamp": 1000},
        {"event_id": "z-1", "features": {"x0": "3.0", "x1": None}, "text": "b", "timestamp": 2000},
    ]
    assert infer_labels(table) == ("4", "5")
    assert list(read_table(path, label="y", drop=["x1"], head=1).rows) == [
        {"event_id": "z-0", "features": {"x0": 1.0}}
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"x,label\n", "no rows"),
        (b"x,label\n1,a\n2,b,c\n", "line 3: found 3 cells; expected 2"),
        (b'x,label\n"1\n2",a\n2\n', "line 4: found 1 cells"),
        (b"x,label\n\xff,a\n", "not UTF-8"),
        (b'x,label\n"1,a\n', "unexpected end of data"),
        (b"x,x,label\n1,2,a\n", "names x twice"),
        (b"x,Label\n1,a\n", "did you mean 'Label'"),
        (b"label\na\n", "no column is left"),
        (b"x,label\n1,\n", "is empty in every row"),
        (b"x,label\n1," + b"t" * 300, "with 300 characters"),
    ],
)
def test_a_bad_csv_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_table(write(tmp_path, content), label="label")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"label": "lable"}, "no label column 'lable'; did you mean 'label'"),
        ({"text": "notes"}, "no text column 'notes'; did you mean 'note'"),
        ({"time": "at"}, "no time column 'at'"),
        ({"categorical": ["color"]}, "no categorical column 'color'; did you mean 'colour'"),
        ({"drop": ["zzz*"]}, "nothing to drop matches 'zzz\\*'"),
        ({"drop": ["*"]}, "no column is left"),
        ({"text": "label"}, "expected different columns"),
        ({"labels": ["no"]}, "holds 'yes'; expected one of no"),
        ({"time": "colour"}, "data row 1 holds 'red'; expected ISO 8601"),
        ({"time": "price"}, "data row 2 has no time"),
    ],
)
def test_a_column_that_does_not_fit_is_refused(
    csv_path: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        read_table(csv_path, **({"label": "label"} | options))  # type: ignore[arg-type]  # a table of options


@pytest.mark.parametrize(("cell", "words"), [("-5", "before 1970"), ("1700000000000000", "micro")])
def test_a_time_that_cannot_be_meant_is_refused(tmp_path: Path, cell: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_table(write(tmp_path, f"t,x,y\n{cell},1,a\n"), label="y", time="t")


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    whole = gzip.compress(b"x,label\n" + b"1,a\n" * 1000)
    (tmp_path / "plain.npz").write_bytes(b"no archive")
    np.savez(tmp_path / "noy.npz", X=np.zeros((2, 2)))
    np.savez(tmp_path / "nox.npz", y=np.zeros(2))
    np.savez(tmp_path / "pickle.npz", X=np.array([[{}]], dtype=object))
    cases = {
        "gone.csv": "does not exist",
        "": "is a directory",
        write(tmp_path, b"x", "data.xlsx").name: "ends in one of .csv",
        write(tmp_path, b"x,label\n1,a\n", "plain.csv.gz").name: "cannot be unpacked",
        write(tmp_path, whole[:-20], "cut.csv.gz").name: "cannot be unpacked",
        write(tmp_path, b"PAR1", "cut.parquet").name: "not a whole Parquet file",
        "plain.npz": "cannot be read",
        "pickle.npz": "without pickles",
        "nox.npz": "expected a dense matrix",
        "noy.npz": "no label column",
    }
    for name, words in cases.items():
        with pytest.raises(DataError, match=words):
            read_table(tmp_path / name, label="label")


def test_nested_parquet_is_refused_unless_dropped(tmp_path: Path) -> None:
    path = tmp_path / "n.parquet"
    parquet.write_table(pa.table({"x": [1], "deep": [[1, 2]], "y": ["a"]}), path)
    with pytest.raises(DataError, match="drop it"):
        read_table(path, label="y")
    assert read_table(path, label="y", drop=["deep"]).n == 1


def test_one_class_is_refused_where_asked(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "x,label\n1,a\n2,a\n"), label="label")
    with pytest.raises(DataError, match="only the label 'a'"):
        require_two_labels(table)


def test_head_must_be_positive(csv_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="head is 0"):
        read_table(csv_path, label="label", head=0)


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_data_is_shuffled_by_its_seed(name: str) -> None:
    table, again, other = (bundled(name, seed=seed, head=1000) for seed in (1, 1, 2))
    assert table.n == 1000
    require_two_labels(table)
    assert [table.event(i) for i in range(50)] == [again.event(i) for i in range(50)]
    assert [table.event(i) for i in range(50)] != [other.event(i) for i in range(50)]
    Event.model_validate(table.event(999))


def test_an_unknown_bundled_name_lists_the_known() -> None:
    with pytest.raises(ConfigurationError, match="shuttle, phishing"):
        bundled("iris")
