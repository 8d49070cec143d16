"""A data set in memory: columns inside, events outside.

Columns are kept as arrays, so that half a million rows fit; an event is a plain dict made when it
is asked for. A table knows nothing of files: :mod:`stream_al.datasets` reads them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from stream_al.errors import DataError

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
MAX_NAME = 200
"""Event ids are made of the table's name and a row number, and may have 256 characters."""
MILLISECONDS_FROM = 1e11
"""Epoch numbers from here on are milliseconds: as seconds this is the year 5138, as milliseconds 1973."""
LATEST_MS = 1e14
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Coded:
    """A column of categories or booleans: small integers and what they mean.

    Attributes
    ----------
    codes : (n,) int32
        Places in ``values``; -1 is missing.
    values : tuple
        Distinct values, in order of first appearance.
    """

    codes: I32
    values: tuple[str | bool, ...]


Column = F64 | Coded | list[str]
"""Numbers (NaN is missing), categories, or texts."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Rows to be judged, with their true labels and, where known, their times.

    Attributes
    ----------
    name : str
        Event ids are ``name-0``, ``name-1``, … in row order.
    feature_names : tuple of str
        All features, in the order of the file.
    number_names, coded_names : tuple of str
        Features by kind; the columns of ``numbers`` and ``codes``.
    numbers : (n, d) float64
        NaN is missing; never infinite.
    codes : (n, c) int32
        Places in ``vocabularies``; -1 is missing.
    vocabularies : tuple of c tuples
        Values of each coded column, with None at the end, where the code -1 finds it.
    texts : list of n str, or None
    label_codes : (n,) int32
        Places in ``label_names``; -1 is a row without a label.
    label_names : tuple of str
        Labels exactly as they stand in the data.
    timestamps_ms : (n,) int64, or None
        A clock in milliseconds since the epoch that never runs backwards.
    steps_back : int
        Rows whose own time lies before the clock: the clock stood still for them.
    """

    name: str
    feature_names: tuple[str, ...]
    number_names: tuple[str, ...]
    numbers: F64
    coded_names: tuple[str, ...]
    codes: I32
    vocabularies: tuple[tuple[str | bool | None, ...], ...]
    texts: list[str] | None
    label_codes: I32
    label_names: tuple[str, ...]
    timestamps_ms: I64 | None
    steps_back: int

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.label_codes)

    @property
    def rows(self) -> Iterator[dict[str, Any]]:
        """All events in order, each made when it is reached."""
        return (self.event(i) for i in range(self.n))

    @property
    def kinds(self) -> dict[str, str]:
        """Kind of every feature: ``"number"``, ``"boolean"`` or ``"category"``."""
        kinds = dict.fromkeys(self.feature_names, "number")
        for name, values in zip(self.coded_names, self.vocabularies, strict=True):
            kinds[name] = "boolean" if isinstance(values[0], bool) else "category"
        return kinds

    def event(self, i: int) -> dict[str, Any]:
        """Return row ``i`` (``0 <= i < n``) as a dict that validates as an Event; missing is None."""
        event = self._raw(i)
        features = event.get("features")
        if features is not None:
            event["features"] = {name: None if v != v else v for name, v in features.items()}
        return event

    def event_json(self, i: int) -> bytes:
        """Return row ``i`` as the JSON of an Event; missing is null."""
        return orjson.dumps(self._raw(i))  # orjson writes NaN as null

    def _raw(self, i: int) -> dict[str, Any]:
        event: dict[str, Any] = {"event_id": f"{self.name}-{i}"}
        if self.coded_names:
            features = dict.fromkeys(self.feature_names)  # in the order of the file
            features.update(zip(self.number_names, self.numbers[i].tolist(), strict=True))
            codes = self.codes[i].tolist()
            for name, values, code in zip(self.coded_names, self.vocabularies, codes, strict=True):
                features[name] = values[code]
            event["features"] = features
        elif self.number_names:
            event["features"] = dict(zip(self.number_names, self.numbers[i].tolist(), strict=True))
        if self.texts is not None:
            event["text"] = self.texts[i]
        if self.timestamps_ms is not None:
            event["timestamp"] = int(self.timestamps_ms[i])
        return event

    def label(self, i: int) -> str | None:
        """Return the true label of row ``i``; None where the data has none."""
        code = self.label_codes[i]
        return self.label_names[code] if code >= 0 else None

    def row_of(self, event_id: str) -> int | None:
        """Return the row of an event id; None when it is not of this table.

        Examples
        --------
        >>> table = assemble("demo", {"a": np.array([1.0, 2.0])}, coded(["x", "y"]))
        >>> table.event(1), table.label(1), table.row_of("demo-1"), table.row_of("demo-2")
        ({'event_id': 'demo-1', 'features': {'a': 2.0}}, 'y', 1, None)
        """
        number = event_id.removeprefix(f"{self.name}-")
        if not (number.isascii() and number.isdecimal()) or event_id != f"{self.name}-{int(number)}":
            return None
        return int(number) if int(number) < self.n else None

    def take(self, rows: NDArray[np.integer[Any]]) -> Table:
        """Return a table of these rows, in this order, numbered anew; it has no clock any more."""
        return Table(
            name=self.name,
            feature_names=self.feature_names,
            number_names=self.number_names,
            numbers=self.numbers[rows],
            coded_names=self.coded_names,
            codes=self.codes[rows],
            vocabularies=self.vocabularies,
            texts=None if self.texts is None else [self.texts[i] for i in rows.tolist()],
            label_codes=self.label_codes[rows],
            label_names=self.label_names,
            timestamps_ms=None,
            steps_back=0,
        )


