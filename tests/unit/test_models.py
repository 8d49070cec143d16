"""The pool's parts, one by one."""

from __future__ import annotations

import numpy as np
import pytest

from stream_al.conformance.model_task import SEED, blobs
from stream_al.models.dual import fit_dual
from stream_al.models.memory import Memory
from stream_al.models.mixture import FixedShare
from stream_al.models.pool import Pool
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
    found = np.zeros((40, width(classes)), dtype=np.float32)
    for _ in range(40):
        again = fit_dual(gram, labels, weights, classes, gram @ found)
        assert again is not None
        found = again
    error = residual(probabilities(gram @ found, classes), labels, classes) * weights[:, None]
    gain = 2.0 if classes == 2 else 1.0
    np.testing.assert_allclose(found, -gain * error, atol=2e-4)


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
            logits = kernel[rows, rows] @ found
        return found

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
