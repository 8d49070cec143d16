"""What is wrong with the topics and brokers of a Kafka log, and what mends each of it.

Judging only: :mod:`stream_al.log.kafka_topics` asks the brokers and makes topics. Every finding carries its
cure, a command of Kafka's or of ours or a setting, ready to be pasted.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from stream_al.log.kafka_connection import MAX_RECORD_BYTES, KafkaOptions
from stream_al.log.protocol import (
    DEAD_LETTERS,
    EVENTS,
    LABEL_REPLIES,
    LABEL_REQUESTS,
    PREDICTIONS,
    SINGLE_PARTITION,
    TOPICS,
)
from stream_al.query.state import MAX_ENCODED

OLDEST_BROKER = (3, 7)
ENOUGH_REPLICAS = 3
MORE_COPIES = f"at least {ENOUGH_REPLICAS}: with fewer, the restart of a broker may double outputs"
"""What is expected where topics have too few copies."""
"""With fewer, a broker that restarts may complete a transaction without its markers."""

KEPT = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
_LOG_TIME = {"message.timestamp.type": "LogAppendTime"}
_WHOLE_BATCH = {"max.message.bytes": "1048588"}
"""Kafka's default; below the batches of producers nothing can be sent at all."""
_LARGE = {"max.message.bytes": str(MAX_RECORD_BYTES)}
REQUIRED: Mapping[str, Mapping[str, str]] = {
    EVENTS: {"cleanup.policy": "delete", **_LOG_TIME, **_WHOLE_BATCH},
    PREDICTIONS: _WHOLE_BATCH,
    LABEL_REQUESTS: _LARGE,
    LABEL_REPLIES: {**KEPT, **_LOG_TIME, **_LARGE},
    DEAD_LETTERS: _LARGE,
}
"""Without these the service is wrong, whoever made the topics."""
_WHY = {
    "cleanup.policy": "a compacted topic loses records",
    "retention.ms": "the model is a fold of all answers",
    "retention.bytes": "the model is a fold of all answers",
    "message.timestamp.type": "time is the log's, not the producer's",
    "max.message.bytes": "a producer's batch must fit, and a request holds its event twice",
}
BROKER_KEYS = (
    "offset.metadata.max.bytes",
    "transaction.max.timeout.ms",
    "group.min.session.timeout.ms",
    "group.max.session.timeout.ms",
    "offsets.retention.minutes",
    "transaction.state.log.replication.factor",
    "offsets.topic.replication.factor",
)
LONGEST_STOP_MINUTES = 90 * 1440
"""How long a stopped service should find its place again; brokers forget an empty group after 7 days."""


class Finding(NamedTuple):
    """One thing that is wrong: what was found, what was expected, and what mends it."""

    severity: Literal["error", "warning"]
    subject: str
    found: str
    expected: str
    cure: str


@dataclass(frozen=True, slots=True)
class Topic:
    """What an existing topic is; ``configs`` is empty where they may not be read."""

    partitions: int
    replicas: int
    configs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Broker:
    """What a broker says of itself; ``configs`` lacks what may not be read."""

    version: tuple[int, ...]
    configs: Mapping[str, str]


def judge(
    options: KafkaOptions, partitions: int, topics: Mapping[str, Topic], brokers: Mapping[int, Broker]
) -> list[Finding]:
    """Return what is wrong, errors first; a pure function of what the brokers said.

    Parameters
    ----------
    options : KafkaOptions
    partitions : int
    topics : mapping of str to Topic
        Those that exist, by name without prefix.
    brokers : mapping of int to Broker
        Those that are alive, by id.
    """
    found = [
        *_counts(options, partitions, topics),
        *_topic_configs(options, topics),
        *_replication(options, topics, brokers),
        *_brokers(options, brokers),
        *_unread(options, topics, brokers),
    ]
    return sorted(found, key=lambda finding: finding.severity != "error")


