"""From settings to what Kafka's clients are made with; contradictions are told before anybody connects."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from stream_al.errors import ConfigurationError
from stream_al.settings import KafkaSettings, Settings

if TYPE_CHECKING:
    from stream_al.log.kafka_connection import KafkaOptions

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/,\[\]]+)(:(?P<port>\d{1,5}))?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def kafka_options(settings: Settings) -> KafkaOptions:
    """Return where the brokers are, who we are and how we show it.

    Nobody is asked: only files that hold secrets or certificates are looked at.

    Raises
    ------
    ConfigurationError
        Settings contradict each other, a file is missing, or an address is none.
    """
    # imported here: every command reads settings, few of them need the client
    from stream_al.log.kafka_connection import KafkaOptions

    kafka = settings.kafka
    for address in kafka.bootstrap:
        _check_address(address)
    return KafkaOptions(
        bootstrap=kafka.bootstrap,
        prefix=settings.log.prefix,
        group=kafka.group,
        instance_id=kafka.instance_id,
        start=_milliseconds(kafka.start) if isinstance(kafka.start, datetime) else kafka.start,
        session_seconds=kafka.session_seconds,
        transaction_seconds=kafka.transaction_seconds,
        compression=kafka.compression,
        security=_security(kafka),
    )


def _check_address(address: str) -> None:
    found = _ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found["port"] or 0) < 65_536:
        raise ConfigurationError(
            f'kafka.bootstrap holds {address!r}; expected host:port, for example ["localhost:9092"]'
        )


def _milliseconds(start: datetime) -> int:
    """Return log time in milliseconds; a time that names no zone is UTC's."""
    aware = start if start.tzinfo is not None else start.replace(tzinfo=UTC)
    return max(0, (aware - _EPOCH) // timedelta(milliseconds=1))  # below 0, Kafka means something else


def _security(kafka: KafkaSettings) -> dict[str, Any]:
    """Return the client's own keys, those that are set."""
    protocol = kafka.security_protocol
    if protocol == "PLAINTEXT":
        _refuse_unused(kafka, "sasl_", "SASL_SSL")
        _refuse_unused(kafka, "ssl_", "SSL")
        return {}
    found: dict[str, Any] = {"security_protocol": protocol}
    if protocol.startswith("SASL"):
        found |= _credentials(kafka)
    else:
        _refuse_unused(kafka, "sasl_", "SASL_SSL")
    if protocol.endswith("SSL"):
        found |= _certificates(kafka)
    else:
        _refuse_unused(kafka, "ssl_", "SASL_SSL")
    return found


def _given(kafka: KafkaSettings, prefix: str) -> Iterator[str]:
    """Yield the keys of a kind that are set to anything but their default."""
    for name, field in KafkaSettings.model_fields.items():
        if name.startswith(prefix) and getattr(kafka, name) != field.get_default():
            yield name


def _refuse_unused(kafka: KafkaSettings, prefix: str, protocol: str) -> None:
    unused = [f"kafka.{name}" for name in _given(kafka, prefix)]
    if unused:
        raise ConfigurationError(
            f"{', '.join(unused)} {'is' if len(unused) == 1 else 'are'} set, but kafka.security_protocol is "
            f'"{kafka.security_protocol}", which makes no use of it; expected "{protocol}", or no such key'
        )


def _credentials(kafka: KafkaSettings) -> dict[str, Any]:
    why = f'kafka.security_protocol is "{kafka.security_protocol}", but'
    if not kafka.sasl_username:
        raise ConfigurationError(f"{why} kafka.sasl_username is not set; expected the user's name")
    if kafka.sasl_password is not None and kafka.sasl_password_file is not None:
        raise ConfigurationError(
            "kafka.sasl_password and kafka.sasl_password_file are both set; expected one of them"
        )
    password = _secret(kafka.sasl_password)
    if kafka.sasl_password_file is not None:
        password = _read(kafka.sasl_password_file)
    if not password:
        raise ConfigurationError(
            f"{why} there is no password; set kafka.sasl_password_file, or "
            "STREAM_AL__KAFKA__SASL_PASSWORD in the environment"
        )
    return {
        "sasl_mechanism": kafka.sasl_mechanism,
        "sasl_plain_username": kafka.sasl_username,
        "sasl_plain_password": password,
    }


def _certificates(kafka: KafkaSettings) -> dict[str, Any]:
    for key in ("ssl_keyfile", "ssl_key_password"):
        if getattr(kafka, key) is not None and kafka.ssl_certfile is None:
            raise ConfigurationError(
                f"kafka.{key} is set, but kafka.ssl_certfile is not; expected both, or neither"
            )
    found: dict[str, Any] = {"ssl_check_hostname": kafka.ssl_check_hostname}
    for key in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
        path: Path | None = getattr(kafka, key)
        if path is None:
            continue
        if not path.is_file():
            raise ConfigurationError(f"kafka.{key} is {path}, and there is no such file; expected a PEM file")
        found[key] = str(path)
    if kafka.ssl_key_password is not None:
        found["ssl_password"] = _secret(kafka.ssl_key_password)
    return found


def _secret(secret: SecretStr | None) -> str:
    return "" if secret is None else secret.get_secret_value()


def _read(path: Path) -> str:
    try:
        found = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"kafka.sasl_password_file {path} cannot be read ({error}); expected a file with the password"
        ) from error
    if not found:
        raise ConfigurationError(f"kafka.sasl_password_file {path} is empty; expected the password")
    return found
