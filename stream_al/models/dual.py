"""Kernel logistic regression on a Gram matrix, with one factorisation a fit.

Minimises ``sum_i w_i loss(f_i, y_i) + 1/2 sum_c a_c' K a_c`` with ``f = K a``. The curvature of the
log-loss is bounded by 1/4 (two classes) or 1/2 (more), so every step solves the same linear system and
never increases the objective: D. Böhning, "Multinomial logistic regression algorithm", Annals of the
Institute of Statistical Mathematics 44, 1992.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from stream_al.models.softmax import F32, one_hot, width

STEPS = 8
REFIT_SHARE = 50
"""With n answers in memory a refit is due after ``1 + n // 50`` new ones."""


def refit_due(answers: int, new: int) -> bool:
    """Return whether a memory of ``answers`` rows, ``new`` of them unfitted, is to be refitted.

    >>> [refit_due(300, new) for new in (6, 7)]
    [False, True]
    """
    return new >= 1 + answers // REFIT_SHARE


def fit_dual(gram: F32, labels: NDArray[np.int64], weights: F32, classes: int, start: F32) -> F32 | None:
    """Return coefficients after eight steps from ``start``, or None where the fit fails numerically.

    Parameters
    ----------
    gram : (n, n) float32
        Symmetric, positive semi-definite up to rounding.
    labels : (n,) int64
    weights : (n,) float32
        Positive weight of each answer.
    classes : int
        At least 2.
    start : (n, width(classes)) float32
        Warm start, in the units of the result.

    Returns
    -------
    (n, width(classes)) float32
        ``gram @ result`` are the logits. With two classes this is twice the dual variable of class 1,
        since that of class 0 is its negative.
    """
    n = len(labels)
    gain = np.float32(2.0 if classes == 2 else 1.0)
    curvature = np.float32(0.25 if classes == 2 else 0.5)
    bound = gram.copy()
    bound.flat[:: n + 1] += 1.0 / (curvature * weights)
    # symmetric, so its transpose is the same matrix in the order that LAPACK wants
    factor, failed = lapack.spotrf(bound.T, lower=1, overwrite_a=1)
    if failed:
        return None
    target = one_hot(labels, classes).astype(np.float32)
    dual = start / gain
    for _ in range(STEPS):
        f = gram @ dual
        gradient = _proba(gain * f, classes) - target
        solved = lapack.spotrs(factor, f - gradient / curvature, lower=1)[0]
        dual = np.ascontiguousarray(solved).reshape(n, width(classes))
    result: F32 = gain * dual
    return result if np.isfinite(result).all() else None


def align(coefficients: F32, rows: int) -> F32:
    """Return coefficients (..., rows, c) for a memory that moved on: new rows start at zero, at the end.

    Parameters
    ----------
    coefficients : (..., n, c)
        Of the memory at the last fit plus zeros for the rows since, the oldest first.
    """
    return np.ascontiguousarray(coefficients[..., -rows:, :])


def _proba(logits: F32, classes: int) -> F32:
    """Return the probabilities that stand beside the targets, in single precision."""
    if classes == 2:
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))), dtype=np.float32)
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True), dtype=np.float32)
