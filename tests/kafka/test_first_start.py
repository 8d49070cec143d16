"""Where a group begins, what pins it there, and what retention may take away before it comes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from kafka import TopicPartition

from stream_al.conformance.log_under_test import SmallestEngine, append, patiently
from stream_al.errors import ConfigurationError, LogError
from stream_al.log.protocol import EVENTS, Log, Progress, Record
from tests.kafka.admin import admin
from tests.kafka.under_test import KafkaUnderTest, prediction

Make = Callable[..., KafkaUnderTest]


@pytest.fixture
def log(bootstrap: list[str], prefix: str) -> Iterator[KafkaUnderTest]:
    with closing(KafkaUnderTest(bootstrap, prefix)) as log:
        yield log


def started(log: KafkaUnderTest, member: Log) -> tuple[SmallestEngine, Progress]:
    engine = SmallestEngine(log, member)
    return engine, engine.start(1)[0]


def values(records: list[Record]) -> list[bytes]:
    return [record.value for record in records]


def test_a_first_start_without_a_choice_asks_for_one(log: KafkaUnderTest) -> None:
    append(log.client(), b"old")
    with pytest.raises(ConfigurationError, match=r'set kafka.start to "earliest".*"latest".*or to a time'):
        started(log, log.member(start=None))


def test_a_later_start_needs_no_choice(log: KafkaUnderTest) -> None:
    append(log.client(), b"0", b"1")
    engine, _ = started(log, log.member(start="earliest"))
    engine.take(1, max_records=1)
    engine.commit(state="one")
    engine.member.close()
    engine, restored = started(log, log.member(start=None))
    assert restored == Progress(1, "one")
    assert values(engine.take(1)) == [b"1"]


def test_latest_means_the_first_start_and_no_later_one(log: KafkaUnderTest) -> None:
    """Events that arrive while the partition changes hands belong to nobody's past."""
    client = log.client()
    append(client, b"old", b"older")
    first, restored = started(log, log.member(start="latest"))
    assert restored == Progress(2, "")
    first.member.close()
    append(client, b"meanwhile")
    second, restored = started(log, log.member(start="latest"))
    assert restored == Progress(2, "")
    assert values(second.take(1)) == [b"meanwhile"]


def test_a_start_at_a_time(log: KafkaUnderTest) -> None:
    client = log.client()
    append(client, b"old")
    records = client.tail(EVENTS, 0, 0, 1)
    for _ in patiently(log.patience_seconds):
        append(client, b"new")
        records = client.tail(EVENTS, 0, 0, 1_000)
        if records[-1].timestamp_ms > records[0].timestamp_ms:
            break
    begin = next(record for record in records if record.timestamp_ms > records[0].timestamp_ms)
    engine, restored = started(log, log.member(start=begin.timestamp_ms))
    assert restored == Progress(begin.offset, "")
    assert engine.take(1)[0] == begin


def test_a_start_after_the_last_event(log: KafkaUnderTest) -> None:
    client = log.client()
    append(client, b"old")
    (record,) = client.tail(EVENTS, 0, 0, 10)
    _, restored = started(log, log.member(start=record.timestamp_ms + 3_600_000))
    assert restored == Progress(1, "")


def delete_before(log: KafkaUnderTest, offset: int) -> None:
    """Do what retention does."""
    with admin(log.options().bootstrap) as client:
        client.delete_records({TopicPartition(log.options().topic(EVENTS), 0): offset})


@pytest.mark.parametrize("running", [False, True], ids=["while down", "while running"])
def test_retention_passed_the_position(
    log: KafkaUnderTest, caplog: pytest.LogCaptureFixture, running: bool
) -> None:
    client = log.client()
    append(client, b"0", b"1")
    engine, _ = started(log, log.member())
    engine.take(2)
    engine.commit([prediction(b"0"), prediction(b"1")], "two")
    if not running:
        engine.member.close()
    append(client, *(b"%d" % number for number in range(2, 8)))
    delete_before(log, 5)
    with caplog.at_level(logging.ERROR, "stream_al"):
        if not running:
            engine, restored = started(log, log.member())
        else:
            restored = force_a_fetch(engine)
    assert restored == Progress(5, "two")
    assert "3 events" in caplog.text
    assert "were deleted by retention" in caplog.text
    assert values(engine.take(3)) == [b"5", b"6", b"7"]


def force_a_fetch(engine: SmallestEngine) -> Progress:
    """Drop what the client has fetched already, so that it asks for what is gone; return what is restored."""
    member = engine.member._member  # type: ignore[attr-defined]  # the real client behind the log
    for place in member.assignment():
        member.seek(place, 2)
    return engine.start(1)[0]


def test_a_position_beyond_the_end_is_an_error(log: KafkaUnderTest) -> None:
    append(log.client(), b"0")
    engine, _ = started(log, log.member())
    engine.member.commit(engine.batch, [], {0: Progress(1_000, "of another topic")})
    engine.member.close()
    with pytest.raises(LogError, match=r"stands at offset 1000 .* ends at 1: was the topic made anew"):
        started(log, log.member())
