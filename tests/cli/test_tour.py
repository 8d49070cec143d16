"""The tour: every command of a working day against one service, a person in a terminal among them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.request
from base64 import urlsafe_b64decode
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_al.log.protocol import LABEL_REPLIES
from tests.support.terminal import Terminal

from .conftest import Ran, reading, serving

COMMAND = (sys.executable, "-c", "from stream_al_consumers.cli import main; main()")
ROWS = 400
REFERENCE = re.compile(r"parcel (\d+) ")
KEY = re.compile(r"(\w)  (fine|fraud)\b")


@pytest.fixture
def orders(tmp_path: Path) -> list[str]:
    """Write orders.csv, whose texts name their rows; return the labels."""
    rng = np.random.default_rng(5)
    labels = ["fraud" if fraud else "fine" for fraud in rng.random(ROWS) < 0.3]
    lines = ["amount,country,note,label"]
    for i, label in enumerate(labels):
        amount = rng.gamma(2.0, 60.0 if label == "fraud" else 15.0)
        lines.append(f"{amount:.2f},{rng.choice(['DE', 'FR', 'US'])},parcel {i} was sent,{label}")
    (tmp_path / "orders.csv").write_text("\n".join(lines) + "\n")
    return labels


class Day:
    """Runs commands in a directory and keeps everything that they print."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.printed: list[str] = []

    def run(self, *arguments: str, code: int = 0) -> Ran:
        done = subprocess.run(
            [*COMMAND, *arguments], cwd=self.directory, capture_output=True, text=True, timeout=60
        )
        self.printed += [done.stdout, done.stderr]
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        return Ran(done.returncode, done.stdout, done.stderr)


class Person:
    """Somebody with `stream-al label` before them."""

    def __init__(self, day: Day) -> None:
        self._day = day
        self.terminal = Terminal([*COMMAND, "label", "--annotator-id", "me"], day.directory)

    def row(self) -> int:
        """Return the row that the screen asks about."""
        screen = self.terminal.until(lambda s: REFERENCE.search(s) and "q quit" in s)
        found = REFERENCE.search(screen)
        assert found is not None
        return int(found[1])

    def answer(self, label: str) -> None:
        keys = {name: key for key, name in KEY.findall(self.terminal.screen)}
        self.terminal.press(keys[label])
        self.terminal.until(lambda s: f"held: {label}" in s and "q quit" in s)

    def press(self, key: str, shown: str) -> None:
        self.terminal.press(key)
        self.terminal.until(lambda s: shown in s and "q quit" in s)

    def quit(self) -> str:
        self.terminal.press("q")
        assert self.terminal.ended() == 0
        return self.terminal.screen


def answers_of(who: str) -> list[tuple[int, str]]:
    """Return (row, label or status) of a person's replies as they stand in the log."""
    with reading() as log:
        records = log.tail(LABEL_REPLIES, 0, 0, 100_000)
    found = []
    for record in records:
        reply = json.loads(record.value)
        if reply.get("annotator_id") == who:
            ticket = json.loads(urlsafe_b64decode(reply["ticket"].split(".")[1]))
            row = int(ticket["event_id"].rpartition("-")[2])
            found.append((row, reply.get("label") or reply["status"]))
    return found


