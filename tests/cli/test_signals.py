"""Whoever asks a service to stop twice gets the same good end as whoever asks once."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.cli.conftest import reading, serving


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_changes_nothing(tmp_path: Path, number: signal.Signals) -> None:
    event = {"event_id": "e", "features": {"x": 1.0}}
    with serving(tmp_path) as served:
        assert served.http.post("/v1/events", json=event).status_code == 202
        for _ in range(3):
            served.process.send_signal(number)
        assert served.process.wait(timeout=10) == 0
        _, err = served.process.communicate()
    assert "Traceback" not in err
    with reading() as log:
        assert log.bounds("events", 0)[1] == 1
