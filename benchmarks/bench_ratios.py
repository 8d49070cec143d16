"""How often the intervals of precision, recall, false-positive rate and of the CBPE gap hold the truth.

Streams of two classes with known truth are asked by a known propensity, a fifth of the requests is never
answered, and a window is about 400 answers. Three intervals of the ratios stand beside each other: that of
the accuracy over the answers of the part alone; the same with the largest weight of the whole window; and
ours. ``--engine`` runs the real engine on bundled data instead, one window a seed.

    python -m benchmarks.bench_ratios [--windows N] [--engine]
"""

from __future__ import annotations

import argparse
import math
import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before NumPy is imported; a service pins it too

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_al.comparison import Job
from stream_al.monitor.confidence import gap_interval
from stream_al.monitor.estimate import interval, wilson
from stream_al.monitor.ratios import positive_ratios

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]
ANSWERS, SILENT = 400, 0.2
ASKING = ("graded", "ranked", "pressed", "risk", "sharp")
CLASSES = (
    (0.3, 2.5, 0.1, 0.0),
    (0.3, 1.5, 0.0, 0.0),
    (0.5, 3.5, 0.0, 0.0),
    (0.1, 3.0, 0.2, 0.0),
    (0.02, 4.0, 0.1, 0.0),
    (0.2, 1.5, 0.0, 2.5),
    (0.2, 1.5, 0.0, -2.5),
    (0.05, 2.0, 0.0, 2.5),
    (0.4, 1.5, 0.0, -3.0),
)
"""Share of positives, distance of the classes, positives that look like the rest, bias of the log-odds."""
ENGINE = (
    ("bananas", "True", None, "none"),
    ("shuttle", "anomaly", 8_000, "lognormal:50,1"),
    ("segment", "sky", None, "none"),
)


class Window(NamedTuple):
    """Events of one window, arrays (n,): truth, what was served and how sure, weights, who was answered."""

    positive: Mask
    served: Mask
    confidence: F64
    weights: F64
    answered: Mask

    def parts(self) -> Iterator[tuple[str, Mask, Mask]]:
        """Yield name, hits and part of each ratio."""
        yield "precision", self.positive, self.served
        yield "recall", self.served, self.positive
        yield "false_positive", self.served, ~self.positive


@dataclass(frozen=True)
class Stream:
    """A stream of two Gaussian classes and the way it is asked; ``rate`` is the budget.

    ``asking``: ``graded`` by uncertainty; ``ranked`` and ``pressed`` by the rule, where all is answered and
    where half is open; ``risk`` where the positive class is likely; ``sharp`` nearly always or hardly ever.
    """

    asking: str
    rate: float
    positives: float
    distance: float
    missed: float = 0.0
    bias: float = 0.0
    temperature: float = 1.0

    def window(self, rng: np.random.Generator) -> Window:
        """Draw one window."""
        n = round(ANSWERS / ((1 - SILENT) * self.rate))
        positive = rng.random(n) < self.positives
        seen = positive & (rng.random(n) >= self.missed)
        x = np.where(seen, 0.5, -0.5) * self.distance + rng.normal(size=n)
        odds = math.log(self.positives / (1 - self.positives)) + self.distance * x + self.bias
        probability = 1 / (1 + np.exp(-self.temperature * odds))
        propensity = 1 - (1 - 0.1 * self.rate) * (1 - self._chosen(probability))
        answered = rng.random(n) < (1 - SILENT) * propensity
        confidence = np.maximum(probability, 1 - probability)
        return Window(positive, probability > 0.5, confidence, 1 / propensity, answered)

    def _chosen(self, probability: F64) -> F64:
        unsure = 1 - np.abs(2 * probability - 1)
        rank = np.argsort(np.argsort(unsure)) / len(unsure)
        if self.asking == "sharp":
            return np.where(rank >= 1 - 0.9 * self.rate, 0.9, 0.0)
        spread = {"graded": 0.1, "pressed": 0.45}.get(self.asking, 0.0)
        score = {
            "graded": unsure,
            "ranked": (unsure + 1e-3) ** 2 * rank**4,
            "pressed": (unsure + 1e-3) * rank**2,
            "risk": np.minimum(1.0, 2 * probability) ** 1.6,
        }[self.asking]
        wanted: F64 = 0.9 * self.rate * ((1 - spread) * score / score.mean() + spread)
        return np.minimum(1.0, wanted)


