"""The service and the commands on a real broker, each in a process of its own, as an operator runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.conftest import Ran, serving
from tests.kafka.shared import Addresses
from tests.support.terminal import Terminal

COMMAND = (sys.executable, "-c", "from stream_al_consumers.cli import main; main()")
ROWS = 300
CONFIGURATION = """\
[task]
labels = ["left", "right"]
[query]
budget = 1.0
near_duplicates = false
[log]
kind = "kafka"
partitions = {partitions}
prefix = "{prefix}"
[kafka]
bootstrap = ["{address}"]
group = "{prefix}group"
start = "earliest"
session_seconds = 3
replication_factor = 1
[http]
port = 0
[ticket_keys]
k1 = "00112233445566778899aabbccddeeff"
"""
TABLE = ("points.csv", "--label", "side")


def configure(directory: Path, address: str, prefix: str, partitions: int) -> None:
    """Write a configuration, and a table of two clouds of points named left and right."""
    text = CONFIGURATION.format(address=address, prefix=prefix, partitions=partitions)
    (directory / "stream-al.toml").write_text(text)
    rng = np.random.default_rng(3)
    lines = ["a,b,side"]
    for right in rng.random(ROWS) < 0.5:
        a, b = rng.normal(2.0 if right else -2.0), rng.normal()
        lines.append(f"{a:.4f},{b:.4f},{'right' if right else 'left'}")
    (directory / "points.csv").write_text("\n".join(lines) + "\n")


def run(directory: Path, *arguments: str, code: int = 0) -> Ran:
    """Run a command; no traceback, whatever happens."""
    done = subprocess.run([*COMMAND, *arguments], cwd=directory, capture_output=True, text=True, timeout=90)
    assert "Traceback" not in done.stderr
    assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
    return Ran(done.returncode, done.stdout, done.stderr)


def rows(printed: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed.splitlines()]


def ids(directory: Path, topic: str) -> Counter[str]:
    """Return how often each event stands in a topic."""
    printed = run(directory, "tail", topic, "--from", "0", "--json").out
    return Counter(line["value"]["event_id"] for line in rows(printed))


def until(what: str, condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Ask until something is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {what}"
        time.sleep(0.02)
    return found


def status(http: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = http.get("/status").json()
    return found


def series(http: httpx.Client, name: str) -> dict[tuple[str, ...], float]:
    """Return a metric's values by its labels' values."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(http.get("/metrics").text)
        for sample in family.samples
        if sample.name == name
    }


def partitions_of(http: httpx.Client) -> set[str]:
    return {partition for (partition,) in series(http, "stream_al_consumer_lag_records")}


@pytest.fixture
def here(tmp_path: Path, bootstrap: list[str], prefix: str) -> Path:
    """A directory with a configuration for four partitions, whose topics exist."""
    configure(tmp_path, bootstrap[0], prefix, 4)
    run(tmp_path, "topics", "create")
    return tmp_path


# ---- a working day ----------------------------------------------------------------------------------


def produce_and_answer(directory: Path, http: httpx.Client) -> None:
    """Events in, in three runs of which the last finds nothing to do; answers back; all learned."""
    assert run(directory, "produce", *TABLE, "--head", "120", "--json").json["appended"] == 120
    found = run(directory, "produce", *TABLE, "--json").json
    assert (found["appended"], found["already_there"]) == (ROWS - 120, 120)
    assert run(directory, "produce", *TABLE, "--json").json["appended"] == 0
    until("all events", lambda: status(http)["events"] == ROWS)
    answers = ("--answers", "points.csv", "--label", "side", "--no-answer", "0", "--noise", "0")
    counts = run(directory, "annotator", *answers, "--once", "--json").json
    assert counts["answered"] == status(http)["asked"] > ROWS / 2
    until("all labels", lambda: status(http)["model"]["learned"] == counts["answered"])
    assert series(http, "stream_al_reply_lag_records") == {(): 0.0}


def call(http: httpx.Client) -> None:
    """Use the door as any program would."""
    assert http.get("/livez").json() == {"alive": True}
    assert http.get("/readyz").json() == {"ready": True, "problems": []}
    event = {"event_id": "called", "features": {"a": 2.0, "b": 0.0}}
    assert http.post("/v1/events", json=event).status_code == 202
    found = http.get("/v1/predictions", params={"event_id": "called", "wait": 10}).json()["predictions"]
    assert found[0]["prediction"]["label"] == "right"
    scored = http.post("/v1/score", json=event).json()["predictions"]
    assert scored[0]["label"] == "right"
    request = until("its request", lambda: http.get("/v1/requests").json()["requests"])[0]
    reply = {"reply_id": "r", "ticket": request["ticket"], "label": "right", "annotator_id": "me"}
    learned = status(http)["model"]["learned"]
    assert http.post("/v1/replies", json=reply).status_code == 202
    until("the answer", lambda: status(http)["model"]["learned"] == learned + 1)
    assert http.get("/v1/requests").json()["open"] == 0