def assemble(
    name: str,
    features: Mapping[str, F64 | Coded],
    labels: Coded,
    *,
    texts: list[str] | None = None,
    clock: tuple[I64, int] | None = None,
) -> Table:
    """Return a table of columns of equal length; ``clock`` is what :func:`clock_ms` returned."""
    numbers = {k: v for k, v in features.items() if not isinstance(v, Coded)}
    categories = {k: v for k, v in features.items() if isinstance(v, Coded)}
    n = len(labels.codes)
    matrix = np.empty((n, len(numbers)))
    for j, column in enumerate(numbers.values()):
        matrix[:, j] = np.where(np.isfinite(column), column, np.nan)
    codes = np.empty((n, len(categories)), dtype=np.int32)
    for j, coding in enumerate(categories.values()):
        codes[:, j] = coding.codes
    return Table(
        name=name[:MAX_NAME],
        feature_names=tuple(features),
        number_names=tuple(numbers),
        numbers=matrix,
        coded_names=tuple(categories),
        codes=codes,
        vocabularies=tuple((*c.values, None) for c in categories.values()),
        texts=texts,
        label_codes=labels.codes,
        label_names=tuple(str(value) for value in labels.values),
        timestamps_ms=None if clock is None else clock[0],
        steps_back=0 if clock is None else clock[1],
    )


def coded(cells: Sequence[str | None]) -> Coded:
    """Return cells as codes, distinct values in order of first appearance; None is missing.

    Examples
    --------
    >>> coded(["b", "a", None, "b"]).values
    ('b', 'a')
    """
    places: dict[str, int] = {}
    codes = [-1 if cell is None else places.setdefault(cell, len(places)) for cell in cells]
    return Coded(np.array(codes, dtype=np.int32), tuple(places))


def infer_labels(table: Table) -> tuple[str, ...]:
    """Return the labels that occur, in order of first appearance."""
    codes, first = np.unique(table.label_codes, return_index=True)
    return tuple(table.label_names[code] for code in codes[np.argsort(first)] if code >= 0)


