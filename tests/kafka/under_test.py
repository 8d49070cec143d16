"""One fresh ``KafkaLog`` of the public log suite, on a real broker: topics of its own, quick time-outs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kafka.admin import MemberToRemove

from stream_al.log.kafka import KafkaLog
from stream_al.log.kafka_connection import KafkaOptions
from stream_al.log.protocol import PREDICTIONS, SINGLE_PARTITION, TOPICS, Output
from tests.kafka.admin import admin, create_topics

PATIENCE_SECONDS = 20.0


class KafkaUnderTest:
    """Handles of one group on topics of one prefix; a ``LogUnderTest``.

    Parameters
    ----------
    bootstrap : sequence of str
        ``host:port`` of brokers.
    prefix : str
        Of topics, group and transactional ids; nobody else may use it.
    partitions : int
        Of the events.
    topics : bool
        Make the topics.
    settings : dict
        Further fields of ``KafkaOptions``; they win.
    """

    patience_seconds = PATIENCE_SECONDS

    def __init__(
        self,
        bootstrap: Sequence[str],
        prefix: str,
        partitions: int = 1,
        *,
        topics: bool = True,
        **settings: Any,
    ) -> None:
        self.settings: dict[str, Any] = {
            "bootstrap": tuple(bootstrap),
            "prefix": prefix,
            "group": prefix + "group",
            "start": "earliest",
            "session_seconds": 3.0,
            "silence_seconds": 4.0,
            **settings,
        }
        self._members: list[KafkaLog] = []
        self._clients: list[KafkaLog] = []
        if topics:
            make_topics(bootstrap, prefix, partitions)

    def options(self, **changes: Any) -> KafkaOptions:
        """Return the options of a handle that differs in these fields."""
        return KafkaOptions(**{**self.settings, **changes})

    def member(self, **changes: Any) -> KafkaLog:
        """Return a new member of the group."""
        self._members.append(KafkaLog(self.options(**changes), member=True))
        return self._members[-1]

    def client(self) -> KafkaLog:
        """Return a handle that is no member."""
        self._clients.append(KafkaLog(self.options()))
        return self._clients[-1]

    def restart(self) -> KafkaLog:
        """Close every member and return the next one."""
        while self._members:
            self._members.pop().close()
        return self.member()

    def close(self) -> None:
        """Close every handle; the topics stay, the broker ends with the session."""
        for log in self._members + self._clients:
            log.close()


def make_topics(bootstrap: Sequence[str], prefix: str, partitions: int = 1) -> None:
    """Create the five topics, whose time is the broker's."""
    counts = {prefix + name: 1 if name in SINGLE_PARTITION else partitions for name in TOPICS}
    create_topics(bootstrap, counts, message_timestamp_type="LogAppendTime")


def remove_member(log: KafkaLog) -> None:
    """Let an operator throw the member out of its group, behind its back."""
    assert log._membership is not None
    with admin(log.options.bootstrap) as client:
        client.remove_group_members(
            log.options.group, [MemberToRemove(member_id=log._membership.metadata.member_id)]
        )


def prediction(value: bytes, partition: int = 0) -> Output:
    """Return an output of the service."""
    return Output(PREDICTIONS, partition, None, value)
