"""A real Apache Kafka for tests, benchmarks and demonstrations: ``Broker`` (one node), ``Cluster`` (three).

    with Broker() as broker:
        KafkaProducer(bootstrap_servers=broker.bootstrap)

Both choose free ports, keep their data in a temporary folder and leave neither a process nor a file behind.
A single node that is killed under open transactions may complete them without markers, so broker faults in a
test of exactly-once need ``Cluster``; pausing and killing *clients* is fine with either.
"""

from __future__ import annotations

import base64
import random
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.kafka.admin import all_in_sync, create_topics, live_nodes, wait_until
from tests.kafka.apache_kafka import VERSION, NoKafka, external_bootstrap, find_kafka
from tests.kafka.certificates import Certificates, make_certificates
from tests.kafka.node import START_SECONDS, BrokerFailed, Node
from tests.kafka.properties import REPLICATED, SINGLE, Secure, secure_properties

__all__ = [
    "VERSION",
    "Broker",
    "BrokerFailed",
    "Cluster",
    "NoKafka",
    "Node",
    "Secure",
    "create_topics",
    "external_bootstrap",
]

# Below the ephemeral ports of Linux and macOS: while a node is down no outgoing connection can take its port,
# nor can a client that tries to reconnect be connected to itself.
_PORTS = range(20_000, 32_000)


class _Started:
    """A context manager over what can be started and closed: it leaves nothing behind, whatever happens."""

    start: Callable[[], None]
    close: Callable[[], None]

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Broker(Node, _Started):
    """One node that is broker and controller; a context manager.

    Parameters
    ----------
    version : str
        Version of Apache Kafka, 3.9 or newer.
    secure : Secure, optional
        Adds the listeners of ``sasl_bootstrap``, ``ssl_bootstrap``, ``expired_bootstrap``, and an authorizer.
    folder : Path, optional
        For data and log; default a temporary one, deleted by ``close``. In a given one only data are deleted.
    settings : Mapping, optional
        More server properties; they win.

    Attributes
    ----------
    bootstrap, sasl_bootstrap, ssl_bootstrap, expired_bootstrap : list of str
        One ``host:port`` each; empty where there is no such listener.
    certificates : Certificates or None
        ``certificates.ca_path`` is what a TLS client has to trust.

    Raises
    ------
    NoKafka
        Neither Java with Maven nor Docker is here.
    """

    def __init__(
        self,
        *,
        version: str = VERSION,
        secure: Secure | None = None,
        folder: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        installation = find_kafka(version)
        scratch = Path(tempfile.mkdtemp(prefix="stream-al-kafka-")) if folder is None else None
        home = folder or scratch
        assert home is not None
        plain, controller, sasl, tls, expired = free_ports(5)
        properties = {
            **SINGLE,
            "node.id": "1",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{plain}",
        }
        self.secure = secure
        self.certificates: Certificates | None = None
        self.sasl_bootstrap: list[str] = []
        self.ssl_bootstrap: list[str] = []
        self.expired_bootstrap: list[str] = []
        if secure is not None:
            self.sasl_bootstrap = [f"127.0.0.1:{sasl}"]
            self.ssl_bootstrap = [f"127.0.0.1:{tls}"]
            self.expired_bootstrap = [f"127.0.0.1:{expired}"]
            self.certificates = make_certificates(home / "certificates")
            more = f",SASL_PLAINTEXT://127.0.0.1:{sasl},SSL://127.0.0.1:{tls},EXPIRED://127.0.0.1:{expired}"
            properties["listeners"] += more
            properties["advertised.listeners"] += more
            properties.update(secure_properties(secure, self.certificates))
        properties.update(settings or {})
        formatting = ["--cluster-id", _cluster_id(), "--standalone"]
        super().__init__(installation, home, properties, plain, formatting, scratch)

    def close(self) -> None:
        """Kill the node and delete its data (and its folder, if temporary)."""
        self.delete_data()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)


class Cluster(_Started):
    """Nodes with replicated topics (factor 3, 2 in sync), each of which can be killed or paused.

    Parameters
    ----------
    nodes : int
        How many; at least 3.
    version, folder, settings
        As in ``Broker``.

    Notes
    -----
    After killing a node call ``wait_until_in_sync`` before the next: two missing of three stop every commit.
    """

    def __init__(
        self,
        nodes: int = 3,
        *,
        version: str = VERSION,
        folder: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        if nodes < 3:
            raise ValueError(f"a cluster has at least 3 nodes, not {nodes}; for one node use Broker")
        installation = find_kafka(version)
        self._scratch = Path(tempfile.mkdtemp(prefix="stream-al-kafka-")) if folder is None else None
        home = folder or self._scratch
        assert home is not None
        ports = free_ports(2 * nodes)
        plain, controllers = ports[:nodes], ports[nodes:]
        voters = ",".join(f"{i}@127.0.0.1:{port}" for i, port in enumerate(controllers, start=1))
        formatting = ["--cluster-id", _cluster_id()]
        self.nodes: list[Node] = []
        for i, (port, controller) in enumerate(zip(plain, controllers, strict=True), start=1):
            properties = {
                **REPLICATED,
                "node.id": str(i),
                "controller.quorum.voters": voters,
                "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
                "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
                **(settings or {}),
            }
            self.nodes.append(
                Node(installation, home / f"node-{i}", properties, port, formatting, self._scratch)
            )

    @property
    def bootstrap(self) -> list[str]:
        """One ``host:port`` a node."""
        return [node.bootstrap[0] for node in self.nodes]

    def node(self, node_id: int) -> Node:
        """Return a node by its id, 1 to ``len(nodes)``."""
        return self.nodes[node_id - 1]

    def start(self) -> None:
        """Start all nodes at the same time and wait until each one sees all of them."""
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(lambda node: node.start(wait=False), self.nodes))
        for node in self.nodes:
            node.wait_until_ready()
        everyone = {node.node_id for node in self.nodes}
        wait_until(
            lambda: all(live_nodes(address) == everyone for address in self.bootstrap),
            START_SECONDS,
            "all nodes to be alive",
        )

    def wait_until_in_sync(self, seconds: float = START_SECONDS) -> None:
        """Wait until every running node is alive to the others and all replicas are in sync."""
        running = {node.node_id: node.bootstrap[0] for node in self.nodes if node.running}
        address = next(iter(running.values()))
        wait_until(
            lambda: live_nodes(address) >= running.keys() and all_in_sync(address),
            seconds,
            "all replicas to be in sync",
        )

    def close(self) -> None:
        """Kill all nodes and delete their data (and the folder, if temporary)."""
        for node in self.nodes:
            node.delete_data()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)


def free_ports(count: int) -> list[int]:
    """Return ports on 127.0.0.1 that nobody uses, at random so that two sessions rarely draw the same."""
    ports: list[int] = []
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise OSError(f"no {count} free ports on 127.0.0.1 in {_PORTS}")


def _cluster_id() -> str:
    """Return 16 bytes in base64url; the first is 0 so that the id never looks like a command-line option."""
    return base64.urlsafe_b64encode(b"\0" + secrets.token_bytes(15)).decode().rstrip("=")
