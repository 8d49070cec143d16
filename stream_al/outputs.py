"""What a tick writes: predictions, label requests, samples, dead letters, all in one commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha1, sha256
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import orjson

from stream_al.decode import DecodedEvent, dead_letter
from stream_al.encode import EncodedInput
from stream_al.errors import InvalidMessage
from stream_al.learner import Learner, Scored
from stream_al.log.protocol import (
    DEAD_LETTERS,
    LABEL_REPLIES,
    LABEL_REQUESTS,
    PREDICTIONS,
    Output,
    Record,
)
from stream_al.query.batched import BatchAsk
from stream_al.query.block import MILLION, NO_LABEL
from stream_al.query.coin import Coin
from stream_al.query.policy import Decision
from stream_al.query.state import QueryState
from stream_al.query.window import SCALE
from stream_al.ticket import BACKLOG, BATCH, Ticket, Totals, claimed
from stream_al.work import Held

# Builds an Output in C: a third of the time of Output(...), once an event.
_output: Callable[[tuple[object, ...]], Output] = partial(tuple.__new__, Output)
REQUESTS = uuid5(NAMESPACE_URL, "stream-al/label-requests")
MAX_KEY_BYTES = 4_096
"""Longer keys are written as their digest: any producer chooses a key, and a topic has its limit."""
DIGITS = 6
"""Decimals of probabilities in messages."""


def request_id(topic: str, event_id: str) -> str:
    """Return the request's id, a UUID of version 5: the same event asked twice is the same request.

    Written out by hand (RFC 9562, section 5.5): making a UUID object takes longer than the digest.

    >>> request_id("events", "e-1") == str(uuid5(REQUESTS, "events\\0e-1"))
    True
    """
    digest = bytearray(sha1(REQUESTS.bytes + f"{topic}\0{event_id}".encode(), usedforsecurity=False).digest())
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest[:16].hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_backlog(request: bytes) -> bool:
    """Return whether a published request is the backlog's: no engine made it, and none remembers it."""
    try:
        return claimed(orjson.loads(request)["ticket"]).get("channel") == BACKLOG
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def bounded_key(key: bytes | None) -> bytes | None:
    """Return a record's key for what is written about it; a key beyond all reason as ``sha256:`` and digits.

    >>> bounded_key(b"user-7"), len(bounded_key(b"x" * 10**7))
    (b'user-7', 71)
    """
    if key is None or len(key) <= MAX_KEY_BYTES:
        return key
    return b"sha256:" + sha256(key).hexdigest().encode()


def dead_letter_output(record: Record, stage: str, error: InvalidMessage) -> Output:
    """Return the record that keeps a bad one; it failed at its own log time, however the stream is cut."""
    failed_at = max(0, record.timestamp_ms)
    letter = dead_letter(record, "event" if stage == "event" else "reply", error, failed_at)
    return Output(DEAD_LETTERS, 0, bounded_key(record.key), letter.to_json())


class _Terms(NamedTuple):
    """How a request came about, besides its event and what was predicted."""

    propensity: float | None
    channel: str
    asked_at: int
    totals: Totals
    priority: int
    suggest: bool


