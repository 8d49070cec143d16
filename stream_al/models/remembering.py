"""What estimators of scikit-learn behind the model protocol share: counts, remembered answers, scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from stream_al.models.estimator import estimator_proba, frequencies
from stream_al.models.flat import FlatMemory, Layout
from stream_al.models.inputs import Inputs
from stream_al.models.protocol import F64


class RememberingModel:
    """An estimator that may not exist yet, and the answers that it can be fitted on.

    Parameters
    ----------
    classes : int
    answers : int
        Answers remembered.
    """

    def __init__(self, classes: int, answers: int) -> None:
        self._memory = FlatMemory(answers)
        self._counts = np.zeros(classes)
        self._estimator: Any = None
        self._layout = Layout()

    @property
    def classes(self) -> int:
        """Classes known."""
        return len(self._counts)

    @property
    def fitted(self) -> bool:
        """Whether anything was learned."""
        return len(self._memory) > 0

    def grow(self, classes: int) -> None:
        """Make room for more classes."""
        self._counts = np.pad(self._counts, (0, max(0, classes - self.classes)))

    def predict_proba(self, batch: Inputs) -> F64:
        """Return probabilities (m, classes)."""
        if self._estimator is None:
            return np.tile(frequencies(self._counts), (len(batch.dense), 1))
        return estimator_proba(self._estimator, self._layout.matrix(batch), self.classes)

    def observe(self, x: Inputs, weight: float) -> None:
        """Do nothing."""

    def members(self, batch: Inputs) -> None:
        """Return None: no committee."""
