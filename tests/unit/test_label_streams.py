"""The benchmark's streams: their documented shapes, the same rows for the same seed, and what is missing."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from support.pages import codes, page, rows, section

from benchmarks.label_streams import IMBALANCED, MADE, READ, STREAMS, NoData, make_stream

DOCUMENTED = {
    codes(row[0])[0]: row for row in rows(section(page("docs/benchmark.md"), "The streams"), "stream")
}


def test_the_page_names_them_all():
    assert tuple(DOCUMENTED) == STREAMS
    assert len(STREAMS) == 20


@pytest.mark.parametrize("name", MADE)
def test_a_stream_has_its_documented_shape_and_repeats(name):
    stream, again, other = make_stream(name, 1), make_stream(name, 1), make_stream(name, 2)
    events, columns, classes = (int(cell.replace(",", "")) for cell in DOCUMENTED[name][1:4])
    assert stream.rows.shape == (events, columns)
    assert stream.truth.shape == (events,)
    assert sorted(set(stream.truth.tolist())) == list(range(classes))
    assert stream.classes == classes
    assert np.isfinite(stream.rows).all()
    assert np.array_equal(stream.rows, again.rows)
    assert np.array_equal(stream.truth, again.truth)
    assert not np.array_equal(stream.rows, other.rows)


def test_a_table_holds_the_same():
    stream = make_stream("segment", 0)
    table = stream.table()
    assert np.array_equal(table.numbers, stream.rows)
    assert [table.label(i) for i in range(50)] == [f"c{y}" for y in stream.truth[:50]]


def test_one_per_cent_is_rare():
    stream = make_stream("rare", 0)
    assert stream.name in IMBALANCED
    assert stream.rarest() == 1
    assert 0.008 < stream.truth.mean() < 0.012
    early, late = stream.rows[:10_000], stream.rows[10_000:]
    shift = late[stream.truth[10_000:] == 1].mean(0) - early[stream.truth[:10_000] == 1].mean(0)
    assert np.abs(shift).max() > 1.0


@pytest.mark.parametrize("name", READ)
def test_a_missing_file_is_said(name, tmp_path):
    with pytest.raises(NoData, match="--data"):
        make_stream(name, 0)
    with pytest.raises(NoData, match=r"there is no .*\.csv"):
        make_stream(name, 0, tmp_path)


def test_numeric_files_keep_their_order_and_fill_gaps_with_the_median(tmp_path: Path):
    (tmp_path / "outdoor_objects.csv").write_text("a,word,b,label\n1,x,5,30\n,y,7,4\n3,x,9,4\n8,x,1,30\n")
    stream = make_stream("outdoor", 3, tmp_path)
    assert stream.rows.tolist() == [[1, 5], [3, 7], [3, 9], [8, 1]]
    assert stream.truth.tolist() == [0, 1, 1, 0]  # "30" stands before "4", as words do


def test_covtypes_names_become_columns(tmp_path: Path):
    lines = ["slope,wilderness_area,soil_type,label", "5,2,29,10", "6,1,7,9", "7,2,7,10"]
    (tmp_path / "covtype.csv").write_text("\n".join(lines) + "\n")
    stream = make_stream("covtype", 0, tmp_path)
    assert stream.rows.tolist() == [[5, 0, 1, 0, 1], [6, 1, 0, 1, 0], [7, 0, 1, 1, 0]]
    assert stream.truth.tolist() == [1, 0, 1]


def test_texts_are_hashed_and_empty_ones_left_out(tmp_path: Path):
    with gzip.open(tmp_path / "text_hate_offensive.csv.gz", "wt") as file:
        file.write('id,text,votes,label\n0,"a word, twice: word",3,1\n1,,3,0\n2,another,3,0\n')
    stream = make_stream("hate", 0, tmp_path)
    assert stream.rows.shape == (2, 300)
    assert np.linalg.norm(stream.rows, axis=1) == pytest.approx(1.0)
    assert stream.truth.tolist() == [1, 0]


def test_only_the_last_transactions_are_taken_and_ids_left_out(tmp_path: Path):
    lines = ["ts,customer_id,terminal_id,amount,weekend,meta_scenario,label"]
    lines += [
        f"2018-04-01T00:00:{i % 60:02d},{i},{i},{i}.5,{i % 2},0,{int(i % 100 == 0)}" for i in range(20_010)
    ]
    (tmp_path / "fraud_fdh_features_apr_jun.csv").write_text("\n".join(lines) + "\n")
    stream = make_stream("fraud", 0, tmp_path)
    assert stream.rows.shape == (20_000, 2)
    assert stream.rows[0].tolist() == [10.5, 0.0]
    assert stream.truth.sum() == 200