class OutputWriter:
    """Turns decisions into messages.

    Parameters
    ----------
    learner : Learner
        For labels, the ticket office and the model position.
    predictions : {"all", "asked", "none"}
    overlap, ttl_seconds : int
    guidelines : str or None
    suggestion_share : float
        Share of the chosen asks that show the predicted label to people.
    seed : int
    """

    def __init__(
        self,
        learner: Learner,
        *,
        predictions: str = "all",
        overlap: int = 1,
        ttl_seconds: int = 7 * 86_400,
        guidelines: str | None = None,
        suggestion_share: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._learner = learner
        self._predictions = predictions
        self._overlap = overlap
        self._ttl_seconds = ttl_seconds
        self._guidelines = guidelines
        self._suggestion_share = suggestion_share
        self._suggestion_coin = Coin("suggestion", seed)

    def write(
        self,
        partition: int,
        events: Sequence[tuple[Record, DecodedEvent]],
        encoded: Sequence[EncodedInput],
        decisions: Sequence[Decision],
        scored: Scored,
        first_row: int,
        before: QueryState,
    ) -> list[Output]:
        """Return predictions and requests of one partition's batch, in offset order.

        ``first_row`` is the batch's first row in ``scored``; ``before`` the state before it, whose running
        totals the tickets carry on.
        """
        everything = self._predictions == "all"
        wanted = [i for i, decision in enumerate(decisions) if everything or decision.asked]
        rows = np.array(wanted, dtype=np.int64)
        labels, version = self._learner.labels, self._learner.position
        best = scored.best(first_row + rows)
        probabilities = np.round(scored.shown[first_row + rows], DIGITS).tolist()
        scores = np.array([decisions[i].score for i in wanted])
        uncertainty = np.round(scores / SCALE, DIGITS).tolist()
        outputs = []
        asked, inverse = before.asked, before.inverse_propensity
        blocked, counted = before.ledger.floor_blocked, 0
        for i, top, row, u in zip(wanted, best, probabilities, uncertainty, strict=True):
            (record, event), decision = events[i], decisions[i]
            label = None if top is None else labels[top]
            if decision.asked:
                assert decision.propensity is not None  # noqa: S101 - an ask that could be paid has one
                asked += 1
                inverse += 1.0 / decision.propensity
                blocked += sum(each.floor_blocked for each in decisions[counted : i + 1])
                counted = i + 1
                totals = Totals(asked, inverse, blocked)
                confidence = 0.0 if top is None else row[top]
                outputs.append(self._request(record, event, encoded[i], decision, label, confidence, totals))
            if self._predictions != "none":
                prediction = {
                    "schema_version": 1,
                    "event_id": event.event_id,
                    "label": label,
                    "probabilities": dict(zip(labels, row, strict=False)),
                    "uncertainty": u,
                    "model_version": version,
                    "asked": decision.asked,
                    "predicted_at": decision.now,
                }
                key = bounded_key(record.key)
                outputs.append(_output((PREDICTIONS, partition, key, orjson.dumps(prediction))))
        return outputs

    def late_request(self, held: Held, ask: BatchAsk) -> Output:
        """Return a request of a block's end: asked now, and served what was served when the event passed."""
        _, _, _, served, confidence = ask.candidate
        label = None if served == NO_LABEL else self._learner.labels[served]
        return self._request(*held, ask.decision, label, confidence / MILLION, ask.totals, batch=True)

    def _request(
        self,
        record: Record,
        event: DecodedEvent,
        encoded: EncodedInput,
        decision: Decision,
        label: str | None,
        confidence: float,
        totals: Totals,
        *,
        batch: bool = False,
    ) -> Output:
        suggest = (
            label is not None
            and not decision.floor
            and self._suggestion_coin(event.event_id) < self._suggestion_share
        )
        terms = _Terms(
            propensity=decision.propensity or 1.0,
            channel=BATCH if batch else decision.channel,
            asked_at=decision.now,
            totals=totals,
            priority=round(100 * min(1.0, decision.rank)),
            suggest=suggest,
        )
        message = self._message(record, event, encoded, label, confidence, terms)
        return Output(LABEL_REQUESTS, record.partition, bounded_key(record.key), message)

    def backlog_request(
        self,
        record: Record,
        event: DecodedEvent,
        encoded: EncodedInput,
        label: str | None,
        confidence: float,
        score: float,
        asked_at: int,
    ) -> tuple[bytes | None, bytes]:
        """Return key and value of a request outside the stream's budget: it has no propensity.

        ``score`` (0 to 1) is its priority. It shows no suggestion: that share is the stream's.
        """
        terms = _Terms(None, BACKLOG, asked_at, Totals(0, 0.0, 0), round(100 * score), suggest=False)
        message = self._message(record, event, encoded, label, confidence, terms)
        return bounded_key(record.key), message

    def _message(
        self,
        record: Record,
        event: DecodedEvent,
        encoded: EncodedInput,
        label: str | None,
        confidence: float,
        terms: _Terms,
    ) -> bytes:
        """Return a label request with its ticket."""
        learner = self._learner
        identity = request_id(learner.office.topic, event.event_id)
        ticket = Ticket(
            request_id=identity,
            event_id=event.event_id,
            topic=learner.office.topic,
            partition=record.partition,
            offset=record.offset,
            labels=tuple(learner.labels),
            input=encoded.to_message(),
            weight=event.weight,
            served=label,
            confidence=confidence,
            propensity=terms.propensity,
            channel=terms.channel,
            overlap=self._overlap,
            ttl_seconds=self._ttl_seconds,
            resolve_by=terms.asked_at + 1000 * self._ttl_seconds,
            suggestion_shown=terms.suggest,
            model_version=learner.position,
            asked_at=terms.asked_at,
            totals=terms.totals,
        )
        message: dict[str, Any] = {
            "schema_version": 1,
            "request_id": identity,
            "event": event.raw,
            "labels": learner.labels,
            "priority": terms.priority,
            "overlap": self._overlap,
            "ttl_seconds": self._ttl_seconds,
            "asked_at": terms.asked_at,
            "ticket": learner.office.issue(ticket),
        }
        if terms.suggest:
            message["suggestion"] = label
        if self._guidelines:
            message["guidelines"] = self._guidelines
        return orjson.dumps(message)

    def sample(self, record: Record, event: DecodedEvent, encoded: EncodedInput, q: float) -> Output:
        """Return the sample of an event, for the scaler of every replica."""
        message = {
            "schema_version": 1,
            "kind": "sample",
            "event_id": event.event_id,
            "source": {
                "topic": self._learner.office.topic,
                "partition": record.partition,
                "offset": record.offset,
            },
            "input": encoded.to_message(),
            "q": q,
        }
        return Output(LABEL_REPLIES, 0, bounded_key(record.key), orjson.dumps(message))
