"""What must be true of a group's topics after its replicas and brokers were killed many times.

Counted from the records where a promise can be checked so; the program's own code only where the promise is
about that code: states that decode, a model that the log alone gives again, decisions that repeat.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from benchmarks.chaos_replicas import PARTITIONS, Group, patiently
from benchmarks.chaos_traffic import Books
from stream_al.build import build_engine, build_learner
from stream_al.engine import Engine
from stream_al.log.kafka import KafkaLog
from stream_al.log.protocol import (
    DEAD_LETTERS,
    EVENTS,
    LABEL_REPLIES,
    LABEL_REQUESTS,
    PREDICTIONS,
    Log,
    Record,
)
from stream_al.replay import fold_to, replay_decisions

CHUNK = 2_000


def read_all(log: Log, topic: str, partition: int) -> list[Record]:
    """Return all committed records of a partition."""
    position, _ = log.bounds(topic, partition)
    found: list[Record] = []
    while records := log.tail(topic, partition, position, CHUNK):
        found += records
        position = records[-1].offset + 1
    return found


def committed(group: Group) -> dict[int, tuple[int, str] | None]:
    """Return the group's committed offset and metadata of each events partition."""
    with closing(KafkaConsumer(**group.options.consumer(), group_id=group.name)) as consumer:
        places = {p: TopicPartition(group.options.topic(EVENTS), p) for p in range(PARTITIONS)}
        found = {
            p: patiently(partial(consumer.committed, place, metadata=True)) for p, place in places.items()
        }
    return {p: None if at is None else (at.offset, at.metadata) for p, at in found.items()}


