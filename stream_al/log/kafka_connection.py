"""How to reach Kafka: one set of options for every client, and the client's errors in people's words.

Values and time-outs are those that survived hours of killed replicas and brokers; the ones that the
client would choose itself are either slower or wait for ever.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from kafka.errors import (
    AuthorizationError,
    IncompatibleBrokerVersion,
    KafkaConfigurationError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    MetadataEmptyBrokerList,
    NodeNotReadyError,
    RecordListTooLargeError,
    RetriableError,
    SaslAuthenticationFailedError,
    UnknownBrokerIdError,
    UnknownTopicOrPartitionError,
    UnsupportedSaslMechanismError,
    UnsupportedVersionError,
)

from stream_al.errors import LogError, LogUnreachable
from stream_al.log.kafka_knock import knock
from stream_al.log.kafka_mended import RETRY_MS, KeepingClient

T = TypeVar("T")
Start = Literal["earliest", "latest"] | int
"""Where a new group begins: at the oldest event, at the next one, or at a log time in milliseconds."""

BOOTSTRAP_SECONDS = 10
"""How long the first answer of any broker may take."""
ASK_AGAIN_SECONDS = 0.05
DOWN = (
    KafkaConnectionError,
    KafkaTimeoutError,
    MetadataEmptyBrokerList,
    NodeNotReadyError,
    UnknownBrokerIdError,
)
"""What comes of asking a broker that is down, has just gone or come, or does not answer."""
MAX_RECORD_BYTES = 8 * 2**20
"""A label request holds its event twice, as it came and encoded: what a producer may send."""


@dataclass(frozen=True, slots=True)
class KafkaOptions:
    """Where the brokers are, who we are, and how long anything may take.

    Attributes
    ----------
    bootstrap : tuple of str
        ``host:port`` of some brokers.
    prefix : str
        Of the topic names.
    group : str
        Consumer group of the service; readers of other topics are ``group.name``.
    instance_id : str or None
        The same at every start of this slot (pod name, compose index) and different from its siblings':
        transactional id and static membership, so that a restart is not a rebalance. None: dynamic.
    start : "earliest", "latest", int or None
        Where the group's first start begins; needed then, never afterwards.
    session_seconds : float or None
        After how long of silence a member is dead; None: 30 with an ``instance_id``, 10 without.
    silence_seconds : float
        After how long without a poll a member gives its partitions up.
    transaction_seconds : float
        After how long the broker aborts the transaction of a dead member.
    answer_seconds : float
        How long one step of a commit may take.
    compression : str or None
        Of what is written: ``"gzip"``, ``"lz4"``, ``"snappy"`` or ``"zstd"``.
    security : dict
        Further keys of the client: ``security_protocol``, ``sasl_…``, ``ssl_…``.
    """

    bootstrap: tuple[str, ...] = ("localhost:9092",)
    prefix: str = "stream-al."
    group: str = "stream-al"
    instance_id: str | None = None
    start: Start | None = None
    session_seconds: float | None = None
    silence_seconds: float = 60.0
    transaction_seconds: float = 15.0
    answer_seconds: float = 5.0
    compression: str | None = None
    security: dict[str, Any] = field(default_factory=dict, repr=False)

    def topic(self, name: str) -> str:
        """Return the full name of a topic."""
        return self.prefix + name

    def client(self) -> dict[str, Any]:
        """Return what every client is made with."""
        return {
            "bootstrap_servers": list(self.bootstrap),
            "client_id": f"stream-al-{self.instance_id}" if self.instance_id else "stream-al",
            "bootstrap_timeout_ms": 1000 * BOOTSTRAP_SECONDS,
            "retry_backoff_ms": RETRY_MS,
            "reconnect_backoff_max_ms": 1_000,  # the default of 30 s outlives every outage
            "request_timeout_ms": 10_000,
            "metadata_max_age_ms": 30_000,
            **self.security,
        }

    def consumer(self) -> dict[str, Any]:
        """Return what every consumer is made with; uncommitted records are never seen."""
        return {
            **self.client(),
            "metrics_enabled": False,
            "allow_auto_create_topics": False,
            "isolation_level": "read_committed",
            "enable_auto_commit": False,
            "auto_offset_reset": "none",
        }

    def member(self) -> dict[str, Any]:
        """Return what the service's own consumer is made with."""
        # imported here: the assignor drags in the coordinator, which no other client needs
        from kafka.coordinator.assignors.range import RangePartitionAssignor

        session = self.session_seconds or (30.0 if self.instance_id else 10.0)
        return {
            **self.consumer(),
            "group_id": self.group,
            "group_instance_id": self.instance_id,
            "partition_assignment_strategy": [RangePartitionAssignor],
            "session_timeout_ms": int(1000 * session),
            "heartbeat_interval_ms": int(min(1_000, 250 * session)),
            "max_poll_interval_ms": int(1000 * self.silence_seconds),
        }

    def producer(self) -> dict[str, Any]:
        """Return what every producer is made with."""
        client = self.client()
        return {
            **client,
            "kafka_client": KeepingClient,
            # the client insists that one delivery has time for one request
            "request_timeout_ms": min(client["request_timeout_ms"], int(500 * self.transaction_seconds)),
            "metrics_enabled": False,
            "allow_auto_create_topics": False,
            "delivery_timeout_ms": int(1000 * self.transaction_seconds),
            "max_block_ms": int(1000 * self.answer_seconds),
            "max_request_size": MAX_RECORD_BYTES,
            "linger_ms": 5,
            "batch_size": 262_144,  # worth a factor of two
            "compression_type": self.compression,
        }


