"""Topics are made as they must be, what is wrong with them is found, and every cure mends what it is for."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ConfigResource,
    ResourcePattern,
    ResourceType,
)

from stream_al.errors import ConfigurationError, LogError
from stream_al.log.kafka_client import KafkaClient
from stream_al.log.kafka_connection import KafkaOptions
from stream_al.log.kafka_findings import Broker as FoundBroker
from stream_al.log.kafka_findings import Finding, Topic, judge
from stream_al.log.kafka_topics import check_topics, create_topics, topic_specs
from stream_al.log.protocol import EVENTS, TOPICS
from tests.kafka.admin import admin, wait_until
from tests.kafka.broker import Broker, Cluster
from tests.kafka.shared import Addresses

WEEK = 7 * 86_400
PARTITIONS = 3


@pytest.fixture
def options(bootstrap: list[str], prefix: str) -> KafkaOptions:
    return KafkaOptions(bootstrap=tuple(bootstrap), prefix=prefix)


def errors(options: KafkaOptions, partitions: int = PARTITIONS) -> list[Finding]:
    return [found for found in check_topics(options, partitions) if found.severity == "error"]


def make(options: KafkaOptions, *, without: tuple[str, ...] = (), **changes: Any) -> None:
    """Make topics as they must be, except for ``changes[topic] = (partitions, configs)``."""
    wanted = {}
    for spec in topic_specs(PARTITIONS, 1, WEEK):
        count, configs = changes.get(spec.name.replace("-", "_"), (spec.partitions, {}))
        if spec.name not in without:
            settings = {**spec.configs, **configs}
            wanted[options.topic(spec.name)] = {
                "num_partitions": count,
                "replication_factor": 1,
                "configs": settings,
            }
    with admin(options.bootstrap) as client:
        client.create_topics(wanted, wait_for_metadata=True)


def is_gone(client: KafkaAdminClient, topic: str) -> bool:
    return topic not in client.list_topics()


def carry_out(cure: str, options: KafkaOptions) -> int | None:
    """Do what a cure says; return the number of partitions where it is a setting."""
    if cure.startswith("set log.partitions = "):
        return int(cure.rpartition("=")[2])
    for command in cure.partition("    #")[0].split(" && "):
        tool, *words = shlex.split(command)
        following = dict(zip(words, [*words[1:], ""], strict=True))
        if tool == "stream-al":
            assert words[:2] == ["topics", "create"]
            create_topics(options, int(following["--partitions"]), 1, WEEK)
            continue
        assert following["--bootstrap-server"] == ",".join(options.bootstrap)
        with admin(options.bootstrap) as client:
            if tool == "kafka-configs.sh":
                assert (following["--entity-type"], "--alter" in words) == ("topics", True)
                key, _, value = following["--add-config"].partition("=")
                client.alter_configs([ConfigResource("TOPIC", following["--entity-name"], {key: value})])
            elif "--delete" in words:
                topic = following["--topic"]
                client.delete_topics([topic])
                wait_until(partial(is_gone, client, topic), 30, "the topic to be gone")
            else:
                assert (tool, "--alter" in words) == ("kafka-topics.sh", True)
                client.create_partitions({following["--topic"]: int(following["--partitions"])})
    return None


# ---- making -------------------------------------------------------------------------------------


def test_what_was_made_is_what_is_wanted(options: KafkaOptions) -> None:
    made = create_topics(options, PARTITIONS, 1, WEEK)
    assert made == [options.topic(name) for name in TOPICS]
    with admin(options.bootstrap) as client:
        for spec in topic_specs(PARTITIONS, 1, WEEK):
            name = options.topic(spec.name)
            (found,) = client.describe_topics([name])
            assert [each["leader_id"] >= 0 for each in found["partitions"]] == [True] * spec.partitions
            configs = client.describe_configs([ConfigResource("TOPIC", name)], config_filter="all")
            told = {key: configs["topic"][name][key]["value"] for key in spec.configs}
            assert told == spec.configs
    found = check_topics(options, PARTITIONS)
    assert {each.severity for each in found} == {"warning"}
    assert all("repli" in each.subject for each in found)
    assert any(each.subject == f"replicas of {', '.join(made)}" for each in found)


def test_the_second_time_nothing_is_made(options: KafkaOptions) -> None:
    make(options, without=("predictions",), events=(PARTITIONS, {"retention.ms": "1234567"}))
    assert create_topics(options, PARTITIONS, 1, WEEK) == [options.topic("predictions")]
    assert create_topics(options, PARTITIONS, 1, WEEK) == []
    with admin(options.bootstrap) as client:
        name = options.topic("events")
        configs = client.describe_configs([ConfigResource("TOPIC", name)])
    assert configs["topic"][name]["retention.ms"]["value"] == "1234567"


def test_topics_that_a_broker_has_not_heard_of_yet_are_waited_for(options: KafkaOptions) -> None:
    def while_waiting() -> None:
        create_topics(options, PARTITIONS, 1, WEEK)

    log = KafkaClient(options, while_waiting)
    assert log.partitions(EVENTS) == PARTITIONS
    log.close()


def test_other_numbers_of_partitions_are_refused_before_anything_is_made(options: KafkaOptions) -> None:
    make(options, without=TOPICS[1:])
    with pytest.raises(ConfigurationError, match=f"set log.partitions = {PARTITIONS}"):
        create_topics(options, PARTITIONS + 1, 1, WEEK)
    (missing,) = (found for found in errors(options) if found.found == "no such topic")
    assert missing.subject == ", ".join(options.topic(name) for name in TOPICS[1:])


def test_too_few_brokers(options: KafkaOptions) -> None:
    with pytest.raises(LogError, match=r"--replication-factor"):
        create_topics(options, PARTITIONS, 7, WEEK)


# ---- what is wrong with topics, and its cure ----------------------------------------------------

SMALL = {"max.message.bytes": "1000000"}
WRONG: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "missing": ({"without": ("events", "dead-letters")}, [("events, {}dead-letters", "no such topic")]),
    "unequal": (
        {"predictions": (2, {}), "label_requests": (1, {})},
        [("partitions of predictions", "2"), ("partitions of label-requests", "1")],
    ),
    "more predictions than events": (
        {"predictions": (PARTITIONS + 1, {})},
        [
            ("partitions of events", "3"),
            ("partitions of label-requests", "3"),
            ("log.partitions", str(PARTITIONS)),
        ],
    ),
    "another number": (
        {name: (5, {}) for name in ("events", "predictions", "label_requests")},
        [("log.partitions", str(PARTITIONS))],
    ),
    "too many replies": ({"label_replies": (2, {})}, [("partitions of label-replies", "2")]),
    "too many dead letters": ({"dead_letters": (2, {})}, [("partitions of dead-letters", "2")]),
    "the producer's time": (
        {
            "events": (PARTITIONS, {"message.timestamp.type": "CreateTime"}),
            "label_replies": (1, {"message.timestamp.type": "CreateTime"}),
        },
        [(f"message.timestamp.type of {name}", "CreateTime") for name in ("events", "label-replies")],
    ),
    "compacted": (
        {"label_replies": (1, {"cleanup.policy": "compact"})},
        [("cleanup.policy of label-replies", "compact")],
    ),
    "partly compacted": (
        {"label_replies": (1, {"cleanup.policy": "compact,delete"})},
        [("cleanup.policy of label-replies", "compact,delete")],
    ),
    "forgotten": (
        {"label_replies": (1, {"retention.ms": "1000000", "retention.bytes": "1000000"})},
        [(f"retention.{key} of label-replies", "1000000") for key in ("ms", "bytes")],
    ),
    "too small": (
        {"label_requests": (PARTITIONS, SMALL), "label_replies": (1, SMALL), "dead_letters": (1, SMALL)},
        [
            (f"max.message.bytes of {name}", "1000000")
            for name in ("label-requests", "label-replies", "dead-letters")
        ],
    ),
    "too small for a batch": (
        {"events": (PARTITIONS, SMALL), "predictions": (PARTITIONS, SMALL)},
        [(f"max.message.bytes of {name}", "1000000") for name in ("events", "predictions")],
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_errors_are_found_and_their_cures_mend_them(options: KafkaOptions, what: str) -> None:
    changes, expected = WRONG[what]
    make(options, **changes)
    found = errors(options)
    short = [(each.subject.replace(options.prefix, "", 1), each.found) for each in found]
    assert short == [(subject.format(options.prefix), said) for subject, said in expected]
    partitions = PARTITIONS
    for each in found:
        partitions = carry_out(each.cure, options) or partitions
    wait_until(lambda: errors(options, partitions) == [], 60, "the cures to be seen by the broker")


def test_warnings_of_a_topic_and_their_cures(options: KafkaOptions) -> None:
    make(options, events=(PARTITIONS, {"unclean.leader.election.enable": "true"}))
    (found,) = (each for each in check_topics(options, PARTITIONS) if "unclean" in each.subject)
    assert (found.severity, found.found) == ("warning", "true")
    carry_out(found.cure, options)
    wait_until(
        lambda: not any("unclean" in each.subject for each in check_topics(options, PARTITIONS)),
        30,
        "the cure to be seen by the broker",
    )


def test_three_replicas_leave_nothing_to_say(cluster: Cluster, prefix: str) -> None:
    options = KafkaOptions(bootstrap=tuple(cluster.bootstrap), prefix=prefix)
    assert len(create_topics(options, PARTITIONS, 3, WEEK)) == len(TOPICS)
    assert check_topics(options, PARTITIONS) == []
    with admin(options.bootstrap) as client:
        resource = ConfigResource("TOPIC", options.topic("events"), {"min.insync.replicas": "1"})
        client.alter_configs([resource])
    wait_until(lambda: check_topics(options, PARTITIONS) != [], 30, "the change to be seen")
    (found,) = check_topics(options, PARTITIONS)
    assert found.severity == "warning"
    assert found.subject == f"min.insync.replicas of {options.topic('events')}"
    carry_out(found.cure, options)
    wait_until(lambda: check_topics(options, PARTITIONS) == [], 30, "the cure to be seen")


# ---- what is wrong with brokers -----------------------------------------------------------------


def test_brokers_that_cannot_be_used(prefix: str) -> None:
    settings = {
        "offset.metadata.max.bytes": "1000",
        "transaction.max.timeout.ms": "9000",
        "group.max.session.timeout.ms": "8000",
    }
    with Broker(settings=settings) as broker:
        options = KafkaOptions(bootstrap=tuple(broker.bootstrap), prefix=prefix)
        create_topics(options, PARTITIONS, 1, WEEK)
        found = {each.subject: each for each in errors(options)}
        assert found.keys() == {f"{key} of broker 1" for key in settings}
        assert {each.found for each in found.values()} == set(settings.values())
        cures = [each.cure for each in found.values()]
        assert cures[0] == "offset.metadata.max.bytes=4096 in server.properties of broker 1, then restart"
        assert cures[1:] == ["set kafka.transaction_seconds = 9", "set kafka.session_seconds = 8"]
        mended = replace(options, transaction_seconds=9.0, session_seconds=8.0)
        assert [each.subject for each in errors(mended)] == ["offset.metadata.max.bytes of broker 1"]


def test_old_brokers_and_short_sessions_are_told_by_what_brokers_say() -> None:
    topics = {
        spec.name: Topic(spec.partitions, 3, {"min.insync.replicas": "2", **spec.configs})
        for spec in topic_specs(1, 3, WEEK)
    }
    good = {
        "offset.metadata.max.bytes": "4096",
        "transaction.max.timeout.ms": "900000",
        "group.min.session.timeout.ms": "6000",
        "group.max.session.timeout.ms": "1800000",
        "transaction.state.log.replication.factor": "3",
        "offsets.topic.replication.factor": "3",
        "offsets.retention.minutes": "518400",
    }
    new, old = FoundBroker((3, 7), good), FoundBroker((3, 6), good)
    options = KafkaOptions(session_seconds=5.0)
    assert judge(replace(options, session_seconds=None), 1, topics, {1: new, 2: new, 3: new}) == []
    forgetful = FoundBroker((3, 7), {**good, "offsets.retention.minutes": "10080"})  # Kafka's default
    [found] = judge(replace(options, session_seconds=None), 1, topics, {1: forgetful})
    assert (found.severity, found.found) == ("warning", "10080")
    assert "loses its place" in found.expected
    version, session = judge(options, 1, topics, {1: new, 2: old, 3: new})
    assert (version.subject, version.found) == ("broker 2", "Apache Kafka 3.6")
    assert "3.7 or later" in version.cure
    assert session.subject == "group.min.session.timeout.ms of brokers 1, 2, 3"
    assert session.cure == "set kafka.session_seconds = 6"


# ---- rights -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Guest:
    """A user of the shared broker without any right but those that are given."""

    options: KafkaOptions
    allow: Callable[[ACLOperation], None]


@pytest.fixture
def guest(shared: Addresses, prefix: str) -> Iterator[Guest]:
    given: list[ACL] = []
    security = {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "guest",
        "sasl_plain_password": shared.users["guest"],
    }

    def allow(operation: ACLOperation) -> None:
        topics = ResourcePattern(ResourceType.TOPIC, prefix, ACLResourcePatternType.PREFIXED)
        acl = ACL("User:guest", "*", operation, ACLPermissionType.ALLOW, topics)
        with admin(shared.bootstrap) as client:
            client.create_acls([acl])
        given.append(acl)

    yield Guest(KafkaOptions(tuple(shared.sasl_bootstrap), prefix, security=security), allow)
    if given:
        with admin(shared.bootstrap) as client:
            client.delete_acls(given)


def test_what_may_not_be_read_is_a_warning(shared: Addresses, guest: Guest, prefix: str) -> None:
    create_topics(KafkaOptions(tuple(shared.bootstrap), prefix), PARTITIONS, 1, WEEK)
    with pytest.raises(LogError, match="not permitted"):
        check_topics(guest.options, PARTITIONS)
    guest.allow(ACLOperation.DESCRIBE)

    def unread() -> list[Finding]:
        try:
            return [each for each in check_topics(guest.options, PARTITIONS) if "readable" in each.found]
        except LogError:  # the right has not come to the broker yet
            return []

    wait_until(lambda: unread() != [], 30, "the right to describe")
    topics, broker = unread()
    assert {topics.severity, broker.severity} == {"warning"}
    assert topics.subject == ", ".join(prefix + name for name in TOPICS)
    assert broker.subject == "broker 1"
    assert "offset.metadata.max.bytes" in broker.found
    grant = "--add --allow-principal User:guest --operation DescribeConfigs"
    assert topics.cure.endswith(f"{grant} --resource-pattern-type prefixed --topic {prefix}")
    assert broker.cure.endswith(f"{grant} --cluster")
    assert "--command-config client.properties" in topics.cure


def test_who_may_not_create_topics_is_told_what_is_missing(guest: Guest) -> None:
    guest.allow(ACLOperation.DESCRIBE)

    def said() -> str:
        with pytest.raises(LogError) as caught:
            create_topics(guest.options, PARTITIONS, 1, WEEK)
        return str(caught.value)

    wait_until(lambda: "--operation Create" in said(), 30, "the right to describe")
    assert said().startswith(f"creating {guest.options.prefix}")
    assert "not permitted" in said()


# ---- the commands -------------------------------------------------------------------------------


def stream_al(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from stream_al_consumers.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def configure(folder: Path, bootstrap: list[str], prefix: str) -> None:
    text = f'[log]\nkind = "kafka"\npartitions = {PARTITIONS}\nprefix = "{prefix}"\n[kafka]\n'
    (folder / "stream-al.toml").write_text(f"{text}bootstrap = {json.dumps(bootstrap)}\n")


def test_the_commands_make_and_check(tmp_path: Path, bootstrap: list[str], prefix: str) -> None:
    configure(tmp_path, bootstrap, prefix)
    before = stream_al(tmp_path, "topics", "check", "--json")
    assert (before.returncode, json.loads(before.stdout)["ok"]) == (4, False)
    first = json.loads(stream_al(tmp_path, "topics", "create", "--replication-factor", "1", "--json").stdout)
    assert (first["ok"], first["created"], first["existed"]) == (True, [prefix + name for name in TOPICS], [])
    assert {finding["severity"] for finding in first["findings"]} == {"warning"}
    assert first["findings"][0].keys() == {"severity", "subject", "found", "expected", "cure"}
    second = stream_al(tmp_path, "topics", "create")
    assert (second.returncode, second.stderr) == (0, "")
    assert [line for line in second.stdout.splitlines() if line.startswith("existed ")] == [
        f"existed {prefix}{name}" for name in TOPICS
    ]
    other = stream_al(tmp_path, "topics", "check", "--partitions", "2")
    assert other.returncode == 4
    assert "set log.partitions = 3" in other.stdout


@pytest.mark.parametrize("command", ["create", "check"])
def test_a_wrong_address_is_one_message(tmp_path: Path, prefix: str, command: str) -> None:
    configure(tmp_path, ["127.0.0.1:1"], prefix)
    started = time.monotonic()
    ran = stream_al(tmp_path, "topics", command)
    assert (ran.returncode, ran.stdout) == (4, "")
    waiting, message = ran.stderr.splitlines()
    assert waiting.startswith("no answer from 127.0.0.1:1 yet")
    assert message.startswith("error: ")
    assert "no answer from 127.0.0.1:1" in message
    assert "kafka.bootstrap" in message
    assert time.monotonic() - started < 20  # 10 s for an answer; the rest is for a busy machine
