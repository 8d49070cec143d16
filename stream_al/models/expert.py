"""What the pool's experts have in common: blocks of experts that score and learn together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stream_al.models.memory import Memory
from stream_al.models.products import BLOCK, row_product
from stream_al.models.scaler import Scaler
from stream_al.models.softmax import F32, F64, Floats
from stream_al.models.words import WordRows

Arrays = dict[str, NDArray[Any]]
"""An expert's state; the pool puts its name before each key."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as the dense experts learn it.

    Attributes
    ----------
    z : (1, d) float64
        The standardised row.
    label : int
    weight : float
    memory : Memory
        The remembered answers; this one is the newest of them.
    scaler : Scaler
        The current scale.
    """

    z: F64
    label: int
    weight: float
    memory: Memory
    scaler: Scaler

    @property
    def labels(self) -> NDArray[np.int64]:
        """The label as an array (1,)."""
        return np.array([self.label])


def product(rows: F32, right: Floats) -> F32:
    """Return ``rows @ right`` in single precision; block by block where there are whole blocks.

    A row that is about to be learned comes alone. Its result need only be the same in every fold, which
    it is, not the same to the bit as that row's score.
    """
    if len(rows) % BLOCK == 0:
        return row_product(rows, right)
    return np.asarray(rows @ right.astype(np.float32, copy=False), dtype=np.float32)


class DenseExperts(Protocol):
    """Experts on standardised columns."""

    size: int

    def grow(self, classes: int, columns: int) -> None:
        """Make room for more classes and columns; what was learned stays."""
        ...

    def logits(self, z: F32) -> Floats:
        """Return logits (size, m, width(classes)) of rows (m, d): whole blocks, or one to be learned."""
        ...

    def learn(self, answer: Answer) -> None:
        """Learn one answer."""
        ...

    def dump(self) -> Arrays:
        """Return the whole state."""
        ...

    def load(self, state: Mapping[str, NDArray[Any]], classes: int) -> None:
        """Take over what :meth:`dump` returned, at this number of classes."""
        ...


class WordExperts(Protocol):
    """Experts on hashed words."""

    size: int

    def grow(self, classes: int) -> None:
        """Make room for more classes; what was learned stays."""
        ...

    def logits(self, texts: WordRows) -> F64:
        """Return logits (size, m, width(classes)) of m texts."""
        ...

    def learn(self, text: WordRows, label: int, weight: float) -> None:
        """Learn one answer; ``text`` has one row."""
        ...

    def dump(self) -> Arrays:
        """Return the whole state."""
        ...

    def load(self, state: Mapping[str, NDArray[Any]], classes: int) -> None:
        """Take over what :meth:`dump` returned, at this number of classes."""
        ...
