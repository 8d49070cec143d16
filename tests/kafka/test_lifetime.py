"""No broker outlives its users, however they end; and a machine without Kafka says so."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.kafka.admin import wait_until
from tests.kafka.apache_kafka import ENVIRONMENT, find_kafka

ROOT = Path(__file__).parents[2]

OWN = """
import sys, pathlib
from tests.kafka.broker import Broker
broker = Broker(folder=pathlib.Path(sys.argv[1]))
broker.start(wait=False)
print(broker.pid, flush=True)
sys.stdin.read()
"""

SHARED = """
import sys, pathlib
from tests.kafka.shared import shared_broker
with shared_broker(pathlib.Path(sys.argv[1])) as addresses:
    print(addresses.pid, flush=True)
    sys.stdin.read()
"""


def gone(pid: int) -> bool:
    """Whether the process is no more; one that is dead but not reaped counts as gone."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return state.stdout.strip()[:1] in {"", "Z"}


def user(stack: ExitStack, script: str, folder: Path) -> tuple[subprocess.Popen[str], int]:
    """Start a process that uses a broker until it is killed; return it with the broker's process id."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    stack.enter_context(process)
    stack.callback(process.kill)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def test_a_broker_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    find_kafka()
    with ExitStack() as stack:
        process, broker = user(stack, OWN, tmp_path)
        assert not gone(broker)
        process.kill()
        wait_until(lambda: gone(broker), 30, f"the end of process {broker}")


@pytest.mark.slow
def test_a_shared_broker_ends_with_its_last_user(tmp_path: Path) -> None:
    find_kafka()
    with ExitStack() as stack:
        first, broker = user(stack, SHARED, tmp_path)
        second, same = user(stack, SHARED, tmp_path)
        assert same == broker
        first.kill()
        first.wait()
        third, same = user(stack, SHARED, tmp_path)
        assert same == broker
        assert not gone(broker)
        second.kill()
        third.kill()
        wait_until(lambda: gone(broker), 30, f"the end of process {broker}")


@pytest.mark.parametrize(("ci", "code", "said"), [("", 0, "KAFKA TESTS SKIPPED"), ("1", 1, "CI must run")])
def test_without_kafka_the_tests_say_so(tmp_path: Path, ci: str, code: int, said: str) -> None:
    ours = ("PYTEST_", "JAVA_HOME", ENVIRONMENT, "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment |= {"PATH": str(tmp_path), "CI": ci}
    one = "tests/kafka/test_broker.py::test_a_transaction_goes_round"
    options = ["-p", "no:cacheprovider", "-p", "no:xdist", f"--basetemp={tmp_path / 'nested'}"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, one],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == code, ran.stdout + ran.stderr
    assert said in ran.stdout + ran.stderr
    assert "Install Java 17 or newer and Maven" in ran.stdout + ran.stderr
