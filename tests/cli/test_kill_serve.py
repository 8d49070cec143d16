"""The service killed eight times under traffic; `python -m benchmarks.kill_serve` does it a hundred times."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_by_kills() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.kill_serve", "--kills", "8", "--seed", "3", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["failed"] == []
    assert found["kills"] == 8
    assert found["predictions"] == found["events"] > 500
    assert found["requests"] > 50
    assert found["dead_letters"] > 10
    assert found["outcomes"]["learned"] > 50
