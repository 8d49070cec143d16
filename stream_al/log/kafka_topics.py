"""The five topics on Kafka: what they are made with, making them, and asking what those there are are like.

Nothing that exists is changed. What is asked is judged in :mod:`stream_al.log.kafka_findings`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kafka.admin import ConfigResource, KafkaAdminClient
from kafka.errors import (
    AuthorizationError,
    InvalidReplicationFactorError,
    TopicAlreadyExistsError,
    for_code,
)

from stream_al.errors import ConfigurationError, LogError
from stream_al.log.kafka_connection import DOWN, KafkaOptions, answered, explain, explained, quiet
from stream_al.log.kafka_findings import (
    BROKER_KEYS,
    ENOUGH_REPLICAS,
    KEPT,
    REQUIRED,
    Broker,
    Finding,
    Topic,
    grant,
    judge,
)
from stream_al.log.protocol import SINGLE_PARTITION, TOPICS

__all__ = ["Finding", "TopicSpec", "check_topics", "create_topics", "topic_specs"]

READY_MS = 10_000
"""How long new partitions may be without a leader."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What one topic is made with; ``name`` is without prefix."""

    name: str
    partitions: int
    configs: Mapping[str, str]


def topic_specs(partitions: int, replication_factor: int, retention_seconds: int) -> tuple[TopicSpec, ...]:
    """Return what the topics must be.

    Parameters
    ----------
    partitions : int
        Of events, predictions and label requests; replies and dead letters have one each.
    replication_factor : int
        From 3 on, two replicas must have every record before it counts.
    retention_seconds : int
        Age at which events, predictions and requests are forgotten; replies and dead letters never are.
    """
    safe = {"unclean.leader.election.enable": "false"}
    if replication_factor >= ENOUGH_REPLICAS:
        safe["min.insync.replicas"] = "2"
    passing = {"cleanup.policy": "delete", "retention.ms": str(1000 * retention_seconds)}
    return tuple(
        TopicSpec(name, 1, {**safe, **KEPT, **REQUIRED[name]})
        if name in SINGLE_PARTITION
        else TopicSpec(name, partitions, {**safe, **passing, **REQUIRED[name]})
        for name in TOPICS
    )


# ---- making them --------------------------------------------------------------------------------


def create_topics(
    options: KafkaOptions, partitions: int, replication_factor: int, retention_seconds: int
) -> list[str]:
    """Create the topics that are missing and wait until every partition has a leader.

    Returns
    -------
    list of str
        Full names of those that were made; topics that exist are left as they are.

    Raises
    ------
    ConfigurationError
        Some of the partitioned topics exist, with another number of partitions; nothing is made then.
    LogError
        No broker answers, or it refuses: permission, too few brokers for the replication factor.
    """
    specs = topic_specs(partitions, replication_factor, retention_seconds)
    with _admin(options, "creating topics") as admin:
        existing = _partitions(admin, options)
        missing = [spec for spec in specs if spec.name not in existing]
        made: list[str] = []
        if missing:
            _refuse_other_partitions(options, existing, missing, partitions)
            wanted = {
                options.topic(spec.name): {
                    "num_partitions": spec.partitions,
                    "replication_factor": replication_factor,
                    "configs": dict(spec.configs),
                }
                for spec in missing
            }
            answer = admin.create_topics(wanted, raise_errors=False)
            made = [each["name"] for each in answer["topics"] if _was_made(options, each)]
        admin.wait_for_topics([options.topic(name) for name in TOPICS], timeout_ms=READY_MS)
    return made


def _refuse_other_partitions(
    options: KafkaOptions,
    existing: Mapping[str, list[Any]],
    missing: Iterable[TopicSpec],
    partitions: int,
) -> None:
    if all(spec.name in SINGLE_PARTITION for spec in missing):
        return
    for name, found in existing.items():
        if name not in SINGLE_PARTITION and len(found) != partitions:
            raise ConfigurationError(
                f"{options.topic(name)} exists with {len(found)} partitions, but {partitions} were asked "
                f"for, and events, predictions and requests must have equally many; set log.partitions = "
                f"{len(found)}, or another log.prefix to begin with new topics"
            )


