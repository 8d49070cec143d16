"""A transaction that fails, at each of its steps: all of it is there or nothing, and the service goes on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.errors import KafkaConnectionError

from stream_al.conformance.log_under_test import SmallestEngine, append, values_in
from stream_al.errors import CommitLost, LogError
from stream_al.log.kafka_connection import MAX_RECORD_BYTES
from stream_al.log.protocol import DEAD_LETTERS, PREDICTIONS, Output, Progress
from tests.kafka.admin import admin, create_topics, wait_until
from tests.kafka.broker import Broker
from tests.kafka.under_test import KafkaUnderTest, prediction, remove_member


class Scene:
    """A service that has committed two events, polled the next two, and is about to commit them.

    Attributes
    ----------
    outputs, state
        What it is about to commit.
    truth : Progress
        What it has committed.
    """

    def __init__(self, log: KafkaUnderTest, broker: Broker | None = None) -> None:
        self.log = log
        self.broker = broker
        self.client = log.client()
        self.member = log.member()
        self.engine = SmallestEngine(log, self.member)
        self.engine.start(1)
        append(self.client, b"0", b"1")
        self.engine.take(2)
        self.engine.commit([prediction(b"0"), prediction(b"1")], "truth")
        self.truth = Progress(self.engine.progress[0].next_offset, "truth")
        append(self.client, b"2", b"3")
        self.engine.take(2)
        self.outputs = [prediction(b"2"), prediction(b"3")]
        self.state = "next"

    @property
    def producer(self) -> KafkaProducer:
        """The transactional producer, which does not outlive a failure."""
        producer = self.member._transactions.producer
        assert producer is not None
        return producer

    def impatient(self, seconds: float) -> None:
        """Wait no longer than this for an answer, until ``patient``."""
        transactions = self.member._transactions
        transactions._options = replace(self.member.options, answer_seconds=seconds)

    def patient(self) -> None:
        """Wait as long as before, with a broker that answers."""
        self.member._transactions._options = self.member.options
        if self.broker is not None:
            self.broker.resume()

    def at_step(self, step: str, happens: Callable[[], object]) -> None:
        """Let something happen just before the producer's manager takes this step."""
        manager = self.producer._transaction_manager
        real = getattr(manager, step)

        def first(*arguments: Any) -> Any:
            happens()
            return real(*arguments)

        setattr(manager, step, first)  # it is thrown away together with its producer

    def fail(self, outcome: str, says: str) -> None:
        """Try to commit; it must be lost, with this outcome and for this reason."""
        before = self.member.outcomes.copy()
        with pytest.raises(CommitLost, match=says):
            self.engine.commit(self.outputs, self.state)
        assert self.member.outcomes - before == {outcome: 1}
        self.patient()

    def recover(self, *, may_be_there: bool = False) -> None:
        """The next poll restores the truth, what is not there is done again, and no prediction is doubled."""
        attempted = Progress(self.truth.next_offset + 2, "next")
        restored = self.engine.start(1)[0]
        if not (may_be_there and restored == attempted):
            assert restored == self.truth
            assert values_in(self.log, self.client, PREDICTIONS, 2) == [b"0", b"1"]
            assert [record.value for record in self.engine.take(2)] == [b"2", b"3"]
            before = self.member.outcomes["committed"]
            self.engine.commit([prediction(b"2"), prediction(b"3")], "next")
            assert self.member.outcomes["committed"] == before + 1
        assert values_in(self.log, self.client, PREDICTIONS, 4) == [b"0", b"1", b"2", b"3"]
        append(self.client, b"4")
        assert [record.value for record in self.engine.take(1)] == [b"4"]
        self.engine.commit([prediction(b"4")], "last")
        assert values_in(self.log, self.client, PREDICTIONS, 5) == [b"0", b"1", b"2", b"3", b"4"]


Fault = Callable[[Scene], None]


def begin_is_refused(scene: Scene) -> None:
    scene.producer.begin_transaction()  # one is open already


def record_beyond_the_clients_limit(scene: Scene) -> None:
    scene.outputs.append(prediction(bytes(MAX_RECORD_BYTES)))


def record_beyond_the_topics_limit(scene: Scene) -> None:
    scene.outputs.insert(1, prediction(os.urandom(1_200_000)))  # no compression makes it smaller


def fenced_by_a_younger_producer(scene: Scene) -> None:
    options = scene.member.options
    with closing(
        KafkaProducer(**options.producer(), transactional_id=scene.member._transactions._transactional_id)
    ) as younger:
        younger.init_transactions()


def fenced_by_the_group(scene: Scene) -> None:
    remove_member(scene.member)


def state_beyond_the_brokers_limit(scene: Scene) -> None:
    scene.state = "x" * 4097


def request_of_offsets_is_lost(scene: Scene) -> None:
    scene.at_step("send_offsets_to_transaction", lambda: lose_the_next_request(scene))


def request_to_commit_is_lost(scene: Scene) -> None:
    scene.at_step("begin_commit", lambda: lose_the_next_request(scene))


def lose_the_next_request(scene: Scene) -> None:
    """Do what a failing connection does: the client neither sends the request nor keeps it."""
    network = scene.producer._sender._client
    real = network.await_ready

    def fails(*_: Any, **__: Any) -> None:
        network.await_ready = real
        raise KafkaConnectionError("lost")

    network.await_ready = fails
    scene.impatient(1.0)


@pytest.fixture
def scene(bootstrap: list[str], prefix: str) -> Iterator[Scene]:
    with closing(KafkaUnderTest(bootstrap, prefix)) as log:
        yield Scene(log)


