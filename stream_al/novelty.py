"""Is this a near-duplicate of something just asked? The reservoir as one partition and one batch see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_al.encode import EncodedInput
from stream_al.learner import Learner
from stream_al.models.inputs import Inputs
from stream_al.query.reservoir import Projection, Reservoir, remembered

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Novelty:
    """The last requests of a partition: determined by the tail of its label requests.

    Attributes
    ----------
    asked : int
        Requests of the partition so far.
    requests : sequence of EncodedInput
        The last of them, oldest first.
    reservoir : Reservoir or None
        Their embeddings with the scale of model position ``embedded_at``; None until needed.
    """

    asked: int = 0
    requests: Sequence[EncodedInput] = ()
    reservoir: Reservoir | None = None
    embedded_at: int = -1


class Nearest(NamedTuple):
    """The remembered request that an event is nearest to.

    Attributes
    ----------
    age : int
        1 for the partition's newest request.
    distance, radius : float
        An event is a near-duplicate where its distance is within the radius.
    near : bool
        Whether it is.
    """

    age: int
    distance: float
    radius: float
    near: bool


class BatchNovelty:
    """What a policy asks while it decides a batch: embeddings are made once somebody would be asked.

    Parameters
    ----------
    before : Novelty
        Not changed.
    learner : Learner
    project : Projection or None
        None switches the filter off.
    batch : sequence of EncodedInput
    inputs : Inputs
        The scored batch; row ``first_row + i`` is event i.
    """

    def __init__(
        self,
        before: Novelty,
        learner: Learner,
        project: Projection | None,
        batch: Sequence[EncodedInput],
        inputs: Inputs,
        first_row: int,
    ) -> None:
        self._before = before
        self._learner = learner
        self._project = project
        self._batch = batch
        self._inputs = inputs
        self._first_row = first_row
        self._added: list[EncodedInput] = []
        self._embedded: tuple[int, F64] | None = None
        self._reservoir: Reservoir | None = None
        if before.reservoir is not None and before.embedded_at == learner.position:
            self._reservoir = before.reservoir.copy()

    def near(self, i: int) -> bool:
        """Return whether event i is a near-duplicate of a remembered request."""
        reservoir = self._remembered()
        if reservoir is None or self._project is None:
            return False
        return reservoir.near(self._embed(i, self._project))

    def nearest(self, i: int) -> Nearest | None:
        """Return the remembered request nearest to event i; None where nothing can be compared."""
        reservoir = self._remembered()
        if reservoir is None or self._project is None or not len(reservoir):
            return None
        embedding = self._embed(i, self._project)
        place, distance = reservoir.nearest(embedding)
        return Nearest(len(reservoir) - place, distance, reservoir.radius, reservoir.near(embedding))

    def asked(self, i: int) -> None:
        """Remember event i: the following ones are compared with it too."""
        self._added.append(self._batch[i])
        if self._reservoir is not None and self._project is not None:
            self._reservoir.add(self._embed(i, self._project))

    def after(self) -> Novelty:
        """Return what is remembered behind the batch."""
        return Novelty(self._asked, self._requests(), self._reservoir, self._learner.position)

    def _remembered(self) -> Reservoir | None:
        """Return the reservoir, embedded with the present scale; None while there is none to compare by."""
        columns = self._learner.columns
        if self._project is None or not (columns or columns.has_words):
            return None  # before the first sample all would be alike
        if self._reservoir is None:
            requests = self._requests()
            inputs = columns.inputs(requests, self._learner.scaler, pad=False)
            self._reservoir = Reservoir(self._project(inputs, range(len(requests))), self._asked)
        return self._reservoir

    @property
    def _asked(self) -> int:
        return self._before.asked + len(self._added)

    def _requests(self) -> list[EncodedInput]:
        requests = [*self._before.requests, *self._added]
        return requests[max(0, len(requests) - remembered(self._asked)) :]

    def _embed(self, i: int, project: Projection) -> F64:
        if self._embedded is None or self._embedded[0] != i:
            self._embedded = i, project(self._inputs, [self._first_row + i])[0]
        return self._embedded[1]
