"""One thread for linear algebra: equal results need equal sums, and small products lose by sharing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


@contextmanager
def one_thread() -> Iterator[None]:
    """Pin BLAS and OpenMP to one thread; libraries must be loaded before."""
    with threadpool_limits(limits=1):
        yield
