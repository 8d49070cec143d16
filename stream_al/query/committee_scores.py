"""Scores of disagreement: an event on which a committee is of two minds is worth asking about.

Members are the experts of the pool, or the copies of ``committee:10:NAME``. Each score costs a second pass
over the model: 4 microseconds an event with the pool.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_al.query.score_context import ScoreContext
from stream_al.query.uncertainty import entropy_of

F64 = NDArray[np.float64]


def vote_entropy(context: ScoreContext) -> F64:
    """Return the entropy of the members' votes: -sum_k V_k/C log(V_k/C), over its largest value.

    Every member has one vote, for its most probable class (Dagan and Engelson, "Committee-based sampling
    for training probabilistic classifiers", ICML 1995).

    >>> votes = np.array([[3, 1]]) / 4  # three of four members for class 0
    >>> entropy_of(votes).round(4).tolist()  # -(3/4 log 3/4 + 1/4 log 1/4)
    [0.5623]
    """
    members, _ = context.committee()
    count, _, classes = members.shape
    votes = (members.argmax(axis=2)[:, :, None] == np.arange(classes)).sum(axis=0) / count
    return _scaled(entropy_of(votes), count, classes)


def consensus_kl(context: ScoreContext) -> F64:
    """Return the members' mean Kullback-Leibler divergence from their consensus, over its largest value.

    The consensus is their unweighted mean (McCallum and Nigam, "Employing EM and pool-based active
    learning for text classification", ICML 1998).
    """
    members, _ = context.committee()
    return _information(members, np.full(len(members), 1.0 / len(members)))


def bald(context: ScoreContext) -> F64:
    """Return the mutual information of label and member: H(sum_i w_i p_i) - sum_i w_i H(p_i), scaled.

    Members count by the weight that the model gives them, its posterior (Houlsby, Huszár, Ghahramani and
    Lengyel, "Bayesian active learning for classification and preference learning", 2011). With equal
    weights it is `consensus_kl`.
    """
    return _information(*context.committee())


def _information(members: F64, weights: F64) -> F64:
    mixture = np.zeros(members.shape[1:])
    expected = np.zeros(members.shape[1])
    for weight, member in zip(weights.tolist(), members, strict=True):  # in order: the same bits in any batch
        mixture += weight * member
        expected += weight * entropy_of(member)
    return _scaled(entropy_of(mixture) - expected, len(members), members.shape[2])


def _scaled(nats: F64, members: int, classes: int) -> F64:
    """Return a disagreement over its largest value, log min(members, classes)."""
    most = min(members, classes)
    return np.clip(nats / np.log(most), 0.0, 1.0) if most > 1 else np.zeros(len(nats))
