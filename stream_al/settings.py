"""Configuration: one frozen tree, from ``stream-al.toml`` < environment < flags.

Unknown keys are errors that suggest the right one; secrets come from the environment or from files and
are never printed.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from stream_al.class_weight import ClassWeight
from stream_al.encode import EncodingOptions
from stream_al.errors import ConfigurationError
from stream_al.mapping import EventMap
from stream_al.query.block import Window
from stream_al.query.ledger import Budget

ENV_PREFIX = "STREAM_AL__"
MAX_TOKENS = 1e9
"""Tokens are counted exactly, in billionths and whole numbers; more of them than this is a slip."""


class Section(BaseModel):
    """A table of the configuration file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TaskSettings(Section):
    """What is asked of people."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = "default"
    labels: tuple[Annotated[str, Field(min_length=1, max_length=256)], ...] = ()
    open_labels: bool = False
    max_open_labels: Annotated[int, Field(ge=2, le=1000)] = 100
    positive: str | None = None
    guidelines: str | None = None


class QuerySettings(Section):
    """How many labels, and which events."""

    budget: float = 0.05
    policy: str = "ranked"
    score: str = "margin"
    cold_start: Literal["none", "coverage"] = "none"
    floor_share: float = 0.1
    capacity: Annotated[float, Field(le=MAX_TOKENS)] = 10.0
    credit: Annotated[float, Field(le=MAX_TOKENS)] = 20.0
    overlap: Annotated[int, Field(ge=1, le=16)] = 1
    daily_cap: Annotated[int, Field(ge=1)] | None = None
    near_duplicates: bool = True
    suggestion_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    window: int | str | None = None


class ModelSettings(Section):
    """Which model, and what it sees."""

    name: str = "pool"
    columns: Annotated[int, Field(ge=1, le=65_536)] = 1024
    scale_memory: Annotated[float, Field(gt=1)] = 1e5
    word_bits: Annotated[int, Field(ge=8, le=22)] = EncodingOptions().bits
    character_ngrams: bool = True
    class_weight: ClassWeight = "none"
    random_share: bool = False


class LabelSettings(Section):
    """How long answers are awaited, and what else may teach."""

    ttl_seconds: Annotated[int, Field(gt=0)] = 7 * 86_400
    accepted_for_seconds: Annotated[int, Field(gt=0)] = 90 * 86_400
    organic: bool = True
    organic_cap_per_class: Annotated[int, Field(ge=0)] = 100_000


class EventSettings(Section):
    """How users' own records become events."""

    map: EventMap | None = None


class OutputSettings(Section):
    """What is written besides label requests."""

    predictions: Literal["all", "asked", "none"] = "all"


class LogSettings(Section):
    """Where events, requests and answers live."""

    kind: Literal["sqlite", "kafka", "memory"] = "sqlite"
    path: Path = Path("stream-al.db")
    partitions: Annotated[int, Field(ge=1, le=256)] = 1
    max_bytes: Annotated[int, Field(ge=1_000_000)] = 10 * 2**30
    max_age_seconds: Annotated[int, Field(gt=0)] = 7 * 86_400
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,64}$")] = "stream-al."


class KafkaSettings(Section):
    """Where the brokers are and who we are; used where ``log.kind`` is ``"kafka"``."""

    bootstrap: Annotated[tuple[str, ...], Field(min_length=1)] = ("localhost:9092",)
    group: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,128}$")] = "stream-al"
    instance_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,128}$")] | None = None
    start: Literal["earliest", "latest"] | datetime | None = None
    session_seconds: Annotated[float, Field(gt=0, le=300)] | None = None
    transaction_seconds: Annotated[float, Field(gt=1, le=900)] = 15.0
    compression: Literal["gzip", "lz4", "snappy", "zstd"] | None = None
    replication_factor: Annotated[int, Field(ge=1, le=9)] = 3
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    sasl_password_file: Path | None = None
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    ssl_key_password: SecretStr | None = None
    ssl_check_hostname: bool = True

    @field_validator("bootstrap", mode="before")
    @classmethod
    def _from_words(cls, value: object) -> object:
        """Take ``host:port,host:port`` as everybody writes it, too."""
        return tuple(value.split(",")) if isinstance(value, str) else value


