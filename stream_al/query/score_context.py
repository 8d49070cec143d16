"""What a score may look at, and what a score is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_al.models.inputs import Inputs
from stream_al.models.protocol import OnlineModel
from stream_al.query.representatives import Representatives

F64 = NDArray[np.float64]


class Distances(NamedTuple):
    """How far the rows of a batch are from what their partition has asked about.

    Attributes
    ----------
    nearest : (m,) float64
        To the nearest of the remembered requests; infinite where there is none.
    typical : float
        Median distance of a remembered request to its nearest other one; 0 while there are few.
    """

    nearest: F64
    typical: float


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
    asked : callable returning Distances, or None
        Looks at what the partition has asked about, at the price of distances; see :meth:`novelty`.
    sampled : callable returning Representatives or None, or None
        Looks at what the stream is like; see :meth:`representatives`.
    """

    probabilities: F64
    ids: Sequence[str]
    inputs: Inputs
    rare_class: int | None = None
    seed: int = 0
    model: OnlineModel | None = None
    asked: Callable[[], Distances] | None = None
    sampled: Callable[[], Representatives | None] | None = None

    def alone(self, i: int) -> ScoreContext:
        """Return the context of event i as if it had come by itself."""
        inputs = self.inputs.row(i)
        rows = len(inputs.dense)
        return replace(
            self,
            probabilities=np.repeat(self.probabilities[i : i + 1], rows, axis=0),
            ids=self.ids[i : i + 1],
            inputs=inputs,
            asked=self.asked and partial(_distances_alone, self.asked, i, rows),
        )

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

    def novelty(self) -> F64:
        """Return how far every row is from what its partition has asked about: d / (d + typical).

        The distance d is that to the nearest of the last 64 to 71 requests, answered or not: 0 for a copy,
        1/2 at their typical distance from each other, 1 where nothing was asked. A request of the same
        batch counts for the events behind it, exactly.

        Returns
        -------
        (m,) float64
            In [0, 1].
        """
        rows = len(self.probabilities)
        if self.asked is None:
            return np.ones(rows)
        nearest, typical = self.asked()
        novelty = np.ones(rows)
        known = np.isfinite(nearest)
        d = nearest[known]
        novelty[known] = d / np.maximum(d + typical, 1e-300)
        return novelty

    def representatives(self) -> Representatives | None:
        """Return some recent events of the whole stream, the same on every replica; None before any."""
        return None if self.sampled is None else self.sampled()


def _distances_alone(asked: Callable[[], Distances], i: int, rows: int) -> Distances:
    nearest, typical = asked()
    return Distances(np.repeat(nearest[i : i + 1], rows), typical)


class NoCommittee(ValueError):
    """A score asked for a committee, and the model has a single opinion."""

    def __init__(self) -> None:
        super().__init__(
            "this score compares the members of a committee, and the model has none; "
            'name it "committee:10:" and its name, or take "pool", whose experts are members'
        )


Score = Callable[[ScoreContext], F64]
"""From a context to one number in [0, 1] a row."""
