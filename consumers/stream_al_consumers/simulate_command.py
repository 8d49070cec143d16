"""``simulate``: a person's own file through the real engine, next to random at equal learned labels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream_al_consumers.jobs import check_job, check_targets, make_job, open_for_writing, present, unscored
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
)
from stream_al_consumers.output import out, say

if TYPE_CHECKING:
    from stream_al.comparison import Job, Pair
    from stream_al.simulate import Simulation


def simulate(
    file: TableArgument,
    label: LabelOption,
    text: TextOption = None,
    time: TimeOption = None,
    categorical: CategoricalOption = "",
    drop: DropOption = "",
    head: HeadOption = None,
    positive: PositiveOption = None,
    labels: LabelsOption = "",
    initial: InitialOption = 0,
    holdout: Annotated[
        float, typer.Option(help="Last share of the rows, only evaluated.", min=0, max=0.9)
    ] = 0.0,
    budget: BudgetOption = 0.05,
    credit: CreditOption = 20.0,
    policy: Annotated[str, typer.Option(help="ranked, random, periodic, split, …")] = "ranked",
    window: Annotated[
        str | None, typer.Option(help="Ask in batches: at the end of every N events, or of every 5m.")
    ] = None,
    score: Annotated[
        str, typer.Option(help="margin, entropy, bald, hybrid, hybrid:0.7, density, mypkg.mod:score, …")
    ] = "margin",
    cold_start: ColdStartOption = "none",
    model: Annotated[str, typer.Option(help="pool, river:…, sklearn:…, refit:…, mypkg.mod:make")] = "pool",
    class_weight: ClassWeightOption = "none",
    delay: DelayOption = "none",
    no_answer: NoAnswerOption = 0.2,
    noise: NoiseOption = 0.1,
    tick: TickOption = None,
    seed: Annotated[int, typer.Option(help="Moves all coins.")] = 0,
    seeds: Annotated[int | None, typer.Option(help="Run seeds 0 to K-1.", min=1)] = None,
    no_baseline: Annotated[bool, typer.Option("--no-baseline", help="Leave random out.")] = False,
    decisions: Annotated[Path | None, typer.Option(help="Write one JSON line an event here.")] = None,
    json: ResultOption = None,
    plot: PlotOption = None,
) -> None:
    """Run a labelled file through the engine, as a stream: what would these labels have bought?"""
    from stream_al.build import window_warning
    from stream_al.comparison import report
    from stream_al.errors import ConfigurationError

    job = make_job(
        file,
        {"label": label, "text": text, "time": time, "categorical": categorical, "drop": drop, "head": head},
        labels=labels,
        positive=positive,
        query={
            "budget": budget,
            "credit": credit,
            "policy": policy,
            "score": score,
            "window": window,
            "cold_start": cold_start,
        },
        model={"name": model, "class_weight": class_weight},
        people=(delay, no_answer, noise),
        plan=(initial, holdout, tick),
        baseline=not no_baseline,
    )
    check_targets(plot, decisions, json)
    if seeds is not None and seed:
        raise ConfigurationError(f"--seed {seed} and --seeds {seeds} are both given; name one of them")
    if (wasted := window_warning(job.settings(seed))) is not None:
        say(f"warning: {wasted}")
    if positive is not None and score != "risk":
        say(f"note: {positive!r} is to be found, so the score is `risk` in place of {score!r}")
    pairs = run_job(job, [seed] if seeds is None else list(range(seeds)), decisions)
    result = report(pairs, job.settings(pairs[0].seed), job.people(pairs[0].seed))
    if plot is not None:
        draw(pairs, plot, budget, f"{file.name}: {100 * budget:g} % of the labels")
    present(result, json, plot, print_result)


def run_job(job: Job, seeds: list[int], decisions: Path | None = None) -> list[Pair]:
    """Run all seeds with a progress bar, on as many cores as there are."""
    from stream_al.comparison import run_seeds
    from stream_al_consumers.output import progress

    table = check_job(job, seeds[0])
    with progress() as bar:
        if len(seeds) > 1 and decisions is None:
            task = bar.add_task("seeds", total=len(seeds))
            pairs = []
            for pair in run_seeds(job, seeds, workers=os.cpu_count() or 1):
                pairs.append(pair)
                bar.advance(task)
            return pairs
        task = bar.add_task("events", total=len(seeds) * table.n * (3 if job.baseline else 1))
        done = 0

        def advance(simulation: Simulation) -> None:
            nonlocal done
            done += simulation.last_tick_events
            bar.update(task, completed=done)

        if decisions is None:
            return [job.run(seed, advance) for seed in seeds]
        with open_for_writing(decisions) as file:
            return [job.run(seed, advance, lambda line: file.write(line + b"\n")) for seed in seeds]


def draw(pairs: list[Pair], path: Path, budget: float, title: str) -> Path:
    """Draw the rule's and the baseline's kappa so far, against labels and events."""
    from stream_al.plots import plot_comparison

    runs = {"rule": [pair.rule.kappa_curve for pair in pairs]}
    if all(pair.random is not None for pair in pairs):
        runs["random"] = [pair.random.kappa_curve for pair in pairs if pair.random]
    return plot_comparison(runs, path, budget=budget, title=title, measure="kappa")


def print_result(result: dict[str, Any]) -> None:
    """Print what a person wants to know first."""
    from rich.table import Table

    seeds = len(result["seeds"])
    labels, accuracy = result["labels"], result["accuracy"]
    baselines = result.get("baseline", {})
    columns = [result, *(baselines[name] for name in ("random", "random_same_ledger") if name in baselines)]
    table = Table(
        title=f"{result['events']:,.0f} events, {seeds} seed{'s' if seeds > 1 else ''}", title_justify="left"
    )
    table.add_column("")
    table.add_column("rule", justify="right")
    if baselines:
        table.add_column("random", justify="right")
        table.add_column("random,\nsame ledger", justify="right")

    def row(name: str, form: str, *path: str) -> None:
        table.add_row(name, *(_cell(column, form, path) for column in columns))

    row("labels asked", "{:,.0f}", "labels", "asked")
    row("labels learned", "{:,.0f}", "labels", "learned")
    row("fewest of a class", "{:,.0f}", "labels", "min_per_class")
    row("accuracy, all events", "{:.4f}", "accuracy", "prequential")
    row("balanced accuracy", "{:.4f}", "accuracy", "balanced")
    row("kappa", "{:.4f}", "accuracy", "kappa")
    if accuracy.get("pr_auc") is not None:
        row("PR-AUC", "{:.4f}", "accuracy", "pr_auc")
    if "holdout" in result:
        row("hold-out, first", "{:.4f}", "holdout", "initial")
        row("hold-out, last", "{:.4f}", "holdout", "final")
    row("events per second", "{:,.0f}", "events_per_second")
    out.print(table)
    estimate = result["estimate"]
    if estimate["value"] is not None and (estimate["n_effective"] or 0) >= 30:
        out.print(
            f"estimated accuracy {estimate['value']:.3f} [{estimate['lower']:.3f}, {estimate['upper']:.3f}] "
            f"over the last window; truth there {estimate['truth']:.3f}; over labelled events alone "
            f"{estimate['labelled_only']:.3f}",
            markup=False,
        )
        if result["people"]["noise"]:
            noise = result["people"]["noise"]
            out.print(
                f"  ({noise:.0%} of the answers are wrong by design: both fall by about as much)",
                markup=False,
            )
    if "positive" in estimate:
        out.print(_positive_line(result["config"]["task"]["positive"], estimate["positive"]), markup=False)
    efficiency = result.get("efficiency")
    if efficiency:
        out.print(
            "gain in kappa over random at equal learned labels: " + _gain(efficiency["kappa"]), markup=False
        )
        out.print(
            "  over random at the same pace: " + _gain(efficiency["same_ledger"]["kappa"]), markup=False
        )
    out.print(f"budget: {labels['bound']}; worst excess {labels['worst_excess']:.2f} labels", markup=False)
    if labels["unscored"]:
        out.print(f"the query score failed on {unscored(result)}: only the floor asked there", markup=False)


def _positive_line(label: str, ratios: dict[str, dict[str, float | None]]) -> str:
    """Return precision, recall and false-positive rate with their intervals and truths, in one line."""
    from stream_al.monitor.estimate import MIN_EFFECTIVE

    found = []
    for name, ratio in ratios.items():
        value, lower, upper, n, truth = (
            ratio[key] for key in ("value", "lower", "upper", "n_effective", "truth")
        )
        if value is None or n is None:
            words = "no answers"
        else:
            words = f"{value:.3f} " if n >= MIN_EFFECTIVE else "too few answers, "
            words += f"[{lower:.3f}, {upper:.3f}]"
        words += "" if truth is None else f" (truth {truth:.3f})"
        found.append(f"{name.replace('_', ' ')} {words}")
    return f"estimated for {label!r}: " + ", ".join(found)


def _gain(gain: dict[str, Any]) -> str:
    """Return a gain with its interval, and what that means."""
    if gain["lower"] is None:
        return f"{gain['gain']:+.4f} (one seed: try --seeds 5)"
    few = " (few seeds: try --seeds 5)" if gain["upper"] - gain["lower"] > 1.0 else ""
    reading = "" if gain["lower"] > 0 or gain["upper"] < 0 else ": no difference shown, it holds 0"
    return f"{gain['gain']:+.4f}, 95 % interval {gain['lower']:+.4f} to {gain['upper']:+.4f}{reading}{few}"


def _cell(tree: Any, form: str, path: tuple[str, ...]) -> str:
    for name in path:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return "–" if tree is None else form.format(tree)
