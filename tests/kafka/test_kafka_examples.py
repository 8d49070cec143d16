"""The programs of ``examples/kafka`` against a real broker and a real service."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.structs import OffsetAndMetadata

from stream_al.log.kafka_client import KafkaClient
from stream_al.log.kafka_connection import KafkaOptions
from stream_al.log.kafka_topics import create_topics
from stream_al.log.protocol import LABEL_REPLIES, LABEL_REQUESTS, PREDICTIONS
from tests.kafka.admin import wait_until

EXAMPLES = Path(__file__).parents[2] / "examples" / "kafka"
PROGRAMS = sorted(EXAMPLES.glob("*.py"))
SERVE = "from stream_al_consumers.cli import main; main()"
EVENTS = 400
BLOCK, HOLD = 0.8, 0.4


@dataclass
class World:
    """A service on topics of its own, and the programs around it."""

    bootstrap: list[str]
    prefix: str
    folder: Path
    url: str = ""
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, program: str, *arguments: object) -> subprocess.Popen[str]:
        """Start an example in the world's folder."""
        place = ["--bootstrap", ",".join(self.bootstrap), "--prefix", self.prefix]
        process = subprocess.Popen(
            [sys.executable, str(EXAMPLES / program), *place, *map(str, arguments)],
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def stop(self) -> None:
        """Kill what a test that failed has left running."""
        for process in self.started:
            with process:
                process.kill()

    def run(self, program: str, *arguments: object, typed: str = "") -> Any:
        """Run an example to its end; return its last line, parsed."""
        with self.start(program, *arguments) as process:
            out, err = process.communicate(typed, timeout=60)
        assert process.returncode == 0, err
        return json.loads(out.splitlines()[-1].rpartition("> ")[2])

    def status(self) -> Any:
        with urllib.request.urlopen(f"{self.url}/status", timeout=10) as response:
            return json.load(response)

    def wait_for_replies(self, **counts: int) -> None:
        """Wait until the service has counted so many replies by outcome, and no others."""
        wait_until(lambda: self.status()["replies"] == counts, 20, f"replies to be {counts}")

    def topic(self, name: str) -> list[Any]:
        """Return the messages of a topic that are committed."""
        options = KafkaOptions(tuple(self.bootstrap), self.prefix, "reader")
        with closing(KafkaClient(options)) as log:
            return [
                json.loads(record.value)
                for partition in range(log.partitions(name))
                for record in log.tail(name, partition, 0, 10_000)
            ]

    def actions(self) -> list[Any]:
        return [json.loads(line) for line in (self.folder / "actions.jsonl").read_text().splitlines()]


@pytest.fixture
def world(bootstrap: list[str], prefix: str, tmp_path: Path) -> Iterator[World]:
    create_topics(KafkaOptions(tuple(bootstrap), prefix, "maker"), 2, 1, 86_400)
    configuration = {
        "LOG__KIND": "kafka",
        "LOG__PREFIX": prefix,
        "LOG__PARTITIONS": "2",
        "KAFKA__BOOTSTRAP": json.dumps(bootstrap),
        "KAFKA__GROUP": f"{prefix}service",
        "KAFKA__START": "earliest",
        "TASK__LABELS": '["fine", "harmful"]',
    }
    environment = {f"STREAM_AL__{key}": value for key, value in configuration.items()}
    command = [sys.executable, "-c", SERVE, "serve", "--port", "0", "--json"]
    with (
        (tmp_path / "serve.log").open("w") as log,
        subprocess.Popen(
            command, cwd=tmp_path, env=os.environ | environment, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            ready = process.stdout.readline()
            assert ready, (tmp_path / "serve.log").read_text()
            found = World(bootstrap, prefix, tmp_path, json.loads(ready)["url"])
            try:
                yield found
            finally:
                found.stop()
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.name)
def test_they_are_small_and_foreign(program):
    source = program.read_text()
    assert len(source.splitlines()) < 120
    imported = {
        name
        for node in ast.walk(ast.parse(source))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert not [name for name in imported if name.startswith("stream_al")]


@pytest.mark.slow
def test_events_are_predicted_replies_learned_and_acted_on_once(world):
    produced = world.run(
        "produce_events.py", "--count", EVENTS, "--rate", 1000, "--seed", 1, "--truth", "truth.jsonl"
    )
    assert produced["sent"] == EVENTS
    wait_until(lambda: world.status()["events"] == EVENTS, 30, "all events to be predicted")
    asked = {request["request_id"]: request for request in world.topic(LABEL_REQUESTS)}
    assert 5 < len(asked) <= 0.05 * EVENTS + 30

    # the simulated person answers all of them, and what is answered is learned
    queue = ["annotator_queue.py", "--answers", "truth.jsonl", "--idle", 2]
    assert world.run(*queue, "--name", "ann") == {"labelled": len(asked)}
    world.wait_for_replies(learned=len(asked))
    replies = [reply for reply in world.topic(LABEL_REPLIES) if reply["kind"] == "reply"]
    assert Counter(reply["ticket"] for reply in replies) == Counter(r["ticket"] for r in asked.values())
    truth = [json.loads(line) for line in (world.folder / "truth.jsonl").read_text().splitlines()]
    labels = {answer["event_id"]: answer["label"] for answer in truth}
    by_ticket = {request["ticket"]: request["event"]["event_id"] for request in asked.values()}
    assert all(reply["label"] == labels[by_ticket[reply["ticket"]]] for reply in replies)

    # the pipeline is killed in the middle of its work, started again, and stopped; then once more
    more = world.start("produce_events.py", "--count", EVENTS, "--rate", 200, "--seed", 2)
    pipeline = world.start("moderation_pipeline.py", "--block", BLOCK, "--hold", HOLD)
    path = world.folder / "actions.jsonl"
    wait_until(lambda: path.exists() and path.read_text().count("\n") > EVENTS + 20, 30, "actions")
    pipeline.kill()
    pipeline.communicate()
    half_a_line = '{"action": "pass", "event_id": "comm'
    with path.open("a") as file:
        file.write(half_a_line)
    pipeline = world.start("moderation_pipeline.py", "--block", BLOCK, "--hold", HOLD)
    assert more.communicate(timeout=60)[1] == ""
    wait_until(lambda: path.read_text().count("\n") >= 2 * EVENTS, 30, "all actions")
    pipeline.send_signal(signal.SIGTERM)
    out, err = pipeline.communicate(timeout=30)
    assert (pipeline.returncode, err) == (0, "")
    assert 0 < json.loads(out)["acted"] < EVENTS
    assert world.run("moderation_pipeline.py", "--idle", 3)["acted"] == 0

    # every prediction has one action, the right one
    predictions = {prediction["event_id"]: prediction for prediction in world.topic(PREDICTIONS)}
    actions = world.actions()
    assert len(predictions) == 2 * EVENTS
    assert Counter(action["event_id"] for action in actions) == Counter(list(predictions))
    for action in actions:
        prediction = predictions[action["event_id"]]
        assert action["action"] == expected(prediction), action
    assert {action["action"] for action in actions} == {"block", "hold", "pass"}


def expected(prediction: dict[str, Any]) -> str:
    """Return the action that a prediction asks for, said in another way than the example's."""
    if prediction["label"] is None:
        return "hold"
    return ("pass", "hold", "block")[
        sum(prediction["probabilities"]["harmful"] >= bar for bar in (HOLD, BLOCK))
    ]


@pytest.mark.slow
def test_a_person_at_the_terminal_meets_the_most_urgent_first_and_may_answer_twice(world):
    world.run("produce_events.py", "--count", 100, "--rate", 1000, "--seed", 1)
    wait_until(lambda: world.status()["events"] == 100, 30, "all events to be predicted")
    requests = world.topic(LABEL_REQUESTS)
    typed = "1\n2\n\ns\nu\nfine\n"
    with world.start("annotator_queue.py", "--name", "ann") as person:
        out, err = person.communicate(typed, timeout=60)  # the end of the input ends it
    assert (person.returncode, err) == (0, "")
    assert json.loads(out.splitlines()[-1].rpartition("> ")[2]) == {"labelled": 3, "skipped": 1, "unsure": 1}
    shown = [int(line.split(">")[0].split()[-1]) for line in out.splitlines() if line.startswith("priority")]
    assert shown == sorted((r["priority"] for r in requests), reverse=True)[: len(shown)]
    world.wait_for_replies(learned=3, skipped=1, unsure=1)

    # its position is lost, so every question comes again; a person's second answer counts for nothing
    forget_position(world, "annotator-ann")
    world.run("annotator_queue.py", "--name", "ann", "--answers", os.devnull, "--idle", 2)
    replies = [reply for reply in world.topic(LABEL_REPLIES) if reply["kind"] == "reply"]
    assert Counter(Counter(reply["reply_id"] for reply in replies).values()) == {2: 5, 1: len(requests) - 5}
    wait_until(lambda: sum(world.status()["replies"].values()) == len(replies), 20, "all replies to count")
    assert world.status()["replies"]["learned"] == 3


def forget_position(world: World, group: str) -> None:
    """Set the position of a group of readers of the requests back to the beginning."""
    places = [TopicPartition(world.prefix + LABEL_REQUESTS, partition) for partition in range(2)]
    consumer = KafkaConsumer(bootstrap_servers=world.bootstrap, group_id=group, enable_auto_commit=False)
    with closing(consumer):
        consumer.assign(places)
        consumer.commit({place: OffsetAndMetadata(0, "", -1) for place in places})


@pytest.mark.slow
def test_an_expired_question_is_not_shown(world, monkeypatch):
    world.run("produce_events.py", "--count", 60, "--rate", 1000, "--seed", 1)
    wait_until(lambda: world.status()["events"] == 60, 30, "all events to be predicted")
    requests = world.topic(LABEL_REQUESTS)
    monkeypatch.setenv("PYTHONPATH", str(world.folder))
    # a clock eight days ahead: Python reads sitecustomize before the program
    (world.folder / "sitecustomize.py").write_text(
        "import time\nnow = time.time\ntime.time = lambda: now() + 8 * 86400\n"
    )
    counts = world.run("annotator_queue.py", "--name", "ann", "--answers", os.devnull, "--idle", 2)
    assert counts == {"expired": len(requests)}
    assert not [reply for reply in world.topic(LABEL_REPLIES) if reply["kind"] == "reply"]
