"""Throughput on a real Kafka broker, as ratios to bare kafka-python loops of the same shape in the same run.

The bare loop does what any exactly-once consumer must: poll, begin, send bytes of the same size, flush, look
at every future, offsets with 3,000 characters of metadata, commit, with the same client settings and through
the client's public calls. The engine decodes, encodes, scores with a fitted pool of nine experts, decides and
writes whole predictions on top. A per-event loop (river and kafka-python, one commit an event) is what people
write first.

    python -m benchmarks.bench_kafka [--json] [--rounds 5]
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import orjson
from kafka import KafkaConsumer, KafkaProducer
from kafka.structs import OffsetAndMetadata

from benchmarks.bench_engine import make_events, make_reply
from stream_al.build import build_engine
from stream_al.engine import Engine
from stream_al.log.kafka import KafkaLog
from stream_al.log.kafka_connection import KafkaOptions
from stream_al.log.protocol import (
    EVENTS,
    LABEL_REPLIES,
    LABEL_REQUESTS,
    PREDICTIONS,
    SINGLE_PARTITION,
    TOPICS,
)
from stream_al.models.products import pin_blas_threads
from stream_al.settings import make_settings
from stream_al_consumers.service import GC_THRESHOLDS
from tests.kafka.broker import Broker, create_topics

PARTITIONS, A_POLL, A_ROUND, WARM_EVENTS, STEADY_EVENTS = 4, 2_000, 20_000, 8_000, 120_000
PER_EVENT = 300
STATE = "s" * 3_000


class Contestant:
    """One way to turn events into predictions; its topics have its name for a prefix."""

    def __init__(self, bootstrap: list[str], name: str) -> None:
        self.name = name
        self.options = KafkaOptions(tuple(bootstrap), f"{name}.", name, instance_id="bench", start="earliest")
        counts = {self.options.topic(t): 1 if t in SINGLE_PARTITION else PARTITIONS for t in TOPICS}
        create_topics(bootstrap, counts, message_timestamp_type="LogAppendTime")

    def feed(self, client: KafkaLog, events: list[bytes]) -> None:
        """Append events to this contestant's own topic."""
        client.append_many(EVENTS, [(b"%d" % (i % 64), event) for i, event in enumerate(events)])


class EngineLoop(Contestant):
    """The real engine on ``KafkaLog``."""

    def __init__(self, bootstrap: list[str], name: str, predictions: str) -> None:
        super().__init__(bootstrap, name)
        self.log = KafkaLog(self.options, member=True)
        self.stages: dict[str, float] = {}
        settings = make_settings(
            {
                "task": {"labels": ["no", "yes"]},
                "outputs": {"predictions": predictions},
                "log": {"kind": "kafka", "partitions": PARTITIONS},
                "engine": {"max_batch": A_POLL},
            }
        )
        self.engine: Engine = build_engine(settings, self.log)

    def run(self, events: int) -> None:
        """Tick until so many events are committed."""
        done = 0
        while done < events:
            tick = self.engine.tick()
            done += tick.events if tick.committed else 0
            for stage, seconds in tick.stage_seconds.items():
                self.stages[stage] = self.stages.get(stage, 0.0) + seconds

    def warm(self, client: KafkaLog) -> None:
        """Let the pool learn some hundred answers, which come back through the reply topic."""
        events, truth = make_events(WARM_EVENTS, seed=1)
        self.engine.tick()
        shown = dict.fromkeys(range(PARTITIONS), 0)
        for start in range(0, WARM_EVENTS, A_POLL):
            self.feed(client, events[start : start + A_POLL])
            self.run(A_POLL)
            replies: list[tuple[None, bytes]] = []
            for partition in shown:
                for record in client.tail(LABEL_REQUESTS, partition, shown[partition], 1_000):
                    shown[partition] = record.offset + 1
                    request = orjson.loads(record.value)
                    row = int(request["event"]["event_id"].split("-")[1])
                    replies.append((None, make_reply(request, right=truth[row])))
            client.append_many(LABEL_REPLIES, replies)
        for start in range(0, STEADY_EVENTS, A_ROUND):  # the share of samples falls with the events seen
            events, _ = make_events(A_ROUND, seed=1_000 + start)
            self.feed(client, events)
            self.run(A_ROUND)
        while self.engine.fold_some():
            pass


class BareLoop(Contestant):
    """Poll, transaction, bytes of the same size for a share of the events; public calls only."""

    def __init__(self, bootstrap: list[str], name: str, share: float, size: int) -> None:
        super().__init__(bootstrap, name)
        self.producer = KafkaProducer(
            **self.options.producer(), transactional_id=name, transaction_timeout_ms=15_000
        )
        self.producer.init_transactions()
        self.consumer = KafkaConsumer(**{**self.options.member(), "auto_offset_reset": "earliest"})
        self.consumer.subscribe([self.options.topic(EVENTS)])
        self.every, self.value = round(1 / share), b"p" * size

    def run(self, events: int) -> None:
        """Loop until so many events are committed."""
        done, topic, producer = 0, self.options.topic(PREDICTIONS), self.producer
        while done < events:
            polled = self.consumer.poll(500, max_records=A_POLL)
            if not polled:
                continue
            producer.begin_transaction()
            futures, offsets = [], {}
            for place, records in polled.items():
                futures += [
                    producer.send(topic, self.value, key=record.key, partition=place.partition)
                    for record in records[:: self.every]
                ]
                offsets[place] = OffsetAndMetadata(records[-1].offset + 1, STATE, -1)
                done += len(records)
            producer.flush(5)
            assert all(future.succeeded() for future in futures)
            producer.send_offsets_to_transaction(offsets, self.consumer.group_metadata())
            producer.commit_transaction()


