"""The twenty streams of the label-efficiency benchmark, as rows of numbers and class numbers.

Twelve are made by generators or come packaged with river and scikit-learn. Eight are public data sets
that are read from files which you bring: ``docs/benchmark.md`` says where each is from. Nothing is
downloaded. Packaged data are shuffled by the seed; files keep their own order unless it means nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_al.datasets import read_table
from stream_al.delimited import read_header
from stream_al.table import Table, assemble, coded

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Rows = tuple[F64, I64]
LABELS = ("label", "class", "target", "y")
WORDS = 300
"""Columns into which the words of a text are hashed."""


class NoData(Exception):
    """The file of a stream is not there; the message says what was looked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """One stream: rows in their order, and the truth.

    Attributes
    ----------
    name : str
    rows : (n, d) float64
    truth : (n,) int64
        Class numbers 0 .. classes - 1.
    """

    name: str
    rows: F64
    truth: I64

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.truth.max()) + 1

    def table(self) -> Table:
        """Return it as the simulation takes it: columns ``f0``, ``f1``, …, labels ``c0``, ``c1``, …."""
        features = {f"f{j}": self.rows[:, j] for j in range(self.rows.shape[1])}
        return assemble(self.name, features, coded([f"c{y}" for y in self.truth.tolist()]))

    def rarest(self) -> int:
        """Return the class with the fewest rows."""
        return int(np.bincount(self.truth).argmin())


# ---- packaged data, shuffled by the seed ----------------------------------------------------------


def _phishing(seed: int) -> Rows:
    return _shuffled(_packaged("Phishing"), seed)


def _bananas(seed: int) -> Rows:
    return _shuffled(_packaged("Bananas"), seed)


def _segment(seed: int) -> Rows:
    return _shuffled(_packaged("ImageSegments"), seed)


def _digits(seed: int) -> Rows:
    from sklearn.datasets import load_digits

    data = load_digits()
    return _shuffled((data.data, data.target), seed)


def _shuttle(seed: int) -> Rows:
    rows, truth = _shuffled(_packaged("Shuttle"), seed)
    return rows[:10_000], truth[:10_000]


# ---- generators, with drift -----------------------------------------------------------------------


def _sea(seed: int) -> Rows:
    from river.datasets import synth

    return _joined(_numbers(synth.SEA(variant=v, noise=0.1, seed=seed * 7 + v), 2000) for v in range(4))


def _hyperplane(seed: int) -> Rows:
    from river.datasets import synth

    made = synth.Hyperplane(
        seed=seed, n_features=10, n_drift_features=5, mag_change=0.001, noise_percentage=0.05
    )
    return _numbers(made, 8000)


def _rbf_drift(seed: int) -> Rows:
    from river.datasets import synth

    made = synth.RandomRBFDrift(
        seed_model=seed,
        seed_sample=seed + 1,
        n_classes=5,
        n_features=10,
        n_centroids=20,
        change_speed=0.0005,
        n_drift_centroids=10,
    )
    return _numbers(made, 8000)


def _agrawal(seed: int) -> Rows:
    from river.datasets import synth

    return _joined(
        _numbers(synth.Agrawal(classification_function=f, seed=seed * 7 + f, perturbation=0.05), 2000)
        for f in (0, 2, 6, 3)
    )


def _led_drift(seed: int) -> Rows:
    from river.datasets import synth

    def part(seed: int, drifting: int) -> Rows:
        made = synth.LEDDrift(
            seed=seed, noise_percentage=0.10, irrelevant_features=True, n_drift_features=drifting
        )
        return _numbers(made, 4000)

    return _joined([part(seed, 0), part(seed + 9, 5)])


def _mixed(seed: int) -> Rows:
    from river.datasets import synth

    return _joined(
        _numbers(synth.Mixed(classification_function=k % 2, seed=seed * 5 + k), 2000) for k in range(3)
    )


