"""What a score may look at, and what a score is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_al.models.inputs import Inputs
from stream_al.models.protocol import OnlineModel

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ScoreContext:
    """What a score may look at; rows are padded, so row i depends on row i alone.

    Attributes
    ----------
    probabilities : (m, k) float64
        Probabilities as the model gives them, before recalibration.
    ids : sequence of str
        Ids of the events; shorter than m by the padding.
    inputs : Inputs
    rare_class : int or None
        The class that `risk` looks for.
    seed : int
    model : OnlineModel or None
        To be asked, never changed.
    """

    probabilities: F64
    ids: Sequence[str]
    inputs: Inputs
    rare_class: int | None = None
    seed: int = 0
    model: OnlineModel | None = None

    def committee(self) -> tuple[F64, F64]:
        """Return what each member of the model's committee says, and how much it counts.

        Costs one more pass over the model.

        Returns
        -------
        probabilities : (members, m, k) float64
        weights : (members,) float64
            Summing to 1; equal where the model has no opinion on its members.

        Raises
        ------
        NoCommittee
            The model is none.
        """
        members = None if self.model is None else self.model.members(self.inputs)
        if members is None:
            raise NoCommittee
        weights: F64 | None = getattr(self.model, "expert_weights", None)
        return members, np.full(len(members), 1.0 / len(members)) if weights is None else weights


class NoCommittee(ValueError):
    """A score asked for a committee, and the model has a single opinion."""

    def __init__(self) -> None:
        super().__init__(
            "this score compares the members of a committee, and the model has none; "
            'name it "committee:10:" and its name, or take "pool", whose experts are members'
        )


Score = Callable[[ScoreContext], F64]
"""From a context to one number in [0, 1] a row."""