def _counts(options: KafkaOptions, partitions: int, topics: Mapping[str, Topic]) -> Iterator[Finding]:
    """Judge which topics there are, and how many partitions they have; partitions can only be added."""
    counts = {name: topic.partitions for name, topic in topics.items() if name not in SINGLE_PARTITION}
    most = max(counts.values(), default=partitions)
    missing = [options.topic(name) for name in TOPICS if name not in topics]
    if missing:
        cure = f"stream-al topics create --partitions {most}"
        yield Finding("error", ", ".join(missing), "no such topic", "a topic of each name", cure)
    for name, count in counts.items():
        if count < most:
            cure = _tool(options, "kafka-topics.sh", "--alter", "--topic", options.topic(name))
            expected = f"{most}: events, predictions and requests have equally many"
            yield _partition_error(options, name, count, expected, f"{cure} --partitions {most}")
    if most != partitions:
        expected = f"{most}, as the topics have"
        yield Finding("error", "log.partitions", str(partitions), expected, f"set log.partitions = {most}")
    for name in TOPICS:
        if name in SINGLE_PARTITION and name in topics and topics[name].partitions > 1:
            delete = _tool(options, "kafka-topics.sh", "--delete", "--topic", options.topic(name))
            cure = f"{delete} && stream-al topics create --partitions {most}"
            if name == LABEL_REPLIES:
                cure += "    # forgets all answers; to keep the topic, set another log.prefix instead"
            yield _partition_error(options, name, topics[name].partitions, "1: it is read in order", cure)


def _partition_error(options: KafkaOptions, name: str, count: int, expected: str, cure: str) -> Finding:
    return Finding("error", f"partitions of {options.topic(name)}", str(count), expected, cure)


def _topic_configs(options: KafkaOptions, topics: Mapping[str, Topic]) -> Iterator[Finding]:
    for name, topic in topics.items():
        wanted: dict[str, tuple[Literal["error", "warning"], str, str]] = {
            key: ("error", value, _WHY[key]) for key, value in REQUIRED[name].items()
        }
        wanted["unclean.leader.election.enable"] = "warning", "false", "else committed records can be lost"
        if topic.replicas >= ENOUGH_REPLICAS:
            wanted["min.insync.replicas"] = "warning", "2", "else one failing broker can lose records"
        for key, (severity, value, why) in wanted.items():
            found = topic.configs.get(key, value)
            if key in ("max.message.bytes", "min.insync.replicas"):
                good, expected = int(found) >= int(value), f"at least {value}: {why}"
            else:
                good, expected = found == value, f"{value}: {why}"
            if not good:
                place = "--entity-type", "topics", "--entity-name", options.topic(name)
                cure = _tool(options, "kafka-configs.sh", "--alter", *place, "--add-config", f"{key}={value}")
                yield Finding(severity, f"{key} of {options.topic(name)}", found, expected, cure)


def _replication(
    options: KafkaOptions, topics: Mapping[str, Topic], brokers: Mapping[int, Broker]
) -> Iterator[Finding]:
    enlarge = _tool(
        options, "kafka-reassign-partitions.sh", "--reassignment-json-file", "replicas.json", "--execute"
    )
    enlarge += f"    # replicas.json names {ENOUGH_REPLICAS} brokers for each partition"
    if len(brokers) < ENOUGH_REPLICAS:
        enlarge = f"run at least {ENOUGH_REPLICAS} brokers, then: {enlarge}"
    few = defaultdict(list)
    for name, topic in topics.items():
        if topic.replicas < ENOUGH_REPLICAS:
            few[topic.replicas].append(options.topic(name))
    for replicas, names in few.items():
        yield Finding("warning", f"replicas of {', '.join(names)}", str(replicas), MORE_COPIES, enlarge)
    for key in ("transaction.state.log.replication.factor", "offsets.topic.replication.factor"):
        for value, who in _grouped(brokers, key):
            if value < ENOUGH_REPLICAS:
                cure = f"before the first start of a service: {_property(key, ENOUGH_REPLICAS, who)}"
                yield Finding("warning", f"{key} of {who}", str(value), MORE_COPIES, cure)


