"""How much the same number of labels buys: twenty streams, our rule, random sampling, and the field's rules.

    python -m benchmarks.labels --quick                    packaged streams, one seed, 5 %: under half an hour
    python -m benchmarks.labels --full --data FOLDER       everything: many hours
    python -m benchmarks.labels --streams sea,digits --budgets 0.05 --seeds 1 --delays none

Results are appended to a state file, one JSON line a run; what stands there is not run again, so the
benchmark may be stopped at any time and goes on from there. ``--write`` renews the tables and the picture
of ``docs/benchmark.md``. What is left out is said, with the reason, on standard error.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before NumPy is imported, here and in the workers

import argparse
import json
import multiprocessing
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.label_entrants import DELAYS, ENTRANTS, SCHEMA, Cell, missing_library, run_entrant
from benchmarks.label_report import as_json, as_text, write_page
from benchmarks.label_streams import STREAMS, NoData, make_stream

QUICK_STREAMS = ("phishing", "segment", "digits", "sea", "led_drift", "mixed")
Key = tuple[Cell, str]


@dataclass(frozen=True, slots=True)
class Job:
    """One run that is to be done."""

    cell: Cell
    entrant: str

    @property
    def is_reference(self) -> bool:
        """Whether the others of its group wait for it."""
        return ENTRANTS[self.entrant].reference == self.entrant


class State:
    """Finished runs, in a file of JSON lines.

    Parameters
    ----------
    path : Path
        Made with the first result. A last line that was cut off is done again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._done: dict[Key, dict[str, Any]] = {}
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        whole, _, cut_off = text.rpartition("\n")
        if cut_off:
            path.write_text(f"{whole}\n" if whole else "", encoding="utf-8")
            tell(f"{path}: the last line was cut off; that run is done again")
        for line in whole.splitlines():
            record = json.loads(line)
            if record["schema"] == SCHEMA:
                self._keep(record)

    def __contains__(self, job: Job) -> bool:
        return (job.cell, job.entrant) in self._done

    def record(self, job: Job) -> dict[str, Any]:
        """Return the result of a finished run."""
        return self._done[job.cell, job.entrant]

    def add(self, record: dict[str, Any]) -> None:
        """Append one result; it is on disk when this returns."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        self._keep(record)

    def _keep(self, record: dict[str, Any]) -> None:
        cell = Cell(record["stream"], record["seed"], record["budget"], record["delay"])
        self._done[cell, record["entrant"]] = record


def tell(message: str) -> None:
    """Say something that is no result."""
    print(message, file=sys.stderr, flush=True)


def jobs_of(arguments: argparse.Namespace) -> list[Job]:
    """Return all runs that were asked for and can be done, cell by cell; say what cannot, and why."""
    streams = []
    for name in arguments.streams:
        try:
            make_stream(name, 0, arguments.data)
            streams.append(name)
        except NoData as error:
            tell(f"SKIPPED stream {name}: {error}")
    entrants = []
    for name in arguments.entrants:
        library = missing_library(name)
        if library is None:
            entrants.append(name)
        else:
            tell(f"SKIPPED entrant {name}: {library} is not installed: pip install -e '.[bench]'")
    needed = dict.fromkeys([ENTRANTS[name].reference for name in entrants] + entrants)
    return [
        Job(Cell(stream, seed, budget, delay), entrant)
        for seed in range(arguments.seeds)
        for budget in arguments.budgets
        for delay in arguments.delays
        for stream in streams
        for entrant in needed
    ]


def run_jobs(jobs: Sequence[Job], state: State, workers: int, data: Path | None) -> int:
    """Run what is not done yet; return how many runs failed."""
    todo = [job for job in jobs if job not in state]
    tell(f"{len(jobs)} runs, {len(jobs) - len(todo)} done before; results in {state.path}")
    failed, started = 0, time.monotonic()
    for finished, (job, outcome) in enumerate(_outcomes(todo, state, workers, data), 1):
        left = (time.monotonic() - started) / finished * (len(todo) - finished) / 60
        what = f"{job.cell.stream} seed {job.cell.seed} {job.cell.budget:g} {job.cell.delay} {job.entrant}"
        if isinstance(outcome, Exception):
            failed += 1
            tell(f"FAILED {what}: {type(outcome).__name__}: {outcome}")
        else:
            state.add(outcome)
            kappa, learned = outcome["kappa"], outcome["learned"]
            tell(f"[{finished}/{len(todo)}, {left:.0f} min left] {what}: kappa {kappa:.3f}, {learned} labels")
    return failed


def _outcomes(
    todo: Sequence[Job], state: State, workers: int, data: Path | None
) -> Iterator[tuple[Job, dict[str, Any] | Exception]]:
    """Yield each run with its record, or what went wrong; one that waits for its reference comes after it."""
    ready = deque(job for job in todo if job.is_reference or _reference(job) in state)
    waiting: dict[Job, list[Job]] = {}
    for job in todo:
        if not job.is_reference and _reference(job) not in state:
            waiting.setdefault(_reference(job), []).append(job)
    running: dict[Future[dict[str, Any]], Job] = {}
    pool = _pool(workers)
    try:
        while ready or running:
            while ready and len(running) < workers:
                job = ready.popleft()
                wanted = None if job.is_reference else state.record(_reference(job))["learned"]
                running[pool.submit(run_entrant, job.cell, job.entrant, wanted, data)] = job
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(future)
                error = future.exception()
                if isinstance(error, Exception):
                    yield job, error
                    for other in waiting.pop(job, []):
                        yield other, RuntimeError(f"{job.entrant}, whose labels it has to match, failed")
                else:
                    yield job, future.result()
                    ready.extendleft(reversed(waiting.pop(job, [])))  # cell by cell: tables fill early
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _reference(job: Job) -> Job:
    return Job(job.cell, ENTRANTS[job.entrant].reference)


class _Here(Executor):
    """Runs what is submitted at once, in this process."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # as a pool does; the loop tells of it
            future.set_exception(error)
        return future


