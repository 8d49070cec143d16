"""A simulated annotator on a real log: reads requests, waits as a person would, appends answers.

It acknowledges a request only when its answer is in the log, and the answers carry ids that are made of
request and annotator; so it may be killed at any moment and may answer twice, which the fold counts once.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter
from uuid import NAMESPACE_URL, uuid5

import orjson

from stream_al.annotators import Annotators, Delay
from stream_al.errors import ConfigurationError
from stream_al.log.protocol import LABEL_REPLIES, LABEL_REQUESTS, Log, Record
from stream_al.table import Table
from stream_al_schemas import LabelReply

CHUNK = 500
MAX_PENDING = 20_000
"""Requests that may wait for their moment; more stay unread in the log."""
REPLIES = uuid5(NAMESPACE_URL, "stream-al/simulated-replies")


def seconds_delay(delay: Delay) -> Delay:
    """Return the delay if it is one of real time.

    Raises
    ------
    ConfigurationError
        It counts events, which a live annotator does not see.
    """
    if delay.unit == "events" and delay.median > 0:
        raise ConfigurationError(
            f"the delay counts {delay.median:g} events; a live annotator needs a time, "
            "such as fixed:5s or lognormal:30s,1"
        )
    return delay


class SimulatedAnnotator:
    """Answers the requests of a log from a table's labels.

    Parameters
    ----------
    log : Log
    table : Table
        Knows the truth of the events that were made of it.
    people : Annotators
        Delay, silence and error.
    annotator_id : str
        Several annotators with ids of their own answer independently.
    idle_seconds : float
        How long to wait where there is nothing to do.

    Attributes
    ----------
    counts : dict
        Requests ``answered``, left ``unanswered``, and of events ``unknown`` to the table.
    """

    def __init__(
        self, log: Log, table: Table, people: Annotators, annotator_id: str, idle_seconds: float = 0.05
    ) -> None:
        self._log = log
        self._table = table
        self._people = people
        self._annotator_id = annotator_id
        self._idle_seconds = idle_seconds
        self._group = f"annotator:{annotator_id}"
        self._partitions = range(log.partitions(LABEL_REQUESTS))
        self._seen = 0
        self._waiting: list[tuple[float, int, Record, bytes | None]] = []
        self._dealt_with: dict[tuple[int, int], bool] = {}
        self._order: dict[int, list[Record]] = {p: [] for p in self._partitions}
        self._ends = dict.fromkeys(self._partitions, -1)
        self.counts: Counter[str] = Counter(answered=0, unanswered=0, unknown=0)

    def run(self, *, once: bool = False) -> None:
        """Answer until interrupted, or until no request is left."""
        while True:
            arrived = self._read()
            moment = time.time() * 1000
            due = []
            while self._waiting and self._waiting[0][0] <= moment:
                due.append(heapq.heappop(self._waiting)[2:])
            self._answer(due)
            if once and not (arrived or self._waiting):
                return
            if not (arrived or due):
                time.sleep(self._idle_seconds)

    def _read(self) -> bool:
        """Take up requests that were not seen before; return whether there were any."""
        ends = {p: self._log.bounds(LABEL_REQUESTS, p)[1] for p in self._partitions}
        if ends == self._ends or len(self._dealt_with) >= MAX_PENDING:
            return False
        fresh = [
            record
            for record in self._log.read(LABEL_REQUESTS, self._group, len(self._dealt_with) + CHUNK)
            if (record.partition, record.offset) not in self._dealt_with
        ]
        if not fresh:
            self._ends = ends
        for record in fresh:
            self._dealt_with[record.partition, record.offset] = False
            self._order[record.partition].append(record)
            due_at, reply = self._reply_to(record)
            self._seen += 1
            heapq.heappush(self._waiting, (due_at, self._seen, record, reply))
        return bool(fresh)

    def _reply_to(self, record: Record) -> tuple[float, bytes | None]:
        """Return when a request will be dealt with (ms since the epoch), and the answer, if any."""
        request = orjson.loads(record.value)
        event_id = request["event"]["event_id"]
        row = self._table.row_of(event_id)
        truth = None if row is None else self._table.label(row)
        if truth is None:
            self.counts["unknown"] += 1
            return 0.0, None
        answer = self._people.answer(f"{event_id}#{self._annotator_id}", truth, request["labels"])
        if answer is None:
            self.counts["unanswered"] += 1
            return 0.0, None
        reply = LabelReply(
            reply_id=str(uuid5(REPLIES, f"{request['request_id']}\0{self._annotator_id}")),
            ticket=request["ticket"],
            label=answer.label,
            annotator_id=self._annotator_id,
            tool="stream-al annotator",
        )
        return request["asked_at"] + answer.delay, reply.to_json()

    def _answer(self, due: list[tuple[Record, bytes | None]]) -> None:
        """Append the answers that are due, then acknowledge what is dealt with from the front on."""
        replies = [(record.key, reply) for record, reply in due if reply is not None]
        if replies:
            self._log.append_many(LABEL_REPLIES, replies)
            self.counts["answered"] += len(replies)
        for record, _ in due:
            self._dealt_with[record.partition, record.offset] = True
        for order in self._order.values():
            done = 0
            while done < len(order) and self._dealt_with[order[done].partition, order[done].offset]:
                done += 1
            if done:
                self._log.ack(self._group, order[:done])
                for record in order[:done]:
                    del self._dealt_with[record.partition, record.offset]
                del order[:done]
