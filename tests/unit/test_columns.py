"""Columns: numbers in order of first appearance, the same matrix by the fast way and the slow one."""

from __future__ import annotations

import numpy as np
import orjson

from stream_al.columns import Columns
from stream_al.encode import EncodedInput
from stream_al.models.scaler import Scaler


def scaler_for(columns: Columns) -> Scaler:
    scaler = Scaler()
    scaler.grow(np.array(columns.indicator, dtype=bool))
    return scaler


def dense(columns: Columns, *batch: EncodedInput) -> list[list[float | None]]:
    matrix = columns.inputs(batch, scaler_for(columns), pad=False).dense
    return [[None if v != v else v for v in row] for row in matrix.tolist()]


def test_columns_are_numbered_as_they_appear():
    columns = Columns()
    assert columns.register(EncodedInput({"b": 1.0}, ("shop=west",)))
    assert columns.register(EncodedInput({"a": 1.0, "b": 2.0}))
    assert not columns.register(EncodedInput({"a": 5.0}))
    assert columns.names == ["b", "shop=west", "a"]
    assert columns.indicator == [False, True, False]


def test_missing_numbers_are_nan_and_absent_categories_zero():
    columns = Columns()
    columns.register(EncodedInput({"x": 1.0, "y": 2.0}, ("c=1",)))
    rows = dense(columns, EncodedInput({"y": 3.0}), EncodedInput({"x": 1.0, "new": 9.0}, ("c=1", "c=2")))
    assert rows == [[None, 3.0, 0.0], [1.0, None, 1.0]]


def test_the_fast_way_is_the_slow_way():
    columns = Columns()
    columns.register(EncodedInput({"x": 1.0, "y": 2.0, "z": 3.0}, ("c=1",)))
    alike = [EncodedInput({"z": float(i), "w": 1.0, "x": True}) for i in range(5)]
    mixed = [*alike, EncodedInput({}, ("c=1",))]
    assert dense(columns, *alike) == dense(columns, *mixed)[:5]
    columns.register(EncodedInput({"w": 1.0}))
    assert dense(columns, *alike) == dense(columns, *mixed)[:5]


def test_columns_beyond_the_limit_are_counted_and_not_used():
    columns = Columns(limit=2)
    columns.register(EncodedInput({"a": 1.0, "b": 1.0, "c": 1.0}))
    assert columns.names == ["a", "b"]
    assert columns.refused == 1
    assert dense(columns, EncodedInput({"c": 1.0, "a": 2.0})) == [[2.0, None]]


def test_scoring_pads_to_whole_blocks():
    columns = Columns()
    columns.register(EncodedInput({"x": 1.0}, (), {3: 1}))
    inputs = columns.inputs([EncodedInput({"x": 1.0}, (), {9: 2, 4: 1})], scaler_for(columns), pad=True)
    assert inputs.dense.shape == (64, 1)
    assert inputs.rows == 1
    assert inputs.words is not None
    assert inputs.words.rows == 64
    assert inputs.words.ids.tolist() == [4, 9]
    assert inputs.words.counts.tolist() == [1.0, 2.0]


def test_columns_survive_their_dump():
    columns = Columns()
    columns.register(EncodedInput({"x": 1.0}, ("x=1",), {1: 1}))
    again = Columns()
    again.load(orjson.loads(orjson.dumps(columns.dump())))
    assert again.dump() == columns.dump()
    assert not again.register(EncodedInput({"x": 2.0}, ("x=1",), {5: 1}))