def call(url: str, body: Any = None) -> Any:
    """Return what a service answers, as `curl` would show it."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=10) as response:
        return json.load(response)


def label_for_a_while(day: Day, labels: list[str]) -> list[tuple[int, str]]:
    """Answer, undo, skip, be unsure, quit; return what was said."""
    person = Person(day)
    said: list[tuple[int, str]] = []
    with person.terminal:
        for _ in range(6):
            row = person.row()
            person.answer(labels[row])
            said.append((row, labels[row]))
        taken_back = said.pop()[0]
        person.press("z", "taken back")
        assert person.row() == taken_back
        for key, status in (("s", "skipped"), ("u", "unsure")):
            said.append((person.row(), status))
            person.press(key, f"held: {status}")
        person.press("9", "no label has the key")
        said.append((person.row(), "fine"))
        person.answer("fine")
        assert answers_of("me") == said[:-1]  # the last one is held back
        assert "6 labelled, 1 skipped, 1 unsure" in person.quit()
        day.printed.append(person.terminal.screen)
    return said


def label_and_be_killed(day: Day) -> list[tuple[int, str]]:
    """Answer two requests, lose the one that is held, give it again."""
    person = Person(day)
    with person.terminal:
        first = person.row()
        person.answer("fine")
        held = person.row()
        person.answer("fine")
        assert person.row() not in (first, held)
        person.terminal.process.kill()
    again = Person(day)
    with again.terminal:
        assert again.row() == held
        again.answer("fraud")
        again.quit()
        day.printed.append(again.terminal.screen)
    return [(first, "fine"), (held, "fraud")]


def check_files(day: Day, labels: list[str]) -> None:
    """Read and write what stands in the log with the commands for it, while it is being served."""
    table = ("--answers", "orders.csv", "--label", "label")
    counts = day.run("annotator", *table, "--once", "--no-answer", "0", "--noise", "0", "--json").json
    assert counts["answered"] > 20
    newest = day.run("tail", "predictions", "--json", "--max", "3").out.splitlines()
    assert all(json.loads(line)["value"]["event_id"] for line in newest)
    assert day.run("tail", "dead-letters").out == ""
    imported = day.run("labels", "import", "orders.csv", "--label", "label", "--head", "50", "--json").json
    assert imported["imported"] == 50
    exported = [json.loads(line) for line in day.run("labels", "export").out.splitlines()]
    assert len({row["request_id"] for row in exported}) == len(exported) > 20
    right = Counter(row["label"] == labels[int(row["event_id"].rpartition("-")[2])] for row in exported)
    assert right[False] <= 3  # those that the person got wrong
    assert {f["level"] for f in day.run("check", "--json").json["findings"]} <= {"ok", "warning"}
    assert 'name = "orders"' in day.run("config", "show").out
    replayed = day.run("replay", "--json").json
    assert replayed["equal"]
    assert replayed["decisions"]["difference"] is None


@pytest.mark.slow
def test_tour(orders: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_AL__HTTP__PORT", "0")
    day = Day(tmp_path)
    day.run("init", "--from", "orders.csv", "--label", "label", "--text", "note", "--budget", "0.2")
    with serving(tmp_path) as served:
        url = str(served.http.base_url)
        refused = day.run("serve", code=4)
        assert f"is served by process {served.process.pid}" in refused.err
        assert "stop that one first, or give this one another file" in refused.err
        table = ("orders.csv", "--label", "label", "--text", "note")
        day.run("produce", *table, "--head", str(ROWS - 1))

        began = time.monotonic()
        name, features = f"orders-{ROWS - 1}", {"amount": 900.0, "country": "US"}
        call(
            f"{url}/v1/events",
            {"event_id": name, "features": features, "text": f"parcel {ROWS - 1} was sent"},
        )
        found = call(f"{url}/v1/predictions?event_id={name}&wait=5")["predictions"]
        answered_in = time.monotonic() - began
        assert found[0]["prediction"]["event_id"] == name
        assert answered_in < 1.0

        said = label_for_a_while(day, orders) + label_and_be_killed(day)
        assert answers_of("me") == said
        check_files(day, orders)
        events = call(f"{url}/status")["events"]
        began = time.monotonic()
        assert served.stop() == 0
        stopped_in = time.monotonic() - began
        day.printed += served.process.communicate()
    assert events == ROWS
    assert stopped_in < 5.0

    began = time.monotonic()
    with serving(tmp_path) as served:
        restarted_in = time.monotonic() - began
        assert call(f"{served.http.base_url}/status")["events"] == ROWS
        served.stop()
        day.printed += served.process.communicate()
    assert restarted_in < 3.0
    print(f"curl {answered_in:.2f} s, SIGTERM {stopped_in:.2f} s, restart {restarted_in:.2f} s")
    assert "database is locked" not in "".join(day.printed)
