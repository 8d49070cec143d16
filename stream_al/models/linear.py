"""Expert 5 of the pool: logistic regression by AdaGrad, each answer learned with four remembered ones."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from stream_al.models.expert import Answer, Arrays, product
from stream_al.models.softmax import F32, F64, pad_last, probabilities, residual, widen, width

RATE = 0.3
START_ENERGY = 0.1
REPLAYED = 4
SMALLEST_ENERGY = 1e-12
Float = TypeVar("Float", np.float32, np.float64)


class AdaGrad:
    """Softmax (two classes: logistic) regression with a step size of its own for every coefficient.

    J. Duchi, E. Hazan and Y. Singer, "Adaptive subgradient methods", JMLR 12, 2011.

    Parameters
    ----------
    classes, features : int
    keep : float
        Factor on the accumulated squared gradients before each step; below 1 the steps never die out.
    """

    def __init__(self, classes: int, features: int, keep: float = 1.0) -> None:
        self._classes = classes
        self._keep = keep
        self._weights: F64 = np.zeros((features, width(classes)))
        self._energy: F64 = np.full((features, width(classes)), START_ENERGY)

    def grow(self, classes: int, features: int) -> None:
        """Add classes and (at the end) features, with zero weights."""
        old = self._classes
        weights = np.asarray(widen(self._weights, old, classes), dtype=np.float64)
        energy = np.repeat(self._energy, 2, axis=1) if old == 2 < classes else self._energy
        energy = np.asarray(pad_last(energy, width(classes), START_ENERGY), dtype=np.float64)
        more = ((0, features - len(weights)), (0, 0))
        self._weights = np.pad(weights, more)
        self._energy = np.pad(energy, more, constant_values=START_ENERGY)
        self._classes = classes

    def logits(self, features: F32) -> F32:
        """Return logits (1, m, width) of features (m, f) in whole blocks of rows."""
        return product(features, self._weights)[None]

    def step(self, features: F64, labels: NDArray[np.int64], weights: F64) -> None:
        """Make one step on the summed gradient of some rows.

        Parameters
        ----------
        features : (r, f) float64
        labels : (r,) int64
        weights : (r,) float64
        """
        if self._classes < 2:
            return
        proba = probabilities(features @ self._weights, self._classes)
        gradient = features.T @ (residual(proba, labels, self._classes) * weights[:, None])
        self._energy *= self._keep
        self._energy += gradient * gradient
        gradient *= RATE
        gradient /= np.sqrt(np.maximum(self._energy, SMALLEST_ENERGY))
        self._weights -= gradient

    def dump(self) -> Arrays:
        """Return the whole state."""
        return {"weights": self._weights.copy(), "energy": self._energy.copy()}

    def load(self, state: Mapping[str, NDArray[Any]], classes: int) -> None:
        """Take over what :meth:`dump` returned."""
        self._classes = classes
        self._weights, self._energy = state["weights"].copy(), state["energy"].copy()


class ReplayLinear:
    """Logistic regression on ``[1, z]`` with replay.

    Parameters
    ----------
    classes, columns, seed : int

    Notes
    -----
    The rows replayed with the n-th answer are drawn by a hash of (seed, n), so the state of the draws is
    one number.
    """

    size = 1

    def __init__(self, classes: int, columns: int, seed: int) -> None:
        self._model = AdaGrad(classes, 1 + columns)
        self._seed = seed
        self._learned = 0

    def grow(self, classes: int, columns: int) -> None:
        """Add classes and columns with zero weights."""
        self._model.grow(classes, 1 + columns)

    def logits(self, z: F32) -> F32:
        """Return logits (1, m, width) of rows (m, d)."""
        return self._model.logits(with_one(z))

    def learn(self, answer: Answer) -> None:
        """Make one step on the answer and four older ones."""
        self._learned += 1
        memory, older = answer.memory, len(answer.memory) - 1
        z, labels, weights = answer.z, answer.labels, np.array([answer.weight])
        if older:
            drawn = self._draw(older)
            z = np.concatenate([z, answer.scaler.transform(memory.rows[drawn])])
            labels = np.concatenate([labels, memory.labels[drawn]])
            weights = np.concatenate([weights, memory.weights[drawn]])
        self._model.step(with_one(z), labels, weights)

    def _draw(self, older: int) -> NDArray[np.int64]:
        counter = f"replay:{self._seed}:{self._learned}".encode()
        digest = blake2b(counter, digest_size=8 * REPLAYED).digest()
        return (np.frombuffer(digest, dtype="<u8") % older).astype(np.int64)

    def dump(self) -> Arrays:
        """Return the whole state."""
        return {"learned": np.array(self._learned), **self._model.dump()}

    def load(self, state: Mapping[str, NDArray[Any]], classes: int) -> None:
        """Take over what :meth:`dump` returned."""
        self._learned = int(state["learned"])
        self._model.load(state, classes)


def with_one(z: NDArray[Float]) -> NDArray[Float]:
    """Return ``[1, z]``."""
    return np.concatenate([np.ones((len(z), 1), dtype=z.dtype), z], axis=1)