def _brokers(options: KafkaOptions, brokers: Mapping[int, Broker]) -> Iterator[Finding]:
    for number, broker in brokers.items():
        if broker.version < OLDEST_BROKER:
            version, oldest = (".".join(map(str, each)) for each in (broker.version, OLDEST_BROKER))
            cure = f"upgrade broker {number} to Apache Kafka {oldest} or later"
            yield Finding("error", f"broker {number}", f"Apache Kafka {version}", f"{oldest} or later", cure)
    for value, who in _grouped(brokers, "offset.metadata.max.bytes"):
        if value < MAX_ENCODED:
            expected = f"at least {MAX_ENCODED}: the query state is the offset's metadata"
            cure = _property("offset.metadata.max.bytes", 4096, who)
            yield Finding("error", f"offset.metadata.max.bytes of {who}", str(value), expected, cure)
    for value, who in _grouped(brokers, "offsets.retention.minutes"):
        if value < LONGEST_STOP_MINUTES:
            expected = (
                f"at least {LONGEST_STOP_MINUTES}: a service that is stopped for longer loses its place and "
                "the account of its budget"
            )
            cure = _property("offsets.retention.minutes", 4 * LONGEST_STOP_MINUTES, who)
            yield Finding("warning", f"offsets.retention.minutes of {who}", str(value), expected, cure)
    transaction_ms = int(1000 * options.transaction_seconds)
    for value, who in _grouped(brokers, "transaction.max.timeout.ms"):
        if value < transaction_ms:
            expected = f"at least {transaction_ms}: kafka.transaction_seconds"
            cure = f"set kafka.transaction_seconds = {value / 1000:g}"
            yield Finding("error", f"transaction.max.timeout.ms of {who}", str(value), expected, cure)
    session_ms = options.member()["session_timeout_ms"]
    for key, sign in (("group.min.session.timeout.ms", 1), ("group.max.session.timeout.ms", -1)):
        for value, who in _grouped(brokers, key):
            if sign * value > sign * session_ms:
                expected = f"at {'most' if sign > 0 else 'least'} {session_ms}: the session's time-out"
                cure = f"set kafka.session_seconds = {value / 1000:g}"
                yield Finding("error", f"{key} of {who}", str(value), expected, cure)


def _unread(
    options: KafkaOptions, topics: Mapping[str, Topic], brokers: Mapping[int, Broker]
) -> Iterator[Finding]:
    closed = [options.topic(name) for name, topic in topics.items() if not topic.configs]
    if closed:
        cure = grant(options, "DescribeConfigs", topics=True)
        yield Finding("warning", ", ".join(closed), "configs not readable", "to be checked", cure)
    for number, broker in brokers.items():
        missing = [key for key in BROKER_KEYS if key not in broker.configs]
        if missing:
            cure = grant(options, "DescribeConfigs", topics=False)
            found = f"{', '.join(missing)} not readable"
            yield Finding("warning", f"broker {number}", found, "to be checked", cure)


# ---- words --------------------------------------------------------------------------------------


def _grouped(brokers: Mapping[int, Broker], key: str) -> Iterator[tuple[int, str]]:
    """Yield each value of a broker's config once, with the brokers that have it."""
    found = defaultdict(list)
    for number, broker in brokers.items():
        if key in broker.configs:
            found[int(broker.configs[key])].append(str(number))
    for value, numbers in found.items():
        yield value, f"broker{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}"


def _property(key: str, value: int, who: str) -> str:
    return f"{key}={value} in server.properties of {who}, then restart"


def _tool(options: KafkaOptions, tool: str, *arguments: str) -> str:
    """Return a command of Kafka's own, to be pasted; credentials are in the person's own file."""
    login = ["--command-config", "client.properties"] if options.security else []
    return shlex.join([tool, "--bootstrap-server", ",".join(options.bootstrap), *login, *arguments])


def grant(options: KafkaOptions, operation: str, *, topics: bool) -> str:
    """Return the command that gives our user a right, on our topics or on the cluster."""
    principal = f"User:{options.security.get('sasl_plain_username', 'ANONYMOUS')}"
    if not topics:
        place = ["--cluster"]
    elif options.prefix:
        place = ["--resource-pattern-type", "prefixed", "--topic", options.prefix]
    else:
        place = ["--topic", "*"]
    return _tool(
        options,
        "kafka-acls.sh",
        *("--add", "--allow-principal", principal, "--operation", operation, *place),
    )
