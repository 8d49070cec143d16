"""From flags to settings and an open log: what every command begins with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stream_al.errors import ConfigurationError, LogError
from stream_al.log.sqlite import SqliteLog
from stream_al.settings import Settings, load_settings

DEFAULT_FILE = Path("stream-al.toml")


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
        A setting is unknown or out of range.
    """
    values: dict[str, Any] = {table: dict(keys) for table, keys in (overrides or {}).items()}
    if log is not None:
        values.setdefault("log", {})["path"] = log
    if unconfigured(config) and not load_settings(None, values).task.labels:
        values.setdefault("task", {}).setdefault("open_labels", True)
    return load_settings(config, values, serving=serving)


def unconfigured(config: Path | None) -> bool:
    """Return whether no configuration file is used."""
    return config is None and not DEFAULT_FILE.is_file()


def open_log(settings: Settings, *, owner: bool = False, create: bool = False) -> SqliteLog:
    """Open the configured log.

    Parameters
    ----------
    owner : bool
        To serve it; the file is made if there is none.
    create : bool
        Make the file if there is none; a reader of a log that does not exist has mistyped its name.

    Raises
    ------
    ConfigurationError
        The log is in memory, which other processes cannot share.
    LogError
        The log cannot be used, or does not exist.
    """
    terms = settings.log
    if terms.kind != "sqlite":
        raise ConfigurationError(
            f'log.kind is "{terms.kind}", which no other process can read and no restart survives; '
            'set log.kind = "sqlite"'
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
