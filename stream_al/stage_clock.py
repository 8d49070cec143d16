"""Where the time of a tick goes."""

from __future__ import annotations

import time


class StageClock:
    """Splits a tick's time into stages.

    Parameters
    ----------
    seconds : dict
        Time by stage; grows.
    """

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds = seconds
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Count the time since the last lap, or since the start, as this stage's."""
        now = time.perf_counter()
        self._seconds[stage] = self._seconds.get(stage, 0.0) + now - self._last
        self._last = now
