"""What a model must do to be learned from a reply log, one answer at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from stream_al.models.inputs import Inputs

F64 = NDArray[np.float64]
State = Mapping[str, NDArray[Any]]
"""A model's whole state: names to arrays (numbers, or fixed-width text), never pickled objects."""


@runtime_checkable
class OnlineModel(Protocol):
    """An incremental classifier; labels are class numbers 0 .. classes - 1, in order of appearance.

    Everything is deterministic: the same calls give the same state, to the bit. Scores of a row depend
    on that row alone, not on its neighbours in the batch (see :mod:`stream_al.models.products`).
    :func:`stream_al.conformance.check_model` checks all of it.
    """

    @property
    def classes(self) -> int:
        """Classes known, 0 or more."""
        ...

    @property
    def fitted(self) -> bool:
        """Whether anything was learned; before, probabilities are uniform."""
        ...

    def grow(self, classes: int) -> None:
        """Make room for more classes; those known keep what was learned. A smaller number is ignored."""
        ...

    def predict_proba(self, batch: Inputs) -> F64:
        """Return probabilities, rows summing to 1.

        Parameters
        ----------
        batch : Inputs
            ``m`` padded rows, or the one row of an answer that is about to be learned.

        Returns
        -------
        (m, classes) float64
            Finite, within [0, 1].
        """
        ...

    def learn(self, x: Inputs, y: int, weight: float) -> None:
        """Learn one answer: ``x`` is one unpadded row, ``y`` below ``classes``, ``weight`` in (0, 1e6]."""
        ...

    def observe(self, x: Inputs, weight: float) -> None:
        """See one unlabelled sample that stands for ``weight`` events; most models do nothing."""
        ...

    def members(self, batch: Inputs) -> NDArray[np.float64] | None:
        """Return a committee's probabilities (members, m, classes), or None without a committee."""
        ...

    def dump(self) -> State | None:
        """Return the whole state, or None where it cannot be written safely (the log is folded instead)."""
        ...

    def load(self, state: State) -> None:
        """Take over what :meth:`dump` of a model with the same configuration returned."""
        ...


ModelFactory = Callable[[int, int], OnlineModel]
"""``make(classes, seed) -> OnlineModel``."""
