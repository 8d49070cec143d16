"""Scores that look at the rest of the stream: what an answer would say about other events.

The rest of the stream is :class:`~stream_al.query.representatives.Representatives`, the last 64 samples.
Before the first sample is folded both scores are the margin.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_al.models.products import BLOCK
from stream_al.query.score_context import ScoreContext
from stream_al.query.uncertainty import entropy_of, margin

F64 = NDArray[np.float64]
SCALE = 10.0
"""Of the kernel of the look-ahead: that of the pool's first expert."""
ANSWERS = 5
"""Most probable answers that are tried for an event."""
LEAST = 1e-12


def density(context: ScoreContext) -> F64:
    """Return information density: the margin times the mean similarity to recent events.

    B. Settles and M. Craven, "An analysis of active learning strategies for sequence labeling tasks"
    (EMNLP 2008), with beta = 1 and the Gaussian exp(-D / width) as similarity.

    >>> from stream_al.models.inputs import Inputs
    >>> from stream_al.models.scaler import Scaler
    >>> from stream_al.query.projection import Projection
    >>> from stream_al.query.representatives import Representatives
    >>> scaler = Scaler()
    >>> scaler.grow(np.zeros(1, bool))
    >>> for value in (-1.0, 1.0):
    ...     scaler.observe(np.array([value]), 1.0)
    >>> inputs = Inputs(2, np.array([[-1.0], [1.0]]), scaler)  # z = -1 and 1: width 4, D = 4
    >>> p = np.array([[0.5, 0.5], [0.75, 0.25]])  # margins 1 and 1/2
    >>> recent = Representatives(inputs, p, Projection(0))
    >>> context = ScoreContext(p, ["a", "b"], inputs, sampled=lambda: recent)
    >>> density(context).round(4).tolist()  # (1 + exp(-1))/2 = 0.6839, and half of it
    [0.6839, 0.342]
    """
    uncertainty, recent = margin(context), context.representatives()
    if recent is None:
        return uncertainty
    likeness: F64 = recent.similarity(context.inputs).mean(axis=1)
    return uncertainty * likeness


def expected_error_reduction(context: ScoreContext) -> F64:
    """Return by how much the answer is expected to lessen the log-loss over recent events.

    N. Roy and A. McCallum, "Toward optimal active learning through sampling estimation of error reduction"
    (ICML 2001): for every answer y, weighted by p(y|x), the model that has learned it is asked for its own
    expected log-loss, its entropy, over other events. Here that model is a look-ahead, since a new one for
    every event and answer would cost milliseconds: one step of kernel logistic regression from what the
    model says now, ``f(r) += a K(r, x) (e_y - p(x))`` with K = 10 exp(-D / width) and the step
    ``a = 1 / (1 + 10 c)`` that Böhning's bound gives (c = 1/4 for two classes, else 1/2). The five most
    probable answers are tried. The score is the reduction as a share of the present loss, 0 where none is
    expected.

    >>> from stream_al.models.inputs import Inputs
    >>> from stream_al.models.scaler import Scaler
    >>> from stream_al.query.projection import Projection
    >>> from stream_al.query.representatives import Representatives
    >>> inputs = Inputs(1, np.zeros((1, 0)), Scaler())
    >>> p = np.array([[0.5, 0.5]])
    >>> recent = Representatives(inputs, p, Projection(0))  # one recent event, alike in everything
    >>> context = ScoreContext(p, ["a"], inputs, sampled=lambda: recent)
    >>> after = 1 / (1 + np.exp(-10 / 3.5))  # logits +-1/2 10/3.5 whatever the answer
    >>> entropy = -after * np.log(after) - (1 - after) * np.log(1 - after)
    >>> np.allclose(expected_error_reduction(context), 1 - entropy / np.log(2))
    True
    """
    recent = context.representatives()
    p = context.probabilities
    if recent is None or p.shape[1] < 2:
        return margin(context)
    present = float(entropy_of(recent.probabilities).mean())
    if present <= LEAST:
        return np.zeros(len(p))
    logits = np.log(np.maximum(recent.probabilities, LEAST))
    kernel = SCALE * recent.similarity(context.inputs)
    starts = range(0, len(p), BLOCK)  # blocks, so that memory stays bounded and every row takes one path
    loss = np.concatenate([_expected_loss(p[s : s + BLOCK], kernel[s : s + BLOCK], logits) for s in starts])
    return np.clip(1.0 - loss / present, 0.0, 1.0)


def _expected_loss(p: F64, kernel: F64, logits: F64) -> F64:
    """Return the mean entropy over recent events (r, k) after each row's (n, k) answer, over its answers."""
    n, classes = p.shape
    step = 1.0 / (1.0 + SCALE * (0.25 if classes == 2 else 0.5))
    likely = np.argsort(-p, axis=1, kind="stable")[:, :ANSWERS]
    total, weights = np.zeros(n), np.zeros(n)
    for y in likely.T:
        change = -p.copy()
        change[np.arange(n), y] += 1.0
        moved = logits + (step * kernel)[:, :, None] * change[:, None, :]
        weight = p[np.arange(n), y]
        total += weight * _entropy_of_logits(moved).mean(axis=1)
        weights += weight
    return total / weights


def _entropy_of_logits(f: F64) -> F64:
    f = f - f.max(axis=-1, keepdims=True)
    powers = np.exp(f)
    mass = powers.sum(axis=-1)
    entropy: F64 = np.log(mass) - (powers * f).sum(axis=-1) / mass
    return entropy
