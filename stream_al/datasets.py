"""Data sets: CSV, Parquet and npz files, and the small ones that come with river and scikit-learn.

Reading decides which columns are features, and of what kind; the label, the time and the text never
are. Nothing is downloaded.
"""

from __future__ import annotations

import difflib
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from stream_al.delimited import from_cells, read_columns, read_header
from stream_al.errors import ConfigurationError, DataError
from stream_al.table import (
    F64,
    Coded,
    Column,
    Table,
    assemble,
    clock_ms,
    coded,
    doubtful_columns,
    infer_labels,
    require_two_labels,
)
from stream_al_schemas.event import MAX_FEATURES

__all__ = [
    "BUNDLED",
    "Table",
    "bundled",
    "doubtful_columns",
    "infer_labels",
    "read_table",
    "require_two_labels",
]

MAX_LABEL = 256
"""Characters; a longer one is a text in the wrong place."""
_CSV = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
_EXTENSIONS = (*_CSV, ".parquet", ".npz")


def read_table(
    path: str | Path,
    *,
    label: str | None,
    text: str | None = None,
    time: str | None = None,
    categorical: Collection[str] = (),
    drop: Collection[str] = (),
    head: int | None = None,
    labels: Collection[str] | None = None,
) -> Table:
    """Read a data set, one row an event, in the order of the file.

    Parameters
    ----------
    path : str or Path
        ``.csv`` (also ``.tsv``, ``.txt``; each also with ``.gz``), ``.parquet``, or ``.npz`` with a
        matrix ``X`` (its columns are called ``x0``, ``x1``, …) and one-dimensional arrays for label,
        text and time; other arrays are ignored.
    label : str or None
        Column of the true label; its values are kept as they stand, an empty cell is no label. None: the
        file has no labels.
    text : str, optional
        Column of free text.
    time : str, optional
        Column of the event's time: ISO 8601, epoch seconds or milliseconds.
    categorical : collection of str
        Columns whose numbers are names. Otherwise a column is numeric when all its cells are numbers,
        boolean when all are true or false, else a category.
    drop : collection of str
        Columns to leave out, by name or glob (``meta_*``).
    head : int, optional
        Read the first rows only.
    labels : collection of str, optional
        All labels that may occur.

    Returns
    -------
    Table
        Empty cells, NA and NaN are missing, and so are infinite and overflowing numbers.

    Raises
    ------
    DataError
        The file cannot be used as it stands: the message says what was found, what was expected, and
        what to do.
    ConfigurationError
        ``head`` is below 1, or Parquet support is not installed.
    """
    path = Path(path)
    if head is not None and head < 1:
        raise ConfigurationError(f"head is {head}; expected at least 1 row")
    extension = _require_file(path)
    source = {".parquet": _parquet_source, ".npz": _npz_source}.get(extension, _csv_source)(path)
    special = {"label": label, "text": text, "time": time}
    columns = source.read(_kinds(path, source, special, categorical, drop), head)
    truth = _no_labels(columns) if label is None else cast(Coded, columns.pop(label))
    if not len(truth.codes):
        raise DataError(f"{path} has columns but no rows; expected one row an event")
    if label is not None:
        _check_labels(path, label, truth, labels)
    texts = None if text is None else cast("list[str]", columns.pop(text))
    clock = None
    if time is not None:
        clock = clock_ms(cast("F64 | list[str]", columns.pop(time)), f"{path}, column {time!r}")
    name = path.name.removesuffix(extension)
    return assemble(name, cast("dict[str, F64 | Coded]", columns), truth, texts=texts, clock=clock)


def _no_labels(columns: Mapping[str, Column]) -> Coded:
    first = next(iter(columns.values()))
    rows = len(first.codes) if isinstance(first, Coded) else len(first)
    return Coded(np.full(rows, -1, dtype=np.int32), ())


class _Source(NamedTuple):
    """A file: its columns, those that are no features unless named, and what reads the wanted ones."""

    names: list[str]
    beside: list[str]
    read: Callable[[Mapping[str, str], int | None], dict[str, Column]]


