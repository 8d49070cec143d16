"""Durations as people write them: ``90s``, ``5m``, ``1.5h``."""

from __future__ import annotations

import re

from stream_al.errors import ConfigurationError

_MILLISECONDS = {"ms": 1.0, "s": 1e3, "m": 6e4, "h": 3.6e6, "d": 8.64e7, "w": 6.048e8}
DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)")
"""A number and its unit."""


def parse_duration(text: str) -> float:
    """Return a duration in milliseconds.

    Parameters
    ----------
    text : str
        A number and one of ms, s, m, h, d, w.

    Raises
    ------
    ConfigurationError
        It is something else.

    Examples
    --------
    >>> parse_duration("5m"), parse_duration("1.5h")
    (300000.0, 5400000.0)
    """
    match = DURATION.fullmatch(text.strip())
    if match is None:
        raise ConfigurationError(
            f"found the duration {text!r}; expected a number and one of ms, s, m, h, d, w, for example 5m"
        )
    return float(match[1]) * _MILLISECONDS[match[2]]
