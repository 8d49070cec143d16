"""One Kafka process: format, start, wait until it answers, signals, and the certainty that it ends."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.kafka.admin import POLL_SECONDS, live_nodes
from tests.kafka.apache_kafka import Installation

START_SECONDS = 180.0
STOP_SECONDS = 60.0
_JVM = ["-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
_LOGGING = [
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn",  # 400 lines of settings
]


class BrokerFailed(Exception):
    """A broker did not come up; the message holds the end of its log."""


class Node:
    """A broker and controller in one process.

    Parameters
    ----------
    installation : Installation
        The Apache Kafka to run.
    folder : Path
        Gets ``server.properties``, ``data`` and ``kafka.log``.
    properties : Mapping
        The server's properties without ``log.dirs``; needs ``node.id``.
    port : int
        Port of the PLAINTEXT listener on 127.0.0.1.
    formatting : list of str
        Options of ``StorageTool format``.
    scratch : Path, optional
        A folder to be deleted should this process die without closing the node.
    """

    def __init__(
        self,
        installation: Installation,
        folder: Path,
        properties: Mapping[str, str],
        port: int,
        formatting: list[str],
        scratch: Path | None = None,
    ) -> None:
        self.bootstrap = [f"127.0.0.1:{port}"]
        self.node_id = int(properties["node.id"])
        self.folder = folder
        self.data = folder / "data"
        self.log_path = folder / "kafka.log"
        self._installation = installation
        self._formatting = formatting
        self._scratch = scratch
        self._properties = folder / "server.properties"
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._name = ""
        folder.mkdir(parents=True, exist_ok=True)
        lines = [f"{name}={value}\n" for name, value in {**properties, "log.dirs": str(self.data)}.items()]
        self._properties.write_text("".join(lines))

    @property
    def running(self) -> bool:
        """Whether the process is there (a paused one is)."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its process group."""
        if self._process is None:
            raise BrokerFailed(f"node {self.node_id} is not running: call start() first")
        return self._process.pid

    def start(self, wait: bool = True) -> None:
        """Start the process (formatting its data first if there is none) and wait until it answers.

        A killed node is refused until its own old session has ended: 1 s for a single one, 3 s in a cluster.

        Raises
        ------
        BrokerFailed
            It ended, or did not answer within ``START_SECONDS``.
        """
        if self.running:
            return
        self.kill()  # Reaps a process that ended by itself, and its guard.
        if not (self.data / "meta.properties").exists():
            self._format()
        self._name = f"stream-al-{secrets.token_hex(6)}"
        command = self._installation.command(
            self._name, self.folder, [*_JVM, *_LOGGING], "kafka.Kafka", str(self._properties)
        )
        self._process = self._spawn(command)
        self._guard = self._watch(self._process.pid)
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self, seconds: float = START_SECONDS) -> None:
        """Wait until the node answers and counts itself among the live brokers."""
        deadline = time.monotonic() + seconds
        while self.node_id not in live_nodes(self.bootstrap[0]):
            process = self._process
            if process is None or process.poll() is not None:
                raise BrokerFailed(f"node {self.node_id} ended while starting. {self.log_tail()}")
            if time.monotonic() > deadline:
                raise BrokerFailed(f"node {self.node_id} gave no answer in {seconds:g} s. {self.log_tail()}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Stop gracefully (SIGTERM); kill it after ``STOP_SECONDS``."""
        if self._process is not None and self.running:
            self.resume()
            self._send(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """Kill at once (SIGKILL), also when paused or already gone; data stay."""
        if self._process is not None:
            if self.running:
                self._send(signal.SIGKILL)
            self._process.wait()
            self._process = None
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open, nothing is answered."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run on (SIGCONT)."""
        self._send(signal.SIGCONT)

    def delete_data(self) -> None:
        """Kill the process and delete its data; the log file stays."""
        self.kill()
        shutil.rmtree(self.data, ignore_errors=True)

    def log_tail(self, lines: int = 40) -> str:
        """Return the end of the broker's log, with its path."""
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return f"Last lines of {self.log_path}:\n" + "\n".join(text.splitlines()[-lines:])

    def _send(self, number: signal.Signals) -> None:
        self._installation.send(self._name, self.pid, number)

    def _format(self) -> None:
        arguments = ["format", "--config", str(self._properties), *self._formatting]
        name = f"stream-al-format-{secrets.token_hex(6)}"
        command = self._installation.command(
            name, self.folder, [*_JVM, *_LOGGING], "kafka.tools.StorageTool", *arguments
        )
        process = self._spawn(command)
        if process.wait() != 0:
            raise BrokerFailed(f"formatting node {self.node_id} failed. {self.log_tail()}")

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        """Run a command in a session of its own, so that Ctrl-C in a terminal is ours to handle, not its."""
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _watch(self, pid: int) -> subprocess.Popen[bytes]:
        """Start a shell that waits for the end of our life (its standard input closes), then kills the node.

        This holds for every end: Ctrl-C, a crash, SIGKILL. A finally block or ``atexit`` does not.
        """
        rites = self._installation.last_rites(self._name, pid)
        if self._scratch is not None:
            rites += f"; rm -rf {shlex.quote(str(self._scratch))}"
        return subprocess.Popen(
            ["sh", "-c", f"read -r _; {rites}"],
            cwd=os.sep,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
