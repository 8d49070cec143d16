"""The watchdog: a loop that does not turn any more ends its process, and says where it stood.

A process that hangs keeps its partitions and does nothing; one that has ended is started again by its
supervisor, and its partitions go to others meanwhile.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time

EXIT_CODE = 70
"""Of a process that ended itself: an internal failure, as ``sysexits.h`` has it."""


class Watchdog:
    """Ends the process when nobody has beaten for a while.

    Time is counted in steps of the watchdog's own, so that a process that was frozen as a whole, with its
    watchdog, is not ended when it wakes.

    Parameters
    ----------
    seconds : float
        How long without a beat is too long.

    Attributes
    ----------
    beaten_at : float
        When the last beat was, in seconds since the epoch; any thread may read it.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._step = min(1.0, seconds / 5)
        self._over = threading.Event()
        self.beaten_at = time.time()
        self._beats = 0
        self._thread = threading.Thread(target=self._watch, name="stream-al-watchdog", daemon=True)

    def beat(self) -> None:
        """Say that the loop turns, or waits for something that will end."""
        self.beaten_at = time.time()
        self._beats += 1

    def arm(self) -> None:
        """Begin to watch."""
        self.beat()
        self._thread.start()

    def disarm(self) -> None:
        """Watch no more."""
        self._over.set()

    def _watch(self) -> None:
        silent, seen = 0.0, self._beats
        while not self._over.wait(self._step):
            silent = silent + self._step if seen == self._beats else 0.0
            seen = self._beats
            if silent >= self._seconds:
                self._end()

    def _end(self) -> None:
        """Say where every thread stands, and end without cleaning up: that could hang as well."""
        sys.stderr.write(
            f"error: the loop has not turned for {self._seconds:g} s (engine.watchdog_seconds); the process "
            "ends, so that it can be started again; nothing that was committed is lost. Every thread stood "
            "here:\n"
        )
        sys.stderr.flush()
        faulthandler.dump_traceback(sys.stderr, all_threads=True)
        os._exit(EXIT_CODE)
