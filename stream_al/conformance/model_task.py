"""Made-up labelled rows for the checks of a model: numbers, words, and their scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_al.models.inputs import F64, I64, Inputs, Words, pad_dense, pad_words
from stream_al.models.products import padded_rows
from stream_al.models.protocol import OnlineModel
from stream_al.models.scaler import Scaler

SEED = 7
BITS = 13


@dataclass(frozen=True)
class Task:
    """Labelled rows and their scale.

    Attributes
    ----------
    rows : (n, d) float64
    labels : (n,) int64
    scaler : Scaler
        Has seen every row.
    texts : Words or None
    """

    rows: F64
    labels: I64
    scaler: Scaler
    texts: Words | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(f"x{j}" for j in range(self.rows.shape[1]))

    def batch(self, picked: NDArray[np.int64]) -> Inputs:
        """Return some rows as a micro-batch, padded."""
        m = padded_rows(len(picked))
        words = pad_words(_take(self.texts, picked), m)
        return Inputs(len(picked), pad_dense(self.rows[picked]), self.scaler, words, self.columns)

    def answer(self, i: int) -> Inputs:
        """Return one row as an answer, unpadded."""
        picked = np.array([i])
        return Inputs(1, self.rows[picked], self.scaler, _take(self.texts, picked), self.columns)

    def proba(self, model: OnlineModel, picked: NDArray[np.int64] | None = None) -> F64:
        """Return a model's probabilities of some rows (default: all), without the padding."""
        picked = np.arange(len(self.rows)) if picked is None else picked
        return model.predict_proba(self.batch(picked))[: len(picked)]

    def teach(self, model: OnlineModel, start: int, stop: int) -> None:
        """Let a model learn the rows start .. stop - 1 in order, and grow where a class is new."""
        for i in range(start, stop):
            y = int(self.labels[i])
            model.grow(y + 1)
            model.learn(self.answer(i), y, 1.0)


def _take(words: Words | None, picked: NDArray[np.int64]) -> Words | None:
    if words is None:
        return None
    rows = [slice(words.indptr[i], words.indptr[i + 1]) for i in picked.tolist()]
    lengths = np.array([row.stop - row.start for row in rows], dtype=np.int64)
    ids = np.concatenate([words.ids[row] for row in rows])
    counts = np.concatenate([words.counts[row] for row in rows])
    return Words(np.concatenate([[0], np.cumsum(lengths)]), ids, counts, words.bits)


def blobs(n: int, columns: int, classes: int, *, text: bool = False) -> Task:
    """Return n rows around one centre a class, in units far from standard, with words to match."""
    rng = np.random.default_rng(SEED)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    centres = rng.normal(0.0, 3.0, (classes, columns))
    rows = centres[labels] + rng.normal(size=(n, columns))
    rows = 50.0 + rows * 10.0 ** rng.integers(-3, 4, columns)
    scaler = scaler_of(rows)
    if not text:
        return Task(rows, labels, scaler)
    per_text = 12
    ids = np.where(
        rng.random((n, per_text)) < 0.5,
        labels[:, None] * 20 + rng.integers(0, 20, (n, per_text)),  # words of the class
        1000 + rng.integers(0, 500, (n, per_text)),  # words of everybody
    )
    distinct = [np.unique(row, return_counts=True) for row in ids]
    distinct[-1] = (distinct[-1][0][:0], distinct[-1][1][:0])  # one empty text
    indptr = np.concatenate([[0], np.cumsum([len(i) for i, _ in distinct])])
    counts = np.concatenate([c for _, c in distinct]).astype(np.float64)
    words = Words(indptr, np.concatenate([i for i, _ in distinct]), counts, BITS)
    return Task(rows, labels, scaler, words)


def scaler_of(rows: F64) -> Scaler:
    """Return a scaler that has seen every row once."""
    scaler = Scaler()
    scaler.grow(np.zeros(rows.shape[1], dtype=bool))
    for row in rows:
        scaler.observe(row, 1.0)
    return scaler


def require(holds: bool, message: str) -> None:
    """Raise an ``AssertionError`` with this message where something does not hold."""
    if not holds:
        raise AssertionError(message)


def sound(proba: F64, rows: int, classes: int) -> None:
    """Require that these are probabilities."""
    require(proba.shape == (rows, classes), f"shape is {proba.shape}, expected {(rows, classes)}")
    require(proba.dtype == np.float64, f"type is {proba.dtype}, expected float64")
    require(bool(np.isfinite(proba).all()), "there are probabilities that are no finite number")
    require(bool(((proba >= 0) & (proba <= 1)).all()), "there are probabilities outside [0, 1]")
    error = float(np.abs(proba.sum(1) - 1.0).max(initial=0.0)) if classes else 0.0
    require(error < 1e-9, f"a row sums to 1 with an error of {error:.1e}")


def same(a: F64, b: F64, message: str) -> None:
    """Require equality to the bit."""
    if a.shape != b.shape or a.tobytes() != b.tobytes():
        apart = float(np.abs(a - b).max()) if a.shape == b.shape else float("inf")
        raise AssertionError(f"{message} (largest difference {apart:.2e})")
