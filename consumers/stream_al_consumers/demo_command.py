"""``demo``: the main job in a minute, on real data that comes with the dependencies.

First one stream runs live on a durable SQLite log, with people who answer late, sometimes never and
sometimes wrong. Then the same stream, in several orders, is compared with random sampling at the same
number of learned labels.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream_al_consumers.output import out, print_json
from stream_al_consumers.simulate_command import draw, print_result, run_job

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from stream_al.comparison import Job
    from stream_al.simulate import Simulation

DATA, EVENTS, BUDGET = "shuttle", 25_000, 0.01
"""NASA's Shuttle log, 7 % anomalies: of the bundled sets the one where the choice of labels matters most."""
DELAY, NO_ANSWER, NOISE = "lognormal:100,1", 0.2, 0.02
SEEDS = 5
REFRESH_SECONDS = 0.1


def demo(
    plot: Annotated[Path, typer.Option(help="Where the picture goes.")] = Path("stream-al-demo.png"),
    seeds: Annotated[int, typer.Option(help="Orders of the stream to compare over.", min=2)] = SEEDS,
    export_data: Annotated[
        Path | None,
        typer.Option("--export-data", help="Write the data as CSV (label column: label), and stop."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Run the main job on real data: score every event, ask for 1 % of the labels, learn, compare."""
    from stream_al.comparison import report

    job = _job()
    if export_data is not None:
        _export(job, export_data, json)
        return
    started = time.monotonic()
    if not json:
        out.print(
            f"[bold]stream-al demo[/]: {EVENTS:,} events of the Shuttle log, {BUDGET:.0%} of the labels; "
            f"people answer after {DELAY.split(':')[1].split(',')[0]} events (median), "
            f"{NO_ANSWER:.0%} never, {NOISE:.0%} wrong"
        )
        _live(job)
        out.print(f"\nThe same against random sampling, {seeds} orders of the stream:")
    pairs = run_job(job, list(range(seeds)))
    result = report(pairs, job.settings(0), job.people(0))
    title = f"Shuttle, {BUDGET:.0%} of the labels, late and noisy answers"
    picture = draw(pairs, plot, BUDGET, title)
    if json:
        print_json(result | {"plot": str(picture)})
        return
    print_result(result)
    out.print(f"picture: {picture}", markup=False)
    out.print(f"took {time.monotonic() - started:.0f} s. Next, your own data:", markup=False)
    out.print("  stream-al simulate FILE.csv --label COLUMN --plot mine.png", markup=False)


def _job() -> Job:
    from stream_al.comparison import Job

    return Job(
        source=DATA,
        reading=None,
        head=EVENTS,
        overrides={
            "query": {"budget": BUDGET},
            "task": {"open_labels": True},
            "outputs": {"predictions": "none"},
        },
        delay=DELAY,
        no_answer=NO_ANSWER,
        noise=NOISE,
    )


def _export(job: Job, path: Path, json: bool) -> None:
    """Write the rows of the first order as CSV, whole or not at all: something to produce and to answer from.

    Raises
    ------
    ConfigurationError
        The file cannot be written.
    """
    import csv
    from contextlib import suppress

    from stream_al.errors import ConfigurationError

    table = job.table(0)
    draft = path.with_name(f".{path.name}.draft")
    try:
        with draft.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*table.feature_names, "label"])
            for event, code in zip(table.rows, table.label_codes, strict=True):
                writer.writerow([*event["features"].values(), table.label_names[code]])
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise ConfigurationError(
            f"{path} cannot be written ({error.strerror}); name another --export-data"
        ) from error
    if json:
        print_json({"rows": table.n, "path": str(path)})
    else:
        out.print(f"{table.n:,} rows written to {path}, label column: label", markup=False)


def _live(job: Job) -> None:
    """Run the first order on a SQLite log in a temporary directory, showing a live table."""
    from rich.live import Live

    from stream_al.log.protocol import Log
    from stream_al.log.sqlite import SqliteLog
    from stream_al.simulate import Simulation

    with tempfile.TemporaryDirectory(prefix="stream-al-") as directory:
        path = Path(directory) / "stream-al.db"

        def make_log(clock: Callable[[], int]) -> Log:
            return SqliteLog(path, partitions=1, clock=clock, owner=True)

        simulation = Simulation(job.table(0), job.settings(0), job.people(0), job.plan, make_log=make_log)
        try:
            with Live(_table(simulation), console=out, refresh_per_second=8) as live:
                shown = 0.0

                def refresh(simulation: Simulation) -> None:
                    nonlocal shown
                    if time.monotonic() - shown > REFRESH_SECONDS or simulation.row == simulation.end:
                        live.update(_table(simulation))
                        shown = time.monotonic()

                simulation(refresh)
                live.update(_table(simulation))
        finally:
            simulation.log.close()


def _table(simulation: Simulation) -> RichTable:
    from rich.table import Table

    run, learner = simulation.run, simulation.learner
    events = simulation.row - simulation.first
    accuracy = learner.accuracy()
    estimate = accuracy.hajek
    shown = "not enough answers yet"
    if estimate.shown and not accuracy.withheld:
        shown = f"{estimate.value:.3f}  [{estimate.lower:.3f}, {estimate.upper:.3f}]"
    table = Table(title="live, on a durable SQLite log", title_justify="left", show_header=False)
    table.add_column(style="dim")
    table.add_column(min_width=26)
    for name, cell in (
        ("events", f"{events:,}"),
        ("asked", f"{run.asked:,}"),
        ("open", f"{run.asked - sum(p.answers for p in learner.partitions.values()):,}"),
        ("learned", f"{learner.outcomes['learned']:,}"),
        ("share asked", f"{run.asked / max(events, 1):.2%} (budget {BUDGET:.0%})"),
        ("estimated accuracy", shown),
    ):
        table.add_row(name, cell)
    return table
