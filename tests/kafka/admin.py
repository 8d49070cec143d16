"""Questions to a running broker through kafka-python: is it ready, are its replicas in sync; new topics."""

from __future__ import annotations

import socket
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

with warnings.catch_warnings():
    # kafka-python reads its schemas with importlib.resources.read_text, deprecated in Python 3.11 and 3.12.
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

POLL_SECONDS = 0.1


@contextmanager
def admin(bootstrap: Iterable[str]) -> Iterator[KafkaAdminClient]:
    """Open an admin client on a PLAINTEXT listener and close it at the end."""
    client = KafkaAdminClient(
        bootstrap_servers=list(bootstrap), request_timeout_ms=10_000, reconnect_backoff_max_ms=200
    )
    try:
        yield client
    finally:
        client.close()


def create_topics(
    bootstrap: Iterable[str], partitions: Mapping[str, int], replication_factor: int = -1, **settings: str
) -> None:
    """Create topics ``{name: number of partitions}`` and wait until each partition has a leader.

    ``replication_factor`` -1 is the broker's default: 1 on a single broker, 3 on a cluster. ``settings`` are
    topic settings with underscores for dots (``retention_ms="1000"``).
    """
    configs = {name.replace("_", "."): value for name, value in settings.items()}
    wanted = {
        topic: {"num_partitions": number, "replication_factor": replication_factor, "configs": configs}
        for topic, number in partitions.items()
    }
    with admin(bootstrap) as client:
        client.create_topics(wanted, wait_for_metadata=True)


def live_nodes(bootstrap: str) -> set[int]:
    """Return the ids of the brokers that the one at this address sees alive; empty while it is silent."""
    host, port = bootstrap.rsplit(":", 1)
    try:
        # kafka-python leaves a socket open for each refused connection, so ask it only when somebody listens.
        socket.create_connection((host, int(port)), timeout=2).close()
        with admin([bootstrap]) as client:
            brokers = client.describe_cluster()["brokers"]
    except (OSError, KafkaError):
        return set()
    return {broker["broker_id"] for broker in brokers if not broker.get("is_fenced")}


def all_in_sync(bootstrap: str) -> bool:
    """Whether every partition of every topic has a leader and all its replicas in sync."""
    try:
        with admin([bootstrap]) as client:
            topics = client.describe_topics()
    except KafkaError:
        return False
    return all(
        partition["leader_id"] >= 0 and set(partition["isr_nodes"]) == set(partition["replica_nodes"])
        for topic in topics
        for partition in topic["partitions"]
    )


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Ask until ``condition`` holds.

    Raises
    ------
    TimeoutError
        It did not hold within ``seconds``; the message names ``what`` was waited for.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(POLL_SECONDS)
