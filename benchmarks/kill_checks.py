"""What must be true of a log after its service was killed many times, worked out from the file.

Plain SQL and JSON wherever a promise can be checked so; the program's own code only where the promise is
about that code: states that decode, a model that the log alone gives again, decisions that repeat.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from base64 import b64decode, urlsafe_b64decode
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.kill_traffic import PARTITIONS, TTL_SECONDS, Books
from stream_al.build import build_engine, build_learner
from stream_al.checkpoint import identity, load_base
from stream_al.log.protocol import DEAD_LETTERS, EVENTS, LABEL_REPLIES, LABEL_REQUESTS, PREDICTIONS
from stream_al.log.sqlite import SqliteLog
from stream_al.query.ledger import TOKEN
from stream_al.replay import fold_to, replay_decisions
from stream_al.settings import Settings


class Row(NamedTuple):
    """A record as it stands in the file."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes


@dataclass
class Checks:
    """Checks of one log.

    Parameters
    ----------
    path : Path
    settings : Settings
    books : Books
    status : dict
        What ``/status?fingerprint=1`` said last.

    Attributes
    ----------
    figures : dict
        What was counted.
    failed : list of str
        What does not hold.
    """

    path: Path
    settings: Settings
    books: Books
    status: dict[str, Any]
    figures: dict[str, Any] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Check everything."""
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as connection:
            self._equal("integrity", connection.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
            self._events = {p: _rows(connection, EVENTS, p) for p in range(PARTITIONS)}
            self._predictions = {p: _rows(connection, PREDICTIONS, p) for p in range(PARTITIONS)}
            self._requests = {p: _rows(connection, LABEL_REQUESTS, p) for p in range(PARTITIONS)}
            self._replies = _rows(connection, LABEL_REPLIES, 0)
            self._letters = [json.loads(row.value) for row in _rows(connection, DEAD_LETTERS, 0)]
            self._progress = connection.execute("SELECT * FROM progress ORDER BY partition").fetchall()
        self._books_agree()
        self._one_prediction_each()
        self._one_request_each()
        self._budget()
        self._dead_letters()
        self._outcomes()
        with closing(SqliteLog(self.path)) as log:
            self._states(log)
            self._models(log)
            self._decisions(log)
        self.failed += self.books.wrong

    def _equal(self, what: str, found: object, expected: object) -> None:
        if found != expected:
            self.failed.append(f"{what}: found {str(found)[:300]}, expected {str(expected)[:300]}")

    def _good(self, partition: int) -> list[Row]:
        bad = self.books.bad
        return [row for row in self._events[partition] if (EVENTS, partition, row.offset) not in bad]

    def _books_agree(self) -> None:
        """Nothing that was acknowledged is lost, nothing stands in the log that was not sent."""
        events = Counter(json.loads(row.value)["event_id"] for p in self._events for row in self._good(p))
        bad = self.books.bad
        replies = Counter(
            row.key.decode()
            for row in self._replies
            if row.key is not None
            and (LABEL_REPLIES, 0, row.offset) not in bad
            and json.loads(row.value).get("kind", "reply") == "reply"
        )
        self._equal("events beyond the books", events - self.books.events, Counter())
        self._equal("events lost", self.books.events - events, Counter())
        self._equal("replies beyond the books", replies - self.books.replies, Counter())
        self._equal("replies lost", self.books.replies - replies, Counter())
        self.figures |= {"events": events.total(), "sent_twice": events.total() - len(events)}
        self.figures |= {"replies": replies.total()}

    def _one_prediction_each(self) -> None:
        """The n-th valid event has the n-th prediction; readers saw the same, once, in order."""
        seen = 0
        for p in range(PARTITIONS):
            events = [json.loads(row.value)["event_id"] for row in self._good(p)]
            predictions = [(row.offset, json.loads(row.value)) for row in self._predictions[p]]
            predicted = [prediction["event_id"] for _, prediction in predictions]
            if predicted != events:
                at = next((i for i, (a, b) in enumerate(zip(predicted, events, strict=False)) if a != b), "-")
                self.failed.append(
                    f"partition {p}: {len(predicted)} predictions of {len(events)} events, "
                    f"the first difference at {at}"
                )
            versions = [prediction["model_version"] for _, prediction in predictions]
            self._equal(f"partition {p}: model position goes back", versions, sorted(versions))
            read = self.books.seen[p]
            self._equal(f"partition {p}: predictions as read", read == predictions[: len(read)], True)
            seen += len(read)
        self.figures |= {"predictions": sum(map(len, self._predictions.values())), "read_over_http": seen}

    def _one_request_each(self) -> None:
        """Requests are the predictions that say "asked", and none stands twice."""
        identities: list[str] = []
        for p in range(PARTITIONS):
            requests = [json.loads(row.value) for row in self._requests[p]]
            predictions = [json.loads(row.value) for row in self._predictions[p]]
            asked = [prediction["event_id"] for prediction in predictions if prediction["asked"]]
            self._equal(f"partition {p}: asked", [r["event"]["event_id"] for r in requests], asked)
            self._equal(f"partition {p}: events asked once", len(set(asked)), len(asked))
            identities += [request["request_id"] for request in requests]
        self._equal("request ids are unique", len(set(identities)), len(identities))
        self.figures["requests"] = len(identities)

    def _budget(self) -> None:
        """At every prefix: asked <= share * events + capacity/2 + the partition's part of the credit."""
        query = self.settings.query
        excess = []
        for p in range(PARTITIONS):
            grant = query.capacity / 2 + query.credit / PARTITIONS
            asked = 0
            for n, row in enumerate(self._predictions[p], 1):
                asked += json.loads(row.value)["asked"]
                excess.append(asked - query.budget * n - grant)
        worst = max(excess, default=0.0)
        self.figures["worst_excess_of_bound"] = round(worst, 3)
        if worst > 1e-6:
            self.failed.append(f"budget: {worst:.3f} requests above the bound at some prefix")

    def _dead_letters(self) -> None:
        """One dead letter for each bad record, with the digest of its bytes; none else."""
        values = {(EVENTS, p, row.offset): row.value for p, rows in self._events.items() for row in rows}
        values |= {(LABEL_REPLIES, 0, row.offset): row.value for row in self._replies}
        places: Counter[tuple[str, int, int]] = Counter()
        for letter in self._letters:
            source = letter["source"]
            place = (source["topic"], source["partition"], source["offset"])
            places[place] += 1
            value = values[place]
            kept = b64decode(letter["value"])
            if (letter["sha256"], letter["length"], kept) != (sha256(value).hexdigest(), len(value), value):
                self.failed.append(f"the dead letter of {place} has other bytes")
        self._equal("dead letters too many", places - Counter(self.books.bad), Counter())
        self._equal("dead letters missing", Counter(self.books.bad) - places, Counter())
        self.figures["dead_letters"] = len(self._letters)

    def _outcomes(self) -> None:
        """Count again what became of the replies, with one vote a person and request; overlap is 1."""
        outcomes: Counter[str] = Counter()
        voters: dict[str, set[str]] = {}
        closed: set[str] = set()
        now = 0
        for row in self._replies:
            now = max(now, row.timestamp_ms)
            if (LABEL_REPLIES, 0, row.offset) in self.books.bad:
                continue
            reply = json.loads(row.value)
            if reply.get("kind", "reply") != "reply":
                continue
            if "event" in reply:
                outcomes["organic"] += 1
                continue
            ticket = json.loads(urlsafe_b64decode(reply["ticket"].split(".")[1]))
            request, who = ticket["request_id"], reply["annotator_id"]
            if who in voters.setdefault(request, set()):
                outcomes["duplicate"] += 1
                continue
            voters[request].add(who)
            if request in closed:
                outcomes["surplus"] += 1
            elif reply.get("label") is None:
                outcomes[reply["status"]] += 1
            else:
                closed.add(request)
                outcomes["learned"] += 1
                outcomes["late"] += now - ticket["asked_at"] > 1000 * TTL_SECONDS
        said = self.status["replies"]
        bad = sum(topic == LABEL_REPLIES for topic, _, _ in self.books.bad)
        self._equal("outcomes", {name: said.get(name, 0) for name in outcomes}, dict(outcomes))
        self._equal("bad replies", sum(said.values()) - outcomes.total(), bad)
        self.figures["outcomes"] = dict(said)

    def _states(self, log: SqliteLog) -> None:
        """The committed states decode, and say what the log says."""
        policy = build_engine(self.settings, log).policy
        self._equal("partitions with a state", [p for p, _, _ in self._progress], list(range(PARTITIONS)))
        for p, following, text in self._progress:
            state = policy.decode(text)
            self._equal(f"partition {p}: S again", policy.encode(state), text)
            self._equal(f"partition {p}: next offset", following, len(self._events[p]))
            self._equal(f"partition {p}: events in S", state.events, len(self._predictions[p]))
            self._equal(f"partition {p}: asked in S", state.asked, len(self._requests[p]))
            self._equal(f"partition {p}: spent", state.ledger.spent, state.asked * TOKEN)
            self._equal(f"partition {p}: ledger balanced", state.ledger.balanced(), True)

    def _models(self, log: SqliteLog) -> None:
        """The live model is the fold of the whole log, and that of each base and the tail behind it."""
        end = log.bounds(LABEL_REPLIES, 0)[1]
        live = self.status["model"]
        self._equal("position", live["position"], end)
        self._equal("fold from 0", fold_to(log, build_learner(self.settings), end), live["fingerprint"])
        bases = sorted(self.path.with_name(self.path.name + ".bases").glob("base-*"))
        tails = []
        for base in bases:
            alone = self.path.with_name("one-base")
            shutil.rmtree(alone, ignore_errors=True)
            shutil.copytree(base, alone / base.name)
            learner = build_learner(self.settings)
            name = identity(learner, self.settings.model.name, self.settings.seed)
            tails.append(end - load_base(alone, learner, name))
            self._equal(f"{base.name} + tail", fold_to(log, learner, end), live["fingerprint"])
        if not any(0 < tail < end for tail in tails):
            self.failed.append(f"no base with a tail behind it was made: tails {tails} of {end}")
        self.figures |= {"position": end, "tails_behind_bases": tails, "fingerprint": live["fingerprint"]}

    def _decisions(self, log: SqliteLog) -> None:
        """Every prediction and request comes out again, byte for byte, at its recorded model position."""
        compared = replay_decisions(log, lambda scripted: build_engine(self.settings, scripted))
        self._equal("decisions again", compared.difference, None)
        self.figures["outputs_repeated"] = compared.outputs


def _rows(connection: sqlite3.Connection, topic: str, partition: int) -> list[Row]:
    found = connection.execute(f'SELECT * FROM "{topic}-{partition}" ORDER BY offset')
    return [Row(*row) for row in found]
