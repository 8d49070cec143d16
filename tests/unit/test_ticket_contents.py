"""Without a configured key anybody can sign a ticket: what it says is never believed, and never fatal."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Any
from uuid import uuid4

import orjson
import pytest
from support.engines import make_learner
from support.messages import START_MS

from stream_al.errors import InvalidTicket
from stream_al.log.protocol import LABEL_REPLIES, Record
from stream_al.ticket import TicketOffice, claimed


def contents(**changes: Any) -> dict[str, Any]:
    good: dict[str, Any] = {
        "request_id": str(uuid4()),
        "event_id": "e-1",
        "topic": "stream-al.events",
        "partition": 0,
        "offset": 1,
        "labels": ["a", "b"],
        "input": {"numbers": {"x": 1.0}, "categories": []},
        "weight": 1.0,
        "served": None,
        "confidence": 0.0,
        "propensity": 0.5,
        "channel": "floor",
        "overlap": 1,
        "ttl_seconds": 60,
        "resolve_by": START_MS + 60_000,
        "suggestion_shown": False,
        "model_version": 0,
        "asked_at": START_MS,
        "totals": [1, 2.0, 0],
    }
    return good | changes


def signed(office: TicketOffice, fields: object) -> str:
    body = urlsafe_b64encode(orjson.dumps(fields))
    return f"0.{body.decode()}.{office._mac('0', body)}"


HOSTILE = [
    {"request_id": "x"},
    {"request_id": ["x"]},
    {"propensity": 0},
    {"propensity": -1e-9},
    {"propensity": 2.0},
    {"asked_at": "now"},
    {"asked_at": -1},
    {"overlap": "1"},
    {"overlap": 1000},
    {"weight": None},
    {"weight": -5.0},
    {"ttl_seconds": None},
    {"partition": "p"},
    {"labels": "ab"},
    {"labels": [1]},
    {"input": {"numbers": {"x": "y"}, "categories": []}},
    {"input": {"numbers": {}, "categories": [], "words": {"q": 1}}},
    {"input": {"numbers": {}, "categories": [], "words": {"1": -1}}},
    {"input": None},
    {"totals": [1]},
    {"totals": ["a", "b", "c"]},
    {"channel": "mine"},
    {"channel": "backlog"},
    {"propensity": None},
    {"unknown": 1},
]


@pytest.mark.parametrize("changes", HOSTILE, ids=lambda changes: str(changes)[:40])
def test_a_well_signed_ticket_with_absurd_contents_is_malformed(changes):
    office = TicketOffice("stream-al.events")
    office.verify(signed(office, contents()))
    with pytest.raises(InvalidTicket) as caught:
        office.verify(signed(office, contents(**changes)))
    assert caught.value.reason == "malformed"


def test_a_ticket_of_the_backlog_has_no_propensity():
    office = TicketOffice("stream-al.events")
    text = signed(office, contents(channel="backlog", propensity=None))
    ticket = office.verify(text)
    assert (ticket.channel, ticket.propensity) == ("backlog", None)
    assert office.issue(ticket) == text
    assert claimed(text)["channel"] == "backlog"


@pytest.mark.parametrize("text", ["", "0", "0.x.y", "0.W10=.y", "0.!.y", "0.bnVsbA==.y"])
def test_what_is_no_ticket_claims_nothing(text):
    assert claimed(text) == {}


@pytest.mark.parametrize("fields", [[], 1, "x", None, {}], ids=str)
def test_contents_of_another_shape_are_malformed(fields):
    office = TicketOffice("stream-al.events")
    with pytest.raises(InvalidTicket):
        office.verify(signed(office, fields))


def test_a_ticket_from_the_future_moves_no_clock():
    learner = make_learner()
    office = learner.office
    far = contents(topic=office.topic, asked_at=START_MS + 10**12)
    reply = {
        "reply_id": "r",
        "ticket": signed(office, far),
        "label": "a",
        "annotator_id": "mallory",
    }
    record = Record(LABEL_REPLIES, 0, 0, START_MS, None, orjson.dumps(reply))
    learner.fold([record])
    assert learner.outcomes["malformed"] == 1
    assert learner.now == START_MS
