"""A class, a column and a category that appear in mid-stream are learned, and a replay learns them alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from support.engines import Clock, answer, feed, make_engine, make_learner, predictions
from support.messages import reply, truth_of

from stream_al.checkpoint import load_base, save_base
from stream_al.learner import Learner
from stream_al.log.memory import MemoryLog
from stream_al.log.protocol import LABEL_REPLIES, LABEL_REQUESTS
from stream_al.models.registry import make_model
from stream_al.query.ledger import Budget

EVENTS, APPEARS, LAST, TICK = 10_000, 5_000, 2_000, 100
MODELS = ("pool", "sklearn:sklearn.linear_model.SGDClassifier?loss=log_loss")


def stream() -> list[dict[str, Any]]:
    """Return events of three Gaussian classes; a fourth, a new column and a new category come late."""
    rng = np.random.default_rng(11)
    centres = rng.normal(size=(4, 6)) * 3.0
    events = []
    for i in range(EVENTS):
        late = i >= APPEARS
        label = 3 if late and rng.random() < 0.1 else int(rng.integers(3))
        values = centres[label] + rng.normal(size=6)
        features: dict[str, Any] = {f"x{j}": float(v) for j, v in enumerate(values)}
        features["shop"] = ["north", "south"][int(rng.integers(2))]
        if late:
            features["late"] = float(rng.normal())
            if rng.random() < 0.3:
                features["shop"] = "west"
        events.append({"event_id": f"n{i}", "features": features, "payload": {"truth": f"class-{label}"}})
    return events


def learner_of(name: str) -> Learner:
    return make_learner(make_model(name, 0, 0), labels=(), open_labels=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_new_class_column_and_category_are_learned_and_replayed(name, tmp_path: Path):
    log = MemoryLog(clock=Clock())
    learner = learner_of(name)
    engine = make_engine(log, learner, budget=Budget(0.05))
    events = stream()
    engine.tick()
    seen = 0
    for start in range(0, EVENTS, TICK):
        feed(log, events[start : start + TICK])
        assert engine.tick().events == TICK
        if start == 7_000:
            save_base(tmp_path, learner, "same")
        asked = [orjson.loads(record.value) for record in log.tail(LABEL_REQUESTS, 0, seen, TICK)]
        answer(log, [reply(r["ticket"], truth_of(r["event"])) for r in asked])
        seen += len(asked)
    while engine.fold_some():
        pass

    said = [p["label"] for p in predictions(log)[-LAST:]]
    truth = [truth_of(event) for event in events[-LAST:]]
    new = [s for s, t in zip(said, truth, strict=True) if t == "class-3"]
    recall = new.count("class-3") / len(new)
    print(f"{name}: recall of the new class {recall:.3f}, {seen} asked")
    assert recall >= 0.8
    assert seen <= 0.05 * EVENTS + 25
    assert {"late", "shop=west"} <= set(learner.columns.names)

    records = log.tail(LABEL_REPLIES, 0, 0, 10**6)
    again = learner_of(name)
    again.fold(records)
    assert again.fingerprint() == learner.fingerprint()
    tail = learner_of(name)
    position = load_base(tmp_path, tail, "same")
    assert bool(position) == bool(list(tmp_path.iterdir()))
    tail.fold(records[position:])
    assert tail.fingerprint() == learner.fingerprint()
