"""Whoever asks a service to stop twice gets the same good end as whoever asks once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stream_al.settings import make_settings
from stream_al_consumers.configuration import open_log
from stream_al_consumers.service import Service, Stop, _Stopped
from stream_al_consumers.watchdog import Watchdog
from tests.cli.conftest import reading, serving


@contextmanager
def service(path: Path) -> Iterator[tuple[Service, Stop]]:
    stopping = Stop()
    settings = make_settings({"log": {"path": str(path)}})
    log = open_log(settings, owner=True)
    made = Service(settings, log, Watchdog(60.0), stopping)
    try:
        yield made, stopping
    finally:
        made.close()
        log.close()


def test_before_the_loop_turns_only_the_first_signal_leaves_at_once(tmp_path: Path) -> None:
    with service(tmp_path / "a.db") as (made, stopping):
        with pytest.raises(_Stopped):
            made.stop(signal.SIGTERM)
        made.stop(signal.SIGTERM)  # while it puts things in order
        assert stopping()


def test_while_the_loop_turns_signals_only_ask(tmp_path: Path) -> None:
    with service(tmp_path / "a.db") as (made, stopping):
        made._looping = True
        for _ in range(3):
            made.stop(signal.SIGINT)
        assert stopping()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_good_end(tmp_path: Path, number: signal.Signals) -> None:
    event = {"event_id": "e", "features": {"x": 1.0}}
    with serving(tmp_path) as served:
        assert served.http.post("/v1/events", json=event).status_code == 202
        served.process.send_signal(number)
        assert served.process.wait(timeout=10) == 0
        _, err = served.process.communicate()
    assert "Traceback" not in err
    with reading() as log:
        assert log.bounds("events", 0)[1] == 1