class PerEventLoop(Contestant):
    """What people write first: river scores one event, one message is produced, one offset committed."""

    def __init__(self, bootstrap: list[str], name: str) -> None:
        from river import linear_model, preprocessing

        super().__init__(bootstrap, name)
        self.model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
        warm, truth = make_events(400, seed=2)
        for event, label in zip(warm, truth, strict=True):
            self.model.learn_one(json.loads(event)["features"], label)
        self.producer = KafkaProducer(**self.options.client(), metrics_enabled=False)
        self.consumer = KafkaConsumer(**{**self.options.member(), "auto_offset_reset": "earliest"})
        self.consumer.subscribe([self.options.topic(EVENTS)])

    def run(self, events: int) -> None:
        """Loop until so many events are committed."""
        done, topic = 0, self.options.topic(PREDICTIONS)
        while done < events:
            for place, records in self.consumer.poll(500, max_records=A_POLL).items():
                for record in records:
                    event = json.loads(record.value)
                    found = self.model.predict_proba_one(event["features"])
                    value = json.dumps({"event_id": event["event_id"], "probabilities": found}).encode()
                    self.producer.send(topic, value, key=record.key).get(timeout=10)
                    self.consumer.commit({place: OffsetAndMetadata(record.offset + 1, "", -1)})
                    done += 1


def timed(run: Callable[[int], None], events: int) -> dict[str, float]:
    """Return wall and processor microseconds an event; the client's own threads are in the latter."""
    wall, processor = time.perf_counter(), time.process_time()
    run(events)
    return {
        "wall": 1e6 * (time.perf_counter() - wall) / events,
        "cpu": 1e6 * (time.process_time() - processor) / events,
    }


def measure(rounds: int) -> dict[str, Any]:
    """Return all figures of one run on a broker of its own."""
    pin_blas_threads()
    with ExitStack() as stack:
        bootstrap = stack.enter_context(Broker()).bootstrap
        everything = EngineLoop(bootstrap, "all", "all")
        asked = EngineLoop(bootstrap, "asked", "asked")
        bare = BareLoop(bootstrap, "bare", 1.0, 300)
        bare_asked = BareLoop(bootstrap, "bare5", 0.05, 300)
        per_event = PerEventLoop(bootstrap, "event")
        loops = (everything, asked, bare, bare_asked, per_event)
        clients = {c.name: stack.enter_context(closing(KafkaLog(c.options))) for c in loops}
        for engine in (everything, asked):
            stack.enter_context(closing(engine.log))
            engine.warm(clients[engine.name])
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        found: dict[str, list[dict[str, float]]] = {c.name: [] for c in loops}
        for number in range(rounds + 1):
            for loop in loops:
                count = PER_EVENT if loop is per_event else A_ROUND
                events, _ = make_events(count, seed=10 + number)
                loop.feed(clients[loop.name], events)
                if number <= 1:
                    everything.stages.clear()
                figures = timed(loop.run, count)
                if number:  # the first round joins groups and looks coordinators up
                    found[loop.name].append(figures)
        return summary(found, {s: 1e6 * t / (rounds * A_ROUND) for s, t in everything.stages.items()})


def summary(found: dict[str, list[dict[str, float]]], stages: dict[str, float]) -> dict[str, Any]:
    """Return medians over rounds, and ratios of rates within the same round."""

    def ratio(slow: str, fast: str) -> float:
        pairs: Iterator[tuple[dict[str, float], dict[str, float]]] = zip(
            found[slow], found[fast], strict=True
        )
        return statistics.median(a["wall"] / b["wall"] for a, b in pairs)

    return {
        "microseconds_an_event": {
            name: {kind: statistics.median(figures[kind] for figures in lot) for kind in ("wall", "cpu")}
            for name, lot in found.items()
        },
        "all_over_bare": ratio("bare", "all"),
        "asked_over_bare": ratio("bare5", "asked"),
        "all_over_per_event": ratio("event", "all"),
        "stages_microseconds": stages,
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    figures = measure(arguments.rounds)
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    for name, lot in figures["microseconds_an_event"].items():
        print(f"{name}: {lot['wall']:.1f} us an event, of the processor {lot['cpu']:.1f}")
    for name in ("all_over_bare", "asked_over_bare", "all_over_per_event"):
        print(f"{name}: {figures[name]:.2f}x")
    print("stages: " + ", ".join(f"{stage} {us:.2f}" for stage, us in figures["stages_microseconds"].items()))


if __name__ == "__main__":
    main()
