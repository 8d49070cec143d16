"""Expert 6 of the pool: AdaGrad on random Fourier features, the long memory.

    [1, 3 sqrt(2/200) cos(z'w + b), z],   w ~ N(0, 1 / (h^2 d)),   h = 0.5 and 1 by turns

approximates a sum of a linear and two Gaussian kernels over *all* answers (A. Rahimi and B. Recht,
"Random features for large-scale kernel machines", NIPS 2007). Nothing is replayed, and squared
gradients fade by 0.999 an answer, so it follows slow drift.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_al.models.expert import Answer, Arrays, product
from stream_al.models.linear import AdaGrad
from stream_al.models.softmax import F32

WAVES = 200
BANDWIDTHS = (0.5, 1.0)
AMPLITUDE = 3.0 * (2.0 / WAVES) ** 0.5
KEEP = 0.999


class FourierLinear:
    """Logistic regression on ``[1, waves, z]``.

    Parameters
    ----------
    classes, columns, seed : int

    Notes
    -----
    What is random about a column is drawn from (seed, column), so a new column leaves the directions of
    the others as they are; only the factor ``1/sqrt(d)`` changes, and with it, a little, every wave.
    """

    size = 1

    def __init__(self, classes: int, columns: int, seed: int) -> None:
        self._model = AdaGrad(classes, 1 + WAVES + columns, keep=KEEP)
        self._seed = seed
        self._phases: F32 = self._draw(0).uniform(0.0, 2.0 * np.pi, WAVES).astype(np.float32)
        self._normals = np.zeros((0, WAVES))
        self._widen(columns)

    def _draw(self, what: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, what])

    def _widen(self, columns: int) -> None:
        new = [self._draw(1 + j).standard_normal(WAVES) for j in range(len(self._normals), columns)]
        if new:
            self._normals = np.concatenate([self._normals, np.array(new)])
        bandwidth = np.resize(np.array(BANDWIDTHS), WAVES)
        directions = self._normals / (bandwidth * max(1, columns) ** 0.5)
        self._directions: F32 = directions.astype(np.float32)

    def grow(self, classes: int, columns: int) -> None:
        """Add classes and columns with zero weights."""
        self._widen(columns)
        self._model.grow(classes, 1 + WAVES + columns)

    def _features(self, z: F32, projected: F32) -> F32:
        features = np.empty((len(z), 1 + WAVES + z.shape[1]), dtype=np.float32)
        waves = features[:, 1 : 1 + WAVES]
        np.add(projected, self._phases, out=projected)
        np.cos(projected, out=projected)
        np.multiply(projected, np.float32(AMPLITUDE), out=waves)
        features[:, 0] = 1.0
        features[:, 1 + WAVES :] = z
        return features

    def logits(self, z: F32) -> F32:
        """Return logits (1, m, width) of rows (m, d)."""
        return self._model.logits(self._features(z, product(z, self._directions)))

    def learn(self, answer: Answer) -> None:
        """Make one step on the answer."""
        z = answer.z.astype(np.float32)
        features = self._features(z, z @ self._directions).astype(np.float64)
        self._model.step(features, answer.labels, np.array([answer.weight]))

    def dump(self) -> Arrays:
        """Return the whole state; the waves are drawn anew from the seed."""
        return self._model.dump()

    def load(self, state: Mapping[str, NDArray[Any]], classes: int) -> None:
        """Take over what :meth:`dump` returned."""
        self._model.load(state, classes)
        self._widen(len(state["weights"]) - 1 - WAVES)