def look_at_the_log(directory: Path) -> None:
    """Everything that reads the log, which has offsets that are no records."""
    assert Counter(ids(directory, "predictions").values()) == {1: ROWS + 1}
    newest = Counter(line["partition"] for line in rows(run(directory, "tail", "predictions", "--json").out))
    assert newest == dict.fromkeys(range(4), 10)
    assert run(directory, "tail", "dead-letters").out == ""
    exported = rows(run(directory, "labels", "export").out)
    assert len({row["request_id"] for row in exported}) == len(exported)
    assert {row["label"] for row in exported} == {"left", "right"}
    imported = run(directory, "labels", "import", *TABLE, "--head", "50", "--json").json
    assert imported["imported"] == 50
    findings = run(directory, "check", "--json").json["findings"]
    assert {finding["level"] for finding in findings} <= {"ok", "warning"}
    assert any("no id repeats" in finding["message"] for finding in findings)


@pytest.mark.slow
def test_tour(here: Path) -> None:
    with serving(here) as served:
        produce_and_answer(here, served.http)
        call(served.http)
        look_at_the_log(here)
        until("imports", lambda: status(served.http)["replies"].get("organic") == 50)
        before = served.http.get("/status?fingerprint=1").json()
        assert served.stop() == 0
        _, err = served.process.communicate()
    assert "Traceback" not in err
    assert list((here / "stream-al.bases").glob("*/base-*"))
    with serving(here) as served:
        after = served.http.get("/status?fingerprint=1").json()
        for same in ("events", "asked", "budget", "model", "replies"):
            assert after[same] == before[same]
        assert series(served.http, "stream_al_consumer_rebalances_total") == {(): 1.0}
        assert served.stop() == 0
    replayed = run(here, "replay", "--json").json
    assert replayed["equal"]
    assert replayed["base"] is not None
    assert replayed["fingerprint"] == before["model"]["fingerprint"]
    assert replayed["decisions"]["replayed"]
    assert replayed["decisions"]["outputs"] > ROWS


def test_what_is_produced_again_after_a_broken_chunk(here: Path, prefix: str, bootstrap: list[str]) -> None:
    """A chunk that was broken off is completed, and nothing is doubled."""
    lines = [b'{"event_id": "e%d", "text": "hi"}' % i for i in range(900)]
    (here / "mine.ndjson").write_bytes(b"\n".join(lines))
    broken = (
        "from stream_al_consumers import produce_command as p\n"
        "from stream_al.log.kafka_client import KafkaClient\n"
        "from stream_al_consumers.cli import main\n"
        "append = KafkaClient.append_many\n"
        "def some(log, topic, records):\n"
        "    append(log, topic, records[:: 1 if not some.calls else 3])\n"
        "    some.calls += 1\n"
        "    if some.calls == 2:\n"
        "        raise SystemExit(9)\n"
        "some.calls = 0\n"
        "KafkaClient.append_many = some\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", broken, "produce", "mine.ndjson"], cwd=here, timeout=60)
    assert done.returncode == 9
    assert run(here, "produce", "mine.ndjson", "--json").json["already_there"] == 500 + 134
    assert ids(here, "events") == {f"e{i}": 1 for i in range(900)}


def test_a_person_labels_and_another_one_watches(here: Path) -> None:
    follow = [*COMMAND, "tail", "label-requests", "--from", "0", "--follow", "--json"]
    with serving(here) as served, subprocess.Popen(follow, cwd=here, stdout=subprocess.PIPE) as watching:
        give_up = threading.Timer(60.0, watching.kill)  # else a line that never comes is waited for
        give_up.start()
        try:
            run(here, "produce", *TABLE, "--head", "3")
            assert watching.stdout is not None
            seen = [json.loads(watching.stdout.readline())["value"] for _ in range(3)]
            assert len({request["request_id"] for request in seen}) == 3
            until("all three", lambda: status(served.http)["open_requests"] == 3)
            with Terminal([*COMMAND, "label", "--annotator-id", "me"], here) as terminal:
                terminal.until(lambda screen: "3 open;" in screen)
                terminal.press("1")
                terminal.until(lambda screen: "held:" in screen)
                terminal.press("q")
                assert terminal.ended() == 0
                assert "1 labelled" in terminal.screen
            until("the label", lambda: status(served.http)["model"]["learned"] == 1)
        finally:
            give_up.cancel()
            watching.kill()
        assert served.stop() == 0


