"""Scores: how much an event is worth asking about, in [0, 1].

A score is a pure function of a :class:`ScoreContext` and knows nothing of budgets; the rule ranks what
it returns. Register your own as ``mypkg.mod:score``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_al.models.inputs import Inputs
from stream_al.query.coin import Coin

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ScoreContext:
    """What a score may look at; rows are padded, so row i depends on row i alone.

    Attributes
    ----------
    probabilities : (m, k) float64
        Untempered probabilities of the model.
    ids : sequence of str
        Ids of the events; shorter than m by the padding.
    inputs : Inputs
    rare_class : int or None
        The class that `risk` looks for.
    seed : int
    """

    probabilities: F64
    ids: Sequence[str]
    inputs: Inputs
    rare_class: int | None = None
    seed: int = 0


Score = Callable[[ScoreContext], F64]


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
    bits: F64 = -(p * np.log(np.maximum(p, 1e-300))).sum(axis=1)
    return bits / float(np.log(k))


def random(context: ScoreContext) -> F64:
    """Return a coin a event: the rule without a preference."""
    coin = Coin("score", context.seed)
    scores = np.zeros(len(context.probabilities))
    scores[: len(context.ids)] = [coin(event_id) for event_id in context.ids]
    return scores


def risk(context: ScoreContext) -> F64:
    """Return the rare class's probability, raised for unusual inputs: min(1, 2p) exp(min(3, ½ rms z)).

    Scaled by exp(-3) to [0, 1]. In rare-class streams the margin looks at noise; what is worth a
    person's time is what may be rare. Without a rare class, the least probable one is looked for.
    """
    p = context.probabilities
    rare = p[:, context.rare_class] if context.rare_class is not None else p.min(axis=1)
    z = context.inputs.z
    spread = np.sqrt((z * z).mean(axis=1)) if z.shape[1] else np.zeros(len(p))
    boosted: F64 = np.minimum(1.0, 2.0 * rare) * np.exp(np.minimum(3.0, 0.5 * spread) - 3.0)
    return boosted


SCORES: dict[str, Score] = {
    "margin": margin,
    "least_confidence": least_confidence,
    "entropy": entropy,
    "random": random,
    "risk": risk,
}
"""Scores by name."""
