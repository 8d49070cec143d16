"""Which label requests still want an answer: an index over the log, for people's queues.

It follows two topics, requests and replies, and holds a few dozen bytes a request; what is published is
read from the log again when it is shown. So it needs no store of its own, and every reader of the log can
have one. It serves people; the model never depends on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from stream_al.decode import decode_json, decode_reply
from stream_al.log.protocol import LABEL_REPLIES, LABEL_REQUESTS, Log, Record
from stream_al.ticket import TicketOffice
from stream_al_consumers.cursor import Cursor
from stream_al_schemas import Control, LabelReply, LabelRequest

CHUNK = 500
SLACK_MS = 3_600_000
"""Clocks of a log's writers may differ by this much."""


@dataclass(slots=True)
class _Request:
    """What is remembered of a request: where it stands, how urgent it is, who answered."""

    partition: int
    offset: int
    priority: int
    asked_at: int
    expires_at: int
    overlap: int
    answered_by: set[str] = field(default_factory=set)


class OpenRequests:
    """The requests of a log that are neither answered nor expired.

    An answer of any status counts, also "skipped": a person looked at it. With ``overlap = k`` a request
    stays open until k different people have answered. Whatever else stands in the two topics is passed over:
    no record, however made, stops the queue.

    Parameters
    ----------
    log : Log
        Used by the caller's thread only.
    office : TicketOffice
        Tells real tickets: a forged reply closes nothing.
    ttl_seconds : int
        The configured wish; older requests are not even read.
    clock_ms : callable
    labels : sequence of str
        Declared labels, which the fold takes whether or not they were offered.
    open_labels : bool
        Whether it takes any label.

    Attributes
    ----------
    skipped : int
        Records that were no request, and replies that the fold refuses.
    """

    def __init__(
        self,
        log: Log,
        office: TicketOffice,
        ttl_seconds: int,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        *,
        labels: Sequence[str] = (),
        open_labels: bool = False,
    ) -> None:
        self.skipped = 0
        self._log = log
        self._office = office
        self._clock_ms = clock_ms
        self._labels = set(labels)
        self._open_labels = open_labels
        self._open: dict[str, _Request] = {}
        since = clock_ms() - 1000 * ttl_seconds
        self._requests = [
            Cursor(log, LABEL_REQUESTS, p, _first_since(log, LABEL_REQUESTS, p, since))
            for p in range(log.partitions(LABEL_REQUESTS))
        ]
        begin = _first_since(log, LABEL_REPLIES, 0, since - SLACK_MS)
        self._replies = Cursor(log, LABEL_REPLIES, 0, begin)

    def __len__(self) -> int:
        return len(self._open)

    def refresh(self) -> None:
        """Read what was written since the last time, and leave out what has expired."""
        # replies only up to an end that is older than the requests read: each then finds its request
        end = self._replies.end()
        for cursor in self._requests:
            while records := cursor.take(CHUNK):
                for record in records:
                    self._take(self._enter, record)
        while records := self._replies.take(CHUNK, end):
            for record in records:
                self._take(self._note_reply, record)
        now = self._clock_ms()
        for identity in [i for i, request in self._open.items() if request.expires_at <= now]:
            del self._open[identity]

    def best(self, count: int, annotator_id: str | None = None) -> list[Record]:
        """Return the most urgent open requests as they were published, older ones first among equals.

        Parameters
        ----------
        count : int
        annotator_id : str, optional
            Leaves out what this person has answered already.
        """
        ranked = sorted(
            (r for r in self._open.values() if annotator_id is None or annotator_id not in r.answered_by),
            key=lambda r: (-r.priority, r.asked_at, r.partition, r.offset),
        )
        found: list[Record] = []
        for request in ranked:
            if len(found) >= count:
                break
            records = self._log.tail(LABEL_REQUESTS, request.partition, request.offset, 1)
            if records and records[0].offset == request.offset:  # else retention has taken it
                found.append(records[0])
        return found

    def _take(self, note: Callable[[Record], None], record: Record) -> None:
        """Note a record; one that cannot be read is counted, and the queue goes on behind it."""
        try:
            note(record)
        except Exception:  # people wait for the others: nothing that a stranger wrote may end this
            self.skipped += 1

    def _enter(self, record: Record) -> None:
        """Enter a request with the terms of its ticket: those are what the fold goes by."""
        request = LabelRequest.model_validate(decode_json(record.value))
        ticket = self._office.verify(request.ticket)
        if ticket.request_id != str(request.request_id):
            raise ValueError("the ticket is another request's")
        # log time lags behind on a slow stream: nobody could answer before the request was written
        asked_at = max(ticket.asked_at, record.timestamp_ms)
        self._open[ticket.request_id] = _Request(
            record.partition,
            record.offset,
            request.priority,
            ticket.asked_at,
            asked_at + 1000 * ticket.ttl_seconds,
            ticket.overlap,
        )

    def _note_reply(self, record: Record) -> None:
        """Count a reply's voter, judged as the fold judges it."""
        reply = decode_reply(record.value)
        if isinstance(reply, Control):
            self._labels.update(reply.add_labels or ())
        if not isinstance(reply, LabelReply) or reply.ticket is None:
            return
        ticket = self._office.verify(reply.ticket)
        if ticket.asked_at > record.timestamp_ms + SLACK_MS:
            raise ValueError("the ticket was issued after the reply")
        request = self._open.get(ticket.request_id)
        if request is None:
            return
        known = self._open_labels or reply.label in ticket.labels or reply.label in self._labels
        if reply.label is not None and not known:
            raise ValueError("the label was not offered")
        request.answered_by.add(reply.annotator_id)
        if len(request.answered_by) >= request.overlap:
            del self._open[ticket.request_id]


def _first_since(log: Log, topic: str, partition: int, moment_ms: int) -> int:
    """Return an offset before which every record is older than a moment, by bisection."""
    low, high = log.bounds(topic, partition)
    while low < high:
        middle = (low + high) // 2
        records = log.tail(topic, partition, middle, 1)
        if records and records[0].timestamp_ms < moment_ms:
            low = records[0].offset + 1
        else:
            high = middle
    return low
