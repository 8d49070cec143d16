"""What stands in the topics, counted by a reader that shares no code with the service."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import orjson
from kafka import KafkaConsumer, TopicPartition

TOPICS = ("events", "predictions", "label-requests", "label-replies")


class Predicted(NamedTuple):
    """What is checked of a prediction."""

    event_id: str
    label: str | None
    asked: bool


class Tally:
    """Counts of messages.

    Attributes
    ----------
    events, requested : Counter
        Event ids of the events, and of the requests.
    requests : Counter
        Request ids.
    predictions : mapping of partition to list of Predicted
        In the order of the log.
    answered : int
        Replies to requests; samples do not count.
    """

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.requested: Counter[str] = Counter()
        self.predictions: dict[int, list[Predicted]] = defaultdict(list)
        self.answered = 0

    def add(self, topic: str, partition: int, value: bytes) -> None:
        """Count one message of a topic, named without prefix."""
        found = orjson.loads(value)
        if topic == "events":
            self.events[found["event_id"]] += 1
        elif topic == "predictions":
            self.predictions[partition].append(Predicted(found["event_id"], found["label"], found["asked"]))
        elif topic == "label-requests":
            self.requests[found["request_id"]] += 1
            self.requested[found["event"]["event_id"]] += 1
        else:
            self.answered += found["kind"] == "reply"

    @property
    def predicted(self) -> int:
        """How many predictions there are."""
        return sum(map(len, self.predictions.values()))

    @property
    def asked(self) -> int:
        """How many requests there are."""
        return self.requests.total()


class Reader:
    """Counts the messages of the topics from their beginning; committed ones only.

    Parameters
    ----------
    bootstrap : sequence of str
    prefix : str
        Of the topics.
    """

    def __init__(self, bootstrap: Sequence[str], prefix: str) -> None:
        self.tally = Tally()
        self._names = {prefix + name: name for name in TOPICS}
        self._consumer = KafkaConsumer(
            bootstrap_servers=list(bootstrap),
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            metrics_enabled=False,
        )
        self._places = [
            TopicPartition(topic, partition)
            for topic in self._names
            for partition in sorted(self._consumer.partitions_for_topic(topic) or ())
        ]
        self._consumer.assign(self._places)

    def read(self, milliseconds: int) -> None:
        """Take up what has come, waiting at most so long for the first of it."""
        for place, records in self._consumer.poll(timeout_ms=milliseconds, max_records=5_000).items():
            for record in records:
                self.tally.add(self._names[place.topic], place.partition, record.value)

    def read_all(self) -> None:
        """Read to the end that the topics have now."""
        ends = self._consumer.end_offsets(self._places)
        while any(self._consumer.position(place) < end for place, end in ends.items()):
            self.read(200)

    def close(self) -> None:
        """Close the connections."""
        self._consumer.close(autocommit=False)