# ---- several replicas -------------------------------------------------------------------------------


def test_two_replicas_share_the_partitions(here: Path) -> None:
    with serving(here) as first:
        assert partitions_of(first.http) == {"0", "1", "2", "3"}
        with serving(here) as second:
            until(
                "two and two", lambda: len(partitions_of(first.http)) == len(partitions_of(second.http)) == 2
            )
            assert partitions_of(first.http) | partitions_of(second.http) == {"0", "1", "2", "3"}
            # what went to the other replica is gone here, in every family that has partitions
            for name in (
                "stream_al_events_total",
                "stream_al_consumer_lag_seconds",
                "stream_al_label_tokens",
            ):
                assert {p for (p,) in series(first.http, name)} == partitions_of(first.http)
            run(here, "produce", *TABLE)
            until("all events", lambda: sum(status(s.http)["events"] for s in (first, second)) == ROWS)
            assert all(status(s.http)["events"] > 50 for s in (first, second))
            outcomes = series(second.http, "stream_al_consumer_commits_total")
            assert outcomes["committed",] > 0
            assert outcomes["failed",] == 0
            assert second.stop() == 0
            _, err = second.process.communicate()
        until("all partitions again", lambda: len(partitions_of(first.http)) == 4)
        assert status(first.http)["events"] == ROWS
        assert series(first.http, "stream_al_consumer_rebalances_total")[()] >= 3
        assert first.http.get("/readyz").status_code == 200
        assert first.stop() == 0
        _, err = first.process.communicate()
    assert "the group has changed: this process has partitions" in err
    assert Counter(ids(here, "predictions").values()) == {1: ROWS}


# ---- what goes wrong --------------------------------------------------------------------------------


@pytest.mark.slow
def test_nobody_answers(tmp_path: Path, prefix: str, bootstrap: list[str]) -> None:
    configure(tmp_path, "127.0.0.1:9", prefix, 4)
    refused = run(tmp_path, "serve", code=4)
    assert "no answer from 127.0.0.1:9" in refused.err
    assert "is the address right" in refused.err


def test_there_are_no_topics(tmp_path: Path, prefix: str, bootstrap: list[str]) -> None:
    configure(tmp_path, bootstrap[0], prefix, 4)
    for command in (("serve",), ("tail", "events")):
        refused = run(tmp_path, *command, code=4)
        assert f"{prefix}events" in refused.err
        assert "stream-al topics create" in refused.err
    findings = run(tmp_path, "check", "--json", code=1).json["findings"]
    assert any("no such topic" in finding["message"] for finding in findings if finding["level"] == "error")


def test_wrong_partitions_refuse_with_the_cure(here: Path) -> None:
    text = (here / "stream-al.toml").read_text()
    (here / "stream-al.toml").write_text(text.replace("partitions = 4", "partitions = 5"))
    refused = run(here, "serve", code=4)
    assert "set log.partitions = 4" in refused.err


def test_the_first_start_must_be_said(here: Path) -> None:
    text = (here / "stream-al.toml").read_text()
    (here / "stream-al.toml").write_text(text.replace('start = "earliest"\n', ""))
    assert "kafka.start" in run(here, "serve", code=2).err
    assert "kafka.start is not set" in run(here, "check").out


def test_files_are_for_files(here: Path) -> None:
    assert "--log names the file other.db" in run(here, "serve", "--log", "other.db", code=2).err
    found = run(here, "check", "--integrity", "--json", code=1).json["findings"]
    assert any("--integrity" in finding["message"] for finding in found)


def test_somebody_without_rights(here: Path, shared: Addresses) -> None:
    environment = {
        "STREAM_AL__KAFKA__BOOTSTRAP": json.dumps(shared.sasl_bootstrap),
        "STREAM_AL__KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "STREAM_AL__KAFKA__SASL_USERNAME": "guest",
        "STREAM_AL__KAFKA__SASL_PASSWORD": shared.users["guest"],
    }
    done = subprocess.run(
        [*COMMAND, "serve"],
        cwd=here,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr


FAILING = """\
from kafka.errors import KafkaTimeoutError
from stream_al.log.kafka_transactions import Transactions
from stream_al_consumers.cli import main

def fail(*_):
    raise KafkaTimeoutError("a record was not acknowledged in time")

Transactions._wait = fail
main()
"""


def test_five_commits_that_fail_end_the_service(here: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAILING, "serve"], cwd=here, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    assert "5 commits in a row failed" in done.stderr
