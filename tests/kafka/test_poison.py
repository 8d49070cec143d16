"""Records that nobody wants: each is one prediction or one dead letter, and the engine goes on."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import kafka.record.default_records as record_format
import orjson
import pytest
from kafka import KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError
from support.engines import make_engine

from stream_al.conformance.log_under_test import patiently, records_in
from stream_al.log.kafka import KafkaLog
from stream_al.log.kafka_connection import MAX_RECORD_BYTES
from stream_al.log.kafka_topics import create_topics
from stream_al.log.protocol import DEAD_LETTERS, EVENTS, LABEL_REQUESTS, PREDICTIONS, Record
from stream_al.query.ledger import Budget
from stream_al_schemas import MAX_EVENT_BYTES, MAX_KEPT_BYTES
from tests.kafka.under_test import PATIENCE_SECONDS, KafkaUnderTest

BROKER_LIMIT = 1_048_588
"""What a topic takes by default: bytes of a batch with its header of 61."""
FRAME = 73
"""Bytes of a batch of one record of a megabyte that are not its value, with a key of one byte."""


class Stand:
    """Topics as ``stream-al topics create`` makes them, an engine, and producers that are not ours."""

    def __init__(self, log: KafkaUnderTest) -> None:
        self.log = log
        self.options = log.options()
        create_topics(self.options, 1, 1, 86_400)
        self.member = log.member()
        self.engine = make_engine(self.member, budget=Budget(1.0))
        self.reader: KafkaLog = log.client()

    def produce(self, *values: bytes | None, key: bytes = b"k", **settings: Any) -> list[int]:
        """Send values as any program would; return their offsets."""
        settings = {"max_request_size": 2 * MAX_RECORD_BYTES, **settings}
        with closing(KafkaProducer(bootstrap_servers=list(self.options.bootstrap), **settings)) as producer:
            sent = [producer.send(self.options.topic(EVENTS), value, key=key) for value in values]
            return [each.get(timeout=PATIENCE_SECONDS).offset for each in sent]

    def tick_until_done(self) -> None:
        """Tick until every event is committed, and then once more: nothing may be left to do."""
        _, end = self.reader.bounds(EVENTS, 0)
        for _ in patiently(PATIENCE_SECONDS):
            assert not self.engine.tick().lost
            memory = self.engine._memory.get(0)
            if memory is not None and memory.next_offset >= end:
                break
        else:
            raise AssertionError(f"the events up to {end} are not committed")
        assert not self.engine.tick().committed
        assert self.member.outcomes["failed"] == 0

    def records(self, topic: str, expected: int) -> list[Record]:
        """Return the records of a topic, as soon as there are as many as expected."""
        return records_in(self.log, self.reader, topic, expected)

    def messages(self, topic: str, expected: int) -> list[dict[str, Any]]:
        return [orjson.loads(record.value) for record in self.records(topic, expected)]

    def expect(self, scored: list[str], dead: dict[int, str]) -> list[dict[str, Any]]:
        """Each event left one trace: the ids that were scored, and the codes of the dead by offset."""
        self.tick_until_done()
        found = [message["event_id"] for message in self.messages(PREDICTIONS, len(scored))]
        letters = self.messages(DEAD_LETTERS, len(dead))
        assert found == scored
        assert {letter["source"]["offset"]: letter["error"]["code"] for letter in letters} == dead
        assert len(letters) == len(dead)
        return letters


@pytest.fixture
def stand(bootstrap: list[str], prefix: str) -> Iterator[Stand]:
    with closing(KafkaUnderTest(bootstrap, prefix, topics=False)) as log:
        yield Stand(log)


def event(number: int, **more: Any) -> bytes:
    return orjson.dumps({"event_id": f"e{number}", "features": {"x": float(number)}, **more})


def test_nothing_at_all(stand: Stand) -> None:
    """Tombstones, empty values, and JSON's own nothing."""
    offsets = stand.produce(event(0), None, b"", b"null", b"{}", event(1))
    dead = dict(zip(offsets[1:5], ["not_json", "not_json", "not_an_object", "invalid"], strict=True))
    stand.expect(["e0", "e1"], dead)


