"""Events and answers for a group under fire, with exact books of what was sent."""

from __future__ import annotations

import heapq
import json
import random
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from benchmarks.chaos_replicas import PARTITIONS, TTL_SECONDS, Group
from benchmarks.kill_traffic import BAD_EVENTS, BAD_REPLIES, Place, make_event
from stream_al.log.kafka import KafkaLog
from stream_al.log.protocol import EVENTS, LABEL_REPLIES, LABEL_REQUESTS

PERIOD_SECONDS = 0.2
"""How often events are sent: each time costs every replica a transaction, and all share two cores."""
NEVER, TWICE, SECOND_PERSON, FORGED = 0.2, 0.15, 0.1, 0.03
"""Shares of the requests that nobody answers, whose answer is sent twice, that two people answer, and whose
ticket somebody tampers with."""


@dataclass
class Books:
    """What was sent.

    Attributes
    ----------
    events : list of str
        Ids, each sent once.
    bad : set of (topic, partition, offset)
        Records that must become dead letters, and nothing else may.
    replies : int
    wrong : list of str
        Why the traffic broke off, if it did.
    """

    events: list[str] = field(default_factory=list)
    bad: set[Place] = field(default_factory=set)
    replies: int = 0
    wrong: list[str] = field(default_factory=list)


class Traffic:
    """Everything that is sent to one group.

    Parameters
    ----------
    group : Group
    rate : float
        Events a second.
    seed : str

    Attributes
    ----------
    books : Books
    """

    def __init__(self, group: Group, rate: float, seed: str) -> None:
        self.books = Books()
        self._group = group
        self._rate = rate
        self._chance = {job: random.Random(f"{seed}/{job}") for job in ("events", "answers")}
        self._over = {job: threading.Event() for job in self._chance}
        jobs: dict[str, Callable[[KafkaLog], None]] = {"events": self._send_events, "answers": self._answer}
        self._threads = {
            name: threading.Thread(target=self._run, args=(job,), daemon=True) for name, job in jobs.items()
        }

    def start(self) -> None:
        """Begin."""
        for thread in self._threads.values():
            thread.start()

    def finish(self, job: str) -> None:
        """End ``"events"`` or ``"answers"``; what was begun is sent, and what is due is answered."""
        self._over[job].set()
        self._threads[job].join()

    def _run(self, job: Callable[[KafkaLog], None]) -> None:
        try:
            with closing(self._group.client()) as log:
                job(log)
        except Exception as error:
            self.books.wrong.append(f"traffic of {self._group.name} broke off: {error!r}")

    def _bad(self, log: KafkaLog, topic: str, value: bytes) -> None:
        place = log.append(topic, None, value)
        self.books.bad.add((topic, place.partition, place.offset))

    def _send_events(self, log: KafkaLog) -> None:
        """Send at a steady rate; what an outage held up is sent at once."""
        chance, ids, due = self._chance["events"], self.books.events, 0.0
        began = time.monotonic()
        while not self._over["events"].wait(PERIOD_SECONDS):
            due = self._rate * (time.monotonic() - began)
            batch = [f"e{number}" for number in range(len(ids), int(due))]
            log.append_many(EVENTS, [(name.encode(), make_event(name, chance)) for name in batch])
            ids += batch
            if chance.random() < 0.02:
                self._bad(log, EVENTS, chance.choice(BAD_EVENTS))

    def _answer(self, log: KafkaLog) -> None:
        """Answer late, sometimes not at all, sometimes twice; until told to stop, then all that is due."""
        desk = _Desk(self._chance["answers"])
        options = self._group.options
        consumer = KafkaConsumer(**options.consumer())
        with closing(consumer):
            places = [TopicPartition(options.topic(LABEL_REQUESTS), p) for p in range(PARTITIONS)]
            consumer.assign(places)
            for place in places:
                consumer.seek(place, 0)
            while not self._over["answers"].is_set():
                with suppress(KafkaError):  # a broker is away
                    for records in consumer.poll(100).values():
                        for record in records:
                            desk.take(json.loads(record.value))
                self._give(log, desk.due(time.monotonic()))
                if desk.chance.random() < 0.01:
                    self._bad(log, LABEL_REPLIES, desk.chance.choice(BAD_REPLIES))
        self._give(log, desk.due(float("inf")))

    def _give(self, log: KafkaLog, answers: list[tuple[bool, dict[str, Any]]]) -> None:
        for valid, reply in answers:
            value = json.dumps(reply).encode()
            if valid:
                log.append(LABEL_REPLIES, reply["reply_id"].encode(), value)
                self.books.replies += 1
            else:
                self._bad(log, LABEL_REPLIES, value)


class _Desk:
    """Requests that lie on somebody's desk until their answers are due."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self._answers: list[tuple[float, int, bool, dict[str, Any]]] = []
        self._made = 0

    def take(self, request: dict[str, Any]) -> None:
        """Plan what will be answered to a request."""
        chance = self.chance
        delay = TTL_SECONDS + 1 if chance.random() < 0.1 else chance.uniform(0.1, TTL_SECONDS)
        if chance.random() < FORGED:
            ticket = request["ticket"]
            self._plan(delay, valid=False, reply=self._reply(request, "mallory") | {"ticket": ticket[::-1]})
        if chance.random() < NEVER:
            return
        reply = self._reply(request, "ann")
        self._plan(delay, valid=True, reply=reply)
        if chance.random() < TWICE:
            self._plan(2 * delay, valid=True, reply=reply)
        if chance.random() < SECOND_PERSON:
            self._plan(delay + 0.5, valid=True, reply=self._reply(request, "bob"))

    def due(self, now: float) -> list[tuple[bool, dict[str, Any]]]:
        """Return the answers that are due, whether each is valid, and forget them."""
        found = []
        while self._answers and self._answers[0][0] <= now:
            found.append(heapq.heappop(self._answers)[2:])
        return found

    def _plan(self, delay: float, *, valid: bool, reply: dict[str, Any]) -> None:
        self._made += 1
        heapq.heappush(self._answers, (time.monotonic() + delay, self._made, valid, reply))

    def _reply(self, request: dict[str, Any], who: str) -> dict[str, Any]:
        """Return a reply with the truth, with one error in ten."""
        chance = self.chance
        reply = {
            "kind": "reply",
            "reply_id": f"{request['request_id']}-{who}",
            "ticket": request["ticket"],
            "annotator_id": who,
        }
        status = chance.choices(["labelled", "skipped", "unsure"], [18, 1, 1])[0]
        if status != "labelled":
            return reply | {"status": status}
        truth = (request["event"]["features"]["x"] > 0) != (chance.random() < 0.1)
        return reply | {"label": "right" if truth else "left"}
