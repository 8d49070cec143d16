"""Scores of uncertainty: an event is worth asking about where the model is of two minds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_al.query.score_context import ScoreContext

F64 = NDArray[np.float64]


def margin(context: ScoreContext) -> F64:
    """Return one minus the gap between the two most probable classes (Scheffer et al., 2001)."""
    p = context.probabilities
    if p.shape[1] < 2:
        return np.zeros(len(p))
    if p.shape[1] == 2:
        return 1.0 - np.abs(p[:, 0] - p[:, 1])
    top = np.partition(p, -2, axis=1)[:, -2:]
    gap: F64 = top[:, 1] - top[:, 0]
    return 1.0 - gap


def least_confidence(context: ScoreContext) -> F64:
    """Return one minus the largest probability, scaled so that uniform is 1 (Lewis and Gale, 1994)."""
    p = context.probabilities
    k = p.shape[1]
    if k < 2:
        return np.zeros(len(p))
    scores: F64 = (1.0 - p.max(axis=1)) * (k / (k - 1))
    return scores


def entropy(context: ScoreContext) -> F64:
    """Return Shannon's entropy over log k (Shannon, 1948; Settles, 2009)."""
    p = context.probabilities
    k = p.shape[1]
    if k < 2:
        return np.zeros(len(p))
    return entropy_of(p) / float(np.log(k))


def entropy_of(p: F64) -> F64:
    """Return Shannon's entropy (...) of probabilities (..., k) in nats, where 0 log 0 is 0."""
    entropy: F64 = -(p * np.log(np.maximum(p, 1e-300))).sum(axis=-1)
    return entropy
