"""Who is out of the group writes nothing more: zombies, rivals, members removed behind their backs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.coordinator.base import MemberState
from kafka.structs import OffsetAndMetadata

from stream_al.conformance.log_under_test import SmallestEngine, append, numbered, patiently, values_in
from stream_al.errors import CommitLost, LogError
from stream_al.log.protocol import EVENTS, PREDICTIONS, Batch, Progress
from tests.kafka.admin import wait_until
from tests.kafka.under_test import PATIENCE_SECONDS, KafkaUnderTest, prediction, remove_member

ROOT = Path(__file__).parents[2]

ZOMBIE = """
import json, sys, warnings
warnings.simplefilter("ignore")
from types import SimpleNamespace
from stream_al.conformance.log_under_test import SmallestEngine
from stream_al.errors import CommitLost
from stream_al.log.kafka import KafkaLog
from stream_al.log.kafka_connection import KafkaOptions
from tests.kafka.under_test import prediction

def wait(*_):
    print("waiting", flush=True)
    sys.stdin.readline()

with KafkaLog(KafkaOptions(**json.loads(sys.argv[1])), member=True) as member:
    engine = SmallestEngine(SimpleNamespace(patience_seconds=60.0), member)
    engine.start(1)
    engine.take(2)
    if sys.argv[2] == "inside":
        transactions = member._transactions
        send = transactions._send
        transactions._send = lambda *arguments: (send(*arguments), wait())
    else:
        wait()
    try:
        engine.commit([prediction(b"zombie")], "zombie")
        print("committed", flush=True)
    except CommitLost:
        print("lost", flush=True)
"""


@pytest.fixture
def log(bootstrap: list[str], prefix: str) -> Iterator[KafkaUnderTest]:
    with closing(KafkaUnderTest(bootstrap, prefix, session_seconds=1.5)) as log:
        yield log


@contextmanager
def zombie(log: KafkaUnderTest, where: str, **changes: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a member that has polled two events and waits, inside its transaction or before it."""
    options = json.dumps(asdict(log.options(**changes)))
    command = [sys.executable, "-c", ZOMBIE, options, where]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "waiting\n"
            yield process
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("where", ["before", "inside"])
@pytest.mark.parametrize("instance", [None, "slot-0"], ids=["dynamic", "static"])
def test_a_zombie_writes_nothing(log: KafkaUnderTest, where: str, instance: str | None) -> None:
    client = log.client()
    append(client, b"0", b"1")
    changes = {"instance_id": instance, "transaction_seconds": 3.0}
    with zombie(log, where, **changes) as process:
        process.send_signal(signal.SIGSTOP)
        heir = SmallestEngine(log, log.member(instance_id=instance and "slot-1"))
        heir.start(1)
        assert [record.value for record in heir.take(2)] == [b"0", b"1"]
        heir.commit([prediction(b"heir")], "heir")
        process.send_signal(signal.SIGCONT)
        said, _ = process.communicate("\n", timeout=PATIENCE_SECONDS)
        assert said == "lost\n"
    append(client, b"2")
    assert [record.value for record in heir.take(1)] == [b"2"]  # the zombie may have joined and gone since
    heir.commit([prediction(b"heir again")], "heir")
    assert values_in(log, client, PREDICTIONS, 2) == [b"heir", b"heir again"]


def test_a_member_that_learns_in_the_join_that_it_was_removed(log: KafkaUnderTest) -> None:
    """Defect I: no callback, old positions and old memory, under a valid new membership."""
    append(log.client(), *numbered(20))
    member = log.member()
    engine = SmallestEngine(log, member)
    engine.start(1)
    engine.take(20)
    engine.commit(state="twenty")
    removed = member._membership
    assert removed is not None
    remove_member(member)
    place = TopicPartition(log.options().topic(EVENTS), 0)
    with closing(KafkaProducer(**log.options().producer(), transactional_id=log.options().group)) as other:
        other.init_transactions()
        other.begin_transaction()
        moved = {place: OffsetAndMetadata(17, "seventeen, by another owner", -1)}
        other.send_offsets_to_transaction(moved, log.options().group)
        other.commit_transaction()
    member._joined()._coordinator.request_rejoin()
    assert engine.start(1) == {0: Progress(17, "seventeen, by another owner")}
    assert member._membership is not None
    assert member._membership.identity[0] != removed.identity[0]
    assert [(record.offset, record.value) for record in engine.take(3)] == [
        (17, b"17"),
        (18, b"18"),
        (19, b"19"),
    ]
    with pytest.raises(CommitLost):
        member.commit(Batch(fence=removed), [], engine.progress)


def test_a_forgotten_join_is_picked_up(log: KafkaUnderTest) -> None:
    """Defect N: a join that a change of metadata led to completes between two polls, and is forgotten."""
    member = log.member()
    engine = SmallestEngine(log, member)
    engine.start(1)
    forget_a_join(member._joined())
    assert engine.start(1)[0].state == ""
    append(log.client(), b"0")
    assert [record.value for record in engine.take(1)] == [b"0"]
    engine.commit([prediction(b"0")], "state")


def forget_a_join(consumer: Any) -> None:
    """Let a leader see other metadata than it assigned by, join, and look away until the join is over."""
    coordinator = consumer._coordinator
    wait_until(lambda: coordinator._is_leader, PATIENCE_SECONDS, "the member to lead its group")
    coordinator._assignment_snapshot = {}
    assert coordinator.need_rejoin()
    for _ in patiently(PATIENCE_SECONDS):
        consumer.poll(0)
        if coordinator._join_task is not None:
            break
    wait_until(lambda: coordinator._join_task.is_done, PATIENCE_SECONDS, "the join")
    assert not coordinator.need_rejoin()
    assert coordinator.state is MemberState.REBALANCING


class Rival(Thread):
    """A service that scores until it is told to stop, or must end."""

    def __init__(self, log: KafkaUnderTest, name: str) -> None:
        super().__init__(name=name)
        self.engine = SmallestEngine(log, log.member(instance_id="slot-0"))
        self.stopping = False
        self.error: LogError | None = None
        self.scored = 0

    def run(self) -> None:
        try:
            while not self.stopping:
                for record in self.engine._poll(1):
                    self.commit(record.value)
        except LogError as error:
            self.error = error

    def commit(self, value: bytes) -> None:
        with suppress(CommitLost):
            self.engine.commit([prediction(value)], self.name)
            self.scored += 1


@pytest.mark.slow
def test_two_with_one_instance_id_fence_each_other_and_one_says_so(log: KafkaUnderTest) -> None:
    client = log.client()
    rivals = [Rival(log, "first")]
    rivals[0].start()
    try:
        append(client, b"0")
        wait_until(lambda: rivals[0].scored == 1, PATIENCE_SECONDS, "the first to score an event")
        rivals.append(Rival(log, "second"))
        rivals[1].start()
        append(client, *numbered(1_000, 1))
        wait_until(lambda: any(rival.error for rival in rivals), PATIENCE_SECONDS, "one to give up")
        survivor = next(rival for rival in rivals if rival.error is None)
        scored = survivor.scored
        wait_until(lambda: survivor.scored > scored, PATIENCE_SECONDS, "the other one to go on")
    finally:
        for rival in rivals:
            rival.stopping = True
            rival.join()
    (loser,) = (rival for rival in rivals if rival is not survivor)
    assert "another process running with kafka.instance_id = 'slot-0'" in str(loser.error)
    done = sum(rival.scored for rival in rivals)
    assert values_in(log, client, PREDICTIONS, done) == numbered(done)  # none doubled, none lost
