"""From flags to settings and an open log: what every command begins with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from stream_al.errors import ConfigurationError, LogError
from stream_al.log.protocol import Log
from stream_al.log.sqlite import SqliteLog
from stream_al.settings import Settings, load_settings
from stream_al_consumers.output import say

DEFAULT_FILE = Path("stream-al.toml")
QUIET_SECONDS = 3.0
"""How long brokers may be waited for before that is said."""


class OpenLog(Log, Protocol):
    """What any configured log can do."""

    def retain(self) -> int:
        """Forget some old records where the log does not do so by itself; return how many."""
        ...


def read_settings(
    config: Path | None,
    log: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    serving: bool = False,
) -> Settings:
    """Return the configuration of a command.

    Without any configuration file a newcomer's first run just works: labels are open.

    Raises
    ------
    ConfigurationError
        A setting is unknown or out of range, or a file is named although the log is none.
    """
    values: dict[str, Any] = {table: dict(keys) for table, keys in (overrides or {}).items()}
    if log is not None:
        values.setdefault("log", {})["path"] = log
    if unconfigured(config) and not load_settings(None, values).task.labels:
        values.setdefault("task", {}).setdefault("open_labels", True)
    settings = load_settings(config, values, serving=serving)
    if log is not None and settings.log.kind != "sqlite":
        raise ConfigurationError(
            f'--log names the file {log}, but log.kind is "{settings.log.kind}"; leave --log out, or name a '
            "configuration with --config whose log is a file"
        )
    return settings


def unconfigured(config: Path | None) -> bool:
    """Return whether no configuration file is used."""
    return config is None and not DEFAULT_FILE.is_file()


def log_name(settings: Settings) -> str:
    """Return what a person calls the log."""
    if settings.log.kind == "kafka":
        return f"Kafka at {','.join(settings.kafka.bootstrap)}, topics {settings.log.prefix}*"
    return str(settings.log.path)


def idle_seconds(settings: Settings) -> float:
    """Return how long to wait before asking a log again that had nothing: a file is asked for nothing."""
    return 0.25 if settings.log.kind == "kafka" else 0.05


@contextmanager
def sign_of_life(settings: Settings) -> Iterator[None]:
    """Say after some seconds that brokers are still being waited for."""
    brokers = ", ".join(settings.kafka.bootstrap)
    timer = threading.Timer(
        QUIET_SECONDS, say, [f"no answer from {brokers} yet; trying for some seconds more"]
    )
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def open_log(
    settings: Settings,
    *,
    owner: bool = False,
    create: bool = False,
    beat: Callable[[], None] = lambda: None,
    stopping: Callable[[], bool] = lambda: False,
) -> OpenLog:
    """Open the configured log.

    Parameters
    ----------
    owner : bool
        To serve it. A file is made if there is none; on Kafka the group is joined with the first poll.
    create : bool
        Make the file if there is none; a reader of a log that does not exist has mistyped its name.
    beat : callable
        Called where Kafka is waited for.
    stopping : callable returning bool
        A poll of Kafka returns as soon as it can when this is true.

    Raises
    ------
    ConfigurationError
        The log is in memory, which other processes cannot share, or settings contradict each other.
    LogError
        The log cannot be used, or does not exist.
    """
    terms = settings.log
    if terms.kind == "kafka":
        # imported here: the client takes a while, and few commands are for Kafka
        from stream_al.log.kafka import KafkaLog
        from stream_al_consumers.kafka_options import kafka_options

        with sign_of_life(settings):
            return KafkaLog(kafka_options(settings), member=owner, beat=beat, stopping=stopping)
    if terms.kind != "sqlite":
        raise ConfigurationError(
            f'log.kind is "{terms.kind}", which no other process can read and no restart survives; '
            'set log.kind = "sqlite", or "kafka"'
        )
    if not (owner or create or terms.path.exists()):
        raise LogError(
            f"there is no log {terms.path}; start `stream-al serve` or `stream-al produce` first, "
            "or name another one with --log or --config"
        )
    return SqliteLog(
        terms.path,
        terms.partitions if owner or not terms.path.exists() else None,
        owner=owner,
        max_bytes=terms.max_bytes,
        max_age_seconds=terms.max_age_seconds,
    )
