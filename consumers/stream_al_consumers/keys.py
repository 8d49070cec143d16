"""Single keys from a terminal, without Enter."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

from stream_al.errors import ConfigurationError

ESCAPE = "\x1b"
ENTER = ("\r", "\n")
BACKSPACE = ("\x7f", "\x08")


class Keys:
    """Reads keys from standard input; made by :func:`raw_keys`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, timeout_seconds: float) -> str | None:
        """Return the next key, None when none came in time; arrows and the like are one ``ESCAPE``.

        Raises
        ------
        EOFError
            The terminal is gone.
        """
        if not self._waiting(timeout_seconds):
            return None
        first = os.read(self._descriptor, 1)
        if not first:
            raise EOFError
        if first == b"\x1b":
            while self._waiting(0.02):  # the rest of the key's sequence
                os.read(self._descriptor, 1)
            return ESCAPE
        rest = {0b110: 1, 0b1110: 2, 0b11110: 3}
        more = next((n for lead, n in rest.items() if first[0] >> (6 - n) == lead), 0)
        return (first + b"".join(os.read(self._descriptor, 1) for _ in range(more))).decode(errors="replace")

    def _waiting(self, timeout_seconds: float) -> bool:
        return bool(select.select([self._descriptor], [], [], timeout_seconds)[0])


@contextmanager
def raw_keys() -> Iterator[Keys]:
    """Give keys one by one, unechoed; the terminal is as before afterwards. Ctrl-C still interrupts.

    Raises
    ------
    ConfigurationError
        Standard input is no terminal.
    """
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "standard input is no terminal; `stream-al label` is for a person: programs answer with "
            "POST /v1/replies, simulated people with `stream-al annotator`"
        )
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield Keys(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
