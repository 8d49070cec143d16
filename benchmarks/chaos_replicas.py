"""Replicas of one consumer group, each the real ``stream-al serve``: started, signalled, asked, restarted."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, TypeVar

from kafka.errors import KafkaError

from benchmarks.kill_lives import COMMAND, free_port
from stream_al.errors import LogUnreachable
from stream_al.log.kafka import KafkaLog
from stream_al.log.kafka_connection import KafkaOptions
from stream_al.log.kafka_topics import create_topics
from stream_al.log.protocol import Record
from stream_al.settings import Settings, load_settings
from stream_al_consumers.kafka_options import kafka_options

T = TypeVar("T")
PARTITIONS = 4
TTL_SECONDS = 2
SESSION_SECONDS = 6.0
CALL_SECONDS = 2.0
STOP_SECONDS = 30.0
HUNG = 1000
"""No exit code that a process can have: it did not heed SIGTERM."""
PATIENT_SECONDS = 300.0
"""How long the traffic waits for brokers; a producer that gave up would not know what it wrote."""
CONFIGURATION = """\
[task]
labels = ["left", "right"]
[query]
budget = 0.1
[labels]
ttl_seconds = {ttl}
[log]
kind = "kafka"
prefix = "{name}."
partitions = {partitions}
[kafka]
bootstrap = {bootstrap}
group = "{name}"
start = "earliest"
session_seconds = {session}
[engine]
base_every = 500
"""
_COMMITS = re.compile(rb'stream_al_consumer_commits_total\{outcome="committed"\} ([\d.e+]+)')


class PatientLog(KafkaLog):
    """A handle that is no member, and asks a silent cluster again."""

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Return the bounds, however often that must be asked for."""
        return patiently(partial(super().bounds, topic, partition))

    def tail(self, topic: str, partition: int, from_offset: int, max_records: int) -> list[Record]:
        """Return records, however often they must be asked for."""
        return patiently(partial(super().tail, topic, partition, from_offset, max_records))


def patiently(ask: Callable[[], T]) -> T:
    """Return the answer of a cluster that may be silent for a while."""
    deadline = time.monotonic() + PATIENT_SECONDS
    while True:
        try:
            return ask()
        except (LogUnreachable, KafkaError):
            if time.monotonic() > deadline:
                raise


class Replica:
    """One slot of a group, and the lives of the process in it.

    Parameters
    ----------
    directory : Path
        Where ``stream-al.toml`` stands; what the process says is collected there in ``{name}.log``.
    name : str
    environment : dict
        Added to this process's.

    Attributes
    ----------
    busy : bool
        Somebody is doing something to it: not to be watched, nor disturbed.
    started_at : float
        When the present life began (monotonic).
    environment : dict
        What its processes have beside ours.
    """

    def __init__(self, directory: Path, name: str, environment: dict[str, str]) -> None:
        self.name = name
        self.busy = False
        self.started_at = 0.0
        self._port = free_port(random.Random())
        self._directory = directory
        self.environment = environment | {"STREAM_AL__HTTP__PORT": str(self._port)}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log_path(self) -> Path:
        """What all lives said."""
        return self._directory / f"{self.name}.log"

    def start(self) -> None:
        """Begin the next life."""
        self.started_at = time.monotonic()
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*COMMAND, "serve", "--json"],
                cwd=self._directory,
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def ended(self) -> int | None:
        """Return the exit code of a life that is over, None while it lasts."""
        return None if self._process is None else self._process.poll()

    def send(self, number: int) -> None:
        """Send a signal to the process, if there is one."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End the life at once, also a frozen one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> int:
        """End the life with SIGTERM; return the exit code, or ``HUNG``."""
        self.send(signal.SIGTERM)
        return self.await_end()

    def await_end(self) -> int:
        """Wait for the end of a life that was sent SIGTERM; a second one might find no handler any more."""
        assert self._process is not None
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGABRT)
            self.kill()
            return HUNG

    def ask(self, path: str) -> bytes | None:
        """Return the body of an answer of the replica's own port; None where there is none."""
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=CALL_SECONDS)) as connection:
            try:
                connection.request("GET", path)
                response = connection.getresponse()
                body = response.read()
            except (OSError, HTTPException):
                return None
        return body if response.status == 200 else None

    def status(self) -> dict[str, Any] | None:
        """Return ``/status`` with the model's fingerprint; None while it does not answer."""
        body = self.ask("/status?fingerprint=1")
        return None if body is None else json.loads(body)

    def commits(self) -> int:
        """Return how many transactions this life has committed; 0 while it does not answer."""
        found = _COMMITS.search(self.ask("/metrics") or b"")
        return int(float(found[1])) if found else 0


class Group:
    """A consumer group on topics of its own.

    Parameters
    ----------
    directory : Path
        For the configuration and what the replicas say.
    name : str
        Also the prefix of the topics.
    bootstrap : sequence of str
    static : bool
        Whether members have an ``instance_id``.
    key : str
        Signs the tickets.

    Attributes
    ----------
    ended : Counter
        Lives that ended although nobody had ended them, by exit code.
    """

    def __init__(
        self, directory: Path, name: str, bootstrap: Sequence[str], key: str, *, static: bool
    ) -> None:
        directory.mkdir(parents=True)
        path = directory / "stream-al.toml"
        path.write_text(
            CONFIGURATION.format(
                ttl=TTL_SECONDS,
                name=name,
                partitions=PARTITIONS,
                bootstrap=json.dumps(list(bootstrap)),
                session=SESSION_SECONDS,
            )
        )
        self.name = name
        self.static = static
        self.settings: Settings = load_settings(path, {"ticket_keys": {"k1": key}})
        self.options: KafkaOptions = kafka_options(self.settings)
        self.ended: Counter[str] = Counter()
        create_topics(self.options, PARTITIONS, 3, 7 * 86_400)
        self.replicas = []
        for slot in "abc":
            environment = {"STREAM_AL__TICKET_KEYS__K1": key}
            if static:
                environment["STREAM_AL__KAFKA__INSTANCE_ID"] = slot
            self.replicas.append(Replica(directory, slot, environment))

    def client(self) -> PatientLog:
        """Return a handle that is no member and waits long for brokers."""
        return PatientLog(
            replace(self.options, transaction_seconds=PATIENT_SECONDS, answer_seconds=PATIENT_SECONDS)
        )

    def start(self) -> None:
        """Start all replicas."""
        for replica in self.replicas:
            replica.start()

    def watch(self) -> None:
        """Do what a supervisor does: start again what has ended by itself."""
        for replica in self.replicas:
            code = None if replica.busy else replica.ended()
            if code is not None:
                self.ended[str(code)] += 1
                replica.start()

    def commits(self) -> int:
        """Return how many transactions the present lives have committed."""
        return sum(replica.commits() for replica in self.replicas)

    def await_commits(self, seconds: float) -> bool:
        """Wait until every replica has committed something in this life; return whether all have."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.watch()
            if all(replica.commits() for replica in self.replicas):
                return True
            time.sleep(0.2)
        return False

    def stop(self) -> list[int]:
        """Stop all replicas with SIGTERM; return their exit codes."""
        for replica in self.replicas:
            replica.send(signal.SIGTERM)
        return [replica.await_end() for replica in self.replicas]

    def kill(self) -> None:
        """End every process at once."""
        for replica in self.replicas:
            replica.kill()
