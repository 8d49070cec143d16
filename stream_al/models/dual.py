"""Kernel logistic regression on a Gram matrix, with one factorisation a fit.

Minimises ``sum_i w_i loss(f_i, y_i) + 1/2 sum_c a_c' K a_c`` with ``f = K a``. The curvature of the
log-loss is bounded by 1/4 (two classes) or 1/2 (more), so every step solves the same linear system and
never increases the objective: D. Böhning, "Multinomial logistic regression algorithm", Annals of the
Institute of Statistical Mathematics 44, 1992.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack

from stream_al.models.softmax import F32, one_hot

STEPS = 3
"""Steps a fit: from what was said before, two reach what fifty do (measured on four streams)."""
REFIT_SHARE = 50
"""With n answers in memory a refit is due after ``1 + n // 50`` new ones."""


def refit_due(answers: int, new: int) -> bool:
    """Return whether a memory of ``answers`` rows, ``new`` of them unfitted, is to be refitted.

    >>> [refit_due(300, new) for new in (6, 7)]
    [False, True]
    """
    return new >= 1 + answers // REFIT_SHARE


class Fit(NamedTuple):
    """What a fit found.

    Attributes
    ----------
    coefficients : (n, width(classes)) float32
        ``gram @ coefficients`` are the logits. With two classes this is twice the dual variable of class 1,
        since that of class 0 is its negative.
    logits : (n, width(classes)) float32
        What is said of the rows now.
    """

    coefficients: F32
    logits: F32


def fit_dual(
    gram: F32,
    labels: NDArray[np.int64],
    weights: F32,
    classes: int,
    logits: F32,
    room: F32 | None = None,
) -> Fit | None:
    """Return what three steps from ``logits`` lead to, or None where the fit fails numerically.

    A start in logits is what was learned before, whatever has happened to the rows since; coefficients
    would be worthless where rows have come and gone, since those of the wide kernel nearly cancel out.

    Parameters
    ----------
    gram : (n, n) float32
        Symmetric, positive semi-definite up to rounding.
    labels : (n,) int64
    weights : (n,) float32
        Positive weight of each answer.
    classes : int
        At least 2.
    logits : (n, width(classes)) float32
        What is said of the rows so far; zeros where nothing is.
    room : (n, n) float32, optional
        Written over; who fits often saves the time that new memory costs.
    """
    bound = np.empty_like(gram) if room is None else room
    np.copyto(bound, gram)
    bound.flat[:: len(labels) + 1] += 1.0 / (np.float32(0.25 if classes == 2 else 0.5) * weights)
    # symmetric, so its transpose is the same matrix in the order that LAPACK wants
    factor, failed = lapack.spotrf(bound.T, lower=1, clean=0, overwrite_a=1)
    if failed:
        return None
    steps = _steps_of_two if classes == 2 else _steps
    fitted = steps(gram, factor, labels, logits)
    finite = np.isfinite(fitted.coefficients).all() and np.isfinite(fitted.logits).all()
    return fitted if finite else None


def _steps_of_two(gram: F32, factor: F32, labels: NDArray[np.int64], logits: F32) -> Fit:
    """Return a fit of the margin, in one column.

    ``p = (1 + tanh f) / 2`` for the logit 2f, so a right side ``f - 4 (p - y)`` is what stands below.
    """
    constant = (4 * labels - 2).astype(np.float32)
    f = logits[:, 0] / 2
    for _ in range(STEPS):
        right = f - 2 * np.tanh(f)
        right += constant
        # a column alone is solved by two calls of BLAS in a third of LAPACK's time
        half = blas.strsv(factor, right, lower=1, overwrite_x=1)
        dual = blas.strsv(factor, half, lower=1, trans=1, overwrite_x=1)
        f = gram @ dual
    return Fit(np.asarray(2 * dual[:, None]), np.asarray(2 * f[:, None], dtype=np.float32))


def _steps(gram: F32, factor: F32, labels: NDArray[np.int64], logits: F32) -> Fit:
    """Return a fit of three classes or more."""
    target = 2 * one_hot(labels, logits.shape[1]).astype(np.float32)
    f = logits
    for _ in range(STEPS):
        proba = np.exp(f - f.max(1, keepdims=True))
        proba *= 2 / proba.sum(1, keepdims=True)
        dual = np.ascontiguousarray(lapack.spotrs(factor, f - proba + target, lower=1)[0])
        f = gram @ dual
    return Fit(dual, f)
