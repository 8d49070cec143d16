"""What every model must do, as small named checks: :func:`check_model`.

A model is given as its factory ``make(classes, seed)``; nothing is read, nothing depends on the clock.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from stream_al.conformance.model_task import SEED, Task, blobs, require, same, scaler_of, sound
from stream_al.models.protocol import ModelFactory


def unfitted_is_uniform(make: ModelFactory) -> None:
    """A model that learned nothing has no opinion, and says so."""
    task = blobs(70, 4, 3)
    model = make(3, SEED)
    require(not model.fitted, "it is fitted before it learned anything")
    proba = task.proba(model)
    sound(proba, 70, 3)
    require(bool(np.allclose(proba, 1 / 3)), "probabilities are not uniform")


def probabilities_are_sound(make: ModelFactory) -> None:
    """Rows are distributions over the classes, at every stage of learning."""
    for classes in (2, 3, 10):
        task = blobs(120, 5, classes)
        model = make(classes, SEED)
        for i in range(40):
            task.teach(model, i, i + 1)
            if i < 12 or i % 9 == 0:
                sound(task.proba(model), 120, classes)
        require(model.fitted, "it learned and is not fitted")
        require(model.classes == classes, f"it knows {model.classes} classes, expected {classes}")


def padding_is_scored(make: ModelFactory) -> None:
    """Results come for all padded rows, so that nobody needs to copy."""
    task = blobs(80, 4, 2)
    model = make(2, SEED)
    task.teach(model, 0, 40)
    sound(model.predict_proba(task.batch(np.arange(70))), 128, 2)


def learns(make: ModelFactory) -> None:
    """A model that does not learn what is easy is wired up wrongly."""
    task = blobs(400, 6, 3)
    model = make(3, SEED)
    task.teach(model, 0, 150)
    right = float((task.proba(model, np.arange(150, 400)).argmax(1) == task.labels[150:]).mean())
    require(right > 0.8, f"accuracy on well separated classes is {right:.2f} after 150 answers")


def same_calls_same_state(make: ModelFactory) -> None:
    """Every replica folds the same log and must end with the same model."""
    task = blobs(120, 5, 3)
    first, second = make(3, SEED), make(3, SEED)
    task.teach(first, 0, 60)
    task.teach(second, 0, 60)
    same(task.proba(first), task.proba(second), "two models with the same calls differ")


def _cuts_change_nothing(make: ModelFactory, task: Task, classes: int, answers: int) -> None:
    model = make(classes, SEED)
    task.teach(model, 0, answers)
    n = len(task.rows)
    whole = task.proba(model)
    for size in (1, 7, 64, 100):
        for start in range(0, n, max(13, size)):
            picked = np.arange(start, min(n, start + size))
            same(task.proba(model, picked), whole[picked], f"a batch of {size} rows differs from the whole")
    shuffled = np.random.default_rng(SEED).permutation(n)
    same(task.proba(model, shuffled), whole[shuffled], "another order of the rows changes them")


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
        same(proba, np.repeat(proba[::37], 37, axis=0), "37 equal rows score differently")


def scoring_changes_nothing(make: ModelFactory) -> None:
    """Learning depends on the order of the answers only, not on what was scored in between."""
    task = blobs(100, 5, 3)
    silent, asked = make(3, SEED), make(3, SEED)
    task.teach(silent, 0, 60)
    for i in range(60):
        task.teach(asked, i, i + 1)
        task.proba(asked, np.arange(i, i + 3))
        asked.members(task.batch(np.arange(2)))
    same(task.proba(silent), task.proba(asked), "scoring between answers changed the model")


def inputs_are_not_changed(make: ModelFactory) -> None:
    """Rows belong to the caller."""
    task = blobs(80, 4, 2, text=True)
    rows = task.rows.copy()
    model = make(2, SEED)
    task.teach(model, 0, 40)
    task.proba(model)
    require(bool((rows == task.rows).all()), "rows were written to")


def samples_are_harmless(make: ModelFactory) -> None:
    """Samples may come before the first answer and between any two."""
    task = blobs(100, 4, 2)
    model = make(2, SEED)
    for i in range(60):
        model.observe(task.answer(i), 5.0)
        if i >= 20:
            task.teach(model, i, i + 1)
    sound(task.proba(model), 100, 2)


def missing_values(make: ModelFactory) -> None:
    """Fields are left out, in answers and in events, and sometimes all of them."""
    task = blobs(120, 5, 3)
    rows = np.where(np.random.default_rng(SEED).random(task.rows.shape) < 0.4, np.nan, task.rows)
    rows[::10] = np.nan
    task = replace(task, rows=rows, scaler=scaler_of(rows))
    model = make(3, SEED)
    task.teach(model, 0, 80)
    sound(task.proba(model), 120, 3)


def outliers(make: ModelFactory) -> None:
    """One absurd number must not ruin the model for the sane rows."""
    task = blobs(160, 4, 2)
    rows = task.rows.copy()
    rows[50:60:3, 0] = 1e300
    rows[51:60:3, 1] = -1e300
    task = replace(task, rows=rows)  # the scale saw the sane ones
    model = make(2, SEED)
    task.teach(model, 0, 80)
    sound(task.proba(model), 160, 2)


def constant_columns(make: ModelFactory) -> None:
    """A column that never varies says nothing, and harms nothing."""
    task = blobs(300, 6, 2)
    rows = task.rows.copy()
    rows[:, 1] = 0.0
    rows[:, 4] = 1e6
    task = replace(task, rows=rows, scaler=scaler_of(rows))
    model = make(2, SEED)
    task.teach(model, 0, 120)
    proba = task.proba(model, np.arange(120, 300))
    sound(proba, 180, 2)
    right = float((proba.argmax(1) == task.labels[120:]).mean())
    require(right > 0.8, f"accuracy beside two constant columns is {right:.2f}")


def no_columns(make: ModelFactory) -> None:
    """A task may have no dense column at all yet."""
    task = blobs(80, 0, 2)
    model = make(2, SEED)
    task.teach(model, 0, 30)
    sound(task.proba(model), 80, 2)


def words_alone(make: ModelFactory) -> None:
    """A task may have nothing but text, and a text may be empty."""
    task = blobs(120, 0, 2, text=True)
    model = make(2, SEED)
    task.teach(model, 0, 60)
    sound(task.proba(model), 120, 2)


def late_words(make: ModelFactory) -> None:
    """Text may appear after columns."""
    task = blobs(120, 4, 2, text=True)
    model = make(2, SEED)
    replace(task, texts=None).teach(model, 0, 40)
    sound(task.proba(model), 120, 2)
    task.teach(model, 40, 80)
    sound(task.proba(model), 120, 2)


def late_columns(make: ModelFactory) -> None:
    """Columns appear in events first and in answers later, again and again."""
    task = blobs(140, 9, 3)
    model = make(3, SEED)
    for columns, start in ((3, 0), (4, 40), (9, 80)):
        rows = task.rows[:, :columns]
        narrow = replace(task, rows=rows, scaler=scaler_of(rows))
        sound(narrow.proba(model), 140, 3)
        narrow.teach(model, start, start + 40)
        sound(narrow.proba(model), 140, 3)


def late_classes(make: ModelFactory) -> None:
    """Open labels: from no class to four, and what was learned stays."""
    task = blobs(800, 5, 4)
    rng = np.random.default_rng(SEED)
    waiting = [np.flatnonzero(task.labels == y).tolist() for y in range(4)]
    order = [waiting[rng.integers(0, 1 + i // 40)].pop() for i in range(160)]  # class y from row 40 y on
    task = replace(task, rows=task.rows[order], labels=task.labels[order])
    model = make(0, SEED)
    sound(task.proba(model), 160, 0)
    known = 0
    for i in range(160):
        known = max(known, int(task.labels[i]) + 1)
        task.teach(model, i, i + 1)
        require(model.classes == known, f"it knows {model.classes} classes, expected {known}")
        if i % 10 == 0:
            sound(task.proba(model), 160, known)
    right = float((task.proba(model).argmax(1) == task.labels).mean())
    require(right > 0.6, f"accuracy on what it learned is {right:.2f} after classes came late")


def growing_keeps_the_known(make: ModelFactory) -> None:
    """A class that was only announced takes no rows from those that were learned; fewer are ignored."""
    task = blobs(200, 5, 2)
    model = make(2, SEED)
    task.teach(model, 0, 80)
    before = task.proba(model).argmax(1)
    model.grow(1)
    require(model.classes == 2, "growing to fewer classes was not ignored")
    model.grow(5)
    proba = task.proba(model)
    sound(proba, 200, 5)
    kept = float((proba.argmax(1) == before).mean())
    require(kept > 0.9, f"only {kept:.0%} of the predictions stayed when classes were announced")


def one_class_only(make: ModelFactory) -> None:
    """All answers so far may be alike."""
    task = blobs(100, 4, 2)
    task = replace(task, labels=np.zeros_like(task.labels))
    for classes in (1, 2, 3):
        model = make(classes, SEED)
        for i in range(60):
            model.learn(task.answer(i), classes - 1, 1.0)
        proba = task.proba(model)
        sound(proba, 100, classes)
        require(bool((proba.argmax(1) == classes - 1).all()), "another class than the one answered wins")


def weights(make: ModelFactory) -> None:
    """Doubtful and heavy answers are learned without harm."""
    task = blobs(120, 4, 3)
    model = make(3, SEED)
    for i in range(80):
        model.learn(task.answer(i), int(task.labels[i]), [1.0, 1e-6, 0.3, 1e6][i % 4])
    sound(task.proba(model), 120, 3)


def many_classes(make: ModelFactory) -> None:
    """Forty classes, most of them with a handful of answers."""
    task = blobs(200, 8, 40)
    model = make(40, SEED)
    task.teach(model, 0, 120)
    proba = task.proba(model)
    sound(proba, 200, 40)
    right = float((proba[:120].argmax(1) == task.labels[:120]).mean())
    require(right > 0.2, f"accuracy on 40 classes that it learned is {right:.2f}")


def wide_rows(make: ModelFactory) -> None:
    """Three hundred columns, more than answers."""
    task = blobs(150, 300, 3)
    model = make(3, SEED)
    task.teach(model, 0, 60)
    sound(task.proba(model), 150, 3)


def members_match(make: ModelFactory) -> None:
    """A committee, where there is one, gives probabilities of the same shape."""
    task = blobs(80, 4, 3)
    model = make(3, SEED)
    task.teach(model, 0, 40)
    members = model.members(task.batch(np.arange(64)))
    for member in () if members is None else members:
        sound(member, 64, 3)


def restored_goes_on_the_same(make: ModelFactory) -> None:
    """Base + tail = replay, to the bit: also with classes, columns and words that come afterwards."""
    for classes in (2, 3):
        task = blobs(160, 6, classes, text=True)
        narrow = replace(task, rows=task.rows[:, :4], scaler=scaler_of(task.rows[:, :4]))
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
        require(restored.classes == original.classes, "a restored model knows other classes")
        require(restored.fitted, "a restored model is not fitted")
        same(narrow.proba(original), narrow.proba(restored), "a restored model scores differently")
        for start in range(64, 104, 8):
            for model in (original, restored):
                narrow.teach(model, start, start + 8)
            same(narrow.proba(original), narrow.proba(restored), "a restored model learns differently")
        for model in (original, restored):
            model.grow(classes + 1)
            task.teach(model, 104, 140)
        same(task.proba(original), task.proba(restored), "a restored model grows differently")


def dumps_are_copies(make: ModelFactory) -> None:
    """A checkpoint written in the background must not change while the model learns on."""
    task = blobs(120, 4, 2, text=True)
    model = make(2, SEED)
    task.teach(model, 0, 60)
    state = model.dump() or {}
    before = {name: array.tobytes() for name, array in state.items()}
    task.teach(model, 60, 110)
    for name, array in state.items():
        require(array.tobytes() == before[name], f"{name} of a dump changed when the model learned on")


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
