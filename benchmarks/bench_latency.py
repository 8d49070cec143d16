"""From an event's append to its prediction in a reader's hands, on a real broker, at several rates.

The reader is a plain ``read_committed`` consumer, so the whole way is in it: the poll, the decision, the
transaction, its markers, and the reader's own fetch.

    python -m benchmarks.bench_latency [--seconds 10] [--json]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from kafka import KafkaConsumer, TopicPartition

from benchmarks.bench_engine import make_events
from benchmarks.bench_scaling import CHUNK, PARTITIONS, Group
from stream_al.log.protocol import EVENTS, PREDICTIONS
from tests.kafka.broker import Broker

RATES = (10, 100, 1_000)


class Watch(threading.Thread):
    """Notes when each prediction could be read."""

    def __init__(self, group: Group) -> None:
        super().__init__()
        self.seen: dict[str, float] = {}
        self._done = threading.Event()
        self._consumer = KafkaConsumer(**group.options.consumer())
        topic = group.options.topic(PREDICTIONS)
        places = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
        self._consumer.assign(places)
        for place, end in self._consumer.end_offsets(places).items():
            self._consumer.seek(place, end)

    def run(self) -> None:
        """Read until stopped."""
        with closing(self._consumer):
            while not self._done.is_set():
                for records in self._consumer.poll(100).values():
                    now = time.perf_counter()
                    self.seen.update((orjson.loads(record.value)["event_id"], now) for record in records)

    def stop(self) -> None:
        """End the thread."""
        self._done.set()
        self.join()


def at_rate(group: Group, rate: int, seconds: float) -> dict[str, float]:
    """Return milliseconds from append to readable: median, 95th and 99th percentile."""
    count = int(rate * seconds)
    values, _ = make_events(count, seed=rate)
    ids = [orjson.loads(value)["event_id"] for value in values]
    watch = Watch(group)
    watch.start()
    sent: dict[str, float] = {}
    started, step = time.perf_counter(), max(1, rate // 50)
    for at in range(0, count, step):
        time.sleep(max(0.0, started + at / rate - time.perf_counter()))  # the rate that is asked for
        lot = range(at, min(count, at + step))
        now = time.perf_counter()
        group.client.append_many(EVENTS, [(b"%d" % i, values[i]) for i in lot])
        sent.update((ids[i], now) for i in lot)
    deadline = time.monotonic() + 30
    while len(watch.seen) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    watch.stop()
    delays = 1000.0 * np.array([watch.seen[each] - sent[each] for each in ids])
    return {f"p{p}": float(np.percentile(delays, p)) for p in (50, 95, 99)}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    figures: dict[str, Any] = {}
    with (
        Broker() as broker,
        tempfile.TemporaryDirectory() as directory,
        closing(Group(broker.bootstrap, "latency", 1, Path(directory) / "latency")) as group,
    ):
        group.feed(CHUNK)
        group.wait(CHUNK)
        for rate in RATES:
            figures[f"{rate} events/s"] = at_rate(group, rate, arguments.seconds)
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    for name, found in figures.items():
        print(f"{name}: " + ", ".join(f"{p} {ms:.0f} ms" for p, ms in found.items()))


if __name__ == "__main__":
    main()