def _was_made(options: KafkaOptions, answer: Mapping[str, Any]) -> bool:
    """Return whether a topic was made; not if somebody else was faster.

    Raises
    ------
    LogError
        The broker refused.
    """
    if not answer["error_code"]:
        return True
    kind = for_code(answer["error_code"])
    error = kind(answer["error_message"])
    if issubclass(kind, TopicAlreadyExistsError):
        return False
    if issubclass(kind, InvalidReplicationFactorError):
        raise LogError(
            f"creating {answer['name']}: {answer['error_message']} Start more brokers, or set "
            "kafka.replication_factor (--replication-factor); 1 is for trying out: a restart of the broker "
            "may then double outputs"
        ) from error
    if issubclass(kind, AuthorizationError):
        raise LogError(
            f"creating {answer['name']}: not permitted; let somebody create the topics who may, or grant it: "
            f"{grant(options, 'Create', topics=True)}"
        ) from error
    raise explain(error, options, f"creating {answer['name']}") from error


# ---- asking -------------------------------------------------------------------------------------


@contextmanager
def _admin(options: KafkaOptions, what: str) -> Iterator[KafkaAdminClient]:
    quiet()
    with explained(options, what):
        client = KafkaAdminClient(**options.client())
        try:
            yield client
        finally:
            client.close()


def _partitions(admin: KafkaAdminClient, options: KafkaOptions) -> dict[str, list[Any]]:
    """Return the partitions of the topics that exist, by name without prefix."""
    found = {}
    by_name = {options.topic(name): name for name in TOPICS}
    for topic in answered(lambda: admin.describe_topics(list(by_name))):
        if topic["error_code"] == 0:
            found[by_name[topic["name"]]] = topic["partitions"]
        elif topic["error_code"] != 3:  # 3: there is none
            raise for_code(topic["error_code"])(topic["name"])
    return {name: found[name] for name in TOPICS if name in found}


def _configs(admin: KafkaAdminClient, kind: str, names: list[str], keys: Iterable[str] | None = None) -> Any:
    """Return the configs of resources by name; the client says nothing where they may not be read."""
    asked = None if keys is None else list(keys)
    resources = [ConfigResource(kind, name, configs=asked) for name in names]
    if not names:
        return {}
    found = admin.describe_configs(resources, config_filter="all").get(kind.lower(), {})
    return {
        name: {
            key: entry["value"] for key, entry in found.get(name, {}).items() if entry["value"] is not None
        }
        for name in names
    }


def check_topics(options: KafkaOptions, partitions: int) -> list[Finding]:
    """Return what is wrong with the topics and the brokers, errors first.

    Parameters
    ----------
    options : KafkaOptions
    partitions : int
        ``log.partitions``: of events, predictions and label requests.

    Raises
    ------
    LogError
        No broker answers, or it refuses us.
    """
    with _admin(options, "checking topics") as admin:
        existing = _partitions(admin, options)
        configs = answered(lambda: _configs(admin, "TOPIC", [options.topic(name) for name in existing]))
        topics = {
            name: Topic(
                len(found), min(len(each["replica_nodes"]) for each in found), configs[options.topic(name)]
            )
            for name, found in existing.items()
        }
        return judge(options, partitions, topics, _brokers(admin))


def _brokers(admin: KafkaAdminClient) -> dict[int, Broker]:
    """Return what the brokers say of themselves.

    One that is down says nothing, and is no reason to fail; the others count it among them until its session
    has ended.
    """
    found, silence = {}, None
    for each in answered(admin.describe_cluster)["brokers"]:
        if each.get("is_fenced"):
            continue
        node = each["broker_id"]
        try:
            version = tuple(admin.get_broker_version_data(node).broker_version)
            said = _configs(admin, "BROKER", [str(node)], BROKER_KEYS)
        except DOWN as error:
            silence = error
        else:
            found[node] = Broker(version, said[str(node)])
    if silence is not None and not found:
        raise silence
    return found
