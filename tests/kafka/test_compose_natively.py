"""Every command of the compose file, run as it stands there on a real broker, without containers.

Of what compose gives a service, its command, its environment, its health check and the order stay; volumes
are folders, the host name of the broker is its address, and ports are free ones.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from contextlib import ExitStack
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from support.deployment import compose

from tests.kafka.admin import wait_until
from tests.kafka.broker import free_ports

SERVICES: dict[str, dict[str, Any]] = compose()["services"]
HOME = "/var/lib/stream-al"
STREAM_AL = [sys.executable, "-c", "from stream_al_consumers.cli import main; main()"]
PATIENCE_SECONDS = 90.0


class Natively:
    """The services of the compose file as processes of this machine.

    Parameters
    ----------
    folder : Path
        Holds the volumes, and what each service says.
    address : str
        Of the broker.
    prefix : str
        Of topics and group, since other tests use the broker as well.
    """

    def __init__(self, folder: Path, address: str, prefix: str) -> None:
        self.ports = dict(zip(("serve-1", "serve-2"), free_ports(2), strict=True))
        self._folder = folder
        self._replaced = {"kafka:9092": address}
        self._ours = {"STREAM_AL__LOG__PREFIX": prefix, "STREAM_AL__KAFKA__GROUP": prefix + "group"}

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Start a service."""
        with self.said(name).open("wb") as said:
            return subprocess.Popen(
                self._command(name),
                cwd=self._volume("work-" + name),
                env=self._environment(name),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    def once(self, name: str) -> None:
        """Run a service to its end, which must be a good one."""
        assert self.start(name).wait(timeout=PATIENCE_SECONDS) == 0, self.said(name).read_text()

    def healthy(self, name: str) -> bool:
        """Return what the service's health check finds."""
        kind, _, *words = SERVICES[name]["healthcheck"]["test"]
        assert kind == "CMD"
        ran = subprocess.run(
            [sys.executable, *words], env=self._environment(name), capture_output=True, check=False
        )
        return ran.returncode == 0

    def status(self, name: str) -> dict[str, Any]:
        """Ask a replica what it has done, with the token that the first start has made."""
        token = (self._folder / "secrets" / "http-token").read_text()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports[name]}/status", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def said(self, name: str) -> Path:
        """Return the file with a service's output."""
        return self._folder / f"{name}.out"

    def _command(self, name: str) -> list[str]:
        service = SERVICES[name]
        entry = [sys.executable, *service["entrypoint"][1:]] if "entrypoint" in service else STREAM_AL
        return [*entry, *(self._placed(name, word) for word in service["command"])]

    def _environment(self, name: str) -> dict[str, str]:
        given = {key: self._placed(name, str(value)) for key, value in SERVICES[name]["environment"].items()}
        if name in self.ports:
            given["STREAM_AL__HTTP__PORT"] = str(self.ports[name])
        plain = {key: value for key, value in os.environ.items() if not key.startswith("STREAM_AL_")}
        return plain | given | self._ours

    def _placed(self, name: str, text: str) -> str:
        """Return a text with this machine's names for the broker and the service's volumes."""
        for volume in SERVICES[name].get("volumes", ()):
            source, target = volume.split(":")[:2]
            text = text.replace(target, str(self._volume(source)))
        for there, here in self._replaced.items():
            text = text.replace(there, here)
        assert HOME not in text, f"{name} uses a path that is no volume: {text}"
        return text

    def _volume(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        return folder


@pytest.mark.slow
def test_the_pipeline_of_the_compose_file_runs(tmp_path: Path, bootstrap: list[str], prefix: str) -> None:
    natively = Natively(tmp_path, bootstrap[0], prefix)
    for name in ("token", "token", "data", "topics"):  # a second start finds the token and leaves it
        natively.once(name)
    with ExitStack() as stack:
        running = {}
        for name in ("serve-1", "serve-2", "annotators", "produce"):
            running[name] = stack.enter_context(natively.start(name))
            stack.callback(running[name].kill)
        for name in natively.ports:
            wait_until(partial(natively.healthy, name), PATIENCE_SECONDS, f"{name} to be healthy")

        def both_learn() -> bool:
            assert {name: process.poll() for name, process in running.items()} == dict.fromkeys(running)
            try:
                found = [natively.status(name) for name in natively.ports]
            except (OSError, HTTPException):  # it is starting
                return False
            return all(each["events"] > 0 and each["model"]["learned"] > 0 for each in found)

        wait_until(both_learn, PATIENCE_SECONDS, "both replicas to decide events and to learn answers")
        with pytest.raises(HTTPError, match="401"):
            urllib.request.urlopen(f"http://127.0.0.1:{natively.ports['serve-1']}/status", timeout=10)
        for name in natively.ports:
            running[name].send_signal(signal.SIGTERM)
            assert running[name].wait(timeout=30) == 0, natively.said(name).read_text()
            assert "Traceback" not in natively.said(name).read_text()
            base = natively._volume(name.replace("serve", "bases"))
            assert list(base.glob("**/base-*")), "what it had learned stays in its volume"
