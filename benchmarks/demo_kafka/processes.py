"""The commands of the demo as processes: run to the end, left running, killed; and what a replica says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

CLI = "from stream_al_consumers.cli import main; main()"
STOP_SECONDS = 20.0
ANSWER_SECONDS = 1.0


class CommandFailed(Exception):
    """A command ended with an error; the message holds what it said."""


class Process:
    """A ``stream-al`` command that runs beside us; its output goes to a file.

    Parameters
    ----------
    name : str
        Of the file.
    folder : Path
        Where it runs: the configuration stands there.
    arguments : str
        Of ``stream-al``.
    environment : Mapping, optional
        More variables.
    """

    def __init__(
        self, name: str, folder: Path, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._folder = folder
        self._arguments = arguments
        self._environment = {**os.environ, **(environment or {})}
        self._said = folder / f"{name}.log"
        self._out = folder / f"{name}.out"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, in a session of its own: Ctrl-C is for the demo, which then stops the others."""
        with self._out.open("wb") as out, self._said.open("ab") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-c", CLI, *self._arguments],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=said,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def output(self) -> str:
        """What it printed since its last start."""
        return self._out.read_text() if self._out.exists() else ""

    def check(self) -> None:
        """Make sure that it has not failed.

        Raises
        ------
        CommandFailed
            It has.
        """
        if self._process is not None and self._process.poll() not in (None, 0):
            raise CommandFailed(
                f"stream-al {' '.join(self._arguments)} ended with exit code {self._process.returncode}:\n"
                f"{self.output}{self._said.read_text()[-4000:]}"
            )

    def finish(self, seconds: float) -> str:
        """Wait for its end and return what it printed."""
        assert self._process is not None
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise CommandFailed(f"stream-al {' '.join(self._arguments)} took over {seconds:g} s") from error
        self.check()
        return self.output

    def stop(self) -> None:
        """Ask it to end (SIGTERM), and wait for it."""
        if self._process is not None and self.running:
            self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End it at once (SIGKILL): nothing of it runs any further."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Replica(Process):
    """One ``stream-al serve`` with a name of its own, which a restart keeps.

    Attributes
    ----------
    status : dict or None
        What it said last; None since its last start, or while it is down.
    """

    def __init__(self, name: str, folder: Path) -> None:
        environment = {
            "STREAM_AL__KAFKA__INSTANCE_ID": name,
            "STREAM_AL__ENGINE__BASE_DIRECTORY": str(folder / f"bases-{name}"),
        }
        super().__init__(name, folder, "serve", "--port", "0", "--json", environment=environment)
        self.status: dict[str, Any] | None = None
        self.killed_at: float | None = None

    def start(self) -> None:
        """Start it, for the first time or again."""
        super().start()
        self.killed_at = None

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        super().kill()
        self.status = None
        self.killed_at = time.monotonic()

    @property
    def ready(self) -> bool:
        """Whether it has caught up once and said where it listens."""
        return self.running and self.output.endswith("\n")

    def ask(self, *, fingerprint: bool = False) -> dict[str, Any] | None:
        """Ask for its status and keep it; None while it is down or starting.

        Raises
        ------
        CommandFailed
            It ended by itself.
        """
        self.check()
        if self.ready:
            url = json.loads(self.output)["url"] + "/status" + "?fingerprint=1" * fingerprint
            with suppress(OSError), urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:
                self.status = json.load(answer)
        return self.status


def run(folder: Path, *arguments: str, seconds: float = 60.0) -> str:
    """Run a ``stream-al`` command to its end and return what it printed.

    Raises
    ------
    CommandFailed
        Its exit code is not 0, or it took too long.
    """
    command = Process(arguments[0], folder, *arguments)
    command.start()
    try:
        return command.finish(seconds)
    finally:
        command.kill()
