"""What a second replica costs, and what two million events cost in memory: the real service on a real broker.

Replicas of ``stream-al serve`` share four partitions; 30 features, budget 1 %, every request is answered.
They work off a backlog: a service that keeps up commits small batches, each at the price of a large one.
Processor time is the replicas' own, as the kernel counted it, so the broker and the producer are not in it.

    python -m benchmarks.bench_scaling [--events 40000] [--warm 100000] [--rounds 2] [--json]
    python -m benchmarks.bench_scaling --long 2000000       # memory: after a tenth, and at the end
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import orjson

from benchmarks.bench_engine import make_events, make_reply
from benchmarks.kill_lives import COMMAND, free_port
from stream_al.log.kafka import KafkaLog
from stream_al.log.kafka_connection import KafkaOptions
from stream_al.log.kafka_topics import create_topics
from stream_al.log.protocol import EVENTS, LABEL_REPLIES, LABEL_REQUESTS
from tests.kafka.broker import Broker

PARTITIONS, CHUNK = 4, 10_000
MOST_AHEAD = 60_000
"""Events that may wait in the topic: what is measured is the service, not the broker's disk."""
CONFIGURATION = """\
task.labels = ["no", "yes"]
query.budget = 0.01
outputs.predictions = "all"
engine.max_batch = 2000
log = {{kind = "kafka", prefix = "{name}.", partitions = {partitions}}}
kafka = {{bootstrap = {bootstrap}, group = "{name}", start = "earliest"}}
"""


class Service:
    """One process of ``stream-al serve``."""

    def __init__(self, directory: Path, name: str) -> None:
        self.port = free_port(random.Random())
        environment = {"STREAM_AL__KAFKA__INSTANCE_ID": name, "STREAM_AL__HTTP__PORT": str(self.port)}
        self._log = (directory / f"{name}.log").open("wb")
        self.process = subprocess.Popen(
            [*COMMAND, "serve", "--json"],
            cwd=directory,
            env=os.environ | environment,
            stdout=self._log,
            stderr=self._log,
        )

    def events(self) -> int:
        """Return the events that the replica's partitions have decided."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/status", timeout=10) as answer:
                return int(json.load(answer)["events"])
        except (URLError, OSError):
            return -1  # not up yet

    def processor_seconds(self) -> float:
        """Return user and system time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> float:
        """Return resident memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def stop(self) -> None:
        """Stop it as an operator does."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self._log.close()


class Group:
    """Some replicas, their topics, and a person who answers everything."""

    def __init__(self, bootstrap: list[str], name: str, replicas: int, directory: Path) -> None:
        self.options = KafkaOptions(tuple(bootstrap), f"{name}.", name, start="earliest")
        create_topics(self.options, PARTITIONS, 1, 7 * 86_400)
        self.client = KafkaLog(self.options)
        directory.mkdir()
        text = CONFIGURATION.format(name=name, partitions=PARTITIONS, bootstrap=json.dumps(bootstrap))
        (directory / "stream-al.toml").write_text(text)
        self.services = [Service(directory, f"{name}-{i}") for i in range(replicas)]
        self.sent = 0
        self._done = threading.Event()
        self._answering = threading.Thread(target=self._answer)
        self._answering.start()

    def feed(self, events: int) -> None:
        """Append events; their ids say what is right."""
        values, truth = make_events(events, seed=self.sent)
        keyed = [
            (b"%d" % (i % 64), value.replace(b'"event_id":"', b'"event_id":"%d-' % right, 1))
            for i, (value, right) in enumerate(zip(values, truth, strict=True))
        ]
        self.client.append_many(EVENTS, keyed)
        self.sent += events

    def decided(self) -> int:
        """Return the events that were decided, by all replicas together."""
        return sum(max(0, service.events()) for service in self.services)

    def wait(self, events: int) -> None:
        """Wait until so many events are decided and every replica is up."""
        while self.decided() < events or any(service.events() < 0 for service in self.services):
            for service in self.services:
                assert service.process.poll() is None, "a replica ended"
            time.sleep(0.2)  # asking costs the replicas processor time

    def signal(self, number: int) -> None:
        """Send a signal to all replicas."""
        for service in self.services:
            service.process.send_signal(number)

    def _answer(self) -> None:
        shown = dict.fromkeys(range(PARTITIONS), 0)
        with closing(KafkaLog(self.options)) as log:
            while not self._done.wait(0.2):
                replies: list[tuple[None, bytes]] = []
                for partition in shown:
                    for record in log.tail(LABEL_REQUESTS, partition, shown[partition], 500):
                        shown[partition] = record.offset + 1
                        request = orjson.loads(record.value)
                        right = request["event"]["event_id"].startswith("1-")
                        replies.append((None, make_reply(request, right=right)))
                log.append_many(LABEL_REPLIES, replies)

    def close(self) -> None:
        """Stop everything."""
        self._done.set()
        self._answering.join()
        for service in self.services:
            service.stop()
        self.client.close()


