"""A loop that hangs ends its process, says where it stood, and a frozen process is not taken for one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from stream_al_consumers.watchdog import EXIT_CODE

from .conftest import serving

HANGING = """\
import threading, time
from stream_al.log.sqlite import SqliteLog
from stream_al_consumers.cli import main

poll, hang = SqliteLog.poll, threading.Event()

def hanging_poll(log, *arguments):
    if log.bounds("events", 0)[1]:
        hang.wait()
    return poll(log, *arguments)

SqliteLog.poll = hanging_poll
main()
"""
CONFIGURATION = "[task]\nopen_labels = true\n[engine]\nwatchdog_seconds = 1\n[http]\nport = 0\n"


def test_a_log_that_hangs_ends_the_service(tmp_path: Path) -> None:
    (tmp_path / "stream-al.toml").write_text(CONFIGURATION)
    with subprocess.Popen(
        [sys.executable, "-c", HANGING, "serve"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[1].rstrip(",")
        httpx.post(
            f"{url}/v1/events", json={"event_id": "last", "text": "before it hangs"}
        ).raise_for_status()
        _, err = process.communicate(timeout=20)
    assert process.returncode == EXIT_CODE
    assert "the loop has not turned for 1 s" in err
    assert "in hanging_poll" in err
    assert "stream-al-http" in err or err.count("most recent call first") > 1
    assert not (tmp_path / "stream-al.db.bases").exists()


def test_a_frozen_process_goes_on(tmp_path: Path) -> None:
    (tmp_path / "stream-al.toml").write_text(CONFIGURATION)
    with serving(tmp_path) as served:
        os.kill(served.process.pid, signal.SIGSTOP)
        time.sleep(2.5)  # what is tested: more than the watchdog bears
        os.kill(served.process.pid, signal.SIGCONT)
        assert served.http.get("/livez").status_code == 200
        assert served.stop() == 0
