"""Credentials, certificates, rights and addresses: right ones work, wrong ones get one message."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourceType,
)
from kafka.errors import IncompatibleBrokerVersion

from stream_al.conformance.log_under_test import SmallestEngine, append, values_in
from stream_al.errors import LogError
from stream_al.log import kafka_connection
from stream_al.log.kafka import KafkaLog
from stream_al.log.kafka_connection import KafkaOptions, explain
from stream_al.log.protocol import EVENTS, PREDICTIONS
from tests.kafka.admin import admin
from tests.kafka.broker import Broker, free_ports
from tests.kafka.certificates import make_certificates
from tests.kafka.shared import Addresses
from tests.kafka.under_test import KafkaUnderTest, make_topics, prediction

ROOT = Path(__file__).parents[2]


def sasl(user: str, password: str, mechanism: str = "PLAIN") -> dict[str, Any]:
    return {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": mechanism,
        "sasl_plain_username": user,
        "sasl_plain_password": password,
    }


def tls(ca_path: str) -> dict[str, Any]:
    return {"security_protocol": "SSL", "ssl_cafile": ca_path}


def go_round(log: KafkaUnderTest) -> None:
    """Append, poll, commit, die, restore, tail."""
    client = log.client()
    append(client, b"0", b"1")
    engine = SmallestEngine(log, log.member())
    engine.start(1)
    assert [record.value for record in engine.take(2)] == [b"0", b"1"]
    engine.commit([prediction(b"p0"), prediction(b"p1")], "two")
    engine = SmallestEngine(log, log.restart())
    assert engine.start(1)[0].state == "two"
    assert values_in(log, client, PREDICTIONS, 2) == [b"p0", b"p1"]


@pytest.fixture
def topics(shared: Addresses, prefix: str) -> str:
    """Topics on the shared broker, made by somebody who may; their prefix."""
    make_topics(shared.bootstrap, prefix)
    return prefix


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait ten seconds for a first answer that will not come."""
    monkeypatch.setattr(kafka_connection, "BOOTSTRAP_SECONDS", 1.5)