def held(stream: Stream, windows: int, seed: int = 0) -> dict[str, tuple[float, ...]]:
    """Return the share of windows whose interval holds the truth.

    Three numbers a ratio: of the accuracy's interval over the part alone, of the same with the largest
    weight of the window, of ours. Two for ``gap``: without the pseudo-answer, and ours.
    """
    rng = np.random.default_rng(seed)
    counts: dict[str, list[tuple[bool, ...]]] = {}
    for _ in range(windows):
        drawn = stream.window(rng)
        asked, weights = drawn.answered, drawn.weights[drawn.answered]
        ours = positive_ratios(drawn.positive[asked], drawn.served[asked], weights)._asdict()
        for name, hits, part in drawn.parts():
            if not part.any():
                continue
            truth, here = float(hits[part].mean()), part & asked
            inside = ours[name].lower <= truth <= ours[name].upper
            # the accuracy's interval is made for shares near 1: it is given the rest of the false positives
            rest = name == "false_positive"
            losses, right = (hits[here] * 1.0, 1 - truth) if rest else (1.0 - hits[here], truth)
            alone = interval(losses, drawn.weights[here])
            low, high = _with_largest(losses, drawn.weights[here], weights.max())
            counts.setdefault(name, []).append(
                (alone.lower <= right <= alone.upper, low <= right <= high, inside)
            )
        difference = drawn.confidence - (drawn.positive == drawn.served)
        true, found = float(difference.mean()), difference[asked]
        low, high = gap_interval(found, weights)
        mean = float(weights @ found) / float(weights.sum())
        half = 1.96 * math.sqrt(float(np.square(weights * (found - mean)).sum())) / float(weights.sum())
        counts.setdefault("gap", []).append((abs(mean - true) <= half, low <= true <= high))
    return {name: tuple(np.mean(rows, axis=0).tolist()) for name, rows in counts.items()}


def _with_largest(losses: F64, weights: F64, largest: float) -> tuple[float, float]:
    """Return the accuracy's interval with a pseudo-answer of half another weight than the part's largest."""
    if not len(losses):
        return 0.0, 1.0
    w, c = weights / largest, 0.5
    total, wrong = float(w.sum()) + c, float(w @ losses)
    h = (wrong + c / 2) / total
    variance = (float(np.square(w * (losses - h)).sum()) + c * c / 4) / total**2
    n = min(float(len(losses)), h * (1 - h) / variance)
    value = 1 - wrong / float(w.sum())
    return min(value, 1 - wilson(h, n)[1]), max(value, 1 - wilson(wrong / total, n)[0])


def simulated(windows: int) -> None:
    """Print the least and the median coverage for each way of asking."""
    print(f"{windows} windows a setting, budget 5 %: least and median share that holds the truth")
    print(f"{'':10}{'accuracy, part':>18}{'largest of window':>20}{'ours':>16}{'gap, plain':>16}{'gap':>16}")
    for asking in ASKING:
        found = [held(Stream(asking, 0.05, *each), windows) for each in CLASSES]
        ratios = np.array([row for each in found for name, row in each.items() if name != "gap"])
        gaps = np.array([each["gap"] for each in found])
        cells = [f"{column.min():.3f}, {np.median(column):.3f}" for column in (*ratios.T, *gaps.T)]
        print(
            f"{asking:10}{cells[0]:>18}{cells[1]:>20}{cells[2]:>16}{cells[3]:>16}{cells[4]:>16}", flush=True
        )


def engine(windows: int) -> None:
    """Print the coverage of the last windows of real runs on bundled data, one a seed."""
    for name, positive, head, delay in ENGINE:
        task = {"open_labels": True, "positive": positive}
        overrides = {"task": task, "outputs": {"predictions": "none"}}
        job = Job(name, None, overrides, delay=delay, noise=0.0, baseline=False, head=head)
        estimates = [job.run(seed).rule.estimate for seed in range(windows)]
        for ratio in ("precision", "recall", "false_positive"):
            _print_engine(name, ratio, [each["positive"][ratio] for each in estimates])
        _print_engine(name, "gap", [each["calibration"]["gap"] for each in estimates])


def _print_engine(name: str, what: str, rows: list[dict[str, float]]) -> None:
    inside = np.mean([row["lower"] - 1e-6 <= row["truth"] <= row["upper"] + 1e-6 for row in rows])
    width = np.mean([row["upper"] - row["lower"] for row in rows])
    print(f"{name:10}{what:16} holds {inside:.3f} of {len(rows)} windows, mean width {width:.3f}", flush=True)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--windows", type=int, default=None, help="windows a setting (300), or seeds (50)")
    parser.add_argument("--engine", action="store_true", help="real runs on bundled data (some minutes)")
    arguments = parser.parse_args()
    if arguments.engine:
        engine(arguments.windows or 50)
    else:
        simulated(arguments.windows or 300)


if __name__ == "__main__":
    main()
