"""What the client does wrong, set right from outside; the alarms of the tests say when it no longer does.

Nothing here is needed for exactness: a fault costs time, in a start or after a broker's death, or makes a
topic that nobody wanted.
"""

from __future__ import annotations

from typing import Any

from kafka import KafkaConsumer
from kafka.errors import KafkaConnectionError, NodeNotReadyError, UnknownBrokerIdError
from kafka.net.compat import KafkaNetClient

RETRY_MS = 25
"""How long the client waits before it asks again; most of a start is made of such waits."""


class KeepingClient(KafkaNetClient):  # type: ignore[misc]  # the client has no types
    """A producer's connections: a transactional request that finds its coordinator gone is kept.

    The sender drops the request where connecting raises, and whoever waits for its answer waits in vain;
    told that the connection is not ready, it looks the coordinator up and sends the request again.
    """

    def await_ready(self, node_id: Any, timeout_ms: float = 30_000) -> bool:
        """Return whether a node can be sent to, after waiting for it."""
        try:
            return bool(super().await_ready(node_id, timeout_ms=timeout_ms))
        except (KafkaConnectionError, NodeNotReadyError, UnknownBrokerIdError):
            return False


def obedient(client: Any) -> Any:
    """Return a consumer or producer whose metadata obey what the client was told.

    It does not hand its settings on to them: they would wait 100 ms for every topic that is named for the
    first time, and make a topic anew that somebody has deleted.
    """
    metadata = client._cluster if isinstance(client, KafkaConsumer) else client._metadata
    metadata.config["retry_backoff_ms"] = RETRY_MS
    metadata.config["allow_auto_create_topics"] = False
    return client
