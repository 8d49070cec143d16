"""Word expert c: sparse logistic regression by AdaGrad, the long memory for words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_al.models.expert import Arrays
from stream_al.models.softmax import F64, pad_last, probabilities, residual, widen, width
from stream_al.models.words import WordRows, table_product

RATE = 1.0
START_ENERGY = 0.01
BIAS_RATE = 0.3
BIAS_START_ENERGY = 0.1


class WordLinear:
    """Softmax (two classes: logistic) regression on damped counts of length 1.

    Parameters
    ----------
    classes : int
    columns : int
        Hashed words.
    """

    size = 1

    def __init__(self, classes: int, columns: int) -> None:
        c = width(classes)
        self._classes = classes
        self._table = np.zeros((columns, c))
        self._energy = np.full((columns, c), START_ENERGY)
        self._bias = np.zeros(c)
        self._bias_energy = np.full(c, BIAS_START_ENERGY)

    def grow(self, classes: int) -> None:
        """Add classes with zero weights."""
        old, self._classes = self._classes, classes
        self._table = widen(self._table, old, classes).astype(np.float64)
        self._bias = widen(self._bias, old, classes).astype(np.float64)
        repeats = 2 if old == 2 < classes else 1
        energy, bias_energy = np.repeat(self._energy, repeats, axis=1), np.repeat(self._bias_energy, repeats)
        self._energy = pad_last(energy, width(classes), START_ENERGY).astype(np.float64)
        self._bias_energy = pad_last(bias_energy, width(classes), BIAS_START_ENERGY).astype(np.float64)

    def logits(self, texts: WordRows) -> F64:
        """Return logits (1, m, width) of m texts."""
        return (table_product(texts.damped, self._table) + self._bias)[None]

    def learn(self, text: WordRows, label: int, weight: float) -> None:
        """Make one step on the words of the answer."""
        if self._classes < 2:
            return
        ids, values = text.damped.indices, text.damped.data
        proba = probabilities(self.logits(text)[0], self._classes)
        error = residual(proba, np.array([label]), self._classes)[0] * weight
        gradient = values[:, None] * error
        self._energy[ids] += gradient * gradient
        self._table[ids] -= RATE * gradient / np.sqrt(self._energy[ids])
        self._bias_energy += error * error
        self._bias -= BIAS_RATE * error / np.sqrt(self._bias_energy)

    def dump(self) -> Arrays:
        """Return the whole state."""
        return {
            "table": self._table.copy(),
            "energy": self._energy.copy(),
            "bias": self._bias.copy(),
            "bias_energy": self._bias_energy.copy(),
        }

    def load(self, state: Mapping[str, NDArray[Any]], classes: int) -> None:
        """Take over what :meth:`dump` returned."""
        self._classes = classes
        self._table, self._energy = state["table"].copy(), state["energy"].copy()
        self._bias, self._bias_energy = state["bias"].copy(), state["bias_energy"].copy()
