"""One broker for all processes of a test session: whoever comes first starts it, it ends after the last one.

The broker belongs to none of the workers: one that ended early would take it away from the others, and the
controller of pytest-xdist does not load this folder. It belongs to a keeper process, which waits for an
exclusive lock on a file on which every user holds a shared one. The kernel drops a lock however its process
ends (Ctrl-C, crash, SIGKILL), so the keeper gets its lock exactly when nobody uses the broker any more.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.kafka.apache_kafka import find_kafka, locked
from tests.kafka.broker import Broker, BrokerFailed, Secure

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Addresses:
    """How to reach the shared broker: ``host:port`` lists as in ``Broker``, and what its clients need."""

    bootstrap: list[str]
    sasl_bootstrap: list[str]
    ssl_bootstrap: list[str]
    expired_bootstrap: list[str]
    ca_path: str
    log_path: str
    pid: int
    users: dict[str, str]


@contextmanager
def shared_broker(folder: Path) -> Iterator[Addresses]:
    """Use the broker of ``folder``, starting it if nobody has; it lives at least until the block ends.

    Raises
    ------
    NoKafka
        No Apache Kafka can be had here.
    BrokerFailed
        It did not come up.
    """
    find_kafka()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "users.lock").open("w") as users:
        with locked(folder / "start.lock"):
            fcntl.flock(users, fcntl.LOCK_SH)  # Waits while a keeper is clearing up.
            if not (folder / "addresses.json").exists():
                _start_keeper(folder)
        yield Addresses(**json.loads((folder / "addresses.json").read_text()))


def _start_keeper(folder: Path) -> None:
    """Start a keeper that is nobody's child; wait until it closes its output: the broker is up, or failed."""
    log = folder / "keeper.log"
    keeper = [sys.executable, "-m", "tests.kafka.shared", str(folder)]
    # `&` inside a shell that ends: the keeper outlives the worker without leaving it a child to reap.
    command = ["sh", "-c", '"$@" 2>"$0" &', str(log), *keeper]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    subprocess.run(
        command,
        cwd=_ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
        check=True,
    )
    if not (folder / "addresses.json").exists():
        raise BrokerFailed(f"the shared broker did not start: {log.read_text()[-6000:]}")


def keep(folder: Path) -> None:
    """Run the broker of ``folder`` until its last user is gone."""
    path = folder / "addresses.json"
    secure = Secure()
    with Broker(secure=secure, folder=folder / "broker") as broker:
        assert broker.certificates is not None
        addresses = Addresses(
            bootstrap=broker.bootstrap,
            sasl_bootstrap=broker.sasl_bootstrap,
            ssl_bootstrap=broker.ssl_bootstrap,
            expired_bootstrap=broker.expired_bootstrap,
            ca_path=str(broker.certificates.ca_path),
            log_path=str(broker.log_path),
            pid=broker.pid,
            users=dict(secure.users),
        )
        path.write_text(json.dumps(asdict(addresses)))
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())  # Tells the one who started us to go on.
        with (folder / "users.lock").open("w") as users:
            fcntl.flock(users, fcntl.LOCK_EX)
            path.unlink()
            broker.close()


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
