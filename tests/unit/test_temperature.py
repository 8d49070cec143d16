"""The temperature: 1 without evidence, above it for a boastful model, below it for a shy one."""

from __future__ import annotations

import numpy as np
import pytest

from stream_al.models.temperature import GRID, Temperature


def taught(sharpness: float, n: int = 2_000) -> Temperature:
    """Return what answers teach about a model whose log-odds are multiplied by ``sharpness``."""
    rng = np.random.default_rng(0)
    temperature = Temperature()
    for _ in range(n):
        logits = rng.normal(size=3)
        true = np.exp(logits) / np.exp(logits).sum()
        said = np.exp(sharpness * logits) / np.exp(sharpness * logits).sum()
        temperature.observe(said, int(rng.choice(3, p=true)))
    return temperature


def test_nothing_changes_without_evidence():
    p = np.array([[0.2, 0.8]])
    assert Temperature().apply(p) is p


@pytest.mark.parametrize(("sharpness", "low", "high"), [(2.5, 1.7, 3.0), (0.6, 0.7, 0.85), (1.0, 0.85, 1.2)])
def test_it_finds_how_boastful_the_model_is(sharpness, low, high):
    assert low <= taught(sharpness).value <= high


def test_tempered_rows_are_probabilities_in_the_same_order():
    temperature = Temperature()
    temperature.value = float(GRID[-1])
    p = np.random.default_rng(1).dirichlet([0.3, 0.3, 0.3], 50)
    found = temperature.apply(p)
    assert found.sum(axis=1) == pytest.approx(np.ones(50))
    assert (found.argmax(axis=1) == p.argmax(axis=1)).all()
    assert (found.max(axis=1) <= p.max(axis=1) + 1e-12).all()


def test_a_certain_and_wrong_model_gives_no_infinity():
    temperature = Temperature()
    temperature.observe(np.array([1.0, 0.0]), 1)
    assert np.isfinite(temperature.losses).all()
