"""The contract of a log on everybody's side: append, tail, bounds, read and acknowledge."""

from __future__ import annotations

from stream_al.conformance.log_under_test import (
    Check,
    LogUnderTest,
    append,
    expect,
    expect_raises,
    law,
    numbered,
    records_in,
    restarted,
    values_in,
)
from stream_al.errors import LogError
from stream_al.log.protocol import EVENTS, LABEL_REPLIES, LABEL_REQUESTS, SINGLE_PARTITION, TOPICS

CHECKS: list[Check] = []


@law(CHECKS, partitions=3)
def check_partition_counts(log: LogUnderTest) -> None:
    """The reply log is one total order, so it has one partition whatever the events have."""
    client = log.client()
    for topic in TOPICS:
        expect(client.partitions(topic), 1 if topic in SINGLE_PARTITION else 3, f"partitions of {topic}")


@law(CHECKS, partitions=1)
def check_unknown_topic_is_refused(log: LogUnderTest) -> None:
    """A misspelt topic must not vanish silently."""
    client = log.client()
    expect_raises(LogError, lambda: client.partitions("evnets"), "partitions of an unknown topic")
    expect_raises(LogError, lambda: client.append("evnets", None, b"v"), "append to an unknown topic")


@law(CHECKS, partitions=1)
def check_append_positions_grow(log: LogUnderTest) -> None:
    """A position names a record for ever, so no offset is given twice."""
    client = log.client()
    positions = [client.append(EVENTS, b"key", value) for value in numbered(5)]
    positions += client.append_many(EVENTS, [(b"key", value) for value in numbered(5, 5)])
    offsets = [position.offset for position in positions]
    expect(offsets, sorted(set(offsets)), "offsets in order of append")
    found = records_in(log, client, EVENTS, 10)
    expect([record.offset for record in found], offsets, "offsets of the records, as returned by append")
    expect([record.value for record in found], numbered(10), "values in order of append")


@law(CHECKS, partitions=3)
def check_same_key_same_partition(log: LogUnderTest) -> None:
    """Order per key is all the order that a partitioned topic gives; retries must meet their first."""
    client = log.client()
    keys = [b"key-%d" % (number % 7) for number in range(42)]
    positions = client.append_many(EVENTS, [(key, b"v") for key in keys])
    single = client.append(EVENTS, keys[0], b"v")
    expect(len(positions), len(keys), "one position for each record")
    homes = {key: position.partition for key, position in zip(keys, positions, strict=True)}
    expect(
        [position.partition for position in positions], [homes[key] for key in keys], "partition of each key"
    )
    expect(single.partition, homes[keys[0]], "partition of the same key by append")
    expect(len(set(homes.values())) > 1, True, "seven keys use more than one of three partitions")


@law(CHECKS, partitions=3)
def check_records_without_a_key_are_kept(log: LogUnderTest) -> None:
    """Producers without keys are common; their records spread and none is lost."""
    client = log.client()
    positions = client.append_many(EVENTS, [(None, value) for value in numbered(9)])
    found = []
    for partition in range(3):
        expected = sum(position.partition == partition for position in positions)
        found += records_in(log, client, EVENTS, expected, partition)
    expect(sorted(record.value for record in found), numbered(9), "values over all partitions")
    expect({record.key for record in found}, {None}, "keys")


@law(CHECKS, partitions=1)
def check_bytes_come_back_unchanged(log: LogUnderTest) -> None:
    """Keys and values are bytes: empty, binary, 256 kB, any script."""
    client = log.client()
    values = [b"", b"\0\xff" * 8, bytes(range(256)) * 1024, "Größe 数 🙂".encode()]
    client.append_many(EVENTS, [(b"\0\xff", value) for value in values])
    client.append(EVENTS, "ключ".encode(), b"last")
    found = records_in(log, client, EVENTS, 5)
    expect([record.value for record in found], [*values, b"last"], "values")
    expect([record.key for record in found], [b"\0\xff"] * 4 + ["ключ".encode()], "keys")


@law(CHECKS, partitions=1)
def check_records_say_where_and_when(log: LogUnderTest) -> None:
    """Offsets, partitions and times of records are what decisions, tickets and replays refer to."""
    client = log.client()
    position = client.append(EVENTS, b"key", b"value")
    (record,) = records_in(log, client, EVENTS, 1)
    expect((record.topic, record.partition, record.offset), (EVENTS, *position), "place of the record")
    expect(type(record.timestamp_ms), int, "type of the timestamp (milliseconds)")


@law(CHECKS, partitions=1)
def check_appends_outlive_their_writer(log: LogUnderTest) -> None:
    """Durable on return: a producer may exit at once, and a service restart loses nothing."""
    writer = log.client()
    append(writer, b"a", topic=LABEL_REPLIES)
    writer.close()
    restarted(log)
    expect(values_in(log, log.client(), LABEL_REPLIES, 1), [b"a"], "values after the writer closed")


