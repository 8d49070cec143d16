"""Tables of made rows."""

from __future__ import annotations

import numpy as np

from stream_al.annotators import Annotators, Delay
from stream_al.settings import Settings
from stream_al.table import Table, assemble, coded


def gaussian_table(n: int = 800, *, seed: int = 0, columns: int = 5) -> Table:
    """Return rows of three Gaussian classes."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(3, size=n)
    rows = rng.normal(size=(n, columns)) + 1.5 * rng.normal(size=(3, columns))[classes]
    features = {f"x{j}": rows[:, j] for j in range(columns)}
    return assemble("made", features, coded([f"class-{c}" for c in classes]))


def settings(budget: float = 0.1, **query: object) -> Settings:
    """Return settings with open labels."""
    return Settings(query={"budget": budget, **query}, task={"open_labels": True})


def people(delay: str = "lognormal:20,1", *, no_answer: float = 0.2, noise: float = 0.1) -> Annotators:
    """Return people who are late, sometimes silent and sometimes wrong."""
    return Annotators(Delay.parse(delay), no_answer, noise)
