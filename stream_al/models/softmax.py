"""Logits, probabilities, and what happens to a column of coefficients when a class is added.

Two classes need one column, the margin ``f1 - f0``; any other number of classes has one column each.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Floats = NDArray[np.floating]
MARGIN = 30.0
"""Margins are cut here, so that no probability of two classes is exactly 0 or 1."""


def width(classes: int) -> int:
    """Return the number of logit columns.

    >>> [width(k) for k in (0, 1, 2, 3)]
    [0, 1, 1, 3]
    """
    return 1 if classes == 2 else classes


def probabilities(logits: Floats, classes: int) -> F64:
    """Return probabilities (..., classes) of logits (..., width(classes)).

    A logit may be minus infinity (a class that is ruled out) as long as one of its row is finite; a
    margin may be either infinity.

    Examples
    --------
    >>> probabilities(np.array([[0.0]]), 2).tolist()
    [[0.5, 0.5]]
    >>> probabilities(np.array([[0.0, 0.0, -np.inf]]), 3).tolist()
    [[0.5, 0.5, 0.0]]
    """
    f = logits.astype(np.float64)
    if classes < 2:
        return np.ones_like(f)
    if classes == 2:
        p = np.empty((*f.shape[:-1], 2))
        margin = np.minimum(np.maximum(f[..., 0], -MARGIN), MARGIN)
        np.divide(1.0, 1.0 + np.exp(-margin), out=p[..., 1])
        np.subtract(1.0, p[..., 1], out=p[..., 0])
        return p
    return normalised_exp(f)


def normalised_exp(f: F64) -> F64:
    """Return the softmax over the last axis, written over ``f``.

    >>> normalised_exp(np.log([[1.0, 3.0]])).round(6).tolist()
    [[0.25, 0.75]]
    """
    f -= f.max(-1, keepdims=True)
    np.exp(f, out=f)
    f /= f.sum(-1, keepdims=True)
    return f


def one_hot(labels: NDArray[np.int64], classes: int) -> F64:
    """Return targets (n, width(classes)): the indicator of class 1 where there are two classes."""
    if classes == 2:
        return labels[:, None].astype(np.float64)
    return np.asarray(labels[:, None] == np.arange(classes), dtype=np.float64)


def residual(proba: F64, labels: NDArray[np.int64], classes: int) -> F64:
    """Return ``p - y`` (n, width(classes)): the gradient of the log-loss in the logits."""
    shown = proba[..., 1:] if classes == 2 else proba
    return shown - one_hot(labels, classes)


def widen(coefficients: NDArray[np.floating], old: int, new: int) -> NDArray[np.floating]:
    """Return coefficients (..., width(new)) that give the ``old`` classes the same relative logits.

    A margin ``c`` becomes the columns ``-c/2, c/2``; a new class gets a column of zeros.

    >>> widen(np.array([[4.0]]), 2, 3).tolist()
    [[-2.0, 2.0, 0.0]]
    """
    if old == 2 and new > 2:
        coefficients = np.concatenate([coefficients * -0.5, coefficients * 0.5], axis=-1)
    elif old < 2 <= new:
        coefficients = coefficients[..., :0]  # one class has nothing to tell apart
    return pad_last(coefficients, width(new), 0.0)


def pad_last(array: NDArray[np.floating], size: int, fill: float) -> NDArray[np.floating]:
    """Return the array with its last axis filled up to ``size``."""
    padded = np.full((*array.shape[:-1], size), fill, dtype=array.dtype)
    padded[..., : array.shape[-1]] = array
    return padded
