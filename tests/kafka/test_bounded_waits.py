"""Whoever waits for a broker waits for a while, says so, and goes on when it answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from kafka import TopicPartition

from stream_al.conformance.log_under_test import SmallestEngine, append, numbered, values_in
from stream_al.errors import CommitLost, LogError, LogUnreachable
from stream_al.log import kafka as kafka_log
from stream_al.log import kafka_client
from stream_al.log.kafka import KafkaLog
from stream_al.log.kafka_client import SCANNING
from stream_al.log.protocol import EVENTS, PREDICTIONS
from tests.kafka.admin import wait_until
from tests.kafka.broker import Broker
from tests.kafka.under_test import PATIENCE_SECONDS, KafkaUnderTest, prediction


def poll_for_ever(member: KafkaLog) -> None:
    while True:
        member.poll(10, 0.05)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with Broker(folder=tmp_path_factory.mktemp("own")) as broker:
        yield broker


@pytest.mark.slow
def test_a_handle_appends_again_after_an_outage(own: Broker, prefix: str) -> None:
    impatient = {"transaction_seconds": 2.0, "answer_seconds": 1.0}
    with closing(KafkaUnderTest(own.bootstrap, prefix, **impatient)) as log:
        client = log.client()
        append(client, b"before")
        own.pause()
        try:
            with pytest.raises(LogUnreachable, match=f"writing to {prefix}events"):
                append(client, b"meanwhile")
        finally:
            own.resume()

        def takes_it() -> bool:
            try:
                append(client, b"after")
            except LogUnreachable:
                return False
            return True

        wait_until(takes_it, PATIENCE_SECONDS, "the broker to take records again")
        found = [record.value for record in client.tail(EVENTS, 0, 0, 100)]
        assert found[0] == b"before"
        assert found.count(b"meanwhile") <= 1  # it was sent, and nobody knows
        assert found[-1] == b"after"


def test_a_read_ends_where_known_records_do_not_come(
    bootstrap: list[str], prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_client, "STALLED_SECONDS", 0.5)
    with closing(KafkaUnderTest(bootstrap, prefix)) as log:
        client = log.client()
        append(client, *numbered(5))
        assert len(client.tail(EVENTS, 0, 0, 2)) == 2
        consumer, place = client._consumers[SCANNING], TopicPartition(prefix + EVENTS, 0)
        consumer.pause(place)  # the broker has them, and nothing arrives
        with pytest.raises(LogUnreachable, match="ends at 5, but nothing came behind"):
            client.tail(EVENTS, 0, 2, 10)
        consumer.resume(place)
        assert [record.value for record in client.tail(EVENTS, 0, 2, 10)] == numbered(3, 2)


@pytest.mark.slow
def test_a_coordinator_that_falls_silent(own: Broker, prefix: str) -> None:
    """A poll that brings nothing says nothing of the group: it may be going on without us."""
    with closing(KafkaUnderTest(own.bootstrap, prefix)) as log:
        client, member = log.client(), log.member()
        engine = SmallestEngine(log, member)
        engine.start(1)
        append(client, b"0")
        engine.take(1)
        engine.commit([prediction(b"0")], "first")
        own.pause()
        try:

            def noticed() -> bool:
                engine.batch = member.poll(10, 0.05)
                return member._membership is None

            wait_until(noticed, PATIENCE_SECONDS, "the silence to be noticed")
            with pytest.raises(CommitLost):
                engine.commit([prediction(b"never")], "never")
        finally:
            own.resume()
        assert engine.start(1)[0].state == "first"
        append(client, b"1")
        assert [record.value for record in engine.take(1)] == [b"1"]
        engine.commit([prediction(b"1")], "second")
        assert values_in(log, client, PREDICTIONS, 2) == [b"0", b"1"]


@pytest.mark.slow
def test_silence_ends_the_service(own: Broker, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_log, "SILENCE_SECONDS", 1.0)
    with closing(KafkaUnderTest(own.bootstrap, prefix)) as log:
        member = log.member()
        SmallestEngine(log, member).start(1)
        own.pause()
        try:
            with pytest.raises(LogError, match="not possible for 1 s"):
                poll_for_ever(member)
        finally:
            own.resume()


def test_two_processes_with_one_instance_id(bootstrap: list[str], prefix: str) -> None:
    """The younger one has the partitions, and what the older one had begun is lost: nothing is doubled."""
    with closing(KafkaUnderTest(bootstrap, prefix)) as log:
        client = log.client()
        append(client, b"0", b"1")
        older = SmallestEngine(log, log.member(instance_id="slot-7"))
        older.start(1)
        older.take(2)
        younger = SmallestEngine(log, log.member(instance_id="slot-7"))
        younger.start(1)
        with pytest.raises(CommitLost):
            older.commit([prediction(b"doubled")], "doubled")
        assert [record.value for record in younger.take(2)] == [b"0", b"1"]
        younger.commit([prediction(b"0"), prediction(b"1")], "truth")
        assert values_in(log, client, PREDICTIONS, 2) == [b"0", b"1"]