def _rare(seed: int) -> Rows:
    """One per cent positives in two small clouds; most of them move to the second at half time."""
    rng, n = np.random.default_rng(seed), 20_000
    rows, truth = rng.normal(size=(n, 8)), np.zeros(n, dtype=np.int64)
    positive = rng.random(n) < 0.01
    late = positive & (np.arange(n) >= n // 2) & (rng.random(n) < 0.6)
    early = positive & ~late
    rows[early] = rng.normal(0, 0.6, (early.sum(), 8)) + np.array([2, 2, 1, 0, 0, 0, 0, 0])
    rows[late] = rng.normal(0, 0.6, (late.sum(), 8)) + np.array([-2, 1, 0, 2, 1, 0, 0, 0])
    truth[positive] = 1
    return rows, truth


# ---- public data sets, from files -----------------------------------------------------------------


def _elec2(seed: int, data: Path) -> Rows:
    return _first(10_000, _numeric(_file(data, "elec2")))


def _weather(seed: int, data: Path) -> Rows:
    return _first(8_000, _numeric(_file(data, "weather_noaa")))


def _outdoor(seed: int, data: Path) -> Rows:
    return _numeric(_file(data, "outdoor_objects"))


def _covtype(seed: int, data: Path) -> Rows:
    names = ("wilderness_area", "soil_type")
    table = read_table(_file(data, "covtype"), label="label", head=8_000)
    places = {name: j for j, name in enumerate(table.number_names)}
    plain = [j for name, j in places.items() if name not in names]
    columns = [table.numbers[:, plain]]
    for name in names:
        values = table.numbers[:, places[name]]
        columns.append((values[:, None] == np.unique(values)).astype(np.float64))
    return np.hstack(columns), _codes(table, numeric=True)


def _fraud(seed: int, data: Path) -> Rows:
    """Simulated card transactions, the last 20,000, about 1 % fraud; ids and the scenario are left out."""
    path = _file(data, "fraud_fdh_features_apr_jun")
    table = read_table(path, label="label", drop=("ts", "customer_id", "terminal_id", "meta*"))
    return table.numbers[-20_000:], _codes(table, numeric=True)[-20_000:]


def _phishing_urls(seed: int, data: Path) -> Rows:
    return _first(8_000, _shuffled(_numeric(_file(data, "phishing_urls_2021")), seed))


def _sms(seed: int, data: Path) -> Rows:
    return _shuffled(_hashed(_file(data, "text_sms_spam"), 6_000), seed)


def _hate(seed: int, data: Path) -> Rows:
    return _hashed(_file(data, "text_hate_offensive"), 8_000)


MADE: dict[str, Callable[[int], Rows]] = {
    "phishing": _phishing,
    "bananas": _bananas,
    "segment": _segment,
    "digits": _digits,
    "shuttle": _shuttle,
    "sea": _sea,
    "hyperplane": _hyperplane,
    "rbf_drift": _rbf_drift,
    "agrawal": _agrawal,
    "led_drift": _led_drift,
    "mixed": _mixed,
    "rare": _rare,
}
READ: dict[str, Callable[[int, Path], Rows]] = {
    "elec2": _elec2,
    "weather": _weather,
    "outdoor": _outdoor,
    "covtype": _covtype,
    "fraud": _fraud,
    "phishing_urls": _phishing_urls,
    "sms": _sms,
    "hate": _hate,
}
STREAMS = (*MADE, *READ)
IMBALANCED = ("rare", "fraud")
"""Streams whose PR-AUC is reported; the positive class is the rarer one."""


def make_stream(name: str, seed: int, data: Path | None = None) -> Stream:
    """Return a stream.

    Parameters
    ----------
    name : str
        One of ``STREAMS``.
    seed : int
        Of the generator or of the shuffle; a file that keeps its order does not depend on it.
    data : Path, optional
        Folder of the files.

    Raises
    ------
    NoData
        The stream is read from a file and there is none.
    """
    if name in MADE:
        rows, truth = MADE[name](seed)
    elif data is None:
        raise NoData("it is read from a file: name the folder with --data")
    else:
        rows, truth = READ[name](seed, data)
    return Stream(name, np.ascontiguousarray(rows, dtype=np.float64), truth.astype(np.int64))


# ---- how --------------------------------------------------------------------------------------------


def _packaged(name: str) -> Rows:
    from river import datasets

    return _numbers(getattr(datasets, name)(), None)


def _numbers(events: Iterable[tuple[Mapping[str, Any], Any]], n: int | None) -> Rows:
    """Return the first events as numbers; a text becomes a small number by its checksum."""
    rows, labels = [], []
    for x, y in islice(events, n):
        rows.append([zlib.crc32(v.encode()) % 97 if isinstance(v, str) else float(v) for v in x.values()])
        labels.append(y)
    return np.array(rows, dtype=np.float64), np.unique(np.array(labels), return_inverse=True)[1]


def _shuffled(rows: Rows, seed: int) -> Rows:
    order = np.random.default_rng(seed).permutation(len(rows[1]))
    return rows[0][order], rows[1][order]


def _joined(parts: Iterable[Rows]) -> Rows:
    rows, truth = zip(*parts, strict=True)
    return np.concatenate(rows), np.concatenate(truth)


def _first(n: int, rows: Rows) -> Rows:
    return rows[0][:n], rows[1][:n]


def _file(data: Path, stem: str) -> Path:
    found = sorted(data.glob(f"{stem}.csv*"))
    if not found:
        raise NoData(f"there is no {stem}.csv nor {stem}.csv.gz in {data}")
    return found[0]


def _numeric(path: Path) -> Rows:
    """Return all numeric columns, a missing cell being its column's median."""
    header = read_header(path)
    table = read_table(path, label=next((name for name in LABELS if name in header), header[-1]))
    medians = np.nanmedian(table.numbers, axis=0)
    return np.where(np.isnan(table.numbers), medians, table.numbers), _codes(table)


def _hashed(path: Path, most: int) -> Rows:
    """Return texts as hashed words of unit length, in 300 columns: what every entrant can read."""
    from sklearn.feature_extraction.text import HashingVectorizer

    kept = read_table(path, label="label", text="text", drop=_all_but(path, "label", "text"))
    assert kept.texts is not None
    places = [i for i, text in enumerate(kept.texts) if text][:most]
    vectorizer = HashingVectorizer(n_features=WORDS, alternate_sign=True, norm="l2")
    rows = vectorizer.transform([kept.texts[i] for i in places]).toarray()
    return rows, _codes(kept.take(np.array(places)))


def _all_but(path: Path, *kept: str) -> tuple[str, ...]:
    return tuple(name for name in read_header(path) if name not in kept)


def _codes(table: Table, *, numeric: bool = False) -> I64:
    """Return class numbers in the order of the labels that occur, as words or as numbers."""
    names = np.array(table.label_names)[table.label_codes]
    return np.unique(names.astype(np.float64) if numeric else names, return_inverse=True)[1]