def test_a_megabyte_of_garbage_is_kept_in_part(stand: Stand) -> None:
    garbage = [os.urandom(1_000_000), b"[" * 1_000_000, b'{"event_id":"' + b"e" * 1_000_000]
    offsets = stand.produce(event(0), *garbage, event(1))
    letters = stand.expect(["e0", "e1"], dict.fromkeys(offsets[1:4], "too_large"))
    assert [letter["length"] for letter in letters] == [len(value) for value in garbage]
    assert all(len(record.value) < 2 * MAX_KEPT_BYTES for record in stand.records(DEAD_LETTERS, 3))


@pytest.mark.parametrize(("size", "compression"), [(1_048_300, None), (9_000_000, "gzip")])
def test_a_key_beyond_all_reason(stand: Stand, size: int, compression: str | None) -> None:
    """The broker takes it, compressed; what is written about it must fit its topics again."""
    [bad] = stand.produce(b"", key=bytes(size), compression_type=compression)
    stand.produce(event(0), key=bytes(size), compression_type=compression)
    stand.expect(["e0"], {bad: "not_json"})
    [request] = stand.records(LABEL_REQUESTS, 1)
    assert request.key is not None
    assert request.key.startswith(b"sha256:")


def test_records_at_the_brokers_limit(stand: Stand) -> None:
    largest = BROKER_LIMIT - FRAME
    offsets = stand.produce(event(0), bytes(largest), event(1))
    with pytest.raises(MessageSizeTooLargeError):
        stand.produce(bytes(largest + 1))
    stand.expect(["e0", "e1"], {offsets[1]: "too_large"})


def test_the_largest_event_can_be_asked(stand: Stand) -> None:
    """A request holds its event twice and must still fit into its topic."""
    words = " ".join(f"w{number:05}" for number in range((MAX_EVENT_BYTES - len(event(0, text=""))) // 7))
    features = {f"\U0001f600{number:04}": f"\U0001f600{number}" for number in range(4_096)}
    narrow = len(orjson.dumps({"event_id": "e1", "features": features, "payload": {"p": ""}}))
    payload = {"p": "\x00" * ((MAX_EVENT_BYTES - narrow) // 6)}
    wide = orjson.dumps({"event_id": "e1", "features": features, "payload": payload})
    values = [event(0, text=words), wide]
    assert all(MAX_EVENT_BYTES - 16 < len(value) <= MAX_EVENT_BYTES for value in values)
    stand.produce(*values)
    stand.expect(["e0", "e1"], {})
    asked = stand.records(LABEL_REQUESTS, 2)
    assert [orjson.loads(record.value)["event"]["event_id"] for record in asked] == ["e0", "e1"]
    assert all(MAX_EVENT_BYTES < len(record.value) < MAX_RECORD_BYTES // 2 for record in asked)


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
def test_compression_is_the_producers_choice(stand: Stand, compression: str) -> None:
    values = [event(number) for number in range(50)]
    values[25] = bytes(3_000_000)  # the broker's limit is one of what was compressed
    offsets = stand.produce(*values, compression_type=compression, linger_ms=50)
    scored = [f"e{number}" for number in range(50) if number != 25]
    stand.expect(scored, {offsets[25]: "too_large"})


def test_the_broker_refuses_what_is_not_compressed_as_it_says(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    offsets = stand.produce(event(0))
    with monkeypatch.context() as forged:
        forged.setattr(record_format, "gzip_encode", lambda *_, **__: b"this is no gzip")
        with pytest.raises(KafkaError):
            stand.produce(event(1), compression_type="gzip", retries=0)
    assert stand.produce(event(2), compression_type="gzip") == [offsets[0] + 1]
    stand.expect(["e0", "e2"], {})


def test_a_restart_amid_poison_repeats_nothing(stand: Stand) -> None:
    poison = (None, b"", os.urandom(300_000))
    stand.produce(*(event(n) if n % 3 else poison[n % 9 // 3] for n in range(60)))
    stand.engine = make_engine(stand.member, budget=Budget(1.0), max_batch=7)
    for _ in patiently(PATIENCE_SECONDS):
        if stand.engine.tick().committed:
            break
    stand.member.close()
    stand.member = stand.log.member()
    stand.engine = make_engine(stand.member, budget=Budget(1.0))
    stand.tick_until_done()
    traces = Counter(int(message["event_id"][1:]) for message in stand.messages(PREDICTIONS, 40))
    traces.update(letter["source"]["offset"] for letter in stand.messages(DEAD_LETTERS, 20))
    assert traces == Counter(range(60))