def answered(ask: Callable[[], T]) -> T:
    """Ask until somebody answers, for some seconds: which broker it asks, the client chooses at random.

    For seconds after a broker's death the others still name it, until its session has ended.
    """
    deadline = time.monotonic() + BOOTSTRAP_SECONDS
    while True:
        try:
            return ask()
        except DOWN:
            if time.monotonic() > deadline:
                raise
            time.sleep(ASK_AGAIN_SECONDS)


def _is(error: BaseException | None, *kinds: type[BaseException]) -> bool:
    """Return whether an error, or what caused it, is of one of these kinds."""
    while error is not None:
        if isinstance(error, kinds):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def explained(options: KafkaOptions, what: str) -> Iterator[None]:
    """Turn the client's errors into a ``LogError`` that says what to do.

    Parameters
    ----------
    options : KafkaOptions
    what : str
        What was being done: ``"reading events"``.
    """
    try:
        yield
    except (KafkaError, ssl.SSLError, OSError) as error:
        raise explain(error, options, what) from error


def explain(error: BaseException, options: KafkaOptions, what: str) -> LogError:
    """Return the error that tells a person what was found, and what to do."""
    brokers = ",".join(options.bootstrap)
    said = str(error).strip() or type(error).__name__
    if isinstance(error, MetadataEmptyBrokerList):  # it carries the whole answer, all topics and partitions
        said = "it counts no broker among the living, itself included"
    heard = False
    if "Unable to bootstrap" in said:
        stopped = knock(options.bootstrap, options.security)
        heard = stopped is None
        error, said = (stopped, str(stopped)) if stopped is not None else (error, said)
    if _is(error, ssl.SSLCertVerificationError):
        return LogError(
            f"{what}: the certificate of {brokers} was refused ({said}); renew it if it has expired, set "
            "kafka.ssl_cafile to the authority that signed it, and use the name that it was made for"
        )
    if _is(error, ssl.SSLError):
        return LogError(
            f"{what}: no TLS connection to {brokers} ({said}); does kafka.security_protocol fit this port, "
            "and does the broker ask for a client certificate (kafka.ssl_certfile)?"
        )
    if _is(error, SaslAuthenticationFailedError, UnsupportedSaslMechanismError):
        return LogError(
            f"{what}: {brokers} refused the credentials ({said}); check kafka.sasl_mechanism, "
            "kafka.sasl_username and kafka.sasl_password"
        )
    if _is(error, AuthorizationError) or "AuthorizationFailed" in said:  # some come as bare KafkaError
        return LogError(
            f"{what}: not permitted ({said}); grant the user read, write and describe on topics "
            f"{options.prefix}*, read on groups {options.group}*, and write on transactional ids "
            f"{options.group}*"
        )
    if _is(error, UnknownTopicOrPartitionError):
        return LogError(f"{what}: {said}; make the topics with `stream-al topics create`")
    if _is(error, MessageSizeTooLargeError, RecordListTooLargeError):
        return LogError(
            f"{what}: a record is larger than its topic takes ({said}); raise max.message.bytes: "
            "`stream-al topics check` says where"
        )
    if _is(error, IncompatibleBrokerVersion, UnsupportedVersionError):
        return LogError(f"{what}: {brokers} is too old ({said}); stream-al needs Apache Kafka 3.7 or later")
    if _is(error, KafkaConfigurationError):
        return LogError(f"{what}: {said}; check the [kafka] table of the configuration")
    if heard:
        protocol = options.security.get("security_protocol", "PLAINTEXT")
        return LogUnreachable(
            f"{what}: {brokers} takes connections but answers nobody; does kafka.security_protocol "
            f"({protocol}) fit this port"
            + (
                ", and are kafka.sasl_mechanism, kafka.sasl_username and kafka.sasl_password right?"
                if protocol.startswith("SASL")
                else "?"
            )
        )
    if _is(error, RetriableError, OSError):
        return LogUnreachable(
            f"{what}: no answer from {brokers} ({said}); is the address right (kafka.bootstrap), is a broker "
            "up, and does it advertise an address that this machine can reach?"
        )
    return LogError(f"{what}: {type(error).__name__}: {said}")


class _Unstable(logging.Filter):
    """Drops what the client logs at every retry while a predecessor's transaction is undecided."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "UnstableOffsetCommit" not in record.getMessage()


def discard(producer: Any) -> None:
    """Throw a producer away, whatever state it is in, without waiting for what it has not sent.

    ``close`` alone flushes first, and where that fails it closes nothing: its thread lives on.
    """
    with suppress(Exception):
        producer._sender.force_close()
        producer.close(timeout=0.5)
    producer._closed = True  # else it flushes once more when it is collected


def quiet() -> None:
    """Keep the client's log to what somebody can act on."""
    logging.getLogger("kafka").setLevel(logging.ERROR)
    for chatty in ("kafka.net", "kafka.producer"):  # ten lines a second while a broker is away
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    logging.getLogger("kafka.cluster").setLevel(logging.CRITICAL)  # an error for each client that is closed
    coordinator = logging.getLogger("kafka.coordinator.consumer")
    if not any(isinstance(known, _Unstable) for known in coordinator.filters):
        coordinator.addFilter(_Unstable())