@law(CHECKS, partitions=1)
def check_tail_from_any_offset(log: LogUnderTest) -> None:
    """Folds resume in the middle, in chunks; an offset that is no record's starts at the next one."""
    client = log.client()
    append(client, *numbered(10))
    offsets = [record.offset for record in records_in(log, client, EVENTS, 10)]
    middle = client.tail(EVENTS, 0, offsets[4], 3)
    expect([record.value for record in middle], numbered(3, 4), "three records from the fifth")
    behind = client.tail(EVENTS, 0, offsets[7] + 1, 100)
    expect([record.value for record in behind], numbered(2, 8), "records behind the eighth")


@law(CHECKS, partitions=1)
def check_tail_is_complete(log: LogUnderTest) -> None:
    """A chunk that is not full is the last: whoever folds a topic stops there."""
    client, expected = log.client(), numbered(300)
    append(client, *expected)
    expect(values_in(log, client, EVENTS, 300), expected, "the records")
    for size in (299, 300, 301):
        chunk = [record.value for record in log.client().tail(EVENTS, 0, 0, size)]
        expect(chunk, expected[:size], f"the first {size} records, by one question of a new reader")


@law(CHECKS, partitions=1)
def check_tail_beyond_the_end_is_empty(log: LogUnderTest) -> None:
    """A fold that has caught up asks for the next record before there is one."""
    client = log.client()
    expect(client.tail(EVENTS, 0, 0, 10), [], "tail of an empty topic")
    append(client, b"a")
    (record,) = records_in(log, client, EVENTS, 1)
    expect(client.tail(EVENTS, 0, record.offset + 1, 10), [], "tail behind the last record")


@law(CHECKS, partitions=1)
def check_bounds_embrace_the_records(log: LogUnderTest) -> None:
    """Backlog and "how much is still kept" are read from the bounds."""
    client = log.client()
    first, following = client.bounds(EVENTS, 0)
    expect(first, following, "bounds of an empty partition")
    append(client, *numbered(3))
    found = records_in(log, client, EVENTS, 3)
    first, following = client.bounds(EVENTS, 0)
    expect(first <= found[0].offset and found[-1].offset < following, True, "bounds hold all records")


@law(CHECKS, partitions=1)
def check_read_without_ack_repeats(log: LogUnderTest) -> None:
    """A reader that dies before it acknowledges sees its records again: at least once."""
    client = log.client()
    append(client, *numbered(4), topic=LABEL_REQUESTS)
    records_in(log, client, LABEL_REQUESTS, 4)
    for _ in range(2):
        found = client.read(LABEL_REQUESTS, "annotators", 3)
        expect([record.value for record in found], numbered(3), "first three, not acknowledged")


@law(CHECKS, partitions=3)
def check_ack_moves_on(log: LogUnderTest) -> None:
    """Reading and acknowledging in turn gives every record of every partition once."""
    client = log.client()
    client.append_many(LABEL_REQUESTS, [(b"key-%d" % number, b"%d" % number) for number in range(10)])
    for partition in range(3):
        first, following = client.bounds(LABEL_REQUESTS, partition)
        records_in(log, client, LABEL_REQUESTS, following - first, partition)
    seen: list[int] = []
    while found := client.read(LABEL_REQUESTS, "annotators", 4):
        seen += [int(record.value) for record in found]
        client.ack("annotators", found)
        expect(len(seen) <= 10, True, "no record is read again after its ack")
    expect(sorted(seen), list(range(10)), "records read")


@law(CHECKS, partitions=1)
def check_ack_survives_its_reader(log: LogUnderTest) -> None:
    """An annotator's tool that starts again goes on where it stopped."""
    first = log.client()
    append(first, *numbered(3), topic=LABEL_REQUESTS)
    records_in(log, first, LABEL_REQUESTS, 3)
    first.ack("annotators", first.read(LABEL_REQUESTS, "annotators", 2))
    first.close()
    found = log.client().read(LABEL_REQUESTS, "annotators", 10)
    expect([record.value for record in found], numbered(1, 2), "what was not acknowledged")


@law(CHECKS, partitions=1)
def check_ack_never_moves_back(log: LogUnderTest) -> None:
    """Two readers of one group may acknowledge out of order."""
    client = log.client()
    append(client, *numbered(4), topic=LABEL_REQUESTS)
    records_in(log, client, LABEL_REQUESTS, 4)
    found = client.read(LABEL_REQUESTS, "annotators", 3)
    client.ack("annotators", found)
    client.ack("annotators", found[:1])
    client.ack("annotators", [])
    left = client.read(LABEL_REQUESTS, "annotators", 10)
    expect([record.value for record in left], numbered(1, 3), "records after a late ack of the first")


@law(CHECKS, partitions=1)
def check_groups_are_independent(log: LogUnderTest) -> None:
    """A dashboard that reads requests must not take them from the annotators."""
    client = log.client()
    append(client, b"a", topic=LABEL_REQUESTS)
    records_in(log, client, LABEL_REQUESTS, 1)
    client.ack("dashboard", client.read(LABEL_REQUESTS, "dashboard", 10))
    expect(client.read(LABEL_REQUESTS, "dashboard", 10), [], "the dashboard's second read")
    expect(len(client.read(LABEL_REQUESTS, "annotators", 10)), 1, "records for the annotators")
