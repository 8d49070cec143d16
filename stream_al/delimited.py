"""Columns from a CSV file: the standard library reads, numpy keeps.

Every feature is taken for numbers until a cell says otherwise, then for booleans, then for
categories. A file is read in blocks of rows; when a later block contradicts the first one, the file
is read again with what is known by then, so the result never depends on the size of a block.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np

from stream_al.errors import DataError
from stream_al.table import F64, Coded, Column

BLOCK_ROWS = 32_768
MAX_CELL = 1 << 24
"""Characters in one cell; above it a quote was never closed."""
MISSING = frozenset({"", "na", "n/a", "nan", "null"})
"""Cells without a value, in lower case and without blanks around them."""
_BOOLEANS = {"false": 0, "true": 1}
_NEXT_KIND = {"number": "boolean", "boolean": "category"}


def read_header(path: Path) -> list[str]:
    """Return the column names of a CSV file.

    Raises
    ------
    DataError
        The file cannot be read, is empty, or names a column twice.
    """
    with _rows(path) as rows:
        header = next(rows, None)
    if header is None:
        raise DataError(f"{path} is empty; expected a header line with column names, then one row an event")
    return header


def read_columns(path: Path, kinds: Mapping[str, str], head: int | None) -> dict[str, Column]:
    """Read columns of a CSV file.

    Parameters
    ----------
    path : Path
        UTF-8, with a header line; gzip when it ends in ``.gz``.
    kinds : mapping of column to kind
        Columns wanted: ``"strings"``, ``"label"`` (values as they stand, an empty cell is none),
        ``"category"``, or ``"number"`` where the cells decide.
    head : int or None
        Read at most so many rows.

    Raises
    ------
    DataError
        The file cannot be read or a row has too many or too few cells.
    """
    known = dict(kinds)
    while True:
        columns = {name: _Building(kind) for name, kind in known.items()}
        if _read_into(columns, path, head):
            return {name: column.finish() for name, column in columns.items()}
        known = {name: column.kind for name, column in columns.items()}


def from_cells(cells: Sequence[str], kind: str) -> Column:
    """Return the column that these cells make, with the rules of :func:`read_columns`.

    Examples
    --------
    >>> from_cells(["1", "", "inf"], "number").tolist()
    [1.0, nan, nan]
    >>> from_cells(["x", "NA", "y"], "number").codes.tolist()
    [0, -1, 1]
    """
    column = _Building(kind)
    _add(column, cells)
    return column.finish()


class _Building:
    """One column while it is read."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._numbers: list[F64] = []
        self._strings: list[str] = []
        self._codes: list[int] = []
        self._places: dict[str, int] = {}

    def add(self, cells: Sequence[str]) -> None:
        """Append cells; ValueError when they are not of the column's kind."""
        if self.kind == "number":
            self._numbers.append(_floats(cells))
        elif self.kind == "strings":
            self._strings.extend(cells)
        elif self.kind == "boolean":
            self._codes.extend([_boolean(cell) for cell in cells])
        else:
            places = self._places
            self._codes.extend([places.setdefault(cell, len(places)) for cell in cells])

    def finish(self) -> Column:
        """Return the column."""
        if self.kind == "number":
            return np.concatenate(self._numbers) if self._numbers else np.zeros(0)
        if self.kind == "strings":
            return self._strings
        codes = np.array(self._codes, dtype=np.int32)
        if self.kind == "boolean":
            return Coded(codes, (False, True))
        kept: dict[str, int] = {}
        place_of = np.empty(len(self._places), dtype=np.int32)
        for cell, place in self._places.items():
            gone = cell == "" if self.kind == "label" else cell.strip().lower() in MISSING
            place_of[place] = -1 if gone else kept.setdefault(cell, len(kept))
        return Coded(place_of[codes], tuple(kept))


def _read_into(columns: Mapping[str, _Building], path: Path, head: int | None) -> bool:
    """Fill the columns; False when a block after the first changed a kind and all must be read again."""
    left = head
    with _rows(path) as rows:
        names = next(rows, [])
        first = True
        while block := list(islice(rows, BLOCK_ROWS if left is None else min(left, BLOCK_ROWS))):
            left = None if left is None else left - len(block)
            cells = dict(zip(names, zip(*block, strict=True), strict=True))
            changed = [_add(column, cells[name]) for name, column in columns.items()]
            if any(changed) and not first:
                return False
            first = False
    return True


def _add(column: _Building, cells: Sequence[str]) -> bool:
    """Append cells, widening the column's kind where they demand it; return whether they did."""
    changed = False
    while True:
        try:
            column.add(cells)
        except ValueError:
            column.kind = _NEXT_KIND[column.kind]
            changed = True
        else:
            return changed


def _floats(cells: Sequence[str]) -> F64:
    if "_" in "".join(cells):  # float("1_2") is 12, yet in a file it is a name
        raise ValueError
    try:
        found = np.fromiter(map(float, cells), dtype=np.float64, count=len(cells))
    except ValueError:
        found = np.array([float("nan" if c.strip().lower() in MISSING else c) for c in cells])
    found[~np.isfinite(found)] = np.nan
    return found


def _boolean(cell: str) -> int:
    word = cell.strip().lower()
    if word in MISSING:
        return -1
    if word not in _BOOLEANS:
        raise ValueError
    return _BOOLEANS[word]


@contextmanager
def _rows(path: Path) -> Iterator[Iterator[list[str]]]:
    """Yield the header and the rows, all as wide as the header, blank lines left out."""
    csv.field_size_limit(max(csv.field_size_limit(), MAX_CELL))
    try:
        with _opened(path) as file:
            yield _checked(file, path)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 (byte {error.object[error.start]:#04x}); expected UTF-8; convert it, "
            f"for example: iconv -f latin1 -t utf-8 {path.name}"
        ) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} cannot be unpacked ({error}); expected a whole gzip file; fetch it again, or take "
            ".gz off its name when it is plain text"
        ) from error


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _checked(file: IO[str], path: Path) -> Iterator[list[str]]:
    reader = csv.reader(file, delimiter=_delimiter(path), strict=True)
    width = -1
    try:
        for row in reader:
            if len(row) != width:
                if not row:
                    continue
                if width >= 0:
                    raise DataError(
                        f"{path}, line {reader.line_num}: found {len(row)} cells; expected {width}, as in "
                        "the header; quote cells that hold the delimiter"
                    )
                width, row = len(row), _names(row, path)
            yield row
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}: {error}; expected CSV where quotes are closed and doubled "
            "inside a cell"
        ) from error


def _delimiter(path: Path) -> str:
    """Comma, or what the header has instead of any comma: a tab or a semicolon."""
    with _opened(path) as file:
        header = file.readline(1 << 20)
    return next((mark for mark in ",\t;" if mark in header), ",")


def _names(header: list[str], path: Path) -> list[str]:
    """Column names without blanks around them; a nameless column is named by its place."""
    names = [cell.strip() or f"column_{place}" for place, cell in enumerate(header, start=1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path}: the header names {', '.join(twice)} twice; expected distinct column names")
    return names
