"""The broker that the other Kafka tests stand on is a real one and does what they rely on."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError, TopicAuthorizationFailedError

from tests.kafka.admin import admin, wait_until
from tests.kafka.broker import Broker, Cluster, create_topics
from tests.kafka.shared import Addresses


def write(bootstrap: list[str], topic: str, values: list[bytes], **settings: Any) -> None:
    """Write the values to partition 0 in one committed transaction."""
    with closing(
        KafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"{topic}-t", **settings)
    ) as producer:
        producer.init_transactions()
        producer.begin_transaction()
        sent = [producer.send(topic, value, partition=0) for value in values]
        producer.flush(timeout=60)
        assert all(future.succeeded() for future in sent)
        producer.commit_transaction()


def read(bootstrap: list[str], topic: str, count: int, **settings: Any) -> list[bytes]:
    """Read at least ``count`` committed values from the beginning of partition 0."""
    values: list[bytes] = []
    place = TopicPartition(topic, 0)
    settings = {
        "bootstrap_servers": bootstrap,
        "isolation_level": "read_committed",
        "group_id": None,
        **settings,
    }
    with closing(KafkaConsumer(**settings)) as consumer:
        consumer.assign([place])
        consumer.seek_to_beginning(place)

        def enough() -> bool:
            values.extend(record.value for record in consumer.poll(timeout_ms=200).get(place, []))
            return len(values) >= count

        wait_until(enough, 60, f"{count} records of {topic}")
    return values


@pytest.fixture
def sasl(shared: Addresses) -> Iterator[Any]:
    """Open admin clients on the SASL listener, as a user with a password."""
    clients = []

    def client(user: str, password: str) -> Any:
        clients.append(KafkaAdminClient(**sasl_settings(shared, user, password)))
        return clients[-1]

    yield client
    for one in clients:
        one.close()


def sasl_settings(shared: Addresses, user: str, password: str) -> dict[str, Any]:
    return {
        "bootstrap_servers": shared.sasl_bootstrap,
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": user,
        "sasl_plain_password": password,
        "bootstrap_timeout_ms": 2_000,
    }


def test_a_transaction_goes_round(bootstrap: list[str], prefix: str) -> None:
    create_topics(bootstrap, {prefix + "events": 2})
    write(bootstrap, prefix + "events", [b"one", b"two"])
    assert read(bootstrap, prefix + "events", 2) == [b"one", b"two"]


def test_it_is_apache_kafka_4(bootstrap: list[str]) -> None:
    with admin(bootstrap) as client:
        node = client.describe_cluster()["brokers"][0]["broker_id"]
        assert client.get_broker_version_data(node).broker_version >= (4, 0)


def test_a_users_rights_are_those_of_its_password(shared: Addresses, prefix: str, sasl: Any) -> None:
    create_topics(shared.bootstrap, {prefix + "events": 1})
    assert prefix + "events" in sasl("admin", shared.users["admin"]).list_topics()
    assert prefix + "events" not in sasl("guest", shared.users["guest"]).list_topics()


def test_a_user_without_rights_may_not_write(shared: Addresses, prefix: str) -> None:
    create_topics(shared.bootstrap, {prefix + "events": 1})
    settings = sasl_settings(shared, "guest", shared.users["guest"])
    with (
        closing(KafkaProducer(enable_idempotence=False, **settings)) as producer,
        pytest.raises(TopicAuthorizationFailedError),
    ):
        producer.send(prefix + "events", b"no", partition=0).get(timeout=30)


def test_a_wrong_password_is_refused(shared: Addresses, sasl: Any) -> None:
    before = Path(shared.log_path).read_text().count("Invalid username or password")
    # No SaslAuthenticationFailedError: kafka-python loses a reply that arrives with the end of the stream.
    with pytest.raises(KafkaError):
        sasl("admin", "wrong")
    assert Path(shared.log_path).read_text().count("Invalid username or password") > before


def test_tls_carries_a_transaction(shared: Addresses, prefix: str) -> None:
    create_topics(shared.bootstrap, {prefix + "events": 1})
    secure = {"security_protocol": "SSL", "ssl_cafile": shared.ca_path}
    write(shared.ssl_bootstrap, prefix + "events", [b"hidden"], **secure)
    assert read(shared.ssl_bootstrap, prefix + "events", 1, **secure) == [b"hidden"]


def handshake(address: str, context: ssl.SSLContext) -> None:
    host, port = address.split(":")
    with (
        socket.create_connection((host, int(port))) as plain,
        context.wrap_socket(plain, server_hostname=host),
    ):
        pass


def test_tls_needs_our_authority(shared: Addresses) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="local issuer certificate"):
        handshake(shared.ssl_bootstrap[0], ssl.create_default_context())


def test_one_certificate_has_expired(shared: Addresses) -> None:
    ours = ssl.create_default_context(cafile=shared.ca_path)
    handshake(shared.ssl_bootstrap[0], ours)
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate has expired"):
        handshake(shared.expired_bootstrap[0], ours)


@pytest.mark.slow
def test_an_older_version_runs_too(tmp_path: Path, prefix: str) -> None:
    with Broker(version="3.9.1", folder=tmp_path) as broker:
        with admin(broker.bootstrap) as client:
            assert client.get_broker_version_data(broker.node_id).broker_version[0] == 3
        create_topics(broker.bootstrap, {prefix + "events": 1})
        write(broker.bootstrap, prefix + "events", [b"old"])
        assert read(broker.bootstrap, prefix + "events", 1) == [b"old"]


@pytest.mark.slow
def test_a_cluster_survives_a_killed_and_a_paused_node(cluster: Cluster, prefix: str) -> None:
    topic = prefix + "events"
    create_topics(cluster.bootstrap, {topic: 1})
    write(cluster.bootstrap, topic, [b"three"])
    leader = leader_of(cluster.bootstrap, topic)
    cluster.node(leader).kill()
    others = [node.bootstrap[0] for node in cluster.nodes if node.running]
    wait_until(lambda: leader_of(others, topic) not in {leader, -1}, 30, "another leader")
    write(others, topic, [b"two"])
    cluster.node(leader).start()
    cluster.wait_until_in_sync()
    leader = leader_of(cluster.bootstrap, topic)
    cluster.node(leader).pause()
    others = [node.bootstrap[0] for node in cluster.nodes if node.node_id != leader]
    wait_until(lambda: leader_of(others, topic) not in {leader, -1}, 30, "another leader")
    cluster.node(leader).resume()
    cluster.wait_until_in_sync()
    write(cluster.bootstrap, topic, [b"three again"])
    assert read(cluster.bootstrap, topic, 3) == [b"three", b"two", b"three again"]


def leader_of(bootstrap: list[str], topic: str) -> int:
    """Return the node that leads partition 0; -1 for none, or when the node that was asked has just gone."""
    try:
        with admin(bootstrap) as client:
            partition = client.describe_topics([topic])[0]["partitions"][0]
    except KafkaError:
        return -1
    return int(partition["leader_id"])