def _require_file(path: Path) -> str:
    """Return the file's extension, as one of those that can be read."""
    extension = next((e for e in sorted(_EXTENSIONS, key=len, reverse=True) if path.name.endswith(e)), None)
    if not path.is_file():
        found = "is a directory" if path.is_dir() else "does not exist"
        raise DataError(f"{path} {found}; expected a data file; check the path")
    if extension is None:
        raise DataError(f"{path}: expected a name that ends in one of {', '.join(_EXTENSIONS)}")
    try:
        path.open("rb").close()
    except OSError as error:
        raise DataError(f"{path} cannot be opened ({error.strerror}); check its permissions") from error
    return extension


def _kinds(
    path: Path,
    source: _Source,
    special: Mapping[str, str | None],
    categorical: Collection[str],
    drop: Collection[str],
) -> dict[str, str]:
    """Say of every wanted column how to read it, in the order of the file."""
    names = [*source.names, *source.beside]
    for option, wanted in [*special.items(), *(("categorical", name) for name in categorical)]:
        if wanted is not None and wanted not in names:
            raise DataError(f"{path} has no {option} column {wanted!r}; {_hint(wanted, names)}")
    taken = [name for name in special.values() if name is not None]
    if len(set(taken)) < len(taken):
        raise DataError(f"{path}: label, text and time are {', '.join(taken)}; expected different columns")
    for pattern in drop:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise DataError(f"{path}: nothing to drop matches {pattern!r}; {_hint(pattern, names)}")
    kinds = {}
    for name in names:
        if name in taken:
            kinds[name] = "label" if name == special["label"] else "strings"
        elif name not in source.beside and not any(fnmatchcase(name, pattern) for pattern in drop):
            kinds[name] = "category" if name in categorical else "number"
    _check_features(path, [name for name in kinds if name not in taken], special["text"])
    return kinds


def _check_features(path: Path, features: list[str], text: str | None) -> None:
    if not features and text is None:
        raise DataError(f"{path}: no column is left to learn from; drop fewer, or name a text column")
    if len(features) > MAX_FEATURES:
        raise DataError(f"{path} has {len(features)} features; expected at most {MAX_FEATURES}; drop some")
    long = next((name for name in features if len(name) > 256), None)
    if long is not None:
        raise DataError(f"{path}: column {long[:40]!r}… has {len(long)} letters; expected at most 256")


def _hint(wanted: str, names: Sequence[str]) -> str:
    """Say which columns there are, and which one may have been meant."""
    close = difflib.get_close_matches(wanted, names, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    listed = ", ".join(names[:20]) + (f" … ({len(names)} in all)" if len(names) > 20 else "")
    return f"{meant}columns: {listed}"


def _check_labels(path: Path, column: str, truth: Coded, labels: Collection[str] | None) -> None:
    values = [str(value) for value in truth.values]
    if not values:
        raise DataError(f"{path}: column {column!r} is empty in every row; expected labels")
    longest = max(values, key=len)
    if len(longest) > MAX_LABEL:
        raise DataError(
            f"{path}: column {column!r} holds {longest[:40]!r}… with {len(longest)} characters; expected "
            f"labels of at most {MAX_LABEL}; name another label column"
        )
    strange = [value for value in values if labels is not None and value not in labels]
    if strange:
        raise DataError(
            f"{path}: column {column!r} holds {', '.join(map(repr, strange[:10]))}; expected one of "
            f"{', '.join(labels or ())}; add what is missing to the declared labels"
        )


def _csv_source(path: Path) -> _Source:
    return _Source(read_header(path), [], partial(read_columns, path))


def _parquet_source(path: Path) -> _Source:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise ConfigurationError('Parquet files need pyarrow: pip install "stream-al[parquet]"') from error
    try:
        file = ParquetFile(path)
    except (ArrowException, OSError) as error:
        raise DataError(f"{path} is not a whole Parquet file ({error}); write it again") from error

    def read(kinds: Mapping[str, str], head: int | None) -> dict[str, Column]:
        try:
            table = file.read(columns=list(kinds)).slice(0, head)
            return {name: _from_arrow(table[name], kind, path) for name, kind in kinds.items()}
        except (ArrowException, OSError) as error:
            raise DataError(f"{path} cannot be read ({error}); write it again, or drop the column") from error

    return _Source(list(file.schema_arrow.names), [], read)


def _from_arrow(column: Any, kind: str, path: Path) -> Column:
    """Convert a pyarrow ChunkedArray: numbers by their type, strings by the rules for cells."""
    import pyarrow as pa

    of, t = pa.types, column.type
    if of.is_nested(t):
        raise DataError(f"{path}: found a column of {t}; expected numbers, booleans or strings; drop it")
    if kind == "strings" and (of.is_timestamp(t) or of.is_date(t)):
        moments = column.cast(pa.timestamp("ms", tz=getattr(t, "tz", None)), safe=False).cast(pa.int64())
        return cast(F64, moments.cast(pa.float64()).to_numpy() / 1000.0)
    if kind in ("number", "strings") and (of.is_integer(t) or of.is_floating(t) or of.is_decimal(t)):
        return cast(F64, column.cast(pa.float64(), safe=False).to_numpy())
    cells = column.cast(pa.string()).to_pylist()
    return from_cells(["" if cell is None else cell for cell in cells], kind)


def _npz_source(path: Path) -> _Source:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} cannot be read ({error}); expected a NumPy archive of plain arrays, without pickles"
        ) from error
    x = arrays.pop("X", np.zeros(0))
    if x.ndim < 2 or x.dtype.kind not in "biuf":
        raise DataError(
            f"{path}: found {', '.join(arrays) or 'no array'} beside X of shape {x.shape}; expected a dense "
            "matrix of numbers X, one row an event, and the labels y"
        )
    matrix = x.reshape(len(x), -1)
    names = [f"x{j}" for j in range(matrix.shape[1])]
    beside = {name: a for name, a in arrays.items() if a.shape == (len(x),) and name not in names}

    def read(kinds: Mapping[str, str], head: int | None) -> dict[str, Column]:
        places = {name: j for j, name in enumerate(names)}
        return {
            name: _from_array(beside[name] if name in beside else matrix[:, places[name]], kind, head)
            for name, kind in kinds.items()
        }

    return _Source(names, list(beside), read)


