"""One service after another on the same file: started, killed, started again at once."""

from __future__ import annotations

import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

READY_SECONDS = 60.0
"""Longer than this no start may take, whatever there is to fold."""
DEATH_SECONDS = 20.0
COMMAND = (sys.executable, "-c", "from stream_al_consumers.cli import main; main()")


def free_port(chance: random.Random) -> int:
    """Return a free port below those that the system lends to clients.

    A client that calls a dead server's port in the lent range can be given that very port, and then talks
    to itself.
    """
    while True:
        port = chance.randrange(20_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Lives:
    """The lives of a service, numbered from 1.

    Parameters
    ----------
    directory : Path
        Where ``stream-al.toml`` stands; the services' complaints are collected in ``service.err`` there.
    port : int
        The configured one.
    environment : dict
        Added to this process's.

    Attributes
    ----------
    number : int
        Of the life that was started last.
    starts, stops : list of float
        Seconds until a service said that it is ready, and from SIGTERM to its end.
    """

    def __init__(self, directory: Path, port: int, environment: dict[str, str]) -> None:
        self.port = port
        self.number = 0
        self.starts: list[float] = []
        self.stops: list[float] = []
        self.ready = False
        self._directory = directory
        self._environment = os.environ | environment
        self._errors = (directory / "service.err").open("ab")
        self._process: subprocess.Popen[bytes] | None = None
        self._over = 0
        self._changed = threading.Condition()
        self._started_at = 0.0

    def __enter__(self) -> Self:
        """Return the lives themselves."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        """End the last life, if it is still one."""
        if self._process is not None:
            self.end(signal.SIGKILL)
        self._errors.close()

    def start(self) -> None:
        """Begin the next life."""
        self.ready = False
        self._started_at = time.monotonic()
        self._process = subprocess.Popen(
            [*COMMAND, "serve", "--json"],
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        with self._changed:
            self.number += 1
            self._changed.notify_all()

    def await_ready(self, seconds: float = READY_SECONDS) -> bool:
        """Wait until the service says that it has caught up, so long at most; return whether it has."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        if not self.ready and select.select([process.stdout], [], [], seconds)[0]:
            self.ready = bool(process.stdout.readline())
            if self.ready:
                self.starts.append(time.monotonic() - self._started_at)
        return self.ready

    def await_door(self) -> None:
        """Wait until the service listens: it restores and folds from here on until it is ready."""
        process = self._process
        assert process is not None
        while process.poll() is None and time.monotonic() - self._started_at < READY_SECONDS:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return

    def end(self, number: int) -> int:
        """Send a signal, wait for the end of this life, return the exit code."""
        process, self._process = self._process, None
        assert process is not None
        assert process.stdout is not None
        sent_at = time.monotonic()
        process.send_signal(number)
        try:
            code = process.wait(DEATH_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code = 1000  # no exit code that a process can have
        if number == signal.SIGTERM:
            self.stops.append(time.monotonic() - sent_at)
        process.stdout.close()
        with self._changed:
            self._over = self.number
            self._changed.notify_all()
        return code

    def await_end(self, number: int) -> bool:
        """Wait until a life is over: what it was asked to write is then on the file, or never will be."""
        with self._changed:
            return self._changed.wait_for(lambda: self._over >= number, READY_SECONDS + DEATH_SECONDS)
