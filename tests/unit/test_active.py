"""The engine as a library: a thin door, and nothing gets mixed up at it."""

from __future__ import annotations

import pytest

from stream_al.active import ActiveStream
from stream_al.errors import ConfigurationError, InvalidMessage


def stream() -> ActiveStream:
    return ActiveStream(labels=["even", "odd"], budget=1.0)


def test_a_label_that_was_not_offered_is_refused_at_once_and_mixes_nothing_up():
    active = stream()
    first = active.push({"x": 1}, event_id="first").request
    assert first is not None
    with pytest.raises(InvalidMessage, match="not offered"):
        active.answer(first, "oddd")
    second = active.push({"x": 2}, event_id="second").request
    assert second is not None
    assert second["event"]["event_id"] == "second"
    active.answer(first, "odd")
    assert active.engine.learner.outcomes["learned"] == 1


def test_an_invalid_event_is_refused_and_the_next_one_scored():
    active = stream()
    with pytest.raises(InvalidMessage):
        active.push({"x": [1, 2]})
    assert active.push({"x": 1}, event_id="good").request["event"]["event_id"] == "good"


def test_a_foreign_ticket_is_refused():
    active, other = stream(), ActiveStream(labels=["a", "b"], budget=1.0, log={"prefix": "other."})
    request = other.push({"x": 1}).request
    with pytest.raises(InvalidMessage, match="topic"):
        active.answer(request, "odd")


def test_nothing_piles_up():
    active = stream()
    for i in range(200):
        pushed = active.push({"x": i % 7})
        if pushed.request:
            active.answer(pushed.request, "odd" if i % 2 else "even")
    for topic in ("events", "predictions", "label-requests", "dead-letters"):
        first, end = active.log.bounds(topic, 0)
        assert end - first == 0, topic


def test_a_wrong_setting_is_named():
    with pytest.raises(ConfigurationError, match="bugdet"):
        ActiveStream(query={"bugdet": 0.1})
