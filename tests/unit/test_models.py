"""The pool's parts, one by one."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_al.conformance.model_task import SEED, blobs
from stream_al.models import kernel, word_cosine
from stream_al.models.dual import fit_dual
from stream_al.models.expert import Answer
from stream_al.models.kernel import KernelPair
from stream_al.models.memory import Memory
from stream_al.models.mixture import FixedShare
from stream_al.models.pool import Pool
from stream_al.models.scaler import Scaler
from stream_al.models.softmax import F32, probabilities, residual, widen, width
from stream_al.models.words import WordRows


def test_a_margin_is_the_softmax_of_two_columns() -> None:
    margin = np.random.default_rng(0).normal(0, 3, (50, 1))
    both = np.concatenate([-margin / 2, margin / 2], axis=1)
    exp = np.exp(both)
    np.testing.assert_allclose(probabilities(margin, 2), exp / exp.sum(1, keepdims=True), rtol=1e-12)


@pytest.mark.parametrize(("old", "new"), [(2, 3), (3, 5), (2, 7)])
def test_widening_keeps_the_odds_of_the_known(old: int, new: int) -> None:
    logits = np.random.default_rng(0).normal(size=(20, width(old)))
    before = probabilities(logits, old)
    after = probabilities(widen(logits, old, new), new)[:, :old]
    np.testing.assert_allclose(after / after.sum(1, keepdims=True), before, rtol=1e-12)


def test_a_ruled_out_class_has_no_probability() -> None:
    assert probabilities(np.array([[0.0, 1.0, -np.inf]]), 3)[0, 2] == 0.0
    assert probabilities(np.array([[np.inf]]), 2)[0, 0] < 1e-12


@pytest.mark.parametrize("classes", [2, 4])
def test_the_dual_fit_reaches_the_optimum(classes: int) -> None:
    """At the optimum of a kernel machine every coefficient is its weighted residual."""
    rng = np.random.default_rng(1)
    z = rng.normal(size=(40, 3))
    gram = (4 * np.exp(-0.5 * ((z[:, None] - z) ** 2).sum(2))).astype(np.float32)
    labels = rng.integers(0, classes, 40)
    weights = rng.uniform(0.3, 2.0, 40).astype(np.float32)
    logits = np.zeros((40, width(classes)), dtype=np.float32)
    room = np.full_like(gram, np.nan)
    for _ in range(40):
        found = fit_dual(gram, labels, weights, classes, logits)
        in_room = fit_dual(gram, labels, weights, classes, logits, room)
        assert found is not None
        assert in_room is not None
        assert np.array_equal(found.coefficients, in_room.coefficients)
        logits = found.logits
    np.testing.assert_allclose(logits, gram @ found.coefficients, atol=2e-4)
    error = residual(probabilities(logits, classes), labels, classes) * weights[:, None]
    gain = 2.0 if classes == 2 else 1.0
    np.testing.assert_allclose(found.coefficients, -gain * error, atol=2e-4)


def test_a_refit_goes_on_from_what_was_said_whatever_has_become_of_the_rows() -> None:
    """Ten of forty rows are new: three steps come near to the optimum."""
    rng = np.random.default_rng(4)
    z = rng.normal(size=(50, 3)).astype(np.float32)
    labels = (z[:, 0] + 0.5 * rng.normal(size=50) > 0).astype(np.int64)
    kernel = (10 * (np.exp(-0.5 * ((z[:, None] - z) ** 2).sum(2) / 3) + 0.3)).astype(np.float32)
    before, after = slice(0, 40), slice(10, 50)

    def fit(rows: slice, logits: F32, fits: int) -> F32:
        for _ in range(fits):
            weights = np.ones(40, dtype=np.float32)
            found = fit_dual(kernel[rows, rows], labels[rows], weights, 2, logits)
            assert found is not None
            logits = found.logits
        return found.coefficients

    old = fit(before, np.zeros((40, 1), dtype=np.float32), 40)
    said = kernel[after, before] @ old
    best = kernel[after, after] @ fit(after, said, 40)
    from_said = kernel[after, after] @ fit(after, said, 1)
    kept = np.concatenate([old[10:], np.zeros((10, 1), dtype=np.float32)])
    from_coefficients = kernel[after, after] @ fit(after, kernel[after, after] @ kept, 1)
    assert np.abs(from_said - best).max() < 0.5
    assert np.abs(from_coefficients - best).max() > 2.0


def test_a_gram_matrix_that_is_none_is_refused() -> None:
    broken = np.array([[1.0, 50.0], [50.0, 1.0]], dtype=np.float32)
    start = np.zeros((2, 1), dtype=np.float32)
    assert fit_dual(broken, np.array([0, 1]), np.ones(2, dtype=np.float32), 2, start) is None


def test_memory_is_the_last_answers_in_order() -> None:
    memory = Memory(size=5)
    memory.grow(1)
    for i in range(23):
        memory.add(np.array([float(i)]), i % 3, 1.0)
        expected = list(range(max(0, i - 4), i + 1))
        assert memory.rows[:, 0].tolist() == expected
        assert memory.labels.tolist() == [j % 3 for j in expected]
    memory.grow(2)
    assert np.isnan(memory.rows[:, 1]).all()


@given(st.lists(st.sampled_from([0] * 12 + [1, 1, 2]), max_size=150))
def test_a_class_with_few_answers_is_remembered_longer(labels: list[int]) -> None:
    """A full memory forgets its oldest answer of a class that has more than a quarter of its even share."""
    memory = Memory(size=20)
    memory.grow(1)
    expected: list[int] = []
    for i, label in enumerate(labels):
        if len(expected) == 20:
            counts = Counter(labels[j] for j in expected)
            share = 20 // (4 * len(counts))
            expected.remove(next(j for j in expected if counts[labels[j]] > share))
        memory.add(np.array([float(i)]), label, 1.0 + i)
        expected.append(i)
        if i % 40 == 39:
            state, memory = memory.dump(), Memory(size=20)
            memory.load(state)
        assert memory.numbers.tolist() == expected
        assert memory.rows[:, 0].tolist() == expected
        assert memory.labels.tolist() == [labels[j] for j in expected]
        assert memory.weights.tolist() == [1.0 + j for j in expected]


def test_a_refit_knows_which_of_its_rows_are_new() -> None:
    """Answers of the rare class stay, so rows are forgotten from within; the fit stays near its optimum."""
    rng = np.random.default_rng(0)
    scaler, memory = Scaler(), Memory()
    scaler.grow(np.zeros(4, dtype=bool))
    memory.grow(4)
    kernel = KernelPair(2, 4)
    for i in range(700):
        x, label = rng.normal(size=4), int(rng.random() < (0.2 if i < 200 else 0.02))
        x[0] += 2 * label
        scaler.observe(x, 1.0)
        memory.add(x, label, 1.0)
        kernel.learn(Answer(scaler.transform(x[None]), label, 1.0, memory, scaler))
        if kernel.dump()["new"] == 0:
            state, labels = kernel.dump(), memory.labels.copy()
    assert (np.diff(state["fitted"]) > 1).sum() > 10
    fitted = KernelPair(2, 4)
    fitted.load(state, 2)
    rows = (state["centres"] / state["stretch"]).astype(np.float32)
    np.testing.assert_allclose(fitted.logits(rows), state["said"], atol=0.01)
    for i in range(2):
        wanted = 2 * residual(probabilities(state["said"][i], 2), labels, 2)
        np.testing.assert_allclose(state["coefficients"][i], -wanted, atol=0.02)


@pytest.mark.parametrize("classes", [(2, 3), (1, 2)])
def test_a_class_that_appears_late_finds_what_was_said_of_the_others(classes: tuple[int, int]) -> None:
    """The next refit starts from it: a margin becomes two columns of the same odds."""
    old, new = classes
    task = blobs(200, 4, 3)
    model = Pool(old, SEED)
    picked = task.labels < old
    for i in np.flatnonzero(picked)[:60]:
        model.learn(task.answer(i), int(task.labels[i]), 1.0)
    before = model.dump()["kernel.said"]
    model.grow(new)
    after = model.dump()["kernel.said"]
    assert after.shape == (2, before.shape[1], width(new))
    if old == 2:
        assert np.ptp(before) > 1.0
        np.testing.assert_allclose(after[..., 1] - after[..., 0], before[..., 0], rtol=1e-6)


@pytest.mark.parametrize("text", [False, True])
def test_a_fit_that_fails_leaves_what_was_fitted(monkeypatch: pytest.MonkeyPatch, text: bool) -> None:
    """The next one is as good as if nothing had happened, although it starts anew."""
    task = blobs(400, 0 if text else 4, 2, text=text)
    module = word_cosine if text else kernel
    expert = "word_cosine.table" if text else "kernel.coefficients"
    model, untroubled = Pool(2, SEED), Pool(2, SEED)
    for each in (model, untroubled):
        task.teach(each, 0, 100)
    fitted = model.dump()[expert]
    with monkeypatch.context() as patch:
        patch.setattr(module, "fit_dual", lambda *arguments: None)
        task.teach(model, 100, 150)
    assert np.array_equal(model.dump()[expert], fitted)
    task.teach(untroubled, 100, 150)
    for each in (model, untroubled):
        task.teach(each, 150, 200)
    picked = np.arange(200, 399)
    members = [each.members(task.batch(picked)) for each in (model, untroubled)]
    place = 1 if text else slice(0, 2)
    assert members[0] is not None
    assert members[1] is not None
    np.testing.assert_allclose(members[0][place, :199], members[1][place, :199], atol=0.05)


def test_texts_of_a_rare_class_are_remembered_longer() -> None:
    task = blobs(900, 0, 2, text=True)
    order = np.concatenate([np.flatnonzero(task.labels == 1)[:20], np.flatnonzero(task.labels == 0)])
    model = Pool(2, SEED)
    for i in order:
        model.learn(task.answer(i), int(task.labels[i]), 1.0)
    remembered = model.dump()["word_cosine.labels"]
    assert (len(remembered), remembered.sum()) == (300, 20)


def test_fixed_share_follows_a_change_of_the_best() -> None:
    mixture = FixedShare()
    mixture.join(3)
    for best in (0, 2):
        for _ in range(30):
            mixture.update(np.where(np.arange(3) == best, 0.9, 0.3), 1.0)
        assert mixture.weights.argmax() == best
        assert mixture.weights.min() > 0.005
    mixture.join(3)
    np.testing.assert_allclose(mixture.weights.sum(), 1.0)
    np.testing.assert_allclose(mixture.weights[3:], 1 / 6)


def test_groups_join_when_their_input_appears() -> None:
    task = blobs(60, 3, 2, text=True)
    model = Pool(2, SEED)
    assert model.members(task.batch(np.arange(3))) is None
    task.teach(model, 0, 5)
    members = model.members(task.batch(np.arange(3)))
    assert members is not None
    assert members.shape == (9, 64, 2)
    words = blobs(60, 0, 2, text=True)
    model = Pool(2, SEED)
    words.teach(model, 0, 5)
    assert len(model.expert_weights) == 3


def test_words_are_learned() -> None:
    task = blobs(500, 0, 3, text=True)
    model = Pool(3, SEED)
    task.teach(model, 0, 150)
    picked = np.arange(150, 499)
    assert (task.proba(model, picked).argmax(1) == task.labels[picked]).mean() > 0.95


def test_damped_counts_have_length_one() -> None:
    task = blobs(20, 0, 2, text=True)
    assert task.texts is not None
    rows = WordRows.of(task.texts)
    lengths = np.sqrt((rows.damped.toarray() ** 2).sum(1))
    np.testing.assert_allclose(lengths, [1.0] * 19 + [0.0])


def test_every_expert_of_the_pool_learns() -> None:
    task = blobs(400, 5, 3, text=True)
    model = Pool(3, SEED)
    task.teach(model, 0, 150)
    members = model.members(task.batch(np.arange(150, 399)))
    assert members is not None
    right = (members[:, :249].argmax(2) == task.labels[150:399]).mean(1)
    assert (right > 0.8).all(), right


def test_the_state_is_named_arrays() -> None:
    task = blobs(60, 3, 2, text=True)
    model = Pool(2, SEED)
    task.teach(model, 0, 30)
    experts = {name.split(".")[0] for name in model.dump()}
    assert experts == {
        "pool", "memory", "kernel", "bayes", "linear", "fourier",
        "words", "word_bayes", "word_cosine", "word_linear",
    }  # fmt: skip
    assert all(isinstance(array, np.ndarray) and array.dtype != object for array in model.dump().values())
