"""The engine's event rate against two peers' loops, 30 numeric features, JSON bytes in and out.

No labels flow on either side while the clock runs: what is measured is scoring and deciding. The engine
scores with a fitted pool of nine experts, writes a whole prediction for every event and commits; river's
loop scores with one logistic regression and prints its probabilities, and so does scikit-activeml's
around ``Split``; each is also timed in a leaner form that does less than the engine. Runs are interleaved
and the ratio is the median over rounds, since machines are noisy.

    python -m benchmarks.bench_engine [--json]
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from stream_al.build import build_engine
from stream_al.engine import Engine
from stream_al.log.memory import MemoryLog
from stream_al.log.protocol import EVENTS, LABEL_REPLIES, LABEL_REQUESTS, Log
from stream_al.log.sqlite import SqliteLog
from stream_al.models.products import pin_blas_threads
from stream_al.settings import load_settings
from stream_al_consumers.service import GC_THRESHOLDS

FEATURES, EVENTS_A_ROUND, ROUNDS, WARM_EVENTS = 30, 10_000, 5, 8_000
PEER_EVENTS = 300
"""scikit-activeml's loop is slow; its rate does not depend on how long it runs."""


def make_events(count: int, seed: int) -> tuple[list[bytes], list[bool]]:
    """Return events as JSON bytes and their labels: a noisy interaction of two features."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, FEATURES)).round(6)
    truth = x[:, 0] + x[:, 1] * x[:, 2] + 0.3 * rng.normal(size=count) > 0
    names = [f"feature_{j}" for j in range(FEATURES)]
    events = [
        orjson.dumps({"event_id": f"{seed}-{i}", "features": dict(zip(names, row, strict=True))})
        for i, row in enumerate(x.tolist())
    ]
    return events, truth.tolist()


def make_reply(request: dict[str, Any], *, right: bool) -> bytes:
    """Return the answer "yes" or "no" to a decoded label request, as JSON bytes."""
    reply = {
        "kind": "reply",
        "reply_id": request["request_id"],
        "ticket": request["ticket"],
        "label": "yes" if right else "no",
        "annotator_id": "bench",
    }
    return orjson.dumps(reply)


def warm_engine(log: Log, model: str = "pool") -> Engine:
    """Return an engine whose model has learned some hundred answers."""
    settings = load_settings(None, {"task": {"labels": ["no", "yes"]}, "model": {"name": model}})
    engine = build_engine(settings, log)
    events, truth = make_events(WARM_EVENTS, seed=1)
    engine.tick()
    shown = 0
    for start in range(0, WARM_EVENTS, 500):
        log.append_many(EVENTS, [(None, event) for event in events[start : start + 500]])
        drain(engine)
        for record in log.tail(LABEL_REQUESTS, 0, shown, 500):
            shown = record.offset + 1
            request = orjson.loads(record.value)
            row = int(request["event"]["event_id"].split("-")[1])
            log.append(LABEL_REPLIES, None, make_reply(request, right=truth[row]))
    drain(engine)
    return engine


def drain(engine: Engine, stages: dict[str, float] | None = None) -> None:
    """Tick until no events are left."""
    while True:
        tick = engine.tick()
        for stage, seconds in tick.stage_seconds.items() if stages is not None else ():
            assert stages is not None
            stages[stage] = stages.get(stage, 0.0) + seconds
        if not tick.events and not tick.restored:
            return


def time_engine(engine: Engine, events: list[bytes], stages: dict[str, float]) -> float:
    """Return seconds an event, from bytes in the log to committed predictions."""
    engine.log.append_many(EVENTS, [(None, event) for event in events])
    engine.fold_arrived()
    started = time.perf_counter()
    drain(engine, stages)
    return (time.perf_counter() - started) / len(events)


def time_river(events: list[bytes], *, learn_scale: bool) -> Callable[[], float]:
    """Return river's plain loop: parse, scale, predict, sample by entropy, print.

    With ``learn_scale`` the scaler learns from every event, as river's own documentation has it and as
    this engine's does from its samples; without, it stands still.
    """
    from river import active, linear_model, preprocessing

    model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    warm, truth = make_events(400, seed=2)
    for event, label in zip(warm, truth, strict=True):
        model.learn_one(json.loads(event)["features"], label)
    sampler = active.EntropySampler(classifier=model, seed=1)
    scaler = model["StandardScaler"]

    def run() -> float:
        started = time.perf_counter()
        for value in events:
            event = json.loads(value)
            if learn_scale:
                scaler.learn_one(event["features"])
            probabilities, ask = sampler.predict_proba_one(event["features"])
            json.dumps({"event_id": event["event_id"], "probabilities": probabilities, "asked": ask})
        return (time.perf_counter() - started) / len(events)

    return run


def time_split(events: list[bytes], *, predict: bool) -> Callable[[], float]:
    """Return scikit-activeml's loop around ``Split`` through its public API, one event at a time.

    With ``predict`` it delivers what the engine does: the scaler learns and the event's probabilities are
    computed and printed. Without, it only decides.
    """
    from skactiveml.classifier import SklearnClassifier
    from skactiveml.stream import Split
    from sklearn.linear_model import SGDClassifier
    from sklearn.preprocessing import StandardScaler

    warm, truth = make_events(200, seed=3)
    rows = np.array([list(json.loads(event)["features"].values()) for event in warm])
    scaler = StandardScaler().fit(rows)
    classifier = SklearnClassifier(SGDClassifier(loss="log_loss", random_state=1), classes=[0, 1])
    classifier.partial_fit(scaler.transform(rows), np.array(truth, dtype=int))
    strategy = Split(random_state=1)

    def run() -> float:
        started = time.perf_counter()
        for value in events:
            event = json.loads(value)
            out = {"event_id": event["event_id"]}
            row = np.array([list(event["features"].values())])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if predict:
                    row = scaler.partial_fit(row).transform(row)
                    out["probabilities"] = classifier.predict_proba(row)[0].tolist()
                chosen, utilities = strategy.query(candidates=row, clf=classifier, return_utilities=True)
                strategy.update(candidates=row, queried_indices=chosen)
            json.dumps({**out, "utility": float(utilities[0]), "asked": len(chosen)})
        return (time.perf_counter() - started) / len(events)

    return run


def measure() -> dict[str, object]:
    """Return all figures of one run."""
    pin_blas_threads()
    with tempfile.TemporaryDirectory() as directory:
        memory = warm_engine(MemoryLog())
        sqlite = warm_engine(SqliteLog(Path(directory) / "bench.db", partitions=1, owner=True))
        stages: dict[str, float] = {}
        peer, _ = make_events(EVENTS_A_ROUND // 4, seed=4)
        river, frozen = time_river(peer, learn_scale=True), time_river(peer, learn_scale=False)
        split = time_split(peer[:PEER_EVENTS], predict=True)
        decides = time_split(peer[:PEER_EVENTS], predict=False)
        gc.collect()
        gc.freeze()  # as the service does, and for every contestant alike
        gc.set_threshold(*GC_THRESHOLDS)
        rounds: list[dict[str, float]] = []
        for number in range(ROUNDS):
            events, _ = make_events(EVENTS_A_ROUND, seed=10 + number)
            rounds.append(
                {
                    "memory": time_engine(memory, events, stages),
                    "river": river(),
                    "river_scaler_frozen": frozen(),
                    "sqlite": time_engine(sqlite, events, {}),
                    "split": split(),
                    "split_decides_only": decides(),
                }
            )
        sqlite.log.close()
    median = {name: statistics.median(r[name] for r in rounds) for name in rounds[0]}

    def ratio(slow: str, fast: str) -> float:
        return statistics.median(r[slow] / r[fast] for r in rounds)

    events_timed = ROUNDS * EVENTS_A_ROUND
    return {
        "microseconds_an_event": {name: 1e6 * value for name, value in median.items()},
        "engine_over_river": ratio("river", "memory"),
        "engine_over_river_scaler_frozen": ratio("river_scaler_frozen", "memory"),
        "engine_over_split": ratio("split", "memory"),
        "engine_over_split_decides_only": ratio("split_decides_only", "memory"),
        "sqlite_over_memory": ratio("memory", "sqlite"),
        "stages_microseconds": {name: 1e6 * value / events_timed for name, value in stages.items()},
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    figures = measure()
    if parser.parse_args().json:
        print(json.dumps(figures, indent=2))
        return
    for name, value in figures.items():
        if isinstance(value, dict):
            print(f"{name}: " + ", ".join(f"{key} {number:.2f}" for key, number in value.items()))
        else:
            print(f"{name}: {value:.2f}x")


if __name__ == "__main__":
    main()