@contextmanager
def groups() -> Iterator[Any]:
    """Give a function that makes groups on one broker, and clear up after them."""
    with ExitStack() as stack:
        bootstrap = stack.enter_context(Broker()).bootstrap
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        made: list[int] = []

        def make(replicas: int) -> Group:
            made.append(replicas)
            name = f"g{len(made)}"
            return stack.enter_context(closing(Group(bootstrap, name, replicas, directory / name)))

        yield make


def measure_scaling(events: int, rounds: int, warm: int) -> dict[str, Any]:
    """Return processor microseconds an event with one and with two replicas, and their ratio."""
    found: dict[int, list[float]] = {1: [], 2: []}
    with groups() as make:
        for _ in range(rounds):
            for replicas in found:
                group = make(replicas)
                for _ in range(warm // CHUNK):  # joins, learns the first answers; samples become rare
                    group.feed(CHUNK)
                    group.wait(group.sent - MOST_AHEAD)
                group.wait(group.sent)
                group.signal(signal.SIGSTOP)  # well within their session: they find a backlog, as under load
                try:
                    for _ in range(events // CHUNK):
                        group.feed(CHUNK)
                    before = [service.processor_seconds() for service in group.services]
                finally:
                    group.signal(signal.SIGCONT)
                group.wait(group.sent)
                after = [service.processor_seconds() for service in group.services]
                spent = [b - a for a, b in zip(before, after, strict=True)]
                found[replicas].append(1e6 * sum(spent) / events)
                print(
                    f"{replicas} replica(s): {found[replicas][-1]:.1f} us an event, each {spent}", flush=True
                )
                group.signal(signal.SIGTERM)
    ratio = statistics.median(two / one for one, two in zip(found[1], found[2], strict=True))
    return {"microseconds_an_event": found, "two_over_one": ratio}


def measure_memory(events: int) -> dict[str, Any]:
    """Return a replica's resident memory after a tenth of the events and after all, in megabytes."""
    with groups() as make:
        group = make(1)
        early, started = 0.0, time.monotonic()
        while group.sent < events:
            group.feed(CHUNK)
            group.wait(group.sent - MOST_AHEAD)
            if not early and group.sent >= events // 10:
                group.wait(group.sent)
                early = group.services[0].resident_mb()
        group.wait(group.sent)
        late, seconds = group.services[0].resident_mb(), time.monotonic() - started
    return {"early_mb": early, "late_mb": late, "ratio": late / early, "events_a_second": events / seconds}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--events", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--warm", type=int, default=100_000)
    parser.add_argument("--long", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.long:
        figures = measure_memory(arguments.long)
    else:
        figures = measure_scaling(arguments.events, arguments.rounds, arguments.warm)
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    for name, value in figures.items():
        print(f"{name}: {value if isinstance(value, dict) else format(value, '.3f')}")


if __name__ == "__main__":
    main()
