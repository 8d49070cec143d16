"""The table of scores in ``docs/strategies.md``: what each one buys with the default model and rule.

    python -m benchmarks.score_kappa [--orders 4] [--json]

Bundled streams, every answer at once and right, no label and no class known at the start. Each cell is
Cohen's kappa over every event, mean and standard error over orders of the stream.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before NumPy is imported; a service pins it too

import argparse
import json
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.label_streams import Stream, make_stream
from stream_al.annotators import Annotators, Delay
from stream_al.settings import make_settings
from stream_al.simulate import Simulation

SCORES = ("margin", "hybrid", "hybrid:0.8", "density", "expected_error_reduction", "random")
COVERAGE = "margin, coverage"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: a bundled stream, its first rows, and a budget."""

    name: str
    stream: str
    rows: int
    budget: float


LINES = (
    Line("digits, 5 %", "digits", 1_797, 0.05),
    Line("phishing, 5 %", "phishing", 1_250, 0.05),
    Line("Shuttle, 3,000 rows, 1 %", "shuttle", 3_000, 0.01),
)


def kappa(line: Line, column: str, order: int) -> float:
    """Return Cohen's kappa of one run."""
    whole = make_stream(line.stream, order)
    stream = Stream(whole.name, whole.rows[: line.rows], whole.truth[: line.rows])
    query: dict[str, Any] = {"budget": line.budget}
    query |= {"cold_start": "coverage"} if column == COVERAGE else {"score": column}
    settings = make_settings(
        {"seed": order, "query": query, "task": {"open_labels": True}, "outputs": {"predictions": "none"}}
    )
    people = Annotators(Delay.parse("none", order), 0.0, 0.0, order)
    return Simulation(stream.table(), settings, people)().confusion.kappa


def main() -> None:
    parser = argparse.ArgumentParser(description="kappa of every score on bundled streams")
    parser.add_argument("--orders", type=int, default=4, help="orders of each stream, at least 2")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if arguments.orders < 2:
        parser.error("--orders: a standard error needs 2 or more")
    columns = (*SCORES, COVERAGE)
    if not arguments.json:
        print("| stream, budget | " + " | ".join(f"`{c}`" for c in SCORES) + " | `margin`, coverage |")
        print("|---|" + "---|" * len(columns))
    found: dict[str, dict[str, list[float]]] = {}
    for line in LINES:
        cells = found[line.name] = {}
        for column in columns:
            cells[column] = [kappa(line, column, order) for order in range(arguments.orders)]
            print(f"{line.name}: {column} done", file=sys.stderr, flush=True)
        if not arguments.json:
            told = [f"{np.mean(c):.3f} ± {np.std(c, ddof=1) / len(c) ** 0.5:.3f}" for c in cells.values()]
            print(f"| {line.name} | " + " | ".join(told) + " |", flush=True)
    if arguments.json:
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
