"""Traffic for a service that is being killed, with exact books.

Everything that was sent and acknowledged is entered; a call whose connection broke is neither believed nor
doubted: once that service is dead, the log itself says whether the call was taken, and if not it is
made again. So at the end the log must hold what the books say, no record more or less.
"""

from __future__ import annotations

import heapq
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmarks.kill_lives import Lives
from stream_al.log.protocol import EVENTS, LABEL_REPLIES, LABEL_REQUESTS
from stream_al.log.sqlite import SqliteLog

PARTITIONS = 2
TTL_SECONDS = 1
PAUSE_SECONDS = 0.1
CALL_SECONDS = 30.0
BAD_EVENTS = (b"not json", b'{"features": {"x": 1}}', b'{"event_id": "bad", "features": []}', b"\xff\xfe")
BAD_REPLIES = (b"not json", b"[1]", b'{"kind": "reply", "reply_id": "r"}', b'{"kind": "other"}')

Place = tuple[str, int, int]


class NotSent(Exception):
    """Nobody listened: the call was not made."""


class Unknown(Exception):
    """The connection broke during the call; ``life`` is the service that had it."""

    def __init__(self, life: int) -> None:
        super().__init__(f"life {life}")
        self.life = life


@dataclass
class Books:
    """What must stand in the log at the end.

    Attributes
    ----------
    events, replies : Counter
        Copies by event id and by reply id.
    bad : set of (topic, partition, offset)
        Records that must become dead letters.
    seen : dict
        Predictions as readers saw them over HTTP, by partition, in order.
    calls : Counter
        Calls by path and status; ``"unknown"`` where the connection broke.
    wrong : list of str
        What was against a promise.
    """

    events: Counter[str] = field(default_factory=Counter)
    replies: Counter[str] = field(default_factory=Counter)
    bad: set[Place] = field(default_factory=set)
    seen: dict[int, list[tuple[int, Any]]] = field(default_factory=lambda: {p: [] for p in range(PARTITIONS)})
    calls: Counter[str] = field(default_factory=Counter)
    taken_unanswered: int = 0
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def complain(self, what: str) -> None:
        """Note a broken promise, the first hundred."""
        with self.lock:
            if len(self.wrong) < 100:
                self.wrong.append(what)


