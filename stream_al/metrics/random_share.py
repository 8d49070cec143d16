"""What choosing has bought, against a model that learns random asks only; absent without one."""

from __future__ import annotations

from collections.abc import Callable

from stream_al.metrics.family import Family, Read, one
from stream_al.random_share import Advantage


def _shown(value: Callable[[Advantage], float]) -> Read:
    """Read a number of the comparison, where there are enough answers."""
    return one(lambda s: value(s.advantage) if s.advantage is not None and s.advantage.shown else None)


RANDOM_SHARE: tuple[Family, ...] = (
    Family(
        "stream_al_random_share_accuracy_ratio",
        "gauge",
        "log",
        "Accuracy of a model that learns random asks only, from weighted answers; `model.random_share`.",
        _shown(lambda a: a.random.value),
    ),
    Family(
        "stream_al_advantage_ratio",
        "gauge",
        "log",
        "Accuracy of the model less that of the one that learns random asks only, at the same time.",
        _shown(lambda a: a.value),
    ),
    Family(
        "stream_al_advantage_lower_ratio",
        "gauge",
        "log",
        "Lower end of its 95 % interval; above 0 the chosen labels are worth something.",
        _shown(lambda a: a.lower),
    ),
    Family(
        "stream_al_advantage_upper_ratio",
        "gauge",
        "log",
        "Upper end of its 95 % interval; below 0 they do harm.",
        _shown(lambda a: a.upper),
    ),
)
"""Families of the comparison with random asks."""
