"""Settings become what Kafka's clients are made with, and contradictions are told before anybody connects."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from stream_al.errors import ConfigurationError
from stream_al.settings import load_settings, make_settings
from stream_al_consumers.kafka_options import kafka_options

# the client reads its own schemas in a way that Python 3.11 and 3.12 warn of
pytestmark = pytest.mark.filterwarnings("ignore:(open|read)_text is deprecated:DeprecationWarning")


def options(**kafka: Any) -> Any:
    return kafka_options(make_settings({"kafka": kafka}))


def security(**kafka: Any) -> dict[str, Any]:
    found: dict[str, Any] = options(**kafka).security
    return found


def refusal(**kafka: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        options(**kafka)
    return str(caught.value)


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    path = tmp_path / "a.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\n")
    return path


def test_defaults_are_plain_text_on_this_machine():
    found = options()
    assert found.bootstrap == ("localhost:9092",)
    assert (found.prefix, found.group, found.instance_id, found.start) == (
        "stream-al.",
        "stream-al",
        None,
        None,
    )
    assert (found.session_seconds, found.transaction_seconds, found.compression) == (None, 15.0, None)
    assert found.security == {}


def test_every_setting_arrives():
    found = kafka_options(
        make_settings(
            {
                "log": {"prefix": "orders."},
                "kafka": {
                    "bootstrap": ["a:9093", "[::1]:9094", "c:9095"],
                    "group": "g",
                    "instance_id": "one",
                    "start": "latest",
                    "session_seconds": 12,
                    "transaction_seconds": 20,
                    "compression": "lz4",
                },
            }
        )
    )
    assert found.bootstrap == ("a:9093", "[::1]:9094", "c:9095")
    assert (found.prefix, found.group, found.instance_id, found.start) == ("orders.", "g", "one", "latest")
    assert (found.session_seconds, found.transaction_seconds, found.compression) == (12, 20, "lz4")


@pytest.mark.parametrize(
    ("start", "milliseconds"),
    [
        (datetime(2026, 1, 31, 12, 0, 0, 1999), 1_769_860_800_001),
        (datetime(2026, 1, 31, 12, tzinfo=UTC), 1_769_860_800_000),
        (datetime(2026, 1, 31, 14, tzinfo=timezone(timedelta(hours=2))), 1_769_860_800_000),
        (datetime(1960, 1, 1), 0),
    ],
)
def test_a_time_is_log_time_and_a_naive_one_is_utc(start: datetime, milliseconds: int):
    assert options(start=start).start == milliseconds


def test_a_time_in_a_file(tmp_path: Path):
    (tmp_path / "a.toml").write_text("[kafka]\nstart = 2026-01-31T12:00:00\n")
    assert kafka_options(load_settings(tmp_path / "a.toml")).start == 1_769_860_800_000


@pytest.mark.parametrize(
    "address", ["localhost:abc", "a b:9092", "a:0", "a:70000", "http://a:9092", "", "a:"]
)
def test_addresses_that_are_none(address: str):
    said = refusal(bootstrap=["fine:9092", address])
    assert "kafka.bootstrap" in said
    assert repr(address) in said
    assert "host:port" in said


def test_credentials_by_password_or_file(tmp_path: Path):
    wanted = {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "me",
        "sasl_plain_password": "pass word",
    }
    given = {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_username": "me",
    }
    assert security(**given, sasl_password="pass word") == wanted
    file = tmp_path / "password"
    file.write_text("  pass word\n")
    assert security(**given, sasl_password_file=file) == wanted


def test_certificates(pem: Path):
    assert security(security_protocol="SSL") == {"security_protocol": "SSL", "ssl_check_hostname": True}
    found = security(
        security_protocol="SASL_SSL",
        sasl_username="me",
        sasl_password="p",
        ssl_cafile=pem,
        ssl_certfile=pem,
        ssl_keyfile=pem,
        ssl_key_password="k",
        ssl_check_hostname=False,
    )
    assert found == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "me",
        "sasl_plain_password": "p",
        "ssl_cafile": str(pem),
        "ssl_certfile": str(pem),
        "ssl_keyfile": str(pem),
        "ssl_password": "k",
        "ssl_check_hostname": False,
    }


def test_every_key_is_one_of_the_client(pem: Path):
    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer

    found = options(
        security_protocol="SASL_SSL",
        sasl_username="me",
        sasl_password="p",
        ssl_certfile=pem,
        ssl_keyfile=pem,
        ssl_cafile=pem,
        ssl_key_password="k",
    )
    assert found.client().keys() <= KafkaAdminClient.DEFAULT_CONFIG.keys()
    assert found.member().keys() <= KafkaConsumer.DEFAULT_CONFIG.keys()
    assert found.producer().keys() <= KafkaProducer.DEFAULT_CONFIG.keys()


@pytest.mark.parametrize(
    ("kafka", "said"),
    [
        ({"sasl_password": "p"}, ["kafka.sasl_username is not set"]),
        ({"sasl_username": "me"}, ["no password", "kafka.sasl_password_file"]),
        (
            {"sasl_username": "me", "sasl_password": "p", "sasl_password_file": "x"},
            ["kafka.sasl_password and kafka.sasl_password_file are both set"],
        ),
        ({"sasl_username": "me", "sasl_password_file": "nowhere"}, ["nowhere", "cannot be read"]),
    ],
)
def test_credentials_that_are_incomplete(kafka: dict[str, Any], said: list[str]):
    found = refusal(security_protocol="SASL_PLAINTEXT", **kafka)
    assert [part for part in said if part not in found] == []


def test_an_empty_password_file(tmp_path: Path):
    (tmp_path / "password").write_text("\n")
    kafka = {"sasl_username": "me", "sasl_password_file": tmp_path / "password"}
    assert "is empty" in refusal(security_protocol="SASL_SSL", **kafka)


@pytest.mark.parametrize("key", ["ssl_cafile", "ssl_certfile", "ssl_keyfile"])
def test_files_that_are_missing(pem: Path, key: str):
    files = {"ssl_certfile": pem, "ssl_keyfile": pem} | {key: "nowhere.pem"}
    said = refusal(security_protocol="SSL", **files)
    assert f"kafka.{key} is nowhere.pem" in said
    assert "expected a PEM file" in said


@pytest.mark.parametrize("key", ["ssl_keyfile", "ssl_key_password"])
def test_a_key_without_its_certificate(pem: Path, key: str):
    said = refusal(security_protocol="SSL", **{key: str(pem)})
    assert f"kafka.{key} is set, but kafka.ssl_certfile is not" in said


@pytest.mark.parametrize(
    ("protocol", "key", "expected"),
    [
        ("PLAINTEXT", "sasl_username", "SASL_SSL"),
        ("SSL", "sasl_password", "SASL_SSL"),
        ("PLAINTEXT", "ssl_cafile", "SSL"),
        ("SASL_PLAINTEXT", "ssl_cafile", "SASL_SSL"),
    ],
)
def test_keys_that_the_protocol_makes_no_use_of(protocol: str, key: str, expected: str):
    login = {"sasl_username": "me", "sasl_password": "p"} if protocol.startswith("SASL") else {}
    said = refusal(security_protocol=protocol, **(login | {key: "secret thing"}))
    assert f"kafka.{key} is set" in said
    assert f'kafka.security_protocol is "{protocol}"' in said
    assert f'expected "{expected}"' in said
    assert "secret thing" not in said


def test_addresses_may_be_words_and_need_a_port():
    words = make_settings({"kafka": {"bootstrap": "a:9092,b:9092"}})
    assert kafka_options(words).bootstrap == ("a:9092", "b:9092")
    with pytest.raises(ConfigurationError, match="'localhost'; expected host:port"):
        kafka_options(make_settings({"kafka": {"bootstrap": "localhost"}}))
