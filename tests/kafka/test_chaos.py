"""Thirty kills of replicas, and brokers with them; `python -m benchmarks.chaos` does it as long as wanted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kafka.apache_kafka import find_kafka

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_by_chaos(tmp_path: Path) -> None:
    find_kafka()
    command = [sys.executable, "-m", "benchmarks.chaos", "--kills", "30", "--seed", "3", "--json"]
    done = subprocess.run(
        [*command, "--state", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["failed"] == []
    assert found["kills"] == 30
    assert found["freezes"] >= 8
    assert found["broker_kills"] >= 1
    assert found["predictions"] == found["events"] > 5_000
    assert (found["lost"], found["doubled"], found["asked_twice"]) == (0, 0, 0)
    assert found["outputs_repeated"] == found["predictions"] + found["requests"]
    assert found["learned"] > 100
    assert found["dead_letters"] > 5
