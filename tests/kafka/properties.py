"""Server properties of the test brokers: quick clean-ups, small internal topics, secure listeners."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.kafka.certificates import Certificates

_COMMON = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    # Default 10 s: how often the coordinator looks for transactions past their time-out.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "log.cleaner.dedupe.buffer.size": "8388608",  # default 128 MB of a 400 MB heap
    "offsets.retention.minutes": "518400",  # else `topics check` has something to say
}


def _replication(factor: int, least_in_sync: int) -> dict[str, str]:
    return {
        "default.replication.factor": str(factor),
        "min.insync.replicas": str(least_in_sync),
        "offsets.topic.replication.factor": str(factor),
        "transaction.state.log.replication.factor": str(factor),
        "transaction.state.log.min.isr": str(least_in_sync),
    }


SINGLE = {
    **_COMMON,
    **_replication(1, 1),
    # A node that restarts waits for the end of its own old session.
    "broker.session.timeout.ms": "1000",
    "broker.heartbeat.interval.ms": "200",
}
REPLICATED = {
    **_COMMON,
    **_replication(3, 2),
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}


@dataclass(frozen=True)
class Secure:
    """Additional listeners of a ``Broker``: SASL PLAIN, TLS, and TLS with an expired certificate; and rights.

    Every user but ``superuser`` has no right at all until an ACL gives one. Whoever comes by the PLAINTEXT or
    a TLS listener is anonymous, and may do everything.
    """

    users: Mapping[str, str] = field(
        default_factory=lambda: {"admin": "admin-secret", "guest": "guest-secret"}
    )
    superuser: str = "admin"


def secure_properties(secure: Secure, certificates: Certificates) -> dict[str, str]:
    users = " ".join(f'user_{name}="{password}"' for name, password in secure.users.items())
    plain = "org.apache.kafka.common.security.plain.PlainLoginModule"
    protocols = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL,EXPIRED:SSL"
    return {
        "listener.security.protocol.map": protocols,
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": f"{plain} required {users};",
        "listener.name.ssl.ssl.keystore.type": "PEM",
        "listener.name.ssl.ssl.keystore.location": str(certificates.server_path),
        "listener.name.expired.ssl.keystore.type": "PEM",
        "listener.name.expired.ssl.keystore.location": str(certificates.expired_path),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:ANONYMOUS;User:{secure.superuser}",
    }
