"""While the engine waits for events it rests, and others may use it: errands need not wait for a poll."""

from __future__ import annotations

import threading
from typing import Any

from stream_al.log.protocol import Batch, Log


class RestingLog:
    """A log that gives the engine out of hand while it is polled; all else is the log's own.

    During a poll nothing of the engine is touched, so it may belong to somebody else meanwhile.

    Parameters
    ----------
    log : Log
    engine_lock : Lock
        Held by the engine's thread but during a poll.
    """

    def __init__(self, log: Log, engine_lock: threading.Lock) -> None:
        self._log = log
        self._engine_lock = engine_lock

    def poll(self, max_records: int, timeout_seconds: float) -> Batch:
        """Poll the log; whoever has an errand may do it before this returns."""
        self._engine_lock.release()
        try:
            return self._log.poll(max_records, timeout_seconds)
        finally:
            self._engine_lock.acquire()

    def __getattr__(self, name: str) -> Any:
        """Return what the log has."""
        return getattr(self._log, name)
