"""How much each column tells of the class, so that a kernel looks where the classes differ.

A distance over all columns drowns in those that say nothing. Each column is weighed by the larger of two
correlation ratios on the remembered answers, that of its values and that of their absolute values (a class
may lie on both sides of another):

    eta_j = max(0, sum_c n_c (m_cj - m_j)^2 / sum_i (z_ij - m_j)^2 - (k - 1)/n)

where ``(k - 1)/n`` is what chance alone gives. Weights have mean 1, so the bandwidth keeps its meaning,
and stay near 1 while the evidence is small. The correlation ratio is R. A. Fisher's, *Statistical Methods
for Research Workers*, 1925; one weight a column is the "automatic relevance determination" of R. M. Neal,
*Bayesian Learning for Neural Networks*, 1996, here without a search.
"""

from __future__ import annotations

import numpy as np

from stream_al.models.softmax import F32

FLOOR = 0.2
"""What a column without any relevance keeps of its weight."""
DOUBT = 5.0
"""Answers times mean correlation ratio at which the evidence counts for half."""
LARGEST = 9.0


def relevance(z: F32, membership: F32) -> F32:
    """Return a weight for every column.

    Parameters
    ----------
    z : (n, d) float32
        Standardised rows.
    membership : (n, k) float32
        Each row's weight in the column of its class, 0 elsewhere.

    Returns
    -------
    (d,) float32
        In (0, 9], of mean 1 where none is cut.

    Examples
    --------
    >>> z = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]] * 25, dtype=np.float32)
    >>> says = (z[:, :1] > 0) * np.array([[1.0, -1.0]]) + np.array([[0.0, 1.0]])  # the sign of column 0
    >>> [round(float(weight), 2) for weight in relevance(z, says.astype(np.float32))]
    [1.73, 0.27]
    """
    n, d = z.shape
    if not d:
        return np.ones(0, dtype=np.float32)
    both = np.concatenate([z, np.abs(z)], axis=1)
    counts = membership.sum(0)
    total = counts.sum()
    mean = membership.sum(1) @ both / total
    between = membership.T @ both
    between /= np.maximum(counts, np.float32(1e-6))[:, None]
    between -= mean
    between *= between
    ratio = counts @ between / (((both - mean) ** 2).sum(0) * (total / n) + np.float32(1e-6))
    ratio -= (np.count_nonzero(counts) - 1) / n
    eta = np.maximum(np.maximum(ratio[:d], ratio[d:]), 0.0)
    evidence = n * float(eta.mean())
    trust = evidence / (evidence + DOUBT)
    shape = eta / max(float(eta.mean()), 1e-9)
    weights = (1.0 - trust) + trust * (FLOOR + (1.0 - FLOOR) * shape)
    return np.asarray(np.minimum(weights, LARGEST), dtype=np.float32)