@pytest.mark.parametrize(
    ("fault", "outcome", "says"),
    [
        (begin_is_refused, "failed", "Invalid|transition|transaction"),
        (record_beyond_the_clients_limit, "failed", "MessageSizeTooLarge"),
        (record_beyond_the_topics_limit, "failed", "MessageSizeTooLarge|RecordListTooLarge"),
        (fenced_by_a_younger_producer, "failed", "ProducerFenced"),
        (request_of_offsets_is_lost, "failed", "no answer from the coordinator in 1 s"),
        (fenced_by_the_group, "fenced", "another member owns the partitions now"),
        (state_beyond_the_brokers_limit, "failed", "OffsetMetadataTooLarge"),
        (request_to_commit_is_lost, "failed", "no answer from the coordinator in 1 s"),
    ],
)
def test_nothing_of_a_failed_commit_is_there(scene: Scene, fault: Fault, outcome: str, says: str) -> None:
    fault(scene)
    scene.fail(outcome, says)
    scene.recover()


def test_a_topic_that_vanished(bootstrap: list[str], prefix: str) -> None:
    with closing(KafkaUnderTest(bootstrap, prefix, answer_seconds=2.0)) as log:
        scene = Scene(log)
        with admin(bootstrap) as client:
            client.delete_topics([prefix + DEAD_LETTERS])
            wait_until(lambda: prefix + DEAD_LETTERS not in client.list_topics(), 20, "the end of a topic")
        scene.outputs.append(Output(DEAD_LETTERS, 0, None, b"nowhere to go"))
        scene.fail("failed", "KafkaTimeoutError")
        create_topics(bootstrap, {prefix + DEAD_LETTERS: 1})
        scene.recover()


# A broker that falls silent: one of our own, for the shared one must not be paused.


def silent(scene: Scene) -> None:
    assert scene.broker is not None
    scene.broker.pause()
    with suppress(TimeoutError):  # a broker in a container is frozen otherwise, and at once
        pid = scene.broker.pid
        wait_until(lambda: is_stopped(pid), 2.0, "the end of its last thread")


def is_stopped(pid: int) -> bool:
    """Whether every thread has stopped: a signal takes a while on a busy machine."""
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    return all(thread.read_text().rpartition(")")[2].split()[0] == "T" for thread in threads)


def silent_before_the_outputs(scene: Scene) -> None:
    silent(scene)
    scene.impatient(1.0)


def silent_until_a_batch_expires(scene: Scene) -> None:
    transactions = scene.member._transactions
    real = transactions._send

    def in_two_lots(producer: KafkaProducer, outputs: Any, places: Any) -> None:
        transactions._send = real  # type: ignore[method-assign]  # the wrapper is for one commit
        real(producer, outputs[:1], places)
        silent(scene)
        real(producer, outputs[1:], places)

    transactions._send = in_two_lots  # type: ignore[method-assign]  # the real client, cut in two


def silent_before_the_offsets(scene: Scene) -> None:
    scene.at_step("send_offsets_to_transaction", lambda: silent_before_the_outputs(scene))


def silent_before_the_commit(scene: Scene) -> None:
    scene.at_step("begin_commit", lambda: silent_before_the_outputs(scene))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (silent_before_the_outputs, "KafkaTimeoutError"),
        (silent_until_a_batch_expires, "Timeout|expired"),
        (silent_before_the_offsets, "no answer from the coordinator in 1 s"),
        (silent_before_the_commit, "no answer from the coordinator in 1 s"),
    ],
)
def test_a_broker_that_falls_silent(own: Broker, prefix: str, fault: Fault, says: str) -> None:
    seconds = 2.5 if fault is silent_until_a_batch_expires else 15.0
    with closing(KafkaUnderTest(own.bootstrap, prefix, transaction_seconds=seconds)) as log:
        scene = Scene(log, own)
        try:
            fault(scene)
            scene.fail("failed", says)
        finally:
            own.resume()
        scene.recover(may_be_there=fault is silent_before_the_commit)


# Failures in a row.


def lose(scene: Scene, error: type[LogError], says: str = "OffsetMetadataTooLarge") -> None:
    """Let one more commit fail for good, after the truth was read back."""
    scene.engine.start(1)
    with pytest.raises(error, match=says) as raised:
        scene.engine.commit(state="x" * 4097)
    assert raised.type is error


@pytest.mark.parametrize(("instance", "says"), [(None, "OffsetMetadataTooLarge"), ("slot-7", "'slot-7'")])
def test_five_failures_in_a_row_end_the_service(
    bootstrap: list[str], prefix: str, instance: str | None, says: str
) -> None:
    with closing(KafkaUnderTest(bootstrap, prefix, instance_id=instance)) as log:
        scene = Scene(log)
        scene.state = "x" * 4097
        scene.fail("failed", "OffsetMetadataTooLarge")
        for _ in range(3):
            lose(scene, CommitLost)
        lose(scene, LogError, f"5 commits in a row failed, .*{says}")
        assert scene.member.outcomes["failed"] == 5


def test_fencing_is_no_failure_and_success_forgives(scene: Scene) -> None:
    for _ in range(2):
        remove_member(scene.member)
        scene.fail("fenced", "another member owns")
        for _ in range(4):
            lose(scene, CommitLost)
        scene.engine.start(1)
        scene.engine.commit(state="good")
    assert scene.member.outcomes["fenced"] == 2
    assert scene.member.outcomes["failed"] == 8
