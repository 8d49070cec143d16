"""What the client does wrong, set right from outside; the alarms of the tests say when it no longer does.

Nothing here is needed for exactness: each fault only costs time, in a start or after a broker's death.
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


def impatient(client: Any) -> Any:
    """Return a consumer or producer that waits ``RETRY_MS`` for what it asks of a new topic, too.

    The client does not hand its ``retry_backoff_ms`` on to its metadata: there it stays at 100, for every
    topic that is named for the first time.
    """
    metadata = client._cluster if isinstance(client, KafkaConsumer) else client._metadata
    metadata.config["retry_backoff_ms"] = RETRY_MS
    return client
