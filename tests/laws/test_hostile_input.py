"""Ten thousand good events among a thousand hostile ones: each gets what it deserves, in order."""

from __future__ import annotations

import gc
import resource
from base64 import b64decode
from hashlib import sha256
from pathlib import Path

import numpy as np
import orjson
import pytest
from support.engines import Clock, feed, make_engine, settle, written
from support.messages import gaussian_events

from stream_al.log.memory import MemoryLog
from stream_al.log.protocol import DEAD_LETTERS, EVENTS, LABEL_REPLIES, LABEL_REQUESTS, PREDICTIONS
from stream_al.query.ledger import Budget
from stream_al_schemas import MAX_KEPT_BYTES

GOOD, HOSTILE, CHUNK = 10_000, 1_000, 500


def hostile(i: int) -> bytes:
    """Return one of nine kinds of bad event."""
    kinds = (
        b'{"event_id": "h%d", "text": "\xff\xfe"}' % i,
        b'{"event_id": "h%d", "payload": ' % i + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"event_id": "h%d", "text": "%s"}' % (i, b"x" * 300_000),
        b'{"event_id": %d, "features": {"x0": 1}}' % i,
        b'{"event_id": "h%d", "features": [1, 2]}' % i,
        b'{"features": {"x0": %d}}' % i,
        b'{"event_id": "h%d", "text": "%s"}' % (i, b"word " * 200_000),
        b'{"event_id": "h%d", "features": {"x0": NaN}}' % i,
        b'{"event_id": "h%d", "features": {"x0": -Infinity}}' % i,
    )
    return kinds[i % len(kinds)]


def resident_mb() -> float:
    """Return the memory in use now where the system tells it, else the most that ever was."""
    gc.collect()
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


@pytest.mark.slow
def test_good_events_are_predicted_and_hostile_ones_kept_in_order():
    rng = np.random.default_rng(3)
    good = iter(gaussian_events(GOOD, seed=4))
    is_hostile = np.zeros(GOOD + HOSTILE, bool)
    is_hostile[rng.permutation(GOOD + HOSTILE)[:HOSTILE]] = True
    log = MemoryLog(clock=Clock())
    engine = make_engine(log, budget=Budget(0.01))
    predicted: list[str] = []
    letters = bad = 0
    early = 0.0
    for start in range(0, GOOD + HOSTILE, CHUNK):
        chunk = []
        for position in range(start, start + CHUNK):
            chunk.append(hostile(bad) if is_hostile[position] else orjson.dumps(next(good)))
            bad += int(is_hostile[position])
        feed(log, chunk)
        settle(engine)
        predicted += [orjson.loads(value)["event_id"] for value in written(log, PREDICTIONS)]
        sent = {start + i: value for i, value in enumerate(chunk) if is_hostile[start + i]}
        for value in written(log, DEAD_LETTERS):
            letter = orjson.loads(value)
            original = sent.pop(letter["source"]["offset"])
            assert b64decode(letter["value"]) == original[:MAX_KEPT_BYTES]
            assert letter["length"] == len(original)
            assert letter["sha256"] == sha256(original).hexdigest()
            letters += 1
        assert not sent
        for topic in (EVENTS, PREDICTIONS, LABEL_REQUESTS, DEAD_LETTERS):
            log.truncate(topic, 0, log.bounds(topic, 0)[1])
        log.truncate(LABEL_REPLIES, 0, engine.learner.position)
        if start >= (GOOD + HOSTILE) // 3 and not early:
            early = resident_mb()
    assert predicted == [f"e4-{i}" for i in range(GOOD)]
    assert letters == HOSTILE
    growth = resident_mb() - early
    print(f"memory grew by {growth:.1f} MB over the last two thirds")
    assert growth < 50
