"""A producer that is thrown away is gone: nobody sends for it any more, and it says nothing in its end."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import closing

import pytest

from stream_al.conformance.log_under_test import SmallestEngine, append, values_in
from stream_al.errors import CommitLost
from stream_al.log.protocol import PREDICTIONS
from tests.kafka.admin import wait_until
from tests.kafka.broker import Broker
from tests.kafka.under_test import PATIENCE_SECONDS, KafkaUnderTest, prediction


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker() as broker:
        yield broker


@pytest.mark.slow
def test_no_sender_outlives_its_producer(broker: Broker, prefix: str) -> None:
    """Without an answer to its records ``close`` raises in its flush, and closes nothing."""
    settings = {"answer_seconds": 1.0, "session_seconds": 10.0, "silence_seconds": 30.0}
    with closing(KafkaUnderTest(broker.bootstrap, prefix, **settings)) as log:
        append(log.client(), b"0", b"1")
        member = log.member()
        engine = SmallestEngine(log, member)
        engine.start(1)
        engine.take(1, max_records=1)
        engine.commit([prediction(b"0")], "first")
        engine.take(1, max_records=1)
        assert member._transactions.producer is not None
        sender = member._transactions.producer._sender
        broker.pause()
        try:
            with pytest.raises(CommitLost):
                engine.commit([prediction(b"never")], "lost")
        finally:
            broker.resume()
        wait_until(lambda: not sender.is_alive(), PATIENCE_SECONDS, "the end of the sender")
        gc.collect()  # warnings are errors: what its end would say is heard here
        engine.start(1)
        engine.take(1, max_records=1)
        engine.commit([prediction(b"1")], "second")
        assert values_in(log, log.client(), PREDICTIONS, 2) == [b"0", b"1"]