class HttpSettings(Section):
    """The service's own port."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8420
    token: SecretStr | None = None
    token_file: Path | None = None


class EngineSettings(Section):
    """The rhythm of the loop."""

    max_batch: Annotated[int, Field(ge=1, le=10_000)] = 500
    fold_milliseconds: Annotated[float, Field(gt=0)] = 100.0
    watchdog_seconds: Annotated[float, Field(ge=1)] = 30.0
    base_directory: Path | None = None
    base_every: Annotated[int, Field(ge=1)] = 5_000


class Settings(BaseSettings):
    """The whole configuration.

    Examples
    --------
    >>> Settings(query={"budget": 0.01}).budget().bound()
    'at most 1 % of events + 25 labels, 1 partition'
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    seed: int = 0
    task: TaskSettings = TaskSettings()
    query: QuerySettings = QuerySettings()
    model: ModelSettings = ModelSettings()
    labels: LabelSettings = LabelSettings()
    events: EventSettings = EventSettings()
    outputs: OutputSettings = OutputSettings()
    log: LogSettings = LogSettings()
    kafka: KafkaSettings = KafkaSettings()
    http: HttpSettings = HttpSettings()
    engine: EngineSettings = EngineSettings()
    ticket_keys: dict[str, SecretStr] = Field(
        default_factory=dict, description="Key id to secret (hex); all of them verify."
    )
    signing_key: str | None = Field(
        default=None, description="Key id that signs new tickets; the first one when it is not said."
    )

    @model_validator(mode="after")
    def _terms_hold(self) -> Settings:
        self.budget()
        q = self.query
        if self.window() is not None and q.policy != "ranked":
            raise ConfigurationError(
                f"query.window is set beside query.policy {q.policy!r}; "
                'it needs "ranked": leave one of them out'
            )
        if self.window() is not None and self.budget().asks_everything:
            raise ConfigurationError(
                f"query.window is set beside query.budget {q.budget:g}, "
                "which asks about everything at once: leave one of them out"
            )
        if len(set(self.task.labels)) < len(self.task.labels):
            raise ConfigurationError(f"task.labels names a label twice: {', '.join(self.task.labels)}")
        if self.labels.ttl_seconds > self.labels.accepted_for_seconds:
            raise ConfigurationError(
                f"labels.ttl_seconds is {self.labels.ttl_seconds}, but answers are accepted for only "
                f"{self.labels.accepted_for_seconds} s (labels.accepted_for_seconds); make it no longer"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments only: :func:`load_settings` merges file and environment, and says which was wrong."""
        return (init_settings,)

    def budget(self) -> Budget:
        """Return the ledger's terms."""
        q = self.query
        return Budget(
            q.budget, q.overlap, q.floor_share, q.capacity, q.credit, self.log.partitions, q.daily_cap
        )

    def window(self) -> Window | None:
        """Return the length of a block, None where every event is decided on the spot."""
        return None if self.query.window is None else Window.parse(self.query.window)

    def encoding(self) -> EncodingOptions:
        """Return how text becomes hashed words."""
        options = EncodingOptions(bits=self.model.word_bits)
        return options if self.model.character_ngrams else replace(options, char_ngrams=None)

    def events_topic(self) -> str:
        """Return the events topic's full name: part of every ticket."""
        return f"{self.log.prefix}events"

    def secrets(self) -> dict[str, bytes]:
        """Return ticket keys as bytes, the one that signs first.

        Raises
        ------
        ConfigurationError
            A secret is not hexadecimal, or ``signing_key`` names none of them.
        """
        signer = self.signing_key
        if signer is not None and signer not in self.ticket_keys:
            raise ConfigurationError(
                f"signing_key is {signer!r}; expected one of ticket_keys: {sorted(self.ticket_keys)}"
            )
        names = sorted(self.ticket_keys, key=lambda name: name != signer)
        try:
            return {name: bytes.fromhex(self.ticket_keys[name].get_secret_value()) for name in names}
        except ValueError as error:
            raise ConfigurationError(
                "a secret in ticket_keys is not hexadecimal; make one with `openssl rand -hex 32`"
            ) from error


def make_settings(overrides: Mapping[str, Any]) -> Settings:
    """Return settings from these values and defaults alone, whatever file or environment is around.

    Raises
    ------
    ConfigurationError
        Naming every key that is unknown or out of range, and what was expected.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise ConfigurationError(_explain(error, None, {})) from None


def load_settings(
    path: Path | None = None, overrides: Mapping[str, Any] | None = None, *, serving: bool = False
) -> Settings:
    """Return the configuration of a file, the environment and flags, in rising precedence.

    Parameters
    ----------
    path : Path, optional
        A TOML file; ``stream-al.toml`` in the working directory is taken when it exists.
    overrides : mapping, optional
        Nested values that win over everything.
    serving : bool
        Whether a service will run on it: labels must then be declared or open.

    Raises
    ------
    ConfigurationError
        Naming every key that is unknown or out of range, and what was expected.
    """
    if path is None and Path("stream-al.toml").is_file():
        path = Path("stream-al.toml")
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigurationError(
                f"configuration file {path} does not exist; make one with `stream-al init`"
            ) from None
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"configuration file {path} cannot be read: {error}") from error
    # pydantic-settings ranks arguments above the environment, so the environment is laid over the file here
    environment = _environment()
    merged = _merge(values, environment)
    merged = _merge(merged, overrides or {})
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        raise ConfigurationError(_explain(error, path, environment)) from None
    task = settings.task
    if serving and not task.labels and not task.open_labels:
        raise ConfigurationError(
            "task.labels is empty; declare the labels people may give, or set task.open_labels = true"
        )
    if task.positive is not None and task.labels and task.positive not in task.labels:
        raise ConfigurationError(
            f"task.positive is {task.positive!r}, which is none of task.labels {list(task.labels)}"
        )
    return settings


def _environment() -> dict[str, Any]:
    """Return the variables as a tree of tables.

    Raises
    ------
    ConfigurationError
        One name is both a value and a table.
    """
    found: dict[str, Any] = {}
    for name, value in sorted(os.environ.items(), key=lambda item: item[0].upper()):  # tables before keys
        if not name.upper().startswith(ENV_PREFIX):
            continue
        *tables, key = name[len(ENV_PREFIX) :].lower().split("__")
        place = found
        for table in tables:
            place = place.setdefault(table, {})
            if not isinstance(place, dict):
                raise ConfigurationError(
                    f"{name} is set, but {table!r} has a value of its own in the environment; "
                    f"unset the variable that ends in __{table.upper()}"
                )
        place[key] = _literal(value)
    return found


def _literal(text: str) -> Any:
    """Return a TOML value where the text is one (a list, a number, true), else the text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _explain(error: ValidationError, path: Path | None, environment: Mapping[str, Any]) -> str:
    lines = []
    for problem in error.errors():
        place = [str(part) for part in problem["loc"]]
        where = " in the environment" if _stands_in(environment, place) else f" in {path}" if path else ""
        name = ".".join(place) or "settings"
        if problem["type"] == "extra_forbidden":
            known = _keys_beside(place)
            near = difflib.get_close_matches(place[-1], known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
            lines.append(f"unknown key {name!r}{where}; {hint}")
        else:
            secret = bool({"ticket_keys", "token", "sasl_password", "ssl_key_password"} & set(place))
            found = "a secret" if secret else repr(problem["input"])
            lines.append(f"{name}{where}: {problem['msg']}; found {found}")
    return "\n".join(lines)


def _stands_in(tree: Any, place: list[str]) -> bool:
    for part in place:
        if not isinstance(tree, Mapping) or part not in tree:
            return False
        tree = tree[part]
    return bool(place)


def _keys_beside(place: list[str]) -> list[str]:
    model: type[BaseModel] = Settings
    for part in place[:-1]:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return sorted(model.model_fields)
