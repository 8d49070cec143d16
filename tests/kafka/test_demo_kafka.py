"""The demo on Kafka, shorter; and its reckoning does see what it looks for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.demo_kafka.check import check_log
from benchmarks.demo_kafka.tally import Tally
from tests.kafka.apache_kafka import ENVIRONMENT

ROOT = Path(__file__).parents[2]
SHARE, HEAD_START = 0.01, 10.0


def demo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.demo_kafka", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
def test_a_replica_is_killed_and_every_promise_is_kept(bootstrap):
    ran = demo("--events", "2000", "--rate", "250", **{ENVIRONMENT: ",".join(bootstrap)})
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("\nkept ") == 4, ran.stdout
    assert "killed with SIGKILL" in ran.stdout
    assert "\nVERIFIED" in ran.stdout


def test_without_a_kafka_it_says_what_to_install(tmp_path):
    ran = demo(PATH=str(tmp_path), XDG_CACHE_HOME=str(tmp_path), JAVA_HOME="", **{ENVIRONMENT: ""})
    assert ran.returncode == 4
    for word in ("NO KAFKA", "Java", "Maven", "Docker", ENVIRONMENT):
        assert word in ran.stderr
    assert "Traceback" not in ran.stderr


def tally(asked: tuple[int, ...] = (3,), events: int = 100) -> Tally:
    """Return the counts of a log with nothing wrong, one partition."""
    found = Tally()
    for i in range(events):
        add(found, "events", event_id=f"e{i}")
        add(found, "predictions", event_id=f"e{i}", label="normal", asked=i in asked)
        if i in asked:
            add(found, "label-requests", request_id=f"r{i}", event={"event_id": f"e{i}"})
    return found


def add(found: Tally, topic: str, **message: object) -> None:
    found.add(topic, 0, json.dumps(message).encode())


def broken(found: Tally, expected: int = 100) -> list[str]:
    """Return the promises that are not kept."""
    return [check.promise for check in check_log(found, expected, SHARE, HEAD_START) if not check.kept]


PREDICTED = "every event is predicted exactly once"
ASKED = "every question is asked exactly once"
BUDGET = "the budget holds at every prefix"


def test_nothing_wrong_is_seen_where_nothing_is():
    assert broken(tally()) == []
    assert broken(tally(asked=tuple(range(10)))) == []


@pytest.mark.parametrize(
    ("topic", "message", "promise"),
    [
        ("events", {"event_id": "e100"}, PREDICTED),
        ("events", {"event_id": "e1"}, PREDICTED),
        ("predictions", {"event_id": "e1", "label": "normal", "asked": False}, PREDICTED),
        ("predictions", {"event_id": "other", "label": "normal", "asked": False}, PREDICTED),
        ("label-requests", {"request_id": "r3", "event": {"event_id": "e3"}}, ASKED),
        ("label-requests", {"request_id": "r4", "event": {"event_id": "e4"}}, ASKED),
    ],
)
def test_one_message_too_many_is_seen(topic, message, promise):
    found = tally()
    add(found, topic, **message)
    assert broken(found) == [promise]


def test_what_is_lost_is_seen():
    found = tally()
    found.predictions[0].pop(7)
    assert broken(found) == [PREDICTED]
    found = tally()
    found.requests.clear()
    found.requested.clear()
    assert broken(found) == [ASKED]
    assert broken(tally(), expected=101) == [PREDICTED]


def test_one_question_too_many_is_seen_even_where_later_events_pay_for_it():
    assert broken(tally(asked=tuple(range(12)), events=1_000), expected=1_000) == [BUDGET]