class Client:
    """One thread's way to the service and to the log.

    Parameters
    ----------
    lives : Lives
    books : Books
    path : Path
        The log.
    chance : random.Random
    stop : Event
        Set when no new traffic is wanted; what was begun is finished.
    """

    def __init__(
        self, lives: Lives, books: Books, path: Path, chance: random.Random, stop: threading.Event
    ) -> None:
        self.books, self.chance, self.stop = books, chance, stop
        self.log = SqliteLog(path)
        self._lives = lives

    def call(self, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Return status and body of one call.

        Raises
        ------
        NotSent, Unknown
        """
        name = path.partition("?")[0]
        connection = HTTPConnection("127.0.0.1", self._lives.port, timeout=CALL_SECONDS)
        with closing(connection):
            try:
                connection.connect()
            except OSError:
                self._count(name, "not sent")
                raise NotSent from None
            # a life's socket is closed before the next one is counted: this is the one we talk to, or a later
            life = self._lives.number
            try:
                connection.request("GET" if body is None else "POST", path, body)
                response = connection.getresponse()
                found = response.status, response.read()
            except (OSError, HTTPException):
                self._count(name, "unknown")
                raise Unknown(life) from None
        self._count(name, str(found[0]))
        if b"database is locked" in found[1]:
            self.books.complain(f"{name}: database is locked")
        return found

    def _count(self, name: str, status: str) -> None:
        with self.books.lock:
            self.books.calls[f"{name} {status}"] += 1

    def post(self, path: str, topic: str, items: dict[str, bytes]) -> None:
        """Post messages until it is certain that they stand in the log, once."""
        body = b"[" + b",".join(items.values()) + b"]"
        while True:
            ends = {p: self.log.bounds(topic, p)[1] for p in range(self.log.partitions(topic))}
            try:
                status, answer = self.call(path, body)
                if status == 202:
                    return
                if status != 503:
                    self.books.complain(f"{path} answered {status}: {answer[:200]!r}")
            except NotSent:
                self.stop.wait(0.02)
                continue
            except Unknown as broken:
                if not self._lives.await_end(broken.life):
                    self.books.complain(f"{path}: connection broken, but service {broken.life} lives on")
            found = self._copies(topic, ends, items)
            if found == len(items):
                self.books.taken_unanswered += 1
                return
            if found:
                self.books.complain(f"{path} took {found} of {len(items)} messages")

    def _copies(self, topic: str, ends: dict[int, int], items: dict[str, bytes]) -> int:
        keys = {identity.encode() for identity in items}
        found = 0
        for partition, start in ends.items():
            while records := self.log.tail(topic, partition, start, 500):
                found += sum(record.key in keys for record in records)
                start = records[-1].offset + 1
        return found

    def refused(self, path: str, body: bytes) -> None:
        """Post something bad: it must be refused, whoever is alive to do so."""
        try:
            status, answer = self.call(path, body)
        except (NotSent, Unknown):
            return
        if status not in (422, 503):
            self.books.complain(f"{path} answered {status} to {body[:80]!r}: {answer[:200]!r}")

    def append_bad(self, topic: str, value: bytes) -> None:
        """Append something that must become a dead letter."""
        place = self.log.append(topic, None, value)
        with self.books.lock:
            self.books.bad.add((topic, place.partition, place.offset))


def make_event(name: str, chance: random.Random) -> bytes:
    """Return an event of two numbers and a name; the label is told by the first number's sign."""
    features = {
        "x": round(chance.gauss(0, 1), 4),
        "y": round(chance.gauss(0, 1), 4),
        "kind": chance.choice("abc"),
    }
    return json.dumps({"event_id": name, "features": features}).encode()


def send_events(client: Client, name: str, *, over_http: bool) -> None:
    """Send events until told to stop, now and then one twice and now and then a bad one."""
    chance, books, number = client.chance, client.books, 0
    while not client.stop.wait(chance.uniform(0, PAUSE_SECONDS)):
        items: dict[str, bytes] = {}
        for _ in range(chance.randint(1, 12)):
            number += 1
            items[f"{name}{number}"] = make_event(f"{name}{number}", chance)
        if over_http:
            client.post("/v1/events", EVENTS, items)
            if chance.random() < 0.05:
                client.refused("/v1/events", chance.choice(BAD_EVENTS))
        else:
            pairs = [(key.encode(), value) for key, value in items.items()]
            if chance.random() < 0.05:  # a producer's retry
                pairs.append(pairs[-1])
                books.events[pairs[-1][0].decode()] += 1
            client.log.append_many(EVENTS, [(key, value) for key, value in pairs])
            if chance.random() < 0.1:
                client.append_bad(EVENTS, chance.choice(BAD_EVENTS))
        books.events.update(items.keys())


class Answerer:
    """People who answer requests: soon or late, once or twice, by either way; and forgers."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._positions = dict.fromkeys(range(PARTITIONS), 0)
        self._due: list[tuple[float, int, str, dict[str, Any]]] = []
        self._made = 0

    def run(self) -> None:
        """Answer until told to stop; then what is due at once."""
        client = self._client
        while not client.stop.wait(0.02):
            self._look()
            while self._due and self._due[0][0] <= time.monotonic():
                self._give(*heapq.heappop(self._due)[2:])
            if client.chance.random() < 0.02:
                client.append_bad(LABEL_REPLIES, client.chance.choice(BAD_REPLIES))
            if client.chance.random() < 0.02:
                self._volunteer()

    def _look(self) -> None:
        log, chance = self._client.log, self._client.chance
        for partition, start in self._positions.items():
            for record in log.tail(LABEL_REQUESTS, partition, start, 100):
                self._positions[partition] = record.offset + 1
                request = json.loads(record.value)
                delay = TTL_SECONDS + 0.2 if chance.random() < 0.1 else chance.uniform(0, 0.3)
                if chance.random() < 0.1:
                    self._forge(request["ticket"])
                if chance.random() > 0.05:
                    self._plan(delay, request, "ann")
                if chance.random() < 0.1:
                    self._plan(2 * delay, request, "bob")

    def _plan(self, delay: float, request: dict[str, Any], who: str) -> None:
        chance = self._client.chance
        truth = (request["event"]["features"]["x"] > 0) != (chance.random() < 0.1)
        reply: dict[str, Any] = {
            "kind": "reply",
            "reply_id": f"{request['request_id']}-{who}",
            "ticket": request["ticket"],
            "annotator_id": who,
        }
        status = chance.choices(["labelled", "skipped", "unsure"], [18, 1, 1])[0]
        reply |= {"label": "right" if truth else "left"} if status == "labelled" else {"status": status}
        for copy in range(2 if chance.random() < 0.15 else 1):
            self._made += 1
            due_at = time.monotonic() + delay * (copy + 1)
            heapq.heappush(self._due, (due_at, self._made, chance.choice(["http", "append"]), reply))

    def _give(self, way: str, reply: dict[str, Any]) -> None:
        client, value = self._client, json.dumps(reply).encode()
        if way == "http":
            client.post("/v1/replies", LABEL_REPLIES, {reply["reply_id"]: value})
        else:
            client.log.append(LABEL_REPLIES, reply["reply_id"].encode(), value)
        client.books.replies[reply["reply_id"]] += 1

    def _forge(self, ticket: str) -> None:
        client, chance = self._client, self._client.chance
        key, body, mac = ticket.split(".")
        forged = chance.choice(
            [f"{key}.{body}.{mac[::-1]}", f"other.{body}.{mac}", f"{key}.{body[:-8]}.{mac}", "no ticket"]
        )
        reply = {"reply_id": "forged", "ticket": forged, "label": "left", "annotator_id": "mallory"}
        if chance.random() < 0.2:
            reply |= {"ticket": ticket, "label": "a label that nobody offered"}
        value = json.dumps(reply).encode()
        client.refused("/v1/replies", value)
        client.append_bad(LABEL_REPLIES, value)

    def _volunteer(self) -> None:
        """Append a label that nobody asked for."""
        client = self._client
        self._made += 1
        name = f"organic{self._made}"
        event = json.loads(make_event(name, client.chance))
        label = "right" if event["features"]["x"] > 0 else "left"
        reply = {"reply_id": name, "event": event, "label": label, "annotator_id": "import"}
        client.post("/v1/replies", LABEL_REPLIES, {name: json.dumps(reply).encode()})
        client.books.replies[name] += 1


def read_predictions(client: Client) -> None:
    """Follow the predictions over HTTP; each must come once, in order."""
    after = dict.fromkeys(range(PARTITIONS), -1)
    while not client.stop.is_set():
        for partition in range(PARTITIONS):
            query = f"partition={partition}&after={after[partition]}&max=1000&wait=0.2"
            try:
                status, body = client.call(f"/v1/predictions?{query}")
            except (NotSent, Unknown):
                client.stop.wait(0.02)
                continue
            if status != 200:
                client.books.complain(f"/v1/predictions answered {status}: {body[:200]!r}")
                continue
            page = json.loads(body)
            client.books.seen[partition] += [(p["offset"], p["prediction"]) for p in page["predictions"]]
            after[partition] = page["after"]


def look_around(client: Client) -> None:
    """Ask for everything else that can be asked for."""
    event = json.loads(make_event("a look", client.chance))
    calls: list[tuple[str, bytes | None]] = [
        ("/livez", None),
        ("/readyz", None),
        ("/status", None),
        ("/status?fingerprint=1", None),
        ("/metrics", None),
        ("/v1/requests?max=20", None),
        (f"/v1/predictions?event_id={quote('no such event')}", None),
        ("/v1/score", json.dumps([event] * 5).encode()),
        ("/v1/asking", b'{"chosen": true}'),
    ]
    while not client.stop.wait(client.chance.uniform(0, PAUSE_SECONDS)):
        path, body = client.chance.choice(calls)
        try:
            status, answer = client.call(path, body)
        except (NotSent, Unknown):
            continue
        if status not in (200, 202, 503):
            client.books.complain(f"{path} answered {status}: {answer[:200]!r}")


class Traffic:
    """All of it, each kind in a thread and with a log handle of its own."""

    def __init__(self, lives: Lives, books: Books, path: Path, seed: int) -> None:
        self._stop = threading.Event()
        self._books = books
        self._threads = []
        jobs: list[Callable[[Client], None]] = [
            lambda client: send_events(client, "posted-", over_http=True),
            lambda client: send_events(client, "appended-", over_http=False),
            lambda client: Answerer(client).run(),
            read_predictions,
            look_around,
        ]
        for number, job in enumerate(jobs):
            client = Client(lives, books, path, random.Random(f"{seed}/{number}"), self._stop)
            self._threads.append(threading.Thread(target=self._run, args=(job, client), daemon=True))

    def _run(self, job: Callable[[Client], None], client: Client) -> None:
        try:
            with closing(client.log):
                job(client)
        except Exception as error:
            self._books.complain(f"traffic ended with {error!r}")

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Wait until what was begun is certain; a service must be alive."""
        self._stop.set()
        for thread in self._threads:
            thread.join(4 * CALL_SECONDS)
            if thread.is_alive():
                self._books.complain("traffic does not end")
