"""What stands among a partition's requests and is none of its own stops no service and changes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.engines import Clock, answer, feed, make_engine, outputs, requests, settle, truthful_replies
from support.messages import gaussian_events, office

from stream_al.log.memory import MemoryLog
from stream_al.log.protocol import LABEL_REQUESTS
from stream_al.query.ledger import Budget

STRANGE = [b"", b"[]", b'{"hello": 1}', b'{"ticket": 5}', b'{"ticket": "a.b.c"}']


def begun() -> MemoryLog:
    """Return a log in which an engine has asked and learned."""
    log = MemoryLog(clock=Clock())
    engine = make_engine(log, budget=Budget(0.3))
    feed(log, gaussian_events(120))
    settle(engine)
    answer(log, truthful_replies(requests(log)))
    return log


def go_on(log: MemoryLog) -> dict[str, list[bytes]]:
    """Return what a new engine writes, and how the partition stands behind it."""
    before = {name: len(values) for name, values in outputs(log).items()}
    log.rebalance()
    engine = make_engine(log, budget=Budget(0.3))
    feed(log, gaussian_events(60, seed=1))
    settle(engine)
    return {name: values[before[name] :] for name, values in outputs(log).items()}


def test_strange_records_and_copies_change_nothing():
    alone, among = begun(), begun()
    own = among.tail(LABEL_REQUESTS, 0, 0, 1)[0].value
    ticket = office().verify(requests(among)[1]["ticket"])
    other = office().issue(replace(ticket, partition=1))
    more = [*STRANGE, own, b'{"ticket": "%s"}' % other.encode()]
    among.append_many(LABEL_REQUESTS, [(None, value) for value in more])
    assert go_on(among) == go_on(alone)


@pytest.mark.parametrize("value", STRANGE)
def test_one_of_them_as_the_very_last_stops_no_service(value):
    log = begun()
    log.append_many(LABEL_REQUESTS, [(None, value)])
    assert go_on(log)["predictions"]
