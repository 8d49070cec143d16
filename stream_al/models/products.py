"""Matrix products whose rows do not depend on how the stream was cut.

A BLAS product over a batch differs in its last bits from the product of a row alone, since kernels
and their edge cases are chosen by shape. Here the left side always comes in zero-padded blocks of 64
rows, in single precision, where every row takes the same path whatever its place in the block
(measured for OpenBLAS; a law in the tests guards it).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

F32 = NDArray[np.float32]
BLOCK = 64
"""Rows a block."""


def padded_rows(rows: int) -> int:
    """Return ``rows`` rounded up to whole blocks, at least one.

    >>> padded_rows(1), padded_rows(64), padded_rows(65)
    (64, 64, 128)
    """
    return max(1, -(-rows // BLOCK)) * BLOCK


def row_product(a: NDArray[np.floating], b: NDArray[np.floating]) -> F32:
    """Return ``a @ b`` in float32, block by block.

    Parameters
    ----------
    a : (n, d)
        ``n`` a multiple of 64 (`Inputs` are padded).
    b : (d, m)
        The same right side for every block.

    Returns
    -------
    (n, m) float32
    """
    left = np.ascontiguousarray(a, dtype=np.float32)
    n, d = left.shape
    right = np.asarray(b, dtype=np.float32)
    product: F32 = np.matmul(left.reshape(n // BLOCK, BLOCK, d), right)
    return product.reshape(n, right.shape[1])


@cache
def pin_blas_threads() -> None:
    """Keep BLAS to one thread in this process from now on: several would add in another order.

    What is loaded later is not kept, and SciPy brings a BLAS of its own: so no model may load it late.
    """
    threadpool_limits(1, user_api="blas")