def _from_array(array: NDArray[Any], kind: str, head: int | None) -> Column:
    array = array[:head]
    if kind in ("number", "strings") and array.dtype.kind != "U":
        return array.astype(np.float64)
    missing = array != array  # NaN; strings never are
    return from_cells(["" if gone else str(v) for v, gone in zip(array.tolist(), missing, strict=True)], kind)


_MakeRows = Callable[[], Iterable[tuple[Mapping[str, float], object]]]


def _from_river(name: str) -> _MakeRows:
    def make() -> Iterable[tuple[Mapping[str, float], object]]:
        from river import datasets

        return cast("Iterable[tuple[Mapping[str, float], object]]", getattr(datasets, name)())

    return make


def _digits() -> Iterable[tuple[Mapping[str, float], object]]:
    from sklearn.datasets import load_digits

    data = load_digits()
    names = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)]
    return [
        (dict(zip(names, x, strict=True)), y)
        for x, y in zip(data.data.tolist(), data.target.tolist(), strict=True)
    ]


_SOURCES: dict[str, tuple[_MakeRows, dict[object, str]]] = {
    "shuttle": (_from_river("Shuttle"), {0: "normal", 1: "anomaly"}),
    "phishing": (_from_river("Phishing"), {False: "legitimate", True: "phishing"}),
    "bananas": (_from_river("Bananas"), {}),
    "segment": (_from_river("ImageSegments"), {}),
    "digits": (_digits, {}),
}
BUNDLED = tuple(_SOURCES)
"""Names of the data sets that are at hand without a file."""


def bundled(name: str, seed: int = 0, head: int | None = None) -> Table:
    """Return one of the data sets packaged with river and scikit-learn, shuffled.

    Parameters
    ----------
    name : {"shuttle", "phishing", "bananas", "segment", "digits"}
        Shuttle has 49,097 rows and 7 % anomalies; phishing 1,250; bananas 5,300; segment 2,310 in 7
        classes; digits 1,797 in 10.
    seed : int
        Of the shuffle.
    head : int, optional
        Keep so many rows of the shuffled table.

    Raises
    ------
    ConfigurationError
        There is no data set of this name.
    """
    if name not in _SOURCES:
        raise ConfigurationError(f"no bundled data set {name!r}; there are {', '.join(BUNDLED)}")
    make, words = _SOURCES[name]
    features, truth = zip(*make(), strict=True)
    names = list(features[0])
    matrix = np.array([list(row.values()) for row in features], dtype=np.float64)
    labels = coded([words.get(y, str(y)) for y in truth])
    table = assemble(name, {column: matrix[:, j] for j, column in enumerate(names)}, labels)
    return table.take(np.random.default_rng(seed).permutation(table.n)[:head])
