"""Scores: how much an event is worth asking about, in [0, 1].

A score is a pure function of a :class:`ScoreContext` and knows nothing of budgets; the rule ranks what
it returns. Register your own as ``mypkg.mod:score``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_al.query.coin import Coin
from stream_al.query.committee_scores import bald, consensus_kl, vote_entropy
from stream_al.query.novelty_scores import hybrid
from stream_al.query.representative_scores import density, expected_error_reduction
from stream_al.query.score_context import Score, ScoreContext
from stream_al.query.uncertainty import entropy, least_confidence, margin

__all__ = [
    "SCORES",
    "Score",
    "ScoreContext",
    "bald",
    "consensus_kl",
    "density",
    "entropy",
    "expected_error_reduction",
    "expected_model_change",
    "hybrid",
    "least_confidence",
    "margin",
    "random",
    "risk",
    "vote_entropy",
]

F64 = NDArray[np.float64]


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


LONGEST = 8.0
"""Root mean square of a standardised row at most, since its values are cut at 8."""


def expected_model_change(context: ScoreContext) -> F64:
    """Return the expected length of the gradient that the answer would cause, over its largest value.

    For logistic regression on the standardised input x = [z, 1, log(1 + word counts)] the gradient of the
    answer y is ``(p - e_y) x'``, so its expected length is ``|x| sum_y p_y |p - e_y|`` (Settles, Craven and
    Ray, "Multiple-instance active learning", NIPS 2007). Rows longer than 8 sqrt(columns + 1), 16 more
    where there are words, count as that long.

    >>> p = np.array([[0.5, 0.5], [1.0, 0.0]])  # 1/2 |(-1/2, 1/2)| + 1/2 |(1/2, -1/2)|, and nothing to learn
    >>> _expected_step(p).round(4).tolist()
    [0.7071, 0.0]
    """
    z, words = context.inputs.z, context.inputs.words
    square = 1.0 + (z * z).sum(axis=1)
    longest = LONGEST * (z.shape[1] + 1) ** 0.5
    if words is not None:
        row = np.repeat(np.arange(words.rows), np.diff(words.indptr))
        square += np.bincount(row, np.log1p(words.counts) ** 2, minlength=len(z))
        longest += 2 * LONGEST
    length: F64 = np.minimum(np.sqrt(square) / longest, 1.0)
    return length * _expected_step(context.probabilities)


def _expected_step(p: F64) -> F64:
    """Return ``sum_y p_y |p - e_y|``, at most sqrt(1 - 1/k)."""
    rest = (p * p).sum(axis=1, keepdims=True)
    step: F64 = (p * np.sqrt(np.maximum(rest - 2.0 * p + 1.0, 0.0))).sum(axis=1)
    return step


SCORES: dict[str, Score] = {
    "margin": margin,
    "least_confidence": least_confidence,
    "entropy": entropy,
    "vote_entropy": vote_entropy,
    "consensus_kl": consensus_kl,
    "bald": bald,
    "expected_model_change": expected_model_change,
    "expected_error_reduction": expected_error_reduction,
    "density": density,
    "hybrid": hybrid,
    "random": random,
    "risk": risk,
}
"""Scores by name."""
