"""The first questions to a broker, and the client's errors in people's words."""

from __future__ import annotations

import pytest
from kafka.errors import KafkaError, KafkaTimeoutError, MetadataEmptyBrokerList, TopicAuthorizationFailedError

from stream_al.errors import LogUnreachable
from stream_al.log import kafka_connection
from stream_al.log.kafka_connection import KafkaOptions, answered, explain


class Broker:
    """Answers after so many refusals."""

    def __init__(self, *refusals: KafkaError) -> None:
        self.refusals = list(refusals)

    def ask(self) -> str:
        if self.refusals:
            raise self.refusals.pop(0)
        return "answer"


def test_a_broker_that_has_just_come_is_asked_again():
    # it answers as soon as its port is open, and counts itself among the living only a moment later
    assert answered(Broker(MetadataEmptyBrokerList("…"), KafkaTimeoutError()).ask) == "answer"


def test_a_refusal_is_not_asked_again():
    broker = Broker(TopicAuthorizationFailedError())
    with pytest.raises(TopicAuthorizationFailedError):
        answered(broker.ask)


def test_asking_ends(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kafka_connection, "BOOTSTRAP_SECONDS", 0)
    with pytest.raises(MetadataEmptyBrokerList):
        answered(Broker(*[MetadataEmptyBrokerList("…")] * 9).ask)


def test_an_error_does_not_repeat_the_whole_answer_of_the_broker():
    error = explain(
        MetadataEmptyBrokerList("MetadataResponse(" + "topic " * 999), KafkaOptions(), "connecting"
    )
    assert isinstance(error, LogUnreachable)
    assert "localhost:9092 (it counts no broker among the living" in str(error)
    assert len(str(error)) < 300
