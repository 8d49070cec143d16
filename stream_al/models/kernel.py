"""Experts 1 and 2 of the pool: kernel logistic regression on the remembered answers, at two bandwidths.

    k1(z, c) = 10 (e + 0.3),   k2(z, c) = 6 (e^4 + 0.3),   e = exp(-sum_j r_j (z_j - c_j)^2 / 2d)

``e^4`` is the Gaussian of half the bandwidth, so both share one matrix of distances. Each column counts by
its relevance r_j, measured anew at every refit (:mod:`stream_al.models.relevance`). Between two refits new
answers wait: steps in between did not pay. A refit starts from what the last one said of the rows that
are still remembered, and from what is said now of the new ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_al.models.dual import Fit, fit_dual, refit_due
from stream_al.models.expert import Answer, Arrays, product
from stream_al.models.memory import SIZE
from stream_al.models.relevance import relevance
from stream_al.models.softmax import F32, widen, width

SCALES = (10.0, 6.0)
BIAS = 0.3


class KernelPair:
    """Two kernel machines that share their memory and its distances.

    Parameters
    ----------
    classes, columns : int
    """

    size = 2

    def __init__(self, classes: int, columns: int) -> None:
        self._classes = classes
        self._new = 0
        self._stretch: F32 = np.ones(columns, dtype=np.float32)  # sqrt(r); the centres are stretched
        self._centres: F32 = np.zeros((0, columns), dtype=np.float32)
        self._coefficients: F32 = np.zeros((2, 0, width(classes)), dtype=np.float32)
        self._fitted = np.zeros(0, dtype=np.int64)  # numbers of the answers that the last refit knew
        self._said: F32 = np.zeros((2, 0, width(classes)), dtype=np.float32)  # of them
        self._room = np.empty((3, SIZE * SIZE), dtype=np.float32)
        self._prepare()

    def grow(self, classes: int, columns: int) -> None:
        """Add classes with zero coefficients, and columns in which every centre lies at the mean."""
        self._coefficients = widen(self._coefficients, self._classes, classes).astype(np.float32)
        self._said = widen(self._said, self._classes, classes).astype(np.float32)
        self._classes = classes
        new = columns - self._centres.shape[1]
        if new > 0:
            self._centres = np.pad(self._centres, ((0, 0), (0, new)))
            self._stretch = np.pad(self._stretch, (0, new), constant_values=1.0)
        self._prepare()

    def _prepare(self) -> None:
        """Bring centres and coefficients into the form that scoring multiplies by."""
        d = max(1, self._centres.shape[1])
        self._inverse = np.float32(0.5 / d)
        self._right = np.ascontiguousarray(self._centres.T) * np.float32(1.0 / d)
        self._square = (self._centres**2).sum(1) * self._inverse
        scaled = self._coefficients * np.array(SCALES, dtype=np.float32)[:, None, None]
        self._scaled = scaled
        self._offset = scaled.sum(1) * np.float32(BIAS)

    def logits(self, z: F32) -> F32:
        """Return logits (2, m, width) of rows (m, d)."""
        result = np.zeros((2, len(z), width(self._classes)), dtype=np.float32)
        if not len(self._centres):
            return result
        z = z * self._stretch
        e = product(z, self._right)
        e -= self._square
        e -= (z * z).sum(1, keepdims=True) * self._inverse
        np.exp(e, out=e)
        np.add(product(e, self._scaled[0]), self._offset[0], out=result[0])
        np.square(e, out=e)
        np.square(e, out=e)
        np.add(product(e, self._scaled[1]), self._offset[1], out=result[1])
        return result

    def learn(self, answer: Answer) -> None:
        """Count one answer, and refit on the whole memory when enough are new."""
        self._new += 1
        memory = answer.memory
        n = len(memory)
        if self._classes < 2 or not refit_due(n, self._new):
            return
        z = answer.scaler.transform(memory.rows).astype(np.float32)
        numbers = memory.numbers.copy()
        places = np.minimum(np.searchsorted(numbers, self._fitted), n - 1)
        told = self._said[:, numbers[places] == self._fitted]  # of those that are still remembered
        self._said = np.concatenate([told, self.logits(z[told.shape[1] :])], axis=1)
        self._fitted, self._new = numbers, 0
        labels, weights = memory.labels, memory.weights.astype(np.float32)
        members = (labels[:, None] == np.arange(self._classes)) * weights[:, None]
        stretch = np.sqrt(relevance(z, members))
        z *= stretch
        e, gram, room = (block[: n * n].reshape(n, n) for block in self._room)
        _gaussian(z, out=e)
        fits: list[Fit] = []
        for scale, said in zip(SCALES, self._said, strict=True):
            if fits:
                np.square(e, out=e)
                np.square(e, out=e)
            np.multiply(e, np.float32(scale), out=gram)
            gram += np.float32(scale * BIAS)
            fit = fit_dual(gram, labels, weights, self._classes, said, room)
            if fit is None:  # what was fitted before goes on, and what it says is the next start
                self._fitted, self._said = numbers[:0], self._said[:, :0]
                return
            fits.append(fit)
        self._stretch, self._centres = stretch, z
        self._coefficients = np.array([fit.coefficients for fit in fits])
        self._said = np.array([fit.logits for fit in fits])
        self._prepare()

    def dump(self) -> Arrays:
        """Return the whole state."""
        return {
            "new": np.array(self._new),
            "stretch": self._stretch.copy(),
            "centres": self._centres.copy(),
            "coefficients": self._coefficients.copy(),
            "fitted": self._fitted.copy(),
            "said": self._said.copy(),
        }

    def load(self, state: Mapping[str, NDArray[Any]], classes: int) -> None:
        """Take over what :meth:`dump` returned."""
        self._classes = classes
        self._new = int(state["new"])
        self._stretch = state["stretch"].copy()
        self._centres = state["centres"].copy()
        self._coefficients = state["coefficients"].copy()
        self._fitted, self._said = state["fitted"].copy(), state["said"].copy()
        self._prepare()


def _gaussian(z: F32, out: F32) -> None:
    """Write ``exp(-|z_i - z_j|^2 / 2d)`` to ``out`` (n, n)."""
    z = z * np.float32(max(1, z.shape[1]) ** -0.5)
    half = (z * z).sum(1) * np.float32(0.5)
    np.matmul(z, z.T, out=out)
    out -= half[:, None]
    out -= half
    np.minimum(out, 0, out=out)
    np.exp(out, out=out)
