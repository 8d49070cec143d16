"""However the stream is cut into polls, the outputs are the same bytes.

One stream with every row 37 times, one recorded sequence of model positions, several poll sizes. The law
needs products whose rows do not depend on their neighbours, so plain products must break it: otherwise
this test would guard nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import numpy as np
import orjson
import pytest
from support.engines import Clock, answer, feed, make_engine, make_learner, outputs
from support.messages import gaussian_events, office, organic, truth_of

from stream_al import columns
from stream_al.decode import decode_event_fields
from stream_al.encode import encode
from stream_al.learner import Learner
from stream_al.log.memory import MemoryLog
from stream_al.log.protocol import LABEL_REPLIES
from stream_al.models import expert
from stream_al.models.pool import Pool
from stream_al.query.ledger import Budget

POLL_SIZES = (1, 7, 64, 500)
COPIES = 37
WINDOWS = (None, 40, "30s")
"""Length of a block: every event on the spot, events, log time."""
MS_PER_EVENT = 700
STAGES = ((0, 100), (150, 500), (450, 500), (700, 200))
"""Model position, and how many events pass at it."""


def copied_rows(n: int, columns: int) -> list[dict]:
    """Return n events of which each row stands 37 times, under ids of their own."""
    rows = gaussian_events(-(-n // COPIES), seed=5, columns=columns, spread=0.6)
    return [{**rows[i // COPIES], "event_id": f"copy-{i}"} for i in range(n)]


def run(size: int, window: int | str | None = None, *, rows: int = 24) -> dict[str, list[bytes]]:
    """Return the outputs of the stream polled in pieces of one size, at the recorded positions."""
    clock = Clock()
    log = MemoryLog(clock=clock)
    learner = make_learner(Pool(3, 0))
    engine = make_engine(log, learner, max_batch=size, budget=Budget(0.2), window=window)
    taught = gaussian_events(450, seed=6, columns=rows, spread=0.6)
    answer(log, [organic(event, truth_of(event)) for event in taught])
    events = iter(copied_rows(sum(n for _, n in STAGES), rows))
    engine.tick()
    for position, n in STAGES:

        def fold(position: int = position) -> None:
            while engine.fold_some(before=position):
                pass

        for _ in range(n):
            clock.now_ms += MS_PER_EVENT
            feed(log, [next(events)])
        done = 0
        while done < n:
            done += engine.tick(fold).events
        assert engine.states[0].model_version == position
    found = outputs(log)
    assert len(found["predictions"]) == sum(n for _, n in STAGES)
    return found


def channels(asked: list[bytes]) -> Counter[str]:
    """Return how many requests came of the floor, of a choice on the spot, and of a block's end."""
    return Counter(office().verify(orjson.loads(value)["ticket"]).channel for value in asked)


@pytest.fixture(scope="module", params=WINDOWS)
def whole(request) -> tuple[int | str | None, dict[str, list[bytes]]]:
    return request.param, run(POLL_SIZES[-1], request.param)


@pytest.mark.parametrize("size", POLL_SIZES[:-1])
def test_poll_sizes_give_the_same_bytes(whole, size):
    window, expected = whole
    found = run(size, window)
    for kind, values in expected.items():
        assert found[kind] == values, kind
    assert len(expected["requests"]) > 50
    assert (channels(expected["requests"])["batch"] > 30) == (window is not None)
    assert len(expected["samples"]) > 256


def plain(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(a, dtype=np.float32) @ np.asarray(b, dtype=np.float32)


@pytest.fixture
def plain_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace padded blocks by plain products over whole, unpadded batches."""
    monkeypatch.setattr(expert, "row_product", plain)
    monkeypatch.setattr(columns, "pad_dense", lambda dense: dense)


@pytest.fixture(scope="module")
def taught() -> Learner:
    """Return a learner that has folded 300 answers."""
    learner = make_learner(Pool(3, 0))
    log = MemoryLog(clock=Clock())
    events = gaussian_events(300, seed=6, columns=24, spread=0.6)
    answer(log, [organic(event, truth_of(event)) for event in events])
    learner.fold(log.tail(LABEL_REPLIES, 0, 0, len(events)))
    return learner


def probabilities(learner: Learner, size: int) -> bytes:
    """Return what 500 rows get, to the bit, scored in pieces of one size."""
    events = copied_rows(500, 24)
    encoded = [encode(decode_event_fields(event), learner.options.encoding) for event in events]
    pieces = [encoded[start : start + size] for start in range(0, len(encoded), size)]
    return b"".join(learner.score(piece).shown[: len(piece)].tobytes() for piece in pieces)


def test_scores_are_equal_to_the_bit_for_every_poll_size(taught):
    assert len({probabilities(taught, size) for size in POLL_SIZES}) == 1


@pytest.mark.usefixtures("plain_products")
def test_with_plain_products_they_are_not(taught):
    """What the padded blocks are for: plain products differ in their last bits from cut to cut."""
    assert len({probabilities(taught, size) for size in POLL_SIZES}) > 1


SIMULATE = """
import hashlib, sys
import numpy as np
from stream_al.annotators import Annotators, Delay
from stream_al.settings import Settings
from stream_al.simulate import Simulation
from stream_al.table import assemble, coded

rng = np.random.default_rng(0)
classes = np.repeat(rng.integers(3, size=60), 37)[:800]
rows = np.repeat(rng.normal(size=(60, 12)), 37, axis=0)[:800] + classes[:, None]
features = {f"x{j}": rows[:, j] for j in range(12)}
table = assemble("t", features, coded([f"class-{c}" for c in classes]))
digest = hashlib.sha256()
query = {"budget": 0.2, "window": sys.argv[2] or None}
settings = Settings(query=query, task={"open_labels": True}, engine={"max_batch": int(sys.argv[1])})
run = Simulation(table, settings, Annotators(Delay.parse("lognormal:30,1")))(trace=digest.update)
print(digest.hexdigest(), run.fingerprint, run.asked)
"""


def simulated(size: int, threads: int, hash_seed: int, window: str) -> str:
    """Return the digest of all decisions, the fingerprint and the asks of a run in another process."""
    environment = {
        **os.environ,
        "OPENBLAS_NUM_THREADS": str(threads),
        "OMP_NUM_THREADS": str(threads),
        "PYTHONHASHSEED": str(hash_seed),
    }
    command = [sys.executable, "-c", SIMULATE, str(size), window]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("window", ["", "40", "45s"])
def test_simulate_decides_alike_for_any_poll_size_thread_count_and_hash_seed(window):
    ways = ((500, 1, 0), (500, 2, 0), (64, 1, 12_345), (7, 2, 7), (1, 1, 1))
    runs = [simulated(*way, window) for way in ways]
    assert len(set(runs)) == 1, runs
    assert int(runs[0].split()[-1]) > 30
