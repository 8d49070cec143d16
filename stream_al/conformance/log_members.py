"""The contract of a log on the engine's side: polls, atomic commits, fencing."""

from __future__ import annotations

import string
import time
from functools import partial

from stream_al.conformance.log_under_test import (
    Check,
    LogUnderTest,
    SmallestEngine,
    append,
    expect,
    expect_raises,
    law,
    numbered,
    records_in,
    restarted,
    started,
    values_in,
)
from stream_al.errors import CommitLost, LogError
from stream_al.log.protocol import (
    DEAD_LETTERS,
    EVENTS,
    LABEL_REPLIES,
    LABEL_REQUESTS,
    PREDICTIONS,
    Output,
    Progress,
)

CHECKS: list[Check] = []

# The engine's side: polls.


@law(CHECKS, partitions=3)
def check_first_poll_restores(log: LogUnderTest) -> None:
    """A start restores every owned partition, with an empty state, before it shows any event."""
    append(log.client(), *numbered(5))
    restored = SmallestEngine(log, log.member()).start(3)
    expect(sorted(restored), [0, 1, 2], "partitions of the first `restored`")
    expect({progress.state for progress in restored.values()}, {""}, "states of a new log")


@law(CHECKS, partitions=3)
def check_events_come_in_order(log: LogUnderTest) -> None:
    """The query state is a fold of a partition's events, so their order is part of the truth."""
    engine, client = started(log, 3), log.client()
    positions = client.append_many(EVENTS, [(b"key-%d" % (n % 5), b"%d" % n) for n in range(60)])
    polled = [(record.partition, record.offset) for record in engine.take(60)]
    for partition in range(3):
        expected = [position for position in positions if position.partition == partition]
        expect(
            [place for place in polled if place[0] == partition], expected, f"events of partition {partition}"
        )


@law(CHECKS, partitions=3)
def check_max_records_is_kept(log: LogUnderTest) -> None:
    """The size of a micro-batch bounds its latency; the rest comes with the next poll, none starves."""
    engine, client = started(log, 3), log.client()
    client.append_many(EVENTS, [(b"key-%d" % n, b"%d" % n) for n in range(20)])
    found = engine.take(20, max_records=3)
    expect(sorted(int(record.value) for record in found), list(range(20)), "events by threes")


@law(CHECKS, partitions=1)
def check_empty_poll_returns_soon(log: LogUnderTest) -> None:
    """A quiet topic must not hold up shutdown or the reply fold."""
    engine = started(log)
    begun = time.monotonic()
    batch = engine.member.poll(500, 0.0)
    expect((dict(batch.records), batch.restored), ({}, None), "a poll of nothing")
    expect(time.monotonic() - begun < 1.0, True, "a poll without waiting takes less than a second")


@law(CHECKS, partitions=1)
def check_events_after_the_poll_come_next(log: LogUnderTest) -> None:
    """Events that arrive while a batch is in work belong to the next batch: neither lost nor doubled."""
    engine, client = started(log), log.client()
    append(client, *numbered(3))
    engine.take(3)
    append(client, *numbered(3, 3))
    engine.commit(state="S")
    expect([record.value for record in engine.take(3)], numbered(3, 3), "events of the next poll")


# The engine's side: commits.


@law(CHECKS, partitions=1)
def check_nothing_is_visible_before_commit(log: LogUnderTest) -> None:
    """A poll writes nothing: consumers of predictions must never see what may be undone."""
    engine, client = started(log), log.client()
    append(client, b"a")
    engine.take(1)
    expect(client.tail(PREDICTIONS, 0, 0, 10), [], "predictions before the commit")


@law(CHECKS, partitions=3)
def check_commit_is_whole(log: LogUnderTest) -> None:
    """Outputs of several topics, offsets and states are one atom; each output goes where it was sent."""
    engine, client = started(log, 3), log.client()
    positions = client.append_many(EVENTS, [(b"key-%d" % number, b"e") for number in range(9)])
    engine.take(9)
    outputs = [Output(PREDICTIONS, p, None, b"p%d" % p) for p in (2, 1, 0)]
    outputs += [Output(LABEL_REQUESTS, 2, b"id", b"r"), Output(DEAD_LETTERS, 0, None, b"d")]
    engine.commit(outputs, state="S")
    for partition in range(3):
        found = values_in(log, client, PREDICTIONS, 1, partition)
        expect(found, [b"p%d" % partition], f"predictions of partition {partition}")
    (request,) = records_in(log, client, LABEL_REQUESTS, 1, 2)
    expect((request.key, request.value), (b"id", b"r"), "the request")
    expect(values_in(log, client, DEAD_LETTERS, 1), [b"d"], "dead letters")
    for partition, progress in restarted(log, 3).progress.items():
        last = max((at.offset for at in positions if at.partition == partition), default=-1)
        expect(progress.state, "S", f"state of partition {partition}")
        expect(progress.next_offset > last, True, f"partition {partition} goes on behind its last event")


@law(CHECKS, partitions=1)
def check_outputs_keep_their_order(log: LogUnderTest) -> None:
    """Predictions are read in the order of their events."""
    engine, client = started(log), log.client()
    for start in (0, 50):
        engine.commit([Output(PREDICTIONS, 0, b"key", value) for value in numbered(50, start)])
    expect(values_in(log, client, PREDICTIONS, 100), numbered(100), "predictions")


@law(CHECKS, partitions=1)
def check_uncommitted_events_come_again(log: LogUnderTest) -> None:
    """A service that dies between poll and commit loses nothing."""
    append(log.client(), *numbered(4))
    started(log).take(4)
    again = restarted(log).take(4)
    expect([record.value for record in again], numbered(4), "events after the restart")