def doubtful_columns(table: Table) -> list[str]:
    """Return one sentence for every feature that looks like free text or like an id.

    As a category, a text that is nearly always another one teaches nothing and takes a column a value.
    """
    found = []
    for j, (name, values) in enumerate(zip(table.coded_names, table.vocabularies, strict=True)):
        filled = int((table.codes[:, j] >= 0).sum())
        distinct = len(values) - 1
        if filled >= 50 and distinct > filled / 2:
            as_text = f"name it as free text (--text {shlex.quote(name)}) or " if table.texts is None else ""
            found.append(
                f"column {name!r} has {distinct} different strings in {filled} rows: {as_text}leave it out "
                f"(--drop {_pattern(name)})"
            )
    for j, name in enumerate(table.number_names):
        column = table.numbers[:, j]
        whole = len(column) >= 50 and bool(np.isfinite(column).all()) and bool((column % 1 == 0).all())
        if whole and bool((np.diff(column) == 1).all()):
            found.append(f"column {name!r} counts the rows: leave it out (--drop {_pattern(name)})")
    return found


def _pattern(name: str) -> str:
    """Return a column's name as --drop takes it, in a shell: commas separate there, and globs are globs."""
    return shlex.quote(re.sub(r"[][*?,]", "?", name))


def require_two_labels(table: Table) -> None:
    """Raise DataError unless at least two labels occur.

    Raises
    ------
    DataError
        With one class, or none, there is nothing to learn.
    """
    found = infer_labels(table)
    if len(found) < 2:
        what = f"only the label {found[0]!r}" if found else "no label at all"
        raise DataError(
            f"{table.name}: the {table.n} rows hold {what}; expected at least two classes; "
            "read more rows (a larger --head) or name another label column"
        )


def clock_ms(times: F64 | list[str], where: str) -> tuple[I64, int]:
    """Turn a time column into a clock that never runs backwards.

    Parameters
    ----------
    times : (n,) float64 or list of str
        Epoch seconds, epoch milliseconds (from 1e11 on, the largest decides for the column), or
        ISO 8601; without an offset it is UTC.
    where : str
        File and column, for messages.

    Returns
    -------
    clock : (n,) int64
        Running maximum, milliseconds since the epoch.
    steps_back : int
        Rows whose own time lies before the clock.

    Raises
    ------
    DataError
        A time is missing, cannot be read, or lies before 1970.
    """
    raw = _milliseconds(times, where)
    if len(raw) and raw.min() < 0:
        row = int(np.argmax(raw < 0)) + 1
        raise DataError(f"{where}: the time of data row {row} lies before 1970; expected 1970 or later")
    clock = np.maximum.accumulate(raw)
    return clock, int((raw < clock).sum())


def _milliseconds(times: F64 | list[str], where: str) -> I64:
    if isinstance(times, list):
        try:
            numbers = np.array([float(cell or "nan") for cell in times])
        except ValueError:
            return _iso_milliseconds(times, where)
    else:
        numbers = times
    good = np.isfinite(numbers)
    if not good.all():
        row = int(np.argmin(good)) + 1
        raise DataError(f"{where}: data row {row} has no time; expected one in every row; mend or remove it")
    largest = float(np.abs(numbers).max(initial=0.0))
    if largest >= LATEST_MS:
        raise DataError(
            f"{where}: found {largest:.0f}; expected ISO 8601, epoch seconds or epoch milliseconds; "
            "divide micro- or nanoseconds"
        )
    factor = 1.0 if largest >= MILLISECONDS_FROM else 1000.0
    return np.rint(numbers * factor).astype(np.int64)


def _iso_milliseconds(times: list[str], where: str) -> I64:
    found = np.empty(len(times), dtype=np.int64)
    for i, cell in enumerate(times):
        try:
            moment = datetime.fromisoformat(cell)
        except ValueError:
            raise DataError(
                f"{where}: data row {i + 1} holds {cell[:40]!r}; expected ISO 8601 "
                "(2024-05-31T12:00:00Z), epoch seconds or epoch milliseconds"
            ) from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        found[i] = (moment - _EPOCH) // _MILLISECOND
    return found
