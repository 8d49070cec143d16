"""What every model must do, as small named checks: :func:`check_model`.

A model is given as its factory ``make(classes, seed)``. The checks build their own rows, samples and
scale; nothing is read, and nothing depends on the clock.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stream_al.models.inputs import F64, I64, Inputs, Words, pad_dense, pad_words
from stream_al.models.products import padded_rows
from stream_al.models.protocol import ModelFactory, OnlineModel
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
    scaler = _scaler(rows)
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


def _scaler(rows: F64) -> Scaler:
    scaler = Scaler()
    scaler.grow(np.zeros(rows.shape[1], dtype=bool))
    for row in rows:
        scaler.observe(row, 1.0)
    return scaler


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)


def _sound(proba: F64, rows: int, classes: int) -> None:
    """Require that these are probabilities."""
    _require(proba.shape == (rows, classes), f"shape is {proba.shape}, expected {(rows, classes)}")
    _require(proba.dtype == np.float64, f"type is {proba.dtype}, expected float64")
    _require(bool(np.isfinite(proba).all()), "there are probabilities that are no finite number")
    _require(bool(((proba >= 0) & (proba <= 1)).all()), "there are probabilities outside [0, 1]")
    error = float(np.abs(proba.sum(1) - 1.0).max(initial=0.0)) if classes else 0.0
    _require(error < 1e-9, f"a row sums to 1 with an error of {error:.1e}")


def _same(a: F64, b: F64, message: str) -> None:
    """Require equality to the bit."""
    if a.shape != b.shape or a.tobytes() != b.tobytes():
        apart = float(np.abs(a - b).max()) if a.shape == b.shape else float("inf")
        raise AssertionError(f"{message} (largest difference {apart:.2e})")


def unfitted_is_uniform(make: ModelFactory) -> None:
    """A model that learned nothing has no opinion, and says so."""
    task = blobs(70, 4, 3)
    model = make(3, SEED)
    _require(not model.fitted, "it is fitted before it learned anything")
    proba = task.proba(model)
    _sound(proba, 70, 3)
    _require(bool(np.allclose(proba, 1 / 3)), "probabilities are not uniform")


def probabilities_are_sound(make: ModelFactory) -> None:
    """Rows are distributions over the classes, at every stage of learning."""
    for classes in (2, 3, 10):
        task = blobs(120, 5, classes)
        model = make(classes, SEED)
        for i in range(40):
            task.teach(model, i, i + 1)
            if i < 12 or i % 9 == 0:
                _sound(task.proba(model), 120, classes)
        _require(model.fitted, "it learned and is not fitted")
        _require(model.classes == classes, f"it knows {model.classes} classes, expected {classes}")


def padding_is_scored(make: ModelFactory) -> None:
    """Results come for all padded rows, so that nobody needs to copy."""
    task = blobs(80, 4, 2)
    model = make(2, SEED)
    task.teach(model, 0, 40)
    _sound(model.predict_proba(task.batch(np.arange(70))), 128, 2)


def learns(make: ModelFactory) -> None:
    """A model that does not learn what is easy is wired up wrongly."""
    task = blobs(400, 6, 3)
    model = make(3, SEED)
    task.teach(model, 0, 150)
    right = float((task.proba(model, np.arange(150, 400)).argmax(1) == task.labels[150:]).mean())
    _require(right > 0.8, f"accuracy on well separated classes is {right:.2f} after 150 answers")


def same_calls_same_state(make: ModelFactory) -> None:
    """Every replica folds the same log and must end with the same model."""
    task = blobs(120, 5, 3)
    first, second = make(3, SEED), make(3, SEED)
    task.teach(first, 0, 60)
    task.teach(second, 0, 60)
    _same(task.proba(first), task.proba(second), "two models with the same calls differ")


def _cuts_change_nothing(make: ModelFactory, task: Task, classes: int, answers: int) -> None:
    model = make(classes, SEED)
    task.teach(model, 0, answers)
    n = len(task.rows)
    whole = task.proba(model)
    for size in (1, 7, 64, 100):
        starts = range(0, n, size) if size > 1 else range(0, n, 13)
        for start in starts:
            picked = np.arange(start, min(n, start + size))
            _same(task.proba(model, picked), whole[picked], f"a batch of {size} rows differs from the whole")
    shuffled = np.random.default_rng(SEED).permutation(n)
    _same(task.proba(model, shuffled), whole[shuffled], "another order of the rows changes them")


def cuts_change_nothing(make: ModelFactory) -> None:
    """Replay cuts the stream elsewhere; outputs must be equal to the bit."""
    for classes, columns in ((2, 1), (2, 30), (3, 5), (10, 64)):
        _cuts_change_nothing(make, blobs(150, columns, classes), classes, 60)


def cuts_change_nothing_on_words(make: ModelFactory) -> None:
    """The same for texts."""
    for classes in (2, 4):
        _cuts_change_nothing(make, blobs(150, 3, classes, text=True), classes, 60)


def cuts_change_nothing_when_wide(make: ModelFactory) -> None:
    """The same for 300 columns, where products choose other kernels."""
    _cuts_change_nothing(make, blobs(130, 300, 2), 2, 50)


def equal_rows_score_equal(make: ModelFactory) -> None:
    """Equal events must tie exactly, wherever they stand in a batch."""
    for classes, columns in ((2, 30), (10, 7)):
        task = blobs(60, columns, classes)
        model = make(classes, SEED)
        task.teach(model, 0, 50)
        proba = task.proba(model, np.repeat(np.arange(20), 37))
        _same(proba, np.repeat(proba[::37], 37, axis=0), "37 equal rows score differently")


def scoring_changes_nothing(make: ModelFactory) -> None:
    """Learning depends on the order of the answers only, not on what was scored in between."""
    task = blobs(100, 5, 3)
    silent, asked = make(3, SEED), make(3, SEED)
    task.teach(silent, 0, 60)
    for i in range(60):
        task.teach(asked, i, i + 1)
        task.proba(asked, np.arange(i, i + 3))
        asked.members(task.batch(np.arange(2)))
    _same(task.proba(silent), task.proba(asked), "scoring between answers changed the model")


def inputs_are_not_changed(make: ModelFactory) -> None:
    """Rows belong to the caller."""
    task = blobs(80, 4, 2, text=True)
    rows = task.rows.copy()
    model = make(2, SEED)
    task.teach(model, 0, 40)
    task.proba(model)
    _require(bool((rows == task.rows).all()), "rows were written to")


def samples_are_harmless(make: ModelFactory) -> None:
    """Samples may come before the first answer and between any two."""
    task = blobs(100, 4, 2)
    model = make(2, SEED)
    for i in range(60):
        model.observe(task.answer(i), 5.0)
        if i >= 20:
            task.teach(model, i, i + 1)
    _sound(task.proba(model), 100, 2)


def missing_values(make: ModelFactory) -> None:
    """Fields are left out, in answers and in events, and sometimes all of them."""
    task = blobs(120, 5, 3)
    rows = np.where(np.random.default_rng(SEED).random(task.rows.shape) < 0.4, np.nan, task.rows)
    rows[::10] = np.nan
    task = replace(task, rows=rows, scaler=_scaler(rows))
    model = make(3, SEED)
    task.teach(model, 0, 80)
    _sound(task.proba(model), 120, 3)


def outliers(make: ModelFactory) -> None:
    """One absurd number must not ruin the model for the sane rows."""
    task = blobs(160, 4, 2)
    rows = task.rows.copy()
    rows[50:60:3, 0] = 1e300
    rows[51:60:3, 1] = -1e300
    task = replace(task, rows=rows)  # the scale saw the sane ones
    model = make(2, SEED)
    task.teach(model, 0, 80)
    _sound(task.proba(model), 160, 2)


def constant_columns(make: ModelFactory) -> None:
    """A column that never varies says nothing, and harms nothing."""
    task = blobs(300, 6, 2)
    rows = task.rows.copy()
    rows[:, 1] = 0.0
    rows[:, 4] = 1e6
    task = replace(task, rows=rows, scaler=_scaler(rows))
    model = make(2, SEED)
    task.teach(model, 0, 120)
    proba = task.proba(model, np.arange(120, 300))
    _sound(proba, 180, 2)
    right = float((proba.argmax(1) == task.labels[120:]).mean())
    _require(right > 0.8, f"accuracy beside two constant columns is {right:.2f}")


def no_columns(make: ModelFactory) -> None:
    """A task may have no dense column at all yet."""
    task = blobs(80, 0, 2)
    model = make(2, SEED)
    task.teach(model, 0, 30)
    _sound(task.proba(model), 80, 2)


def words_alone(make: ModelFactory) -> None:
    """A task may have nothing but text, and a text may be empty."""
    task = blobs(120, 0, 2, text=True)
    model = make(2, SEED)
    task.teach(model, 0, 60)
    _sound(task.proba(model), 120, 2)


def late_words(make: ModelFactory) -> None:
    """Text may appear after columns."""
    task = blobs(120, 4, 2, text=True)
    model = make(2, SEED)
    replace(task, texts=None).teach(model, 0, 40)
    _sound(task.proba(model), 120, 2)
    task.teach(model, 40, 80)
    _sound(task.proba(model), 120, 2)


def late_columns(make: ModelFactory) -> None:
    """Columns appear in events first and in answers later, again and again."""
    task = blobs(140, 9, 3)
    model = make(3, SEED)
    for columns, start in ((3, 0), (4, 40), (9, 80)):
        rows = task.rows[:, :columns]
        narrow = replace(task, rows=rows, scaler=_scaler(rows))
        _sound(narrow.proba(model), 140, 3)
        narrow.teach(model, start, start + 40)
        _sound(narrow.proba(model), 140, 3)


def late_classes(make: ModelFactory) -> None:
    """Open labels: from no class to four, and what was learned stays."""
    task = blobs(800, 5, 4)
    rng = np.random.default_rng(SEED)
    waiting = [np.flatnonzero(task.labels == y).tolist() for y in range(4)]
    order = [waiting[rng.integers(0, 1 + i // 40)].pop() for i in range(160)]  # class y from row 40 y on
    task = replace(task, rows=task.rows[order], labels=task.labels[order])
    model = make(0, SEED)
    _sound(task.proba(model), 160, 0)
    known = 0
    for i in range(160):
        known = max(known, int(task.labels[i]) + 1)
        task.teach(model, i, i + 1)
        _require(model.classes == known, f"it knows {model.classes} classes, expected {known}")
        if i % 10 == 0:
            _sound(task.proba(model), 160, known)
    right = float((task.proba(model).argmax(1) == task.labels).mean())
    _require(right > 0.6, f"accuracy on what it learned is {right:.2f} after classes came late")


def growing_keeps_the_known(make: ModelFactory) -> None:
    """A class that was only announced takes no rows from those that were learned; fewer are ignored."""
    task = blobs(200, 5, 2)
    model = make(2, SEED)
    task.teach(model, 0, 80)
    before = task.proba(model).argmax(1)
    model.grow(1)
    _require(model.classes == 2, "growing to fewer classes was not ignored")
    model.grow(5)
    proba = task.proba(model)
    _sound(proba, 200, 5)
    kept = float((proba.argmax(1) == before).mean())
    _require(kept > 0.9, f"only {kept:.0%} of the predictions stayed when classes were announced")


def one_class_only(make: ModelFactory) -> None:
    """All answers so far may be alike."""
    task = blobs(100, 4, 2)
    task = replace(task, labels=np.zeros_like(task.labels))
    for classes in (1, 2, 3):
        model = make(classes, SEED)
        for i in range(60):
            model.learn(task.answer(i), classes - 1, 1.0)
        proba = task.proba(model)
        _sound(proba, 100, classes)
        _require(bool((proba.argmax(1) == classes - 1).all()), "another class than the one answered wins")


def weights(make: ModelFactory) -> None:
    """Doubtful and heavy answers are learned without harm."""
    task = blobs(120, 4, 3)
    model = make(3, SEED)
    for i in range(80):
        model.learn(task.answer(i), int(task.labels[i]), [1.0, 1e-6, 0.3, 1e6][i % 4])
    _sound(task.proba(model), 120, 3)


def many_classes(make: ModelFactory) -> None:
    """Forty classes, most of them with a handful of answers."""
    task = blobs(200, 8, 40)
    model = make(40, SEED)
    task.teach(model, 0, 120)
    proba = task.proba(model)
    _sound(proba, 200, 40)
    right = float((proba[:120].argmax(1) == task.labels[:120]).mean())
    _require(right > 0.2, f"accuracy on 40 classes that it learned is {right:.2f}")


def wide_rows(make: ModelFactory) -> None:
    """Three hundred columns, more than answers."""
    task = blobs(150, 300, 3)
    model = make(3, SEED)
    task.teach(model, 0, 60)
    _sound(task.proba(model), 150, 3)


def members_match(make: ModelFactory) -> None:
    """A committee, where there is one, gives probabilities of the same shape."""
    task = blobs(80, 4, 3)
    model = make(3, SEED)
    task.teach(model, 0, 40)
    members = model.members(task.batch(np.arange(64)))
    for member in [] if members is None else members:
        _sound(member, 64, 3)


def restored_goes_on_the_same(make: ModelFactory) -> None:
    """Base + tail = replay, to the bit: also with classes, columns and words that come afterwards."""
    for classes in (2, 3):
        task = blobs(160, 6, classes, text=True)
        narrow = replace(task, rows=task.rows[:, :4], scaler=_scaler(task.rows[:, :4]))
        original = make(classes, SEED)
        narrow.teach(original, 0, 64)
        state = original.dump()
        if state is None:
            return
        with io.BytesIO() as file:
            np.savez(file, allow_pickle=False, **state)
            file.seek(0)
            arrays = dict(np.load(file, allow_pickle=False))
        restored = make(classes, SEED)
        restored.load(arrays)
        _require(restored.classes == original.classes, "a restored model knows other classes")
        _require(restored.fitted, "a restored model is not fitted")
        _same(narrow.proba(original), narrow.proba(restored), "a restored model scores differently")
        for start in range(64, 104, 8):
            for model in (original, restored):
                narrow.teach(model, start, start + 8)
            _same(narrow.proba(original), narrow.proba(restored), "a restored model learns differently")
        for model in (original, restored):
            model.grow(classes + 1)
            task.teach(model, 104, 140)
        _same(task.proba(original), task.proba(restored), "a restored model grows differently")


def dumps_are_copies(make: ModelFactory) -> None:
    """A checkpoint written in the background must not change while the model learns on."""
    task = blobs(120, 4, 2, text=True)
    model = make(2, SEED)
    task.teach(model, 0, 60)
    state = model.dump()
    if state is None:
        return
    before = {name: array.tobytes() for name, array in state.items()}
    task.teach(model, 60, 110)
    for name, array in state.items():
        _require(array.tobytes() == before[name], f"{name} of a dump changed when the model learned on")


CHECKS: tuple[Callable[[ModelFactory], None], ...] = (
    unfitted_is_uniform,
    probabilities_are_sound,
    padding_is_scored,
    learns,
    same_calls_same_state,
    cuts_change_nothing,
    cuts_change_nothing_on_words,
    cuts_change_nothing_when_wide,
    equal_rows_score_equal,
    scoring_changes_nothing,
    inputs_are_not_changed,
    samples_are_harmless,
    missing_values,
    outliers,
    constant_columns,
    no_columns,
    words_alone,
    late_words,
    late_columns,
    late_classes,
    growing_keeps_the_known,
    one_class_only,
    weights,
    many_classes,
    wide_rows,
    members_match,
    restored_goes_on_the_same,
    dumps_are_copies,
)
"""Every check; each raises ``AssertionError`` with what does not hold."""


def check_model(make: ModelFactory) -> None:
    """Check a model against all of them.

    Parameters
    ----------
    make : callable
        ``make(classes, seed) -> OnlineModel``.

    Raises
    ------
    AssertionError
        The first law that does not hold, with the reason for it.

    Examples
    --------
    >>> from stream_al.models.registry import make_model
    >>> check_model(lambda classes, seed: make_model("pool", classes, seed))
    """
    for check in CHECKS:
        try:
            check(make)
        except AssertionError as error:
            raise AssertionError(f"{check.__name__}: {error}. Why: {check.__doc__}") from error
