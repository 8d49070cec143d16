"""Which of the best candidates to ask about together: those that differ.

Farthest first alone asks about outliers, so it chooses among twice as many as are wanted, the best by score
(Brinker, "Incorporating diversity in active learning with support vector machines", ICML 2003; Zhdanov,
"Diverse mini-batch active learning", 2019).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_al.query.farthest import Cover, farthest_first
from stream_al.query.reservoir import Reservoir

F64 = NDArray[np.float64]
REACH = 2
"""Candidates that are compared for one that is asked."""


def diverse_best(points: F64, asked: Reservoir, count: int) -> list[int]:
    """Return at most ``count`` rows in the order of asking: farthest first among the best.

    Parameters
    ----------
    points : (n, 64) float64
        Embeddings of the candidates, the best by score first.
    asked : Reservoir
        What was asked before, which is to be far, too; near-duplicates of it are left out.
    count : int

    Examples
    --------
    >>> line = np.zeros((4, 64))
    >>> line[:, 0] = [0.0, 1.0, 5.0, 9.0]
    >>> diverse_best(line, Reservoir(np.zeros((0, 64))), 2)
    [0, 3]
    """
    best = [row for row, point in enumerate(points) if not asked.near(point)][: REACH * count]
    return [
        best[pick.row]
        for pick in farthest_first(points[best], Cover(asked.items, asked.near_fraction), count)
    ]
