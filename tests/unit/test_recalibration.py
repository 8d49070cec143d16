"""Recalibration: the identity without evidence; it finds a boastful model's slope and a biased one's bias."""

from __future__ import annotations

import numpy as np
import pytest

from stream_al.models.recalibration import BIAS_FROM, EVERY, SIZE, Recalibration


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def taught(
    sharpness: float = 1.0, bias: tuple[float, ...] = (0.0, 0.0, 0.0), n: int = 2_000
) -> Recalibration:
    """Return what answers teach about a model that is sharper than the truth and leans to some classes."""
    rng = np.random.default_rng(0)
    found = Recalibration()
    for _ in range(n):
        logits = 2.0 * rng.normal(size=3)
        said = softmax(sharpness * logits + np.array(bias))
        found.observe(said, int(rng.choice(3, p=softmax(logits))), 1.0)
    return found


def test_nothing_changes_without_evidence():
    p = np.array([[0.2, 0.8]])
    assert Recalibration().apply(p) is p


@pytest.mark.parametrize("sharpness", [2.5, 1.0, 0.7])
def test_it_finds_how_boastful_the_model_is(sharpness):
    assert taught(sharpness).slope == pytest.approx(1 / sharpness, rel=0.2)


def test_it_finds_towards_which_class_the_model_leans():
    lean = np.array([1.0, 0.0, -1.0])
    found = taught(bias=tuple(lean)).bias
    assert (np.sign(found[[0, 2]]) == [-1, 1]).all()  # the prior holds it back, so not the whole of it
    assert (np.abs(found) <= np.abs(lean) + 0.15).all()
    assert found.mean() == pytest.approx(0.0)


def test_there_are_no_biases_below_fifty_answers():
    assert not taught(bias=(3.0, 0.0, 0.0), n=BIAS_FROM - 1).bias.any()
    assert taught(bias=(3.0, 0.0, 0.0), n=BIAS_FROM).bias.any()


def test_an_answer_that_was_unlikely_to_be_asked_counts_more():
    """Half of the answers say the model is boastful, half that it is shy: propensities decide."""

    def slope(propensities: tuple[float, float]) -> float:
        found = Recalibration()
        for i in range(SIZE):
            boastful = i % 2
            y = int(i % 4 >= 2) if boastful else 0  # right every second time, or always, at 0.8
            found.observe(np.array([0.8, 0.2]), y, propensities[boastful])
        return found.slope

    assert slope((1.0, 0.05)) < slope((1.0, 1.0)) < slope((0.05, 1.0))


def test_recalibrated_rows_are_probabilities_in_the_same_order_without_bias():
    found = Recalibration()
    found.slope, found._judged, found.bias = 0.4, EVERY, np.zeros(3)
    p = np.random.default_rng(1).dirichlet([0.3, 0.3, 0.3], 50)
    shown = found.apply(p)
    assert shown.sum(axis=1) == pytest.approx(np.ones(50))
    assert (shown.argmax(axis=1) == p.argmax(axis=1)).all()
    assert (shown.max(axis=1) <= p.max(axis=1) + 1e-12).all()


def test_the_memory_is_bounded_before_and_after_a_restart():
    found = taught(n=SIZE)
    again = Recalibration()
    again.load(found.dump())
    for each in (found, again):
        each.observe(np.full(3, 1 / 3), 0, 1.0)
        state = each.dump()
        assert len(state["logs"]) == len(state["labels"]) == len(state["weights"]) == SIZE


def test_a_certain_and_wrong_model_gives_no_infinity():
    found = Recalibration()
    for _ in range(2 * EVERY):
        found.observe(np.array([1.0, 0.0]), 1, 1e-9)
    assert np.isfinite(found.apply(np.array([[1.0, 0.0]]))).all()


def test_a_class_may_appear_late_and_the_state_is_whole():
    found = taught(n=60)
    assert found.apply(np.full((2, 4), 0.25)).shape == (2, 4)
    found.observe(np.full(4, 0.25), 3, 0.5)
    again = Recalibration()
    again.load(found.dump())
    for _ in range(EVERY):
        for each in (found, again):
            each.observe(np.array([0.1, 0.2, 0.3, 0.4]), 3, 0.1)
    p = np.random.default_rng(2).dirichlet(np.ones(4), 20)
    assert found.apply(p).tobytes() == again.apply(p).tobytes()
