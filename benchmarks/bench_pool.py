"""Time the pool: microseconds an event, milliseconds a label, beside the bare products of that size.

Run with ``python benchmarks/bench_pool.py [--json]``. The ceiling is what NumPy needs for the two largest
matrix products of scoring, and for the two factorisations of a refit, in the same run; ratios to it
travel between machines better than times do.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before NumPy is imported; a service pins it too

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
from scipy.linalg import lapack

from stream_al.models.fourier import WAVES
from stream_al.models.inputs import Inputs, pad_dense
from stream_al.models.memory import SIZE
from stream_al.models.pool import Pool
from stream_al.models.products import row_product
from stream_al.models.scaler import Scaler

COLUMNS = 30
REFIT_EVERY = 1 + SIZE // 50


def seconds(work: Callable[[], object], repeats: int = 30) -> float:
    """Return the least processor time of one call."""
    work()
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time_ns()
        work()
        best = min(best, (time.process_time_ns() - start) * 1e-9)
    return best


def scoring_ceiling(events: int) -> float:
    """Return the time of the products with 300 centres and with 200 waves, and of their exp and cos."""
    rng = np.random.default_rng(0)
    z = pad_dense(rng.normal(size=(events, COLUMNS))).astype(np.float32)
    z = np.nan_to_num(z)
    centres = rng.normal(size=(COLUMNS, SIZE)).astype(np.float32)
    waves = rng.normal(size=(COLUMNS, WAVES)).astype(np.float32)
    return seconds(lambda: (np.exp(row_product(z, centres)), np.cos(row_product(z, waves))))


def learning_ceiling() -> float:
    """Return the time a label of two Cholesky factors of a refit."""
    rng = np.random.default_rng(0)
    half = rng.normal(size=(SIZE, COLUMNS)).astype(np.float32)
    gram = half @ half.T + 4 * np.eye(SIZE, dtype=np.float32)
    return 2 * seconds(lambda: lapack.spotrf(gram.T, lower=1)) / REFIT_EVERY


def measure(classes: int) -> dict[str, float]:
    """Return the figures for one number of classes."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2000, COLUMNS))
    labels = (rows @ rng.normal(size=(COLUMNS, classes))).argmax(1).tolist()
    scaler = Scaler()
    scaler.grow(np.zeros(COLUMNS, dtype=bool))
    for row in rows[:300]:
        scaler.observe(row, 1.0)
    model = Pool(classes, seed=0)

    def teach(start: int, stop: int) -> None:
        for i in range(start, stop):
            model.learn(Inputs(1, rows[i : i + 1], scaler), labels[i], 1.0)

    teach(0, SIZE)
    start = time.process_time()
    teach(SIZE, SIZE + 70 * REFIT_EVERY)
    learn = (time.process_time() - start) / (70 * REFIT_EVERY)
    many, one = pad_dense(rows[:500]), pad_dense(rows[:1])
    score = seconds(lambda: model.predict_proba(Inputs(500, many, scaler))) / 500
    single = seconds(lambda: model.predict_proba(Inputs(1, one, scaler)))
    return {
        "classes": classes,
        "score_us_per_event": score * 1e6,
        "score_over_ceiling": score / (scoring_ceiling(500) / 500),
        "score_us_per_single_event": single * 1e6,
        "single_over_ceiling": single / scoring_ceiling(1),
        "learn_ms_per_label": learn * 1e3,
        "learn_over_ceiling": learn / learning_ceiling(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="time the pool")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    results = [measure(classes) for classes in (2, 10)]
    if arguments.json:
        print(json.dumps({"columns": COLUMNS, "memory": SIZE, "results": results}, indent=2))
        return
    for result in results:
        print(", ".join(f"{name} {value:.4g}" for name, value in result.items()))


if __name__ == "__main__":
    main()
