"""Experts 3 and 4 of the pool: Gaussian naive Bayes that forgets, with half-lives of 50 and 15 answers.

Counts, sums and sums of squares are kept in raw units and standardised by the scale of the moment: early
on, while the scale still moves, that is worth up to a point over sums of standardised values. Values
enter cut at eight standard deviations; a missing one counts as the mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_al.models.expert import Answer, Arrays, product
from stream_al.models.softmax import F32, F64

HALF_LIVES = (50.0, 15.0)
PRIOR_ANSWERS = 3.0
"""How many answers the variance over all classes counts for in that of one class."""
VARIANCE_FLOOR = 0.05
SHRINK = 0.3
"""Means are shrunk towards 0 as if by this many answers."""
STATE = ("seen", "counts", "sums", "squares", "origin", "mean", "scale")


class GaussianBayes:
    """Gaussian naive Bayes at several half-lives, scored with one product.

    Parameters
    ----------
    classes, columns : int
    half_lives : tuple of float
        In answers.
    """

    def __init__(self, classes: int, columns: int, half_lives: tuple[float, ...] = HALF_LIVES) -> None:
        self.size = len(half_lives)
        self._decay = 0.5 ** (1.0 / np.array(half_lives))[:, None]
        self._seen = np.zeros(classes, dtype=bool)
        self._counts = np.zeros((self.size, classes))
        self._sums = np.zeros((self.size, classes, columns))
        self._squares = np.zeros((self.size, classes, columns))
        self._origin = np.zeros(0)
        self._mean, self._scale = np.zeros(columns), np.ones(columns)
        self._prepare()

    def grow(self, classes: int, columns: int) -> None:
        """Add classes without answers, and columns that were at their mean so far."""
        more = (0, classes - len(self._seen))
        wider = (0, columns - len(self._mean))
        self._seen = np.pad(self._seen, more)
        self._counts = np.pad(self._counts, ((0, 0), more))
        self._sums = np.pad(self._sums, ((0, 0), more, wider))
        self._squares = np.pad(self._squares, ((0, 0), more, wider))
        self._mean, self._scale = np.pad(self._mean, wider), np.pad(self._scale, wider, constant_values=1.0)
        self._prepare()

    def _prepare(self) -> None:
        """Turn the sums into coefficients of z, of z^2, and a constant.

        log p(z, c) = log prior_c - 1/2 sum_j [log v + (z - m)^2 / v], with the variance v shrunk
        towards that over all classes. Differences of classes are all that matters, so the mean over
        classes (or class 0, of two) is taken off: single precision has less to carry.
        """
        counts, total = self._counts[:, :, None], self._counts.sum(1, keepdims=True)
        mean = self._sums / np.maximum(counts, 1e-9)
        spread = self._squares - self._sums * mean
        np.maximum(spread, 0.0, out=spread)
        spread /= self._scale * self._scale
        mean[:, :, : len(self._origin)] += self._origin - self._mean[: len(self._origin)]
        mean *= counts / (counts + SHRINK) / self._scale  # 0 for a class without answers
        pooled = (spread.sum(1, keepdims=True) + 1.0) / (total[:, :, None] + 1.0)
        pooled *= PRIOR_ANSWERS
        variance = spread  # in place, here and below: this runs at every answer
        variance += pooled
        variance /= counts + PRIOR_ANSWERS
        variance += VARIANCE_FLOOR
        d = mean.shape[2]
        both = np.empty((*mean.shape[:2], 2 * d))
        linear, square = both[:, :, :d], both[:, :, d:]
        np.divide(mean, variance, out=linear)
        np.divide(-0.5, variance, out=square)
        mean *= linear
        mean += np.log(variance, out=variance)
        constant = np.log((self._counts + 1.0) / (total + len(self._seen))) - 0.5 * mean.sum(2)
        if not self._seen.all() and self._seen.any():
            constant[:, ~self._seen] = -np.inf  # never seen: ruled out here; other experts may differ
        if len(self._seen) == 2:
            both = both[:, 1:] - both[:, :1]
            constant = constant[:, 1:] - constant[:, :1]
        else:
            both -= both.mean(1, keepdims=True)
        self._constant: F64 = constant
        self._right: F32 = np.ascontiguousarray(both.reshape(-1, 2 * d).T, dtype=np.float32)

    def logits(self, z: F32) -> F64:
        """Return logits (size, m, width) of rows (m, d)."""
        joint = product(np.concatenate([z, z * z], axis=1), self._right)
        split = joint.reshape(len(z), self.size, -1).transpose(1, 0, 2)
        return split + self._constant[:, None, :]

    def learn(self, answer: Answer) -> None:
        """Forget a little, add one answer."""
        y, weight = answer.label, answer.weight
        self._mean, self._scale = answer.scaler.mean().copy(), answer.scaler.scale().copy()
        if len(self._origin) < len(self._mean):
            self._origin = np.concatenate([self._origin, self._mean[len(self._origin) :]])
        x = answer.z[0] * self._scale
        x += self._mean - self._origin
        self._counts *= self._decay
        self._sums *= self._decay[:, :, None]
        self._squares *= self._decay[:, :, None]
        self._seen[y] = True
        self._counts[:, y] += weight
        self._sums[:, y] += weight * x
        self._squares[:, y] += weight * x * x
        self._prepare()

    def dump(self) -> Arrays:
        """Return the whole state."""
        return {name: getattr(self, f"_{name}").copy() for name in STATE}

    def load(self, state: Mapping[str, NDArray[Any]], classes: int) -> None:
        """Take over what :meth:`dump` returned; its arrays know the number of classes."""
        for name in STATE:
            setattr(self, f"_{name}", state[name].copy())
        self._prepare()
