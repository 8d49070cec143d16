"""``compare``: several strategies on a person's own file, on the same ledger, over the same seeds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from stream_al_consumers.jobs import check_job, check_targets, make_job, present, unscored
from stream_al_consumers.options import (
    BudgetOption,
    CategoricalOption,
    ClassWeightOption,
    ColdStartOption,
    CreditOption,
    DelayOption,
    DropOption,
    HeadOption,
    InitialOption,
    LabelOption,
    LabelsOption,
    NoAnswerOption,
    NoiseOption,
    PlotOption,
    PositiveOption,
    ResultOption,
    TableArgument,
    TextOption,
    TickOption,
    TimeOption,
    listed,
)
from stream_al_consumers.output import out, progress

if TYPE_CHECKING:
    from stream_al.comparison import Job
    from stream_al.simulate import Run, Simulation
    from stream_al.strategies import Strategy

POLICIES = "ranked,random,split,random_variable_uncertainty"


class Column(NamedTuple):
    """One column of the printed tables: where its number stands in the JSON, and which one is the best."""

    heading: str
    place: str
    name: str
    form: str
    best: Callable[[list[float]], float] | None = None


QUALITY = (
    Column("kappa", "accuracy", "kappa", "{:.4f}", max),
    Column("at equal\nlabels", "accuracy", "kappa_equal_labels", "{:.4f}", max),
    Column("accuracy", "accuracy", "prequential", "{:.4f}", max),
    Column("balanced\naccuracy", "accuracy", "balanced", "{:.4f}", max),
    Column("PR-AUC", "accuracy", "pr_auc", "{:.4f}", max),
)
COST = (
    Column("log-\nloss", "accuracy", "log_loss", "{:.4f}", min),
    Column("ECE", "accuracy", "ece", "{:.4f}", min),
    Column("labels\nlearned", "labels", "learned", "{:,.1f}"),
    Column("share\nspent", "labels", "share", "{:.2%}"),
    Column("worst\nexcess", "labels", "worst_excess", "{:+.1f}"),
    Column("events\n/s", "", "events_per_second", "{:,.0f}"),
)


def compare(
    file: TableArgument,
    label: LabelOption,
    policy: Annotated[str, typer.Option(help="Policies, separated by commas.")] = POLICIES,
    score: Annotated[str, typer.Option(help="Scores, separated by commas.")] = "margin",
    model: Annotated[str, typer.Option(help="Models, separated by commas.")] = "pool",
    text: TextOption = None,
    time: TimeOption = None,
    categorical: CategoricalOption = "",
    drop: DropOption = "",
    head: HeadOption = None,
    positive: PositiveOption = None,
    labels: LabelsOption = "",
    initial: InitialOption = 0,
    budget: BudgetOption = 0.05,
    credit: CreditOption = 20.0,
    cold_start: ColdStartOption = "none",
    class_weight: ClassWeightOption = "none",
    delay: DelayOption = "none",
    no_answer: NoAnswerOption = 0.2,
    noise: NoiseOption = 0.1,
    tick: TickOption = None,
    seeds: Annotated[int, typer.Option(help="Run seeds 0 to K-1.", min=1)] = 3,
    json: ResultOption = None,
    plot: PlotOption = None,
) -> None:
    """Run several strategies over a labelled file, side by side, at equal learned labels."""
    from stream_al.errors import ConfigurationError
    from stream_al.strategies import check_strategy, cross
    from stream_al.strategies import compare as compare_runs

    check_targets(plot, json)
    strategies = cross(listed(policy), listed(score), listed(model))
    if not strategies:
        raise ConfigurationError(
            "nothing to compare; name at least one --policy, one --score and one --model"
        )
    common = make_job(
        file,
        {"label": label, "text": text, "time": time, "categorical": categorical, "drop": drop, "head": head},
        labels=labels,
        positive=positive,
        query={"budget": budget, "credit": credit, "cold_start": cold_start},
        model={"name": strategies[0].model, "class_weight": class_weight},
        people=(delay, no_answer, noise),
        plan=(initial, 0.0, tick),
        baseline=False,
    )
    for each in strategies:
        check_strategy(each.job(common).settings(0))
    runs = _run(strategies, common, list(range(seeds)))
    result = compare_runs(strategies, runs, list(range(seeds)), common)
    if plot is not None:
        _draw(runs, plot, budget, f"{file.name}: {100 * budget:g} % of the labels")
    present(result, json, plot, _print)


def _run(strategies: list[Strategy], common: Job, seeds: list[int]) -> dict[str, list[Run]]:
    """Run all strategies over all seeds with a progress bar, on as many cores as there are."""
    from stream_al.strategies import run_strategies

    table = check_job(common, seeds[0])
    jobs = {each.name: each.job(common) for each in strategies}
    workers = os.cpu_count() or 1
    found: dict[tuple[str, int], Run] = {}
    with progress() as bar:
        task = bar.add_task("events", total=len(jobs) * len(seeds) * (table.n - common.plan.initial))
        done = 0

        def advance(simulation: Simulation) -> None:
            nonlocal done
            done += simulation.last_tick_events
            bar.update(task, completed=done)

        for name, pair in run_strategies(jobs, seeds, workers, advance):
            found[name, pair.seed] = pair.rule
            bar.update(task, completed=len(found) * pair.rule.events)
    return {name: [found[name, seed] for seed in seeds] for name in jobs}


def _draw(runs: dict[str, list[Run]], path: Path, budget: float, title: str) -> Path:
    """Draw kappa so far against learned labels and events, one line a strategy."""
    from stream_al.plots import plot_comparison

    curves = {name: [run.kappa_curve for run in each] for name, each in runs.items()}
    return plot_comparison(curves, path, budget=budget, title=title, measure="kappa")


def _print(result: dict[str, Any]) -> None:
    """Print the tables, and what must be known to read them."""
    rows, seeds, labels = result["strategies"], len(result["seeds"]), result["labels"]
    title = (
        f"{result['events']:,.0f} events, {100 * labels['budget']:g} % of the labels, "
        f"{seeds} seed{'s' if seeds > 1 else ''}"
    )
    # equal labels need no second kappa
    hidden = {"kappa_equal_labels"} if labels["equal"] else set()
    _print_table(title, rows, [c for c in QUALITY if c.name not in hidden])
    _print_table(None, rows, list(COST))
    what = "kappa" if labels["equal"] else "kappa at equal labels"
    if len(rows) > 1:
        interval = ", with its 95 % interval over seeds" if seeds > 1 else ""
        out.print(f"{what}, less that of {rows[0]['name']}{interval}:", markup=False)
    width = max(len(row["name"]) for row in rows)
    for row in rows[1:]:
        out.print(f"  {row['name']:{width}}  {_interval(row['difference'].get(result['by']))}", markup=False)
    if labels["equal"]:
        out.print(f"learned labels differ by {labels['difference']} at most: equal, so all events count")
    else:
        out.print(
            f"learned labels differ by up to {labels['difference']}: the strategies are compared over their "
            f"first {labels['fewest']:,.0f},\nwhere each step of labels counts the same"
        )
    for row in rows:
        if row["labels"]["unscored"]:
            out.print(
                f"the score of {row['name']} failed on {unscored(row)}: only the floor asked there",
                markup=False,
            )
    out.print(f"budget: {labels['bound']}", markup=False)
    if seeds == 1:
        out.print("one seed shows no interval: try --seeds 5")


def _print_table(title: str | None, rows: list[dict[str, Any]], columns: list[Column]) -> None:
    """Print one line a strategy, the best of a column in bold; columns that say nothing are left out."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("", min_width=min(30, max(len(row["name"]) for row in rows)), overflow="fold")
    shown = [column for column in columns if any(_value(row, column) is not None for row in rows)]
    for column in shown:
        table.add_column(column.heading, justify="right", no_wrap=True)
    best = [_best(column, rows) for column in shown]
    for row in rows:
        cells = [_cell(row, column) for column in shown]
        bold = [
            "bold" if len(rows) > 1 and cell == top else "" for cell, top in zip(cells, best, strict=True)
        ]
        table.add_row(Text(row["name"]), *map(Text, cells, bold))
    out.print(table)


def _best(column: Column, rows: list[dict[str, Any]]) -> str | None:
    """Return the best value as it is shown; None where none is."""
    values = [value for row in rows if (value := _value(row, column)) is not None]
    return column.form.format(column.best(values)) if column.best and values else None


def _value(row: dict[str, Any], column: Column) -> float | None:
    found: float | None = (row[column.place] if column.place else row).get(column.name)
    return found


def _cell(row: dict[str, Any], column: Column) -> str:
    value = _value(row, column)
    return "–" if value is None else column.form.format(value)


def _interval(difference: dict[str, float | None] | None) -> str:
    if difference is None:
        return "–"
    if difference["lower"] is None:
        return f"{difference['gain']:+.4f}"
    return f"{difference['gain']:+.4f} [{difference['lower']:+.4f}, {difference['upper']:+.4f}]"
