"""Whoever waits for a broker waits for a while, says so, and goes on when it answers."""

from __future__ import annotations

import time
from contextlib import closing

import pytest
from kafka import TopicPartition

from stream_al.conformance.log_under_test import SmallestEngine, append, numbered, values_in
from stream_al.errors import CommitLost, LogError, LogUnreachable
from stream_al.log import kafka as kafka_log
from stream_al.log import kafka_client
from stream_al.log.kafka import KafkaLog
from stream_al.log.kafka_client import FOLLOWING, SCANNING
from stream_al.log.protocol import EVENTS, LABEL_REPLIES, PREDICTIONS
from tests.kafka.admin import wait_until
from tests.kafka.broker import Broker
from tests.kafka.under_test import PATIENCE_SECONDS, KafkaUnderTest, prediction


def keep_polling(member: KafkaLog) -> None:
    deadline = time.monotonic() + 3 * PATIENCE_SECONDS
    while time.monotonic() < deadline:
        member.poll(10, 0.05)


@pytest.mark.slow
def test_a_handle_appends_again_after_an_outage(own: Broker, prefix: str) -> None:
    with closing(KafkaUnderTest(own.bootstrap, prefix, transaction_seconds=4.0)) as log:
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
    with closing(KafkaUnderTest(bootstrap, prefix)) as log:
        client = log.client()
        append(client, *numbered(5))
        assert len(client.tail(EVENTS, 0, 0, 2)) == 2
        consumer, place = client._consumers[SCANNING], TopicPartition(prefix + EVENTS, 0)
        consumer.pause(place)  # the broker has them, and nothing arrives
        with monkeypatch.context() as patched:
            patched.setattr(kafka_client, "STALLED_SECONDS", 0.5)
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
    with closing(KafkaUnderTest(own.bootstrap, prefix)) as log:
        member = log.member()
        SmallestEngine(log, member).start(1)
        monkeypatch.setattr(kafka_log, "SILENCE_SECONDS", 1.0)
        own.pause()
        try:
            with pytest.raises(LogError, match="not possible for 1 s"):
                keep_polling(member)
        finally:
            own.resume()


def test_two_processes_with_one_instance_id(bootstrap: list[str], prefix: str) -> None:
    """The younger one has the partitions; what the older one had polled is not its own any more."""
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


def test_looking_back_does_not_wait_for_the_reader_that_follows(bootstrap: list[str], prefix: str) -> None:
    """At the end of the reply log a fetch of half a second waits: whoever looks back takes another reader."""
    with closing(KafkaUnderTest(bootstrap, prefix)) as log:
        client = log.client()
        append(client, *numbered(20), topic=LABEL_REPLIES)
        assert len(client.tail(LABEL_REPLIES, 0, 0, 500)) == 20
        assert set(client._readers) == {FOLLOWING}
        assert [record.value for record in client.tail(LABEL_REPLIES, 0, 15, 500)] == numbered(5, 15)
        assert set(client._readers) == {FOLLOWING, SCANNING}
        append(client, b"new", topic=LABEL_REPLIES)
        assert [record.value for record in client.tail(LABEL_REPLIES, 0, 20, 500)] == [b"new"]
        assert client._readers[FOLLOWING]._next == 21  # it went on
