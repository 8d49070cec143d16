"""The examples run, and every ``curl`` on the pages gets an answer from a real service."""

from __future__ import annotations

import json
import runpy
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.pages import ROOT, commands, page

SERVE = "from stream_al_consumers.cli import main; main()"


def example(name: str) -> dict[str, object]:
    return runpy.run_path(str(ROOT / "examples" / name), run_name="example")


def test_library_loop():
    found = example("library_loop.py")["main"]()  # type: ignore[operator]  # a function
    assert found["events"] == 1797
    assert found["asked"] <= 0.1 * 1797 + 25
    assert 0 < found["learned"] <= found["asked"]
    assert found["accuracy"] > 0.5


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service on a log of its own; yields its address, and insists on a clean stop."""
    directory: Path = tmp_path_factory.mktemp("service")
    command = [sys.executable, "-c", SERVE, "serve", "--port", "0", "--json"]
    with subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["url"]
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()


def test_http_client(service):
    found = example("http_client.py")["main"](service)  # type: ignore[operator]  # a function
    assert found["events"] == 1000
    assert 0 < found["answered"] <= 0.05 * 1000 + 25
    assert found["accuracy"] > 0.6


@pytest.mark.parametrize("name", ["README.md", "docs/http.md"])
def test_curl(service, name):
    tried = 0
    for words in commands(page(name), "curl"):
        if any("$TICKET" in word for word in words):
            continue  # needs a request of one's own: the client above answers with tickets
        url, body = "", None
        rest = iter(words[1:])
        for word in rest:
            if word == "-d":
                body = next(rest).encode()
            elif word == "-X":
                assert next(rest) == "POST"
            elif word != "-s":
                url = word.replace("localhost:8420", service.removeprefix("http://"))
        with urllib.request.urlopen(f"http://{url}", body, timeout=60) as response:
            assert response.status in (200, 202), shlex.join(words)
        tried += 1
    assert tried >= 3
