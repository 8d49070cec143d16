"""A committee of any model: online bagging, so that every model has members who may disagree.

Each answer is learned by each member with the weight of k answers, k drawn from Poisson(1): a bootstrap
sample of a stream (Oza and Russell, "Online bagging and boosting", AISTATS 2001). A larger mean makes
members more alike and each of them faster (6: Bifet, Holmes and Pfahringer, "Leveraging bagging for
evolving data streams", ECML PKDD 2010).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stream_al.models.inputs import Inputs
from stream_al.models.protocol import F64, OnlineModel, State
from stream_al.query.coin import Coin

MOST = 40
"""Draws end here: a table of the distribution up to it is exact to double precision for means up to 10."""


class Committee:
    """N copies of a model, each of which learns a bootstrap sample; probabilities are their mean.

    Parameters
    ----------
    make : callable
        ``make(seed) -> OnlineModel``, one member; members have the seeds ``seed``, ``seed + 1`` ...
    members : int
        At least 2.
    mean : float
        Of the Poisson distribution, above 0 and at most 10.
    seed : int

    Notes
    -----
    Costs as much as its members together, for scoring and for learning. What a member draws is a hash of
    the number of the answer: the same wherever the log is folded.
    """

    def __init__(self, make: Callable[[int], OnlineModel], members: int, mean: float, seed: int) -> None:
        self._members = [make(seed + i) for i in range(members)]
        self._coin = Coin("bagging", seed)
        self._learned = 0
        self._cumulative = np.cumsum(
            [math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(MOST)]
        )

    @property
    def classes(self) -> int:
        """Classes known."""
        return self._members[0].classes

    @property
    def fitted(self) -> bool:
        """Whether any member has learned something."""
        return any(member.fitted for member in self._members)

    def grow(self, classes: int) -> None:
        """Make room for more classes."""
        for member in self._members:
            member.grow(classes)

    def members(self, batch: Inputs) -> F64:
        """Return the members' probabilities (members, m, classes)."""
        return np.stack([member.predict_proba(batch) for member in self._members])

    def predict_proba(self, batch: Inputs) -> F64:
        """Return the mean of the members' probabilities (m, classes)."""
        total = np.zeros((len(batch.dense), self.classes))
        for member in self._members:  # in order: the same bits in any batch
            total += member.predict_proba(batch)
        return total / len(self._members)

    def learn(self, x: Inputs, y: int, weight: float) -> None:
        """Let every member learn one answer as often as it draws it."""
        for member, times in zip(self._members, self._draw(), strict=True):
            if times:
                member.learn(x, y, weight * times)
        self._learned += 1

    def _draw(self) -> list[int]:
        """Return how often each member learns the next answer."""
        uniform = self._coin.many(f"{self._learned}:{i}" for i in range(len(self._members)))
        times: list[int] = np.searchsorted(self._cumulative, uniform, side="right").tolist()
        return times

    def observe(self, x: Inputs, weight: float) -> None:
        """Let every member see one sample."""
        for member in self._members:
            member.observe(x, weight)

    def dump(self) -> State | None:
        """Return the whole state, named ``number.name``; None where a member cannot be written."""
        state: dict[str, NDArray[np.generic]] = {"committee.learned": np.array(self._learned)}
        for i, member in enumerate(self._members):
            dumped = member.dump()
            if dumped is None:
                return None
            state |= {f"{i}.{name}": value for name, value in dumped.items()}
        return state

    def load(self, state: State) -> None:
        """Take over what :meth:`dump` of a committee of the same size returned."""
        self._learned = int(state["committee.learned"])
        for i, member in enumerate(self._members):
            prefix = f"{i}."
            member.load({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
