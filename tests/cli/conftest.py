"""Running the command line, in this process or as a service of its own, in an empty directory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from stream_al.build import build_engine
from stream_al.log.sqlite import SqliteLog
from stream_al_consumers.cli import main
from stream_al_consumers.configuration import open_log, read_settings
from stream_al_consumers.service import Service


@dataclass(frozen=True)
class Ran:
    """What a command left: exit code and output."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.upper().startswith("STREAM_AL__"):
            monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture(autouse=True)
def nothing_serves_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service in the process of the tests would never end: it has a process of its own, or fails."""

    def refuse(self: Service) -> None:
        raise AssertionError("the service runs, although it should have refused")

    monkeypatch.setattr(Service, "run", refuse)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command as `main` does and return what it left."""

    def run_command(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["stream-al", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Ran(code, captured.out, captured.err)

    return run_command


@pytest.fixture
def points(tmp_path: Path) -> Path:
    """A table of 300 rows, two clouds of points named left and right."""
    rng = np.random.default_rng(3)
    lines = ["a,b,side"]
    for _ in range(300):
        side = rng.random() < 0.5
        a, b = rng.normal(2.0 if side else -2.0), rng.normal()
        lines.append(f"{a:.4f},{b:.4f},{'right' if side else 'left'}")
    path = tmp_path / "points.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def decide() -> int:
    """Decide everything that stands in the log here, as a service would; return the number of events."""
    settings = read_settings(None)
    with closing(open_log(settings, owner=True)) as log:
        engine = build_engine(settings, log)
        while True:
            tick = engine.tick()
            if not (tick.restored or tick.events or tick.dead_letters):
                return sum(state.events for state in engine.states.values())


@contextmanager
def reading(path: str = "stream-al.db") -> Iterator[SqliteLog]:
    with closing(SqliteLog(path)) as log:
        yield log


@dataclass
class Served:
    """A service in a process of its own."""

    process: subprocess.Popen[str]
    http: httpx.Client

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=10)


@contextmanager
def serving(directory: Path, *arguments: str, environment: dict[str, str] | None = None) -> Iterator[Served]:
    """Serve in a directory on a free port until the block ends."""
    command = [sys.executable, "-c", "from stream_al_consumers.cli import main; main()"]
    process = subprocess.Popen(
        [*command, "serve", "--json", "--port", "0", *arguments],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | (environment or {}),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        first = process.stdout.readline()
        assert first, process.stderr.read()
        with httpx.Client(base_url=json.loads(first)["url"], timeout=10.0) as client:
            yield Served(process, client)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()
        process.stderr.close()