def _pool(workers: int) -> Executor:
    if workers == 1:
        return _Here()
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def _names(known: Sequence[str]) -> Any:
    def read(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",") if name.strip()]
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            raise argparse.ArgumentTypeError(f"{unknown or text!r}; expected some of {', '.join(known)}")
        return names

    return read


def _budgets(text: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(0 < budget <= 1 for budget in found):
        raise argparse.ArgumentTypeError(f"{text!r}; expected shares above 0 and at most 1: 0.01,0.05")
    return found


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's arguments; what is not said follows from --quick or --full."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="six packaged streams, one seed, 5 %%, no delay")
    size.add_argument("--full", action="store_true", help="everything (the default)")
    parser.add_argument("--data", type=Path, help="folder of the public data sets; see docs/benchmark.md")
    parser.add_argument("--streams", type=_names(STREAMS), help=", ".join(STREAMS))
    parser.add_argument("--budgets", type=_budgets, help="labels per event: 0.01,0.05,0.1")
    parser.add_argument("--seeds", type=int, help="seeds 0 to K-1: 3")
    parser.add_argument("--delays", type=_names(tuple(DELAYS)), help=", ".join(DELAYS))
    parser.add_argument("--entrants", type=_names(tuple(ENTRANTS)), help=", ".join(ENTRANTS))
    parser.add_argument("--workers", type=int, default=2, help="processes at once: 2")
    parser.add_argument("--state", type=Path, default=Path("label-efficiency.jsonl"), help="file of results")
    parser.add_argument("--json", action="store_true", help="print the tables as JSON")
    parser.add_argument("--write", action="store_true", help="renew docs/benchmark.md and its picture")
    arguments = parser.parse_args(argv)
    quick = arguments.quick
    for name, small, all_of_it in (
        ("streams", QUICK_STREAMS, STREAMS),
        ("budgets", (0.05,), (0.01, 0.05, 0.1)),
        ("seeds", 1, 3),
        ("delays", ("none",), tuple(DELAYS)),
        ("entrants", tuple(ENTRANTS), tuple(ENTRANTS)),
    ):
        if getattr(arguments, name) is None:
            setattr(arguments, name, small if quick else all_of_it)
    if arguments.seeds < 1 or arguments.workers < 1:
        parser.error("--seeds and --workers are at least 1")
    if arguments.data is not None and not arguments.data.is_dir():
        parser.error(f"--data: there is no folder {arguments.data}")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing and report; 1 where a run failed."""
    arguments = parse(argv)
    state = State(arguments.state)
    jobs = jobs_of(arguments)
    try:
        failed = run_jobs(jobs, state, arguments.workers, arguments.data)
    except KeyboardInterrupt:
        tell(f"stopped; the same command goes on from {state.path}")
        return 130
    records = [state.record(job) for job in jobs if job in state]
    if not records:
        tell("nothing was run")
        return 1
    print(json.dumps(as_json(records), indent=2) if arguments.json else as_text(records))
    if arguments.write:
        for path in write_page(records):
            tell(f"written: {path}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
