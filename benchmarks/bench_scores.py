"""What each score and each policy costs an event: 30 columns, two classes, batches of 500, 5 % asked.

A score's cost is the processor time of scoring a batch anew, as after each answer; `hybrid`, which follows
what was asked, also costs the time that deciding takes longer than once in one go. The least time of many
rounds counts, since other programs only ever add to it.

    python -m benchmarks.bench_scores [--json]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np

from benchmarks.bench_engine import make_events, warm_engine
from stream_al.decode import decode_event
from stream_al.encode import encode
from stream_al.engine import Engine
from stream_al.following import decide_following
from stream_al.log.memory import MemoryLog
from stream_al.models.products import pin_blas_threads
from stream_al.novelty import BatchNovelty, Novelty
from stream_al.query.ledger import Budget
from stream_al.query.policies import POLICIES
from stream_al.query.policy import Feedback, RankedPolicy, ScoredEvent
from stream_al.query.projection import Projection
from stream_al.query.reservoir import SIZE
from stream_al.query.scores import SCORES
from stream_al.query.window import SCALE
from stream_al.query_scores import Following, QueryScores

MODELS = ("pool", "committee:5:sklearn:sklearn.linear_model.SGDClassifier?loss=log_loss")
BATCH, ROUNDS = 500, 15
FEEDBACK = Feedback(200, 1e4)


def time_scores(engine: Engine) -> dict[str, float]:
    """Return microseconds an event of every score."""
    learner = engine.learner
    values, _ = make_events(BATCH + SIZE, seed=9)
    events = [decode_event(value) for value in values]
    ids = [event.event_id for event in events]
    encoded = [encode(event, engine.options.encoding) for event in events]
    times = list(range(engine.states[0].now, engine.states[0].now + BATCH))

    def in_one_go() -> None:
        rows = zip(ids[:BATCH], times, [SCALE // 2] * BATCH, strict=True)
        scored_events = [ScoredEvent(*row) for row in rows]
        engine.policy.decide(engine.states[0], scored_events, FEEDBACK, lambda i: False, lambda i: None)

    def score_by(name: str) -> None:
        learner.model.predict_proba(scored.inputs)  # as the learner has just done: members are kept from it
        started = time.process_time()
        found = QueryScores(SCORES[name], 0)(learner, scored, ids[:BATCH])
        if isinstance(found, Following):
            before = Novelty(SIZE, encoded[BATCH:])
            batch = encoded[:BATCH]
            novelty = BatchNovelty(before, learner, Projection(0), batch, scored.inputs, 0, refuse=False)
            score = found.of(slice(0, BATCH), novelty.distances)
            decide_following(engine.policy, engine.states[0], ids[:BATCH], times, FEEDBACK, novelty, score)
        spent[name] = min(time.process_time() - started, spent.get(name, np.inf))
        follows[name] = isinstance(found, Following)

    spent: dict[str, float] = {}
    follows: dict[str, bool] = {}
    once = least(in_one_go)
    for _ in range(ROUNDS):
        scored = learner.score(encoded[:BATCH])
        for name in SCORES:
            score_by(name)
    return {name: 1e6 * (seconds - once * follows[name]) / BATCH for name, seconds in spent.items()}


def time_policies() -> dict[str, float]:
    """Return microseconds an event of every policy's decisions; no event is a near-duplicate."""
    scores = np.random.default_rng(0).integers(SCALE + 1, size=10 * BATCH).tolist()
    events = [ScoredEvent(f"e{i}", i, score) for i, score in enumerate(scores)]
    return {name: 1e6 * _time_policy(kind(Budget(0.05)), events) / BATCH for name, kind in POLICIES.items()}


def _time_policy(policy: RankedPolicy, events: list[ScoredEvent]) -> float:
    state, _ = policy.decide(policy.initial(), events[BATCH:], FEEDBACK, lambda i: False, lambda i: None)
    return least(
        lambda: policy.decide(state, events[:BATCH], FEEDBACK, lambda i: False, lambda i: None) and None
    )


def least(run: Callable[[], None]) -> float:
    """Return the least processor time of many runs, in seconds."""
    found = []
    for _ in range(3 * ROUNDS):
        started = time.process_time()
        run()
        found.append(time.process_time() - started)
    return min(found)


def measure() -> dict[str, dict[str, float]]:
    """Return microseconds an event: of scores by model, and of policies."""
    pin_blas_threads()
    scores = {model: time_scores(warm_engine(MemoryLog(), model)) for model in MODELS}
    return {**scores, "policies": time_policies()}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    figures = measure()
    if as_json:
        print(json.dumps(figures, indent=2))
        return
    for what, costs in figures.items():
        print(f"{what}: " + ", ".join(f"{name} {cost:.2f}" for name, cost in costs.items()))


if __name__ == "__main__":
    main()
