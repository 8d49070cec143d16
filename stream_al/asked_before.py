"""Which events were asked about before, or have a label already: read from requests and replies.

Requests are forgotten by retention and replies are not, so both are read. Nothing is verified: who forges
a request or a reply here only keeps an event from being asked about once more.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from hashlib import blake2b
from typing import Any

import orjson

from stream_al.encode import EncodedInput, from_message
from stream_al.errors import InvalidTicket
from stream_al.log.protocol import LABEL_REPLIES, LABEL_REQUESTS, Log, Record
from stream_al.query.reservoir import SIZE
from stream_al.ticket import TicketOffice, claimed

CHUNK = 500
COVERED = 1_000
"""Newest requests of the whole log that are held for comparison, at least 64 a partition."""


class AskedBefore:
    """Ids of the events that a log has requests, answers or organic labels for.

    Eight bytes of digest an id are held, whatever else the log holds.

    Parameters
    ----------
    log : Log
    """

    def __init__(self, log: Log) -> None:
        partitions = log.partitions(LABEL_REQUESTS)
        kept = max(SIZE, COVERED // partitions)
        self._log = log
        self._ids: set[bytes] = set()
        self._newest = [deque[tuple[int, str]](maxlen=kept) for _ in range(partitions)]
        self._positions = dict.fromkeys(
            [*((LABEL_REQUESTS, p) for p in range(partitions)), (LABEL_REPLIES, 0)], 0
        )
        self.refresh()

    def __contains__(self, event_id: str) -> bool:
        return _digest(event_id) in self._ids

    def refresh(self) -> None:
        """Read on from where the last reading ended."""
        for (topic, partition), position in self._positions.items():
            note = self._note_request if topic == LABEL_REQUESTS else self._note_reply
            while records := self._log.tail(topic, partition, position, CHUNK):
                for record in records:
                    with suppress(ValueError, KeyError, TypeError, AttributeError):  # no message of ours
                        note(record, orjson.loads(record.value))
                position = records[-1].offset + 1
            self._positions[topic, partition] = position

    def inputs(self, office: TicketOffice) -> list[EncodedInput]:
        """Return the inputs of the newest requests whose tickets verify, oldest first."""
        found = []
        for _, text in sorted(pair for newest in self._newest for pair in newest):
            with suppress(InvalidTicket):  # of a retired key: nothing in it may be trusted
                found.append(from_message(office.verify(text).input))
        return found

    def _note_request(self, record: Record, request: dict[str, Any]) -> None:
        self._ids.add(_digest(request["event"]["event_id"]))
        if isinstance(request["ticket"], str):
            self._newest[record.partition].append((record.timestamp_ms, request["ticket"]))

    def _note_reply(self, record: Record, reply: dict[str, Any]) -> None:
        if reply["kind"] == "reply":
            event = claimed(reply["ticket"]) if reply.get("ticket") else reply["event"]
            self._ids.add(_digest(event["event_id"]))


def _digest(event_id: str) -> bytes:
    return blake2b(event_id.encode(), digest_size=8).digest()
