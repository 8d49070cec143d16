"""How often the accuracy's interval holds the truth, in real runs of the engine over real streams.

Answers come late (lognormal) and a fifth never. Whenever 200 new answers are there (and at a run's end) the
estimate is compared with the truth of all events of its window; estimates that would not be shown are left
out, and counted. Beside ours stand the labelled-only accuracy, whose interval every other tool shows, and
Wilson's over the floor's answers alone, which is right and wide.

    python -m benchmarks.bench_coverage --data FOLDER [--windows 1000] [--budgets 0.01,0.05,0.1]
"""

from __future__ import annotations

import argparse
import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before NumPy is imported; a service pins it too

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.progress import Progress

from stream_al.annotators import Annotators, Delay
from stream_al.datasets import bundled, read_table
from stream_al.monitor.estimate import labelled_only
from stream_al.settings import make_settings
from stream_al.simulate import Simulation
from stream_al.table import Table

BUNDLED = ("shuttle", "bananas", "segment", "phishing")
FILES = (
    ("elec2", {"drop": ("date", "day", "period")}, None),
    ("weather_noaa", {}, None),
    ("covtype", {}, 40_000),
    ("flights_nyc_2013_h1", {"drop": ("meta*", "ts"), "categorical": ("carrier", "origin", "dest")}, 40_000),
    ("fraud_fdh_features_apr_jun", {"drop": ("ts", "customer_id", "terminal_id", "meta*")}, 40_000),
    ("phishing_urls_2021", {}, None),
)
"""Stem of the file, how it is read, rows."""
EVERY = 200
"""Answers from one window to the next: two windows of 400 share half."""
DELAY, NO_ANSWER = "lognormal:200,1", 0.2


class Window(NamedTuple):
    """One comparison: the estimate, the truth, and the two others."""

    stream: str
    budget: float
    shown: bool
    lower: float
    upper: float
    truth: float
    labelled_lower: float
    labelled_upper: float
    floor_width: float


class Cell(NamedTuple):
    """What one worker runs."""

    stream: str
    budget: float
    seed: int
    data: str | None


def table_of(stream: str, seed: int, data: Path | None) -> Table:
    """Return a stream: bundled data shuffled by the seed, a file in its order."""
    if stream in BUNDLED:
        return bundled(stream, seed=seed)
    assert data is not None
    (reading, rows) = next((reading, rows) for stem, reading, rows in FILES if stem == stream)
    (path,) = sorted(data.glob(f"{stream}.csv*"))
    table = read_table(path, label="label", **reading)
    if rows is None or table.n <= rows:
        return table
    start = (seed * 7919) % (table.n - rows)  # another stretch of it for each seed
    return table.take(np.arange(start, start + rows))


def windows_of(cell: Cell) -> list[Window]:
    """Run the engine over one stream and return its windows."""
    data = None if cell.data is None else Path(cell.data)
    settings = make_settings(
        {
            "task": {"open_labels": True},
            "query": {"budget": cell.budget},
            "outputs": {"predictions": "none"},
            "seed": cell.seed,
        }
    )
    people = Annotators(Delay.parse(DELAY, cell.seed), NO_ANSWER, 0.0, cell.seed)
    simulation = Simulation(table_of(cell.stream, cell.seed, data), settings, people)
    found: list[Window] = []
    seen = 0

    def look(run: Simulation) -> None:
        nonlocal seen
        if run.learner.outcomes["learned"] - seen >= EVERY:
            seen = run.learner.outcomes["learned"]
            found.append(_window(cell, run))

    simulation(look)
    if not found:
        found.append(_window(cell, simulation))
    return found


def _window(cell: Cell, run: Simulation) -> Window:
    accuracy = run.learner.accuracy()
    window = run.learner.book.window(run.learner.now)
    if accuracy.first is None or accuracy.last is None:
        return Window(cell.stream, cell.budget, False, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0)
    events = slice(accuracy.first.event_offset, accuracy.last.event_offset + 1)
    floor = labelled_only(np.array([a.loss for a in window if a.floor]))
    return Window(
        cell.stream,
        cell.budget,
        accuracy.shows(accuracy.hajek),
        accuracy.hajek.lower,
        accuracy.hajek.upper,
        float(run.run.correct[events].mean()),
        accuracy.labelled_only.lower,
        accuracy.labelled_only.upper,
        floor.upper - floor.lower,
    )


def gather(
    streams: Sequence[str], budget: float, wanted: int, data: Path | None, jobs: int
) -> Iterator[Window]:
    """Yield windows of one budget, the streams in turn, until there are enough that are shown."""
    shown = seed = 0
    where = None if data is None else str(data)
    with (
        Progress(transient=True) as progress,
        ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool,
    ):
        task = progress.add_task(f"budget {budget:.0%}", total=wanted)
        while shown < wanted:
            cells = [Cell(stream, budget, seed, where) for stream in streams]
            for done in as_completed([pool.submit(windows_of, cell) for cell in cells]):
                for window in done.result():
                    shown += window.shown
                    yield window
            progress.update(task, completed=min(shown, wanted))
            seed += 1


def report(budget: float, windows: Sequence[Window]) -> None:
    """Print one row a stream, and their mean."""
    print(
        f"\nbudget {budget:.0%}: {sum(w.shown for w in windows)} windows, {len(windows)} with those not shown"
    )
    print("| stream | windows | holds | too high | too low | width | of floor-only | labelled-only holds |")
    print("|---|---|---|---|---|---|---|---|")
    for name in [*dict.fromkeys(w.stream for w in windows), "all"]:
        rows = [w for w in windows if w.shown and name in (w.stream, "all")]
        if not rows:
            print(f"| {name} | 0 | | | | | | |")
            continue
        low, high, truth = (
            np.array([getattr(w, part) for w in rows]) for part in ("lower", "upper", "truth")
        )
        inside = (low <= truth + 1e-9) & (truth <= high + 1e-9)
        labelled = np.mean([w.labelled_lower <= w.truth <= w.labelled_upper for w in rows])
        ratio = float((high - low).mean()) / float(np.mean([w.floor_width for w in rows]))
        above, below = (low > truth + 1e-9).mean(), (high < truth - 1e-9).mean()
        cells = [f"{share:.3f}" for share in (inside.mean(), above, below, (high - low).mean())]
        print(f"| {name} | {len(rows)} | {' | '.join(cells)} | {ratio:.2f} | {labelled:.3f} |", flush=True)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the files; without it bundled data alone")
    parser.add_argument("--windows", type=int, default=1000, help="windows a budget (1000)")
    parser.add_argument("--budgets", default="0.01,0.05,0.1")
    parser.add_argument("--streams", help="names, with commas; all by default")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="write every window, one a line")
    arguments = parser.parse_args()
    names = [*BUNDLED, *(stem for stem, _, _ in FILES if arguments.data is not None)]
    streams = arguments.streams.split(",") if arguments.streams else names
    for budget in map(float, arguments.budgets.split(",")):
        windows = list(gather(streams, budget, arguments.windows, arguments.data, arguments.jobs))
        report(budget, windows)
        if arguments.json:
            with arguments.json.open("a", encoding="utf-8") as lines:
                lines.writelines(json.dumps(w._asdict()) + "\n" for w in windows)


if __name__ == "__main__":
    main()