@dataclass
class Checks:
    """Checks of one group's topics.

    Parameters
    ----------
    group : Group
    books : Books
    statuses : list of dict
        What ``/status?fingerprint=1`` of each replica said last.

    Attributes
    ----------
    figures : dict
        What was counted.
    failed : list of str
        What does not hold.
    """

    group: Group
    books: Books
    statuses: list[dict[str, Any]]
    figures: dict[str, Any] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Check everything."""
        with closing(patiently(self.group.client)) as log:
            self._events = {p: read_all(log, EVENTS, p) for p in range(PARTITIONS)}
            self._predictions = {
                p: [json.loads(record.value) for record in read_all(log, PREDICTIONS, p)]
                for p in range(PARTITIONS)
            }
            self._requests = {
                p: [json.loads(record.value) for record in read_all(log, LABEL_REQUESTS, p)]
                for p in range(PARTITIONS)
            }
            self._replies = read_all(log, LABEL_REPLIES, 0)
            self._letters = [json.loads(record.value) for record in read_all(log, DEAD_LETTERS, 0)]
            self._committed = committed(self.group)
            self._one_prediction_each()
            self._one_request_each()
            self._budget()
            self._dead_letters()
            self._offsets()
            self._models(log)
            self._decisions(log)
        self.failed += self.books.wrong

    def _equal(self, what: str, found: object, expected: object) -> None:
        if found != expected:
            self.failed.append(
                f"{self.group.name}: {what}: found {str(found)[:300]}, expected {str(expected)[:300]}"
            )

    def _good(self, partition: int) -> list[str]:
        """Return the ids of a partition's valid events, in order."""
        bad = self.books.bad
        rows = (row for row in self._events[partition] if (EVENTS, partition, row.offset) not in bad)
        return [json.loads(row.value)["event_id"] for row in rows]

    def _one_prediction_each(self) -> None:
        """Every event that was sent has exactly one prediction, in the order of the events."""
        sent = Counter(self.books.events)
        standing = Counter(name for p in range(PARTITIONS) for name in self._good(p))
        predicted = Counter(each["event_id"] for made in self._predictions.values() for each in made)
        self._equal("events in the topic that were not sent, or twice", standing - sent, Counter())
        self._equal("events that were sent and are not in the topic", sent - standing, Counter())
        lost, doubled = standing - predicted, predicted - standing
        self._equal("events without a prediction", lost, Counter())
        self._equal("predictions too many", doubled, Counter())
        for p, made in self._predictions.items():
            names = [each["event_id"] for each in made]
            self._equal(f"partition {p}: predictions in the events' order", names == self._good(p), True)
            versions = [each["model_version"] for each in made]
            self._equal(f"partition {p}: model position goes back", versions == sorted(versions), True)
        self.figures |= {"events": sent.total(), "predictions": predicted.total()}
        self.figures |= {"lost": lost.total(), "doubled": doubled.total()}

    def _one_request_each(self) -> None:
        """Requests are the predictions that say "asked", and no id stands twice."""
        identities: Counter[str] = Counter()
        for p, requests in self._requests.items():
            asked = [each["event_id"] for each in self._predictions[p] if each["asked"]]
            self._equal(f"partition {p}: asked", [r["event"]["event_id"] for r in requests], asked)
            identities.update(request["request_id"] for request in requests)
        twice = identities - Counter(dict.fromkeys(identities, 1))
        self._equal("asked twice", twice, Counter())
        self.figures |= {"requests": identities.total(), "asked_twice": twice.total()}

    def _budget(self) -> None:
        """At every prefix, in whole ledger units: spent <= allowance + grant."""
        budget = self.group.settings.budget()
        grant = budget.limit // 2 + budget.credit_units
        least = grant
        for made in self._predictions.values():
            room = grant
            for each in made:
                room += budget.income - budget.cost * each["asked"]
                least = min(least, room)
        if least < 0:
            self.failed.append(f"{self.group.name}: {-least} ledger units above the bound at a prefix")
        self.figures["least_room_in_budget"] = round(least / budget.cost, 3)

    def _dead_letters(self) -> None:
        """One dead letter for each bad record, with its bytes; none else."""
        values = {(EVENTS, p, row.offset): row.value for p, rows in self._events.items() for row in rows}
        values |= {(LABEL_REPLIES, 0, row.offset): row.value for row in self._replies}
        places: Counter[tuple[str, int, int]] = Counter()
        for letter in self._letters:
            source = letter["source"]
            place = source["topic"], source["partition"], source["offset"]
            places[place] += 1
            value = values[place]
            kept = letter["sha256"], letter["length"], b64decode(letter["value"])
            self._equal(f"dead letter of {place}", kept, (sha256(value).hexdigest(), len(value), value))
        self._equal("dead letters too many", places - Counter(self.books.bad), Counter())
        self._equal("dead letters missing", Counter(self.books.bad) - places, Counter())
        self.figures |= {"dead_letters": len(self._letters), "replies": self.books.replies}

    def _offsets(self) -> None:
        """The committed offset of every partition is behind its last event."""
        for p, at in self._committed.items():
            end = self._events[p][-1].offset + 1
            self._equal(f"partition {p}: committed offset", at and at[0], end)

    def _models(self, log: KafkaLog) -> None:
        """Every replica has the model that the reply log alone gives."""
        end = self._replies[-1].offset + 1
        expected = {"position": end, "fingerprint": fold_to(log, build_learner(self.group.settings), end)}
        for status in self.statuses:
            found = {name: status["model"].get(name) for name in expected}
            self._equal("a replica's model", found, expected)
        self._equal("replicas that answered", len(self.statuses), len(self.group.replicas))
        self.figures |= {"learned": self.statuses[0]["model"]["learned"] if self.statuses else 0}

    def _decisions(self, log: KafkaLog) -> None:
        """Predictions, requests and S come out of a sequential fold again, to the byte."""
        engines: list[Engine] = []

        def make(scripted: Log) -> Engine:
            engines.append(build_engine(self.group.settings, scripted))
            return engines[0]

        compared = replay_decisions(log, make)
        self._equal("decisions again", compared.difference, None)
        self.figures["outputs_repeated"] = compared.outputs
        for p, at in self._committed.items():
            if at is not None:
                self._state(p, at[1], engines[0])

    def _state(self, partition: int, text: str, engine: Engine) -> None:
        """S is the fold's; a commit that decided nothing (bad records) may have moved its positions on."""
        policy, here = engine.policy, f"partition {partition}: S"
        live, folded = policy.decode(text), engine.states[partition].copy()
        made, end = self._predictions[partition], self._replies[-1].offset + 1
        decided = made[-1]["model_version"] if made else 0
        self._equal(f"{here}: model position", decided <= live.model_version <= end, True)
        bad = [offset for topic, _, offset in self.books.bad if topic == LABEL_REPLIES]
        least = max(bad, default=-1) + 1 if partition == 0 else 0
        self._equal(f"{here}: reply position", least <= live.reply_position <= live.model_version, True)
        folded.model_version, folded.reply_position = live.model_version, live.reply_position
        self._equal(f"{here} of the fold", policy.encode(folded), text)
        self._equal(f"{here}: ledger balanced", live.ledger.balanced(), True)