@pytest.fixture(autouse=True)
def _one_message(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever is wrong, the client itself logs nothing: what is to be said, the error says."""
    yield
    assert [record.getMessage() for record in caplog.records if record.name.startswith("kafka")] == []


def refused(bootstrap: list[str], prefix: str, security: dict[str, Any], **more: Any) -> str:
    """Return what opening a log says that must not open."""
    options = KafkaOptions(
        bootstrap=tuple(bootstrap), prefix=prefix, group=prefix + "group", security=security, **more
    )
    begun = time.monotonic()
    with pytest.raises(LogError) as raised, KafkaLog(options, member=True):
        pass
    assert time.monotonic() - begun < 12.0
    return str(raised.value)


def test_a_password_opens_everything(shared: Addresses, topics: str) -> None:
    security = sasl("admin", shared.users["admin"])
    with closing(KafkaUnderTest(shared.sasl_bootstrap, topics, topics=False, security=security)) as log:
        go_round(log)


def test_tls_carries_everything(shared: Addresses, topics: str) -> None:
    security = tls(shared.ca_path)
    with closing(KafkaUnderTest(shared.ssl_bootstrap, topics, topics=False, security=security)) as log:
        go_round(log)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(("password", "mechanism"), [("wrong", "PLAIN"), ("admin-secret", "SCRAM-SHA-256")])
def test_wrong_credentials(shared: Addresses, topics: str, password: str, mechanism: str) -> None:
    said = refused(shared.sasl_bootstrap, topics, sasl("admin", password, mechanism))
    assert "kafka.sasl_mechanism, kafka.sasl_username and kafka.sasl_password" in said
    assert password not in said


@pytest.mark.usefixtures("soon")
def test_an_expired_certificate(shared: Addresses, topics: str) -> None:
    said = refused(shared.expired_bootstrap, topics, tls(shared.ca_path))
    assert "certificate has expired" in said
    assert "renew it" in said


@pytest.mark.usefixtures("soon")
def test_an_unknown_authority(shared: Addresses, topics: str, tmp_path: Path) -> None:
    said = refused(shared.ssl_bootstrap, topics, tls(str(make_certificates(tmp_path).ca_path)))
    assert "unable to get local issuer certificate" in said
    assert "set kafka.ssl_cafile to the authority that signed it" in said


@pytest.mark.usefixtures("soon")
def test_tls_to_a_port_without(shared: Addresses, topics: str) -> None:
    said = refused(shared.bootstrap, topics, tls(shared.ca_path))
    assert "no TLS connection" in said
    assert "does kafka.security_protocol fit this port" in said


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("listener", ["ssl_bootstrap", "sasl_bootstrap"])
def test_plain_text_to_a_port_that_wants_more(shared: Addresses, topics: str, listener: str) -> None:
    said = refused(getattr(shared, listener), topics, {})
    assert "does kafka.security_protocol (PLAINTEXT) fit this port?" in said


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(
    ("host", "reason"),
    [("127.0.0.1", "Connection refused"), ("no-such-host.invalid", "not known|resolution")],
)
def test_a_wrong_address(prefix: str, host: str, reason: str) -> None:
    options = KafkaOptions(bootstrap=(f"{host}:{free_ports(1)[0]}",), prefix=prefix)
    with pytest.raises(LogError, match=rf"no answer from .*({reason}).*kafka\.bootstrap"):
        KafkaLog(options)


@pytest.mark.slow
def test_a_wrong_address_is_one_line_and_an_end() -> None:
    """Nothing on the terminal but the message, with the real time limit; no thread keeps the process."""
    script = (
        "import sys; from stream_al.log.kafka import *\n"
        "try: KafkaLog(KafkaOptions(bootstrap=(sys.argv[1],)))\n"
        "except LogError as error: print(error)\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", script, f"127.0.0.1:{free_ports(1)[0]}"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    assert ran.stderr == ""
    assert len(ran.stdout.splitlines()) == 1
    assert "Connection refused" in ran.stdout


# Rights.


@pytest.fixture
def grant(shared: Addresses, topics: str) -> Iterator[Any]:
    """Give the guest a right on whatever begins with the prefix, for this test."""
    given: list[ACL] = []

    def give(kind: ResourceType, *operations: ACLOperation) -> None:
        pattern = ResourcePattern(kind, topics, ACLResourcePatternType.PREFIXED)
        rights = [ACL("User:guest", "*", one, ACLPermissionType.ALLOW, pattern) for one in operations]
        given.extend(rights)
        with admin(shared.bootstrap) as client:
            client.create_acls(rights)

    yield give
    if given:
        with admin(shared.bootstrap) as client:
            client.delete_acls(given)


def test_a_user_who_sees_nothing(shared: Addresses, topics: str) -> None:
    said = refused(shared.sasl_bootstrap, topics, sasl("guest", shared.users["guest"]))
    assert f"has no topic {topics}events" in said
    assert "or let this user describe them" in said


def test_a_user_who_only_sees(shared: Addresses, topics: str, grant: Any) -> None:
    grant(ResourceType.TOPIC, ACLOperation.DESCRIBE)
    guest = sasl("guest", shared.users["guest"])
    said = refused(shared.sasl_bootstrap, topics, guest)
    assert "not permitted" in said
    assert f"write on transactional ids {topics}group*" in said
    with (
        closing(KafkaUnderTest(shared.sasl_bootstrap, topics, topics=False, security=guest)) as log,
        pytest.raises(LogError, match=rf"not permitted .*write and describe on topics {topics}\*"),
    ):
        log.client().append(EVENTS, None, b"no")


def test_the_rights_that_the_message_asks_for_are_enough(shared: Addresses, topics: str, grant: Any) -> None:
    grant(ResourceType.TOPIC, ACLOperation.READ, ACLOperation.WRITE, ACLOperation.DESCRIBE)
    grant(ResourceType.GROUP, ACLOperation.READ)
    grant(ResourceType.TRANSACTIONAL_ID, ACLOperation.WRITE)
    guest = sasl("guest", shared.users["guest"])
    with closing(KafkaUnderTest(shared.sasl_bootstrap, topics, topics=False, security=guest)) as log:
        go_round(log)


# Versions.


def test_a_broker_that_is_too_old() -> None:
    said = str(explain(IncompatibleBrokerVersion("no transactions"), KafkaOptions(), "connecting"))
    assert "localhost:9092 is too old (" in said
    assert "needs Apache Kafka 3.7 or later" in said


@pytest.mark.slow
def test_an_older_broker_takes_everything(tmp_path: Path, prefix: str) -> None:
    with (
        Broker(version="3.9.1", folder=tmp_path) as broker,
        closing(KafkaUnderTest(broker.bootstrap, prefix)) as log,
    ):
        go_round(log)