@law(CHECKS, partitions=1)
def check_committed_events_never_come_again(log: LogUnderTest) -> None:
    """Exactly once: after a restart the next event is the first that was not committed."""
    client = log.client()
    append(client, *numbered(4))
    engine = started(log)
    engine.take(4)
    engine.commit(state="S")
    append(client, b"new")
    engine = restarted(log)
    expect([record.value for record in engine.take(1)], [b"new"], "events after the restart")


@law(CHECKS, partitions=1)
def check_state_comes_back_verbatim(log: LogUnderTest) -> None:
    """The query state is up to 3,072 characters of base64; one changed character is another state."""
    alphabet = string.ascii_letters + string.digits + "+/-_="
    engine = started(log)
    for state in (alphabet, (alphabet * 48)[:3072], "", "é数"):
        engine.commit(state=state)
        engine = restarted(log)
        expect(engine.progress[0].state, state, f"a state of {len(state)} characters")


@law(CHECKS, partitions=1)
def check_commit_of_state_alone(log: LogUnderTest) -> None:
    """The reply position and the clock move without events, from a batch without records."""
    engine = started(log)
    engine.commit(state="first")  # from the batch that restored
    engine.batch = engine.member.poll(500, 0.0)
    engine.commit(state="second")
    expect(restarted(log).progress[0].state, "second", "the state")


@law(CHECKS, partitions=3)
def check_commit_leaves_other_partitions(log: LogUnderTest) -> None:
    """A commit moves the partitions that it names and no other."""
    engine = started(log, 3)
    engine.commit(state="all")
    engine.member.commit(engine.batch, [], {1: Progress(engine.progress[1].next_offset, "one")})
    states = {partition: progress.state for partition, progress in restarted(log, 3).progress.items()}
    expect(states, {0: "all", 1: "one", 2: "all"}, "states")


@law(CHECKS, partitions=1)
def check_impossible_output_is_refused(log: LogUnderTest) -> None:
    """A wrong partition or topic is a defect of the caller; nothing of its commit is written."""
    client = log.client()
    for bad in (Output(PREDICTIONS, 7, None, b"bad"), Output("evnets", 0, None, b"bad")):
        engine = restarted(log)
        outputs = [Output(PREDICTIONS, 0, None, b"bad"), bad]
        expect_raises(LogError, partial(engine.commit, outputs, state="bad"), f"output to {bad[:2]}")
    engine = restarted(log)
    expect(engine.progress[0].state, "", "the state")
    engine.commit([Output(PREDICTIONS, 0, None, b"good")])
    expect(values_in(log, client, PREDICTIONS, 1), [b"good"], "predictions")


@law(CHECKS, partitions=1)
def check_foreign_progress_is_refused(log: LogUnderTest) -> None:
    """Nobody moves a partition that it does not own."""
    engine = started(log)
    expect_raises(
        LogError,
        lambda: engine.member.commit(engine.batch, [], {5: Progress(0, "bad")}),
        "a commit of a partition that is not owned",
    )


@law(CHECKS, partitions=1)
def check_replies_share_one_order(log: LogUnderTest) -> None:
    """Answers come by append, samples by commit: the model is a fold of both in one order."""
    engine, client = started(log), log.client()
    for number in range(0, 6, 2):
        client.append(LABEL_REPLIES, b"key", b"%d" % number)
        engine.commit([Output(LABEL_REPLIES, 0, None, b"%d" % (number + 1))])
    found = records_in(log, client, LABEL_REPLIES, 6)
    expect([record.value for record in found], numbered(6), "replies and samples")
    offsets = [record.offset for record in found]
    expect(offsets, sorted(set(offsets)), "offsets of replies and samples")
    again = log.client().tail(LABEL_REPLIES, 0, 0, 100)
    expect(again, found, "the same records for another reader")


# The engine's side: fencing.


@law(CHECKS, partitions=1)
def check_stale_commit_is_lost(log: LogUnderTest) -> None:
    """A member that was paused while another took over must not write a word."""
    client = log.client()
    append(client, *numbered(2))
    old = started(log)
    old.take(2)
    SmallestEngine(log, log.member()).start(0)  # from here on the old membership is over
    lost = [Output(PREDICTIONS, 0, None, b"lost")]
    expect_raises(CommitLost, lambda: old.commit(lost, state="lost"), "a commit from the old membership")
    engine = restarted(log)
    expect(engine.progress[0].state, "", "the state after a lost commit")
    engine.take(2)
    engine.commit([Output(PREDICTIONS, 0, None, b"kept")])
    expect(values_in(log, client, PREDICTIONS, 1), [b"kept"], "predictions")


@law(CHECKS, partitions=1)
def check_truth_is_restored_after_a_lost_commit(log: LogUnderTest) -> None:
    """After ``CommitLost`` all memory is dropped; what was committed last is where to go on."""
    client = log.client()
    append(client, *numbered(2))
    engine = started(log)
    engine.take(2)
    engine.commit(state="truth")
    append(client, *numbered(2, 2))
    engine.take(2)
    other = SmallestEngine(log, log.member())
    other.start(0)
    expect_raises(CommitLost, lambda: engine.commit(state="lost"), "a commit from the old membership")
    other.member.close()
    expect(engine.start(1)[0].state, "truth", "the restored state")
    expect([record.value for record in engine.take(2)], numbered(2, 2), "events after the restored offset")


@law(CHECKS, partitions=1)
def check_old_batch_is_lost(log: LogUnderTest) -> None:
    """A batch is valid for the membership that polled it, even for the same process."""
    append(log.client(), b"a")
    engine = started(log)
    engine.take(1)
    batch = engine.batch
    engine = restarted(log)
    expect_raises(
        CommitLost,
        lambda: engine.member.commit(batch, [], {0: Progress(0, "lost")}),
        "a commit of a batch that an earlier member polled",
    )
