"""A classifier that costs nothing: tests of everything around the model are fast with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_al.models.inputs import Inputs

F64 = NDArray[np.float64]


class CentroidModel:
    """Softmax of the negative squared distance to the mean of each class; sums and counts are its state."""

    def __init__(self, classes: int = 0, seed: int = 0) -> None:
        self.sums = np.zeros((classes, 0))
        self.counts = np.zeros(classes)

    @property
    def classes(self) -> int:
        return len(self.counts)

    @property
    def fitted(self) -> bool:
        return bool(self.counts.any())

    def grow(self, classes: int) -> None:
        more = classes - self.classes
        if more > 0:
            self.sums = np.pad(self.sums, ((0, more), (0, 0)))
            self.counts = np.pad(self.counts, (0, more))

    def predict_proba(self, batch: Inputs) -> F64:
        z = batch.z[:, : self.sums.shape[1]]
        gaps = z[:, None, :] - self.sums / np.maximum(self.counts, 1.0)[:, None]
        logits = np.where(self.counts > 0, -0.5 * (gaps * gaps).sum(axis=2), -50.0)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def learn(self, x: Inputs, y: int, weight: float) -> None:
        z = x.z[0]
        self.sums = np.pad(self.sums, ((0, 0), (0, max(0, len(z) - self.sums.shape[1]))))
        self.sums[y, : len(z)] += weight * z
        self.counts[y] += weight

    def observe(self, x: Inputs, weight: float) -> None:
        return None

    def members(self, batch: Inputs) -> None:
        return None

    def dump(self) -> dict[str, NDArray[Any]]:
        return {"sums": self.sums.copy(), "counts": self.counts.copy()}

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.sums, self.counts = state["sums"].copy(), state["counts"].copy()
