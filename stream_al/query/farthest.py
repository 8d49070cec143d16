"""Farthest first: of many candidates, a few that are far from each other and from what was asked before.

The greedy answer to the k-centre problem (Gonzalez, 1985), within a factor of two of the best radius; as a
batch for active learning: Sener and Savarese, "Active learning for convolutional neural networks: a
core-set approach", ICLR 2018.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_al.query.reservoir import COPY, NEAR, Reservoir, remembered

F64 = NDArray[np.float64]


class Pick(NamedTuple):
    """A picked candidate: its row, and its distance to the nearest point before it, None where none was."""

    row: int
    distance: float | None


class Cover:
    """Points that were asked or picked already; what lies within the reservoir's radius is a near-duplicate.

    Parameters
    ----------
    asked : (m, d) float64
        Embeddings, oldest first. The radius is that of a reservoir of the last of them.
    near : float
        Fraction of the reservoir's typical distance that the radius is.
    """

    def __init__(self, asked: F64, near: float = NEAR) -> None:
        self._points: list[F64] = list(asked)
        kept = remembered(len(asked))
        self._reservoir = Reservoir(asked[len(asked) - kept :], len(asked), near)

    def squares(self, points: F64) -> F64:
        """Return the squared distance (n,) of points (n, d) to the nearest covered one; infinity without."""
        nearest = np.full(len(points), np.inf)
        for covered in self._points:
            np.minimum(nearest, _squares(points, covered), out=nearest)
        return nearest

    @property
    def limit(self) -> float:
        """Squared distance up to which a point is a near-duplicate of a covered one."""
        return max(self._reservoir.radius**2, COPY)

    def add(self, point: F64) -> None:
        """Cover one more point (d,)."""
        self._points.append(point)
        self._reservoir.add(point)


def farthest_first(points: F64, cover: Cover, k: int) -> list[Pick]:
    """Return at most k picks, each the farthest from all that is covered; it is covered then.

    Parameters
    ----------
    points : (n, d) float64
        Embeddings of the candidates; the first is picked where nothing is covered, and among equals.
    cover : Cover
        Grows by what is picked.
    k : int
        Fewer are picked where all that is left are near-duplicates.
    """
    nearest, picks = cover.squares(points), list[Pick]()
    while len(picks) < min(k, len(points)):
        row = int(nearest.argmax())
        if nearest[row] <= cover.limit:
            break
        picks.append(Pick(row, math.sqrt(nearest[row]) if math.isfinite(nearest[row]) else None))
        cover.add(points[row])
        np.minimum(nearest, _squares(points, points[row]), out=nearest)
    return picks


def _squares(points: F64, point: F64) -> F64:
    gap = points - point
    found: F64 = np.einsum("ij,ij->i", gap, gap)
    return found
