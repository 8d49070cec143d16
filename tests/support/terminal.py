"""A command in a pseudo terminal: what its screen shows, and keys for it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_CLEAR = "\x1b[2J"
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A terminal of 100 columns and 40 lines with one command in it.

    Parameters
    ----------
    command : sequence of str
    directory : Path
    """

    def __init__(self, command: Sequence[str], directory: Path) -> None:
        self._leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            command,
            cwd=directory,
            stdin=follower,
            stdout=follower,
            stderr=follower,
            env=environment | {"TERM": "xterm-256color"},
        )
        os.close(follower)
        self.written = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._leader)

    @property
    def screen(self) -> str:
        """What a person sees: everything since the screen was last cleared."""
        return _ESCAPES.sub("", self.written.rpartition(_CLEAR)[2]).replace("\r", "")

    def press(self, keys: str) -> None:
        """Press keys; what was on the screen before is forgotten."""
        self.written = ""
        os.write(self._leader, keys.encode())

    def until(self, good: Callable[[str], object], seconds: float = 15.0) -> str:
        """Return the screen as soon as it is good."""
        deadline = time.monotonic() + seconds
        while not good(self.screen):
            left = deadline - time.monotonic()
            assert left > 0, f"not on the screen in time:\n{self.screen}"
            if select.select([self._leader], [], [], left)[0]:
                self.written += self._read()
        return self.screen

    def ended(self, seconds: float = 15.0) -> int:
        """Return the exit code, everything read."""
        while text := self._read():
            self.written += text
        return self.process.wait(seconds)

    def _read(self) -> str:
        try:
            return os.read(self._leader, 65_536).decode(errors="replace")
        except OSError:  # the other end is closed
            return ""
