"""Tickets: one opaque string that comes back whole, or is refused with the reason."""

from __future__ import annotations

import re
from dataclasses import replace

import orjson
import pytest
from support.messages import TOPIC, office, ticket

from stream_al.errors import ConfigurationError, InvalidTicket
from stream_al.ticket import TicketOffice

KEY, OLD = b"sixteen bytes at least", b"the retired secret key"


def refused(desk: TicketOffice, text: str) -> str:
    with pytest.raises(InvalidTicket) as caught:
        desk.verify(text)
    return caught.value.reason


@pytest.mark.parametrize("desk", [office(), TicketOffice(TOPIC, {"k1": KEY})])
def test_a_ticket_comes_back_whole(desk):
    extreme = ticket(
        3, weight=0.1 + 0.2, labels=("ü", "b"), asked_at=2**53 + 1, input={"numbers": {"é": 1e-300}}
    )
    text = desk.issue(extreme)
    assert desk.verify(text) == extreme
    assert re.fullmatch(r"[A-Za-z0-9_.=\-]+", text)
    assert orjson.loads(orjson.dumps(text)) == text


def test_every_changed_character_is_noticed():
    desk = TicketOffice(TOPIC, {"k1": KEY})
    text = desk.issue(ticket())
    for place in range(0, len(text), 7):
        changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        assert refused(desk, changed) in ("forged", "foreign", "malformed")


def test_the_reasons():
    desk = TicketOffice(TOPIC, {"k1": KEY})
    assert refused(desk, "no ticket at all") == "malformed"
    assert refused(desk, "k1..") == "malformed"
    assert refused(desk, TicketOffice(TOPIC, {"k2": KEY}).issue(ticket())) == "foreign"
    assert (
        refused(desk, TicketOffice("other", {"k1": KEY}).issue(replace(ticket(), topic="other"))) == "foreign"
    )
    assert refused(desk, TicketOffice(TOPIC, {"k1": OLD}).issue(ticket())) == "forged"
    assert refused(desk, office().issue(ticket())) == "foreign"


def test_a_retired_key_verifies_and_the_first_one_signs():
    both = TicketOffice(TOPIC, {"k2": KEY, "k1": OLD})
    assert both.verify(TicketOffice(TOPIC, {"k1": OLD}).issue(ticket())) == ticket()
    assert both.issue(ticket()).startswith("k2.")


@pytest.mark.parametrize("keys", [{"0": KEY}, {"k-1": KEY}, {"k1": b"short"}, {"k1": b"x" * 65}])
def test_bad_keys_are_refused(keys):
    with pytest.raises(ConfigurationError, match="ticket key"):
        TicketOffice(TOPIC, keys)
