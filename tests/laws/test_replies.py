"""Answers shuffled, tripled, forged and foreign, through JavaScript: each request is learned once, rightly.

The model must be that of a clean file with each request's first valid vote, in the same order.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import numpy as np
import orjson
import pytest
from support.engines import Clock, answer, feed, make_engine, make_learner, requests, settle, written
from support.messages import TOPIC, gaussian_events, office, reply, truth_of

from stream_al.learner import Learner
from stream_al.log.memory import MemoryLog
from stream_al.log.protocol import LABEL_REPLIES
from stream_al.models.pool import Pool
from stream_al.query.ledger import Budget
from stream_al.ticket import TicketOffice

KEYS = {"k1": b"a secret of many bytes", "k0": b"the one before, retired"}
ROUND_TRIP = """
const lines = require("fs").readFileSync(0, "utf8").trimEnd().split("\\n");
console.log(lines.map((line) => JSON.stringify(JSON.parse(line))).join("\\n"));
"""


def through_javascript(values: list[bytes]) -> list[bytes]:
    """Return the messages as a JavaScript tool would send them on."""
    done = subprocess.run(
        ["node", "-e", ROUND_TRIP], input=b"\n".join(values), capture_output=True, check=True
    )
    return done.stdout.splitlines()


def keyed_learner() -> Learner:
    return make_learner(Pool(3, 0), TicketOffice(TOPIC, KEYS))


@pytest.fixture(scope="module")
def asked() -> tuple[list[dict], list[bytes]]:
    """Return the requests and samples of a real run."""
    log = MemoryLog(clock=Clock())
    engine = make_engine(log, keyed_learner(), budget=Budget(0.4), max_batch=64)
    feed(log, gaussian_events(1_000, seed=2))
    settle(engine)
    return requests(log), written(log, LABEL_REPLIES)


def mixture(asked: list[dict]) -> tuple[list[tuple[str, int, bytes]], list[bytes]]:
    """Return (kind or annotator, request, reply), shuffled, and the right answer of each request."""
    rng = np.random.default_rng(8)
    ours, other_key = TicketOffice(TOPIC, KEYS), office(stranger="nobody knows this key")
    other_topic = TicketOffice("other.events", KEYS)
    more = {"confidence": 1.0, "started_at": 12345678901234567890, "replied_at": 1.0, "tool": "a tool – ü"}
    replies = []
    for i, request in enumerate(asked):
        label, text = truth_of(request["event"]), request["ticket"]
        ticket = ours.verify(text)
        replies += [("first", i, reply(text, label, "first", **more))] * 3
        if rng.random() < 0.05:
            replies.append(("second", i, reply(text, "b", "second", **more)))
        if rng.random() < 0.05:
            strange = [
                other_key.issue(ticket),
                other_topic.issue(replace(ticket, topic="other.events")),
            ][int(rng.integers(2))]
            replies.append(("foreign", i, reply(strange, label, "third")))
        if rng.random() < 0.05:
            key, body, mac = text.split(".")
            place = int(rng.integers(len(body)))
            changed = body[:place] + ("A" if body[place] != "A" else "B") + body[place + 1 :]
            replies.append(("forged", i, reply(f"{key}.{changed}.{mac}", label, "fourth")))
    order = rng.permutation(len(replies))
    return [replies[i] for i in order], [truth_of(request["event"]) for request in asked]


def expected_of(replies: list[tuple[str, int, bytes]]) -> tuple[dict[str, int], list[bytes]]:
    """Return the counts that must be found, and the clean file."""
    counts = dict.fromkeys(("learned", "duplicate", "surplus", "foreign", "forged"), 0)
    voters: dict[int, set[str]] = {}
    clean = []
    for kind, request, value in replies:
        if kind in ("foreign", "forged"):
            counts[kind] += 1
            continue
        known = voters.setdefault(request, set())
        counts["duplicate" if kind in known else "surplus" if known else "learned"] += 1
        if not known:
            clean.append(value)
        known.add(kind)
    return counts, clean


def folded(samples: list[bytes], replies: list[bytes]) -> tuple[Learner, list[str]]:
    """Return a learner that folded these, and the codes of what it rejected."""
    log, learner, rejected = MemoryLog(clock=Clock()), keyed_learner(), []
    answer(log, [*samples, *replies])
    learner.fold(log.tail(LABEL_REPLIES, 0, 0, 10**6), lambda _, error: rejected.append(error.code))
    return learner, rejected


def assert_right(samples: list[bytes], mixed: list[tuple[str, int, bytes]], sent: list[bytes]) -> None:
    counts, clean = expected_of(mixed)
    learner, rejected = folded(samples, sent)
    assert {name: n for name, n in learner.outcomes.items() if n} == {n: c for n, c in counts.items() if c}
    assert min(counts.values()) > 0
    assert sorted(rejected) == ["foreign"] * counts["foreign"] + ["forged"] * counts["forged"]
    once, _ = folded(samples, clean)
    one, other = learner.model.dump(), once.model.dump()
    assert one is not None
    assert other is not None
    assert {k: v.tobytes() for k, v in one.items()} == {k: v.tobytes() for k, v in other.items()}
    for name, array in learner.recalibration.dump().items():
        assert array.tobytes() == once.recalibration.dump()[name].tobytes()
    assert learner.answers_by_class == once.answers_by_class
    assert learner.book.dump() == once.book.dump()


def test_every_request_is_learned_once_from_its_first_valid_vote(asked):
    wanted, samples = asked
    assert len(wanted) > 200
    mixed, _ = mixture(wanted)
    assert_right(samples, mixed, [value for _, _, value in mixed])


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed: no JavaScript round trip")
def test_no_ticket_breaks_in_javascript(asked):
    wanted, samples = asked
    mixed, _ = mixture(wanted)
    sent = through_javascript([value for _, _, value in mixed])
    assert len(sent) == len(mixed)
    tickets = [orjson.loads(value)["ticket"] for _, _, value in mixed]
    assert [orjson.loads(value)["ticket"] for value in sent] == tickets
    assert_right(samples, mixed, sent)
