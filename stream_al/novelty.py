"""How near is an event to what was just asked? The reservoir as one partition and one batch see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_al.columns import Columns
from stream_al.encode import EncodedInput
from stream_al.learner import Learner
from stream_al.models.inputs import Inputs
from stream_al.query.projection import Projection
from stream_al.query.reservoir import COPY, NEAR, NEAR_WORDS, Reservoir, remembered
from stream_al.query.score_context import Distances

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]


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
    project : Projection
    batch : sequence of EncodedInput
    inputs : Inputs
        The scored batch; row ``first_row + i`` is event i.
    refuse : bool
        Whether near-duplicates are told; else nothing is one.
    """

    def __init__(
        self,
        before: Novelty,
        learner: Learner,
        project: Projection,
        batch: Sequence[EncodedInput],
        inputs: Inputs,
        first_row: int,
        *,
        refuse: bool = True,
    ) -> None:
        self._before = before
        self._learner = learner
        self._project = project
        self._batch = batch
        self._inputs = inputs
        self._first_row = first_row
        self._refuse = refuse
        self._added: list[EncodedInput] = []
        self._embedded: tuple[int, F64] | None = None
        self._reservoir: Reservoir | None = None
        self._columns: _Columns | None = None
        if before.reservoir is not None and before.embedded_at == learner.position:
            self._reservoir = before.reservoir.copy()

    def near(self, i: int) -> bool:
        """Return whether event i is a near-duplicate of a remembered request."""
        reservoir = self.reservoir()
        return reservoir is not None and reservoir.near(self._embed(i))

    def nearest(self, i: int) -> Nearest | None:
        """Return the remembered request nearest to event i; None where nothing is compared."""
        reservoir = self.reservoir()
        if reservoir is None or not len(reservoir):
            return None
        embedding = self._embed(i)
        place, distance = reservoir.nearest(embedding)
        return Nearest(len(reservoir) - place, distance, reservoir.radius, reservoir.near(embedding))

    def distances(self) -> Distances:
        """Return how far the events are from the remembered requests; rows of others are nowhere near."""
        far = np.full(len(self._inputs.dense), np.inf)
        reservoir = self._remembered()
        if reservoir is None or not len(reservoir):
            return Distances(far, 0.0)
        rows = range(self._first_row, self._first_row + len(self._batch))
        if self._columns is None:
            self._columns = _Columns(self._project(self._inputs, rows), reservoir)
        far[rows.start : rows.stop] = self._columns.nearest()
        return Distances(far, reservoir.typical)

    def asked(self, i: int) -> None:
        """Remember event i: the following ones are compared with it too."""
        self._remember(self._batch[i], lambda: self._embed(i))

    def asked_earlier(self, encoded: EncodedInput) -> None:
        """Remember an event that passed before this batch, or earlier in it."""
        self._remember(encoded, lambda: self.embedding_of(encoded))

    def alike(self, i: int, others: F64) -> list[bool]:
        """Return which other events (n, 64) are closer to event i than requests typically lie apart.

        Texts that share little lie at nearly one distance, so of them only near-duplicates are alike.
        """
        reservoir = self.reservoir()
        if reservoir is None:
            return [False] * len(others)
        limit = reservoir.radius if self._learner.columns.has_words else reservoir.typical
        gap = others - self._embed(i)
        found: list[bool] = (np.einsum("ij,ij->i", gap, gap) <= max(limit**2, COPY)).tolist()
        return found

    def reservoir(self) -> Reservoir | None:
        """Return the embedded requests; None where nothing is told, or there is nothing to compare by."""
        return self._remembered() if self._refuse else None

    def embedding_of(self, encoded: EncodedInput) -> F64:
        """Return the embedding (64,) of any event."""
        inputs = self._learner.columns.inputs([encoded], self._learner.scaler, pad=False)
        found: F64 = self._project(inputs, [0])[0]
        return found

    def after(self) -> Novelty:
        """Return what is remembered behind the batch."""
        return Novelty(self._asked, self._requests(), self._reservoir, self._learner.position)

    def _remember(self, encoded: EncodedInput, embed: Callable[[], F64]) -> None:
        self._added.append(encoded)
        if self._reservoir is not None:
            self._reservoir.add(embed())
            if self._columns is not None:
                self._columns.follow(self._reservoir)

    @property
    def _asked(self) -> int:
        return self._before.asked + len(self._added)

    def _requests(self) -> list[EncodedInput]:
        requests = [*self._before.requests, *self._added]
        return requests[max(0, len(requests) - remembered(self._asked)) :]

    def _remembered(self) -> Reservoir | None:
        """Return the reservoir; None before the first sample, when all would be alike."""
        columns = self._learner.columns
        if not (columns or columns.has_words):
            return None
        if self._reservoir is None:
            requests = self._requests()
            inputs = columns.inputs(requests, self._learner.scaler, pad=False)
            items = self._project(inputs, range(len(requests)))
            self._reservoir = Reservoir(items, self._asked, near_fraction(columns))
        return self._reservoir

    def _embed(self, i: int) -> F64:
        if self._embedded is None or self._embedded[0] != i:
            self._embedded = i, self._project(self._inputs, [self._first_row + i])[0]
        return self._embedded[1]


def near_fraction(columns: Columns) -> float:
    """Return what fraction of the typical distance still is a near-duplicate: more where there are texts."""
    return NEAR_WORDS if columns.has_words else NEAR


class _Columns:
    """Squared distances between events and remembered requests, one column a request, kept up to date.

    Each column is computed alone, so that its bits do not depend on when its request was made; in single
    precision: finer than a score of 16 bits needs, in half the time.
    """

    def __init__(self, events: F64, reservoir: Reservoir) -> None:
        self._events = events.astype(np.float32)
        self._columns = [self._to(item) for item in reservoir.items]
        self._least: F32 = np.minimum.reduce(self._columns)

    def follow(self, reservoir: Reservoir) -> None:
        """Add the newest request, and forget what the reservoir has forgotten."""
        newest = self._to(reservoir.items[-1])
        self._columns.append(newest)
        self._least = np.minimum(self._least, newest)
        if len(self._columns) > len(reservoir):
            del self._columns[: len(self._columns) - len(reservoir)]
            self._least = np.minimum.reduce(self._columns)

    def nearest(self) -> F64:
        """Return each event's distance to the nearest request."""
        distances: F64 = np.sqrt(self._least.astype(np.float64))
        return distances

    def _to(self, item: F64) -> F32:
        gap = self._events - item.astype(np.float32)
        squares: F32 = np.einsum("ij,ij->i", gap, gap)
        return squares
