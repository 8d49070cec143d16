"""Scores of novelty: an event unlike anything asked about may be worth more than one the model doubts.

They follow what was asked, each request counting for the very next event; that is why they cost more than
others (see :mod:`stream_al.following`). Models with few distinct probabilities, trees above all, give whole
regions the same uncertainty; novelty tells those events apart.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_al.query.score_context import ScoreContext
from stream_al.query.uncertainty import margin

F64 = NDArray[np.float64]
ALPHA = 0.5


def hybrid(context: ScoreContext, alpha: float = ALPHA) -> F64:
    """Return alpha uncertainty + (1 - alpha) novelty: margin, and distance to what was asked.

    The convex combination of K. Brinker, "Incorporating diversity in active learning with support vector
    machines" (ICML 2003), with the distance to the nearest request, d / (d + typical), in place of his
    largest cosine. `hybrid:0.7` names another alpha than 1/2.

    >>> from stream_al.models.inputs import Inputs
    >>> from stream_al.models.scaler import Scaler
    >>> from stream_al.query.score_context import Distances
    >>> p = np.array([[0.9, 0.1], [0.5, 0.5]])  # margins 0.2 and 1; a copy, and one at the typical distance
    >>> near = Distances(np.array([0.0, 3.0]), typical=3.0)
    >>> context = ScoreContext(p, ["a", "b"], Inputs(2, np.zeros((2, 0)), Scaler()), asked=lambda: near)
    >>> hybrid(context).round(4).tolist()  # (0.2 + 0)/2 and (1 + 1/2)/2
    [0.1, 0.75]
    """
    return alpha * margin(context) + (1.0 - alpha) * context.novelty()


def novelty(context: ScoreContext) -> F64:
    """Return the distance to what was asked: the farthest first, until the model knows something.

    T. Gonzalez, "Clustering to minimize the maximum intercluster distance" (Theoretical Computer Science
    38, 1985); as a query rule O. Sener and S. Savarese, "Active learning for convolutional neural networks:
    a core-set approach" (ICLR 2018).
    """
    return context.novelty()
