"""Weights over experts that follow whoever is right now: fixed share.

    p = sum_i w_i p_i
    on an answer y:  w_i *= max(p_i(y), 0.02);  normalise;  w = 0.98 w + 0.02 prior

M. Herbster and M. Warmuth, "Tracking the best expert", Machine Learning 32, 1998.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
FLOOR = 0.02
"""The least probability an expert is charged for: one answer costs it at most a factor of 50."""
SHARE = 0.02
"""The part of all weight that is dealt out evenly after each answer."""


class FixedShare:
    """Weights of a growing set of experts, with a uniform prior.

    Examples
    --------
    >>> mixture = FixedShare()
    >>> mixture.join(2)
    >>> mixture.update(np.array([0.9, 0.1]), weight=1.0)
    >>> mixture.weights.round(3).tolist()
    [0.892, 0.108]
    """

    def __init__(self) -> None:
        self.weights: F64 = np.zeros(0)

    def join(self, experts: int) -> None:
        """Add experts with the weight of the prior; the others keep their proportions."""
        total = len(self.weights) + experts
        kept = self.weights * (len(self.weights) / total)
        self.weights = np.concatenate([kept, np.full(experts, 1.0 / total)])

    def update(self, truth: F64, weight: float) -> None:
        """Weigh the experts by what they gave the truth before they learned it.

        Parameters
        ----------
        truth : (experts,) float64
            Probability of the answer, by each expert.
        weight : float
            A doubtful answer (below 1) moves the weights less, as a power; above 1 counts as 1.
        """
        weights = self.weights * np.maximum(truth, FLOOR) ** min(weight, 1.0)
        weights /= weights.sum()
        self.weights = (1.0 - SHARE) * weights + SHARE / len(weights)

    def mix(self, members: F64) -> F64:
        """Return the mixture (m, classes) of the members (experts, m, classes).

        A sum over the first axis adds expert by expert; a product would let rows depend on the batch's size.
        """
        mixed: F64 = (self.weights[:, None, None] * members).sum(0)
        mixed /= mixed.sum(-1, keepdims=True)
        return mixed
