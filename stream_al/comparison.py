"""The rule against random sampling at the same number of learned labels, over several seeds.

What counts is the number of labels that the model has *learned*: with people who answer late or never,
equal budgets are not equal labels. So the rule runs first; then a simple random sample of the stream is
asked about that is just large enough for as many labels to arrive.
"""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import t as student

from stream_al.annotators import Annotators, Delay
from stream_al.datasets import bundled, read_table
from stream_al.monitor.accuracy import pr_auc, precision_at_1pct
from stream_al.query.baselines import RandomPolicy
from stream_al.query.coin import Coin
from stream_al.query.listed import ListedPolicy
from stream_al.query.policy import Feedback, ScoredEvent
from stream_al.settings import Settings, make_settings
from stream_al.simulate import Plan, Progress, Run, Simulation, Trace
from stream_al.table import Table
from stream_al.virtual_time import due_row, event_id, person_id

SCHEMA = 1
CONFIDENCE = 0.95
TRIES = 4


@dataclass(frozen=True, slots=True)
class Pair:
    """One seed: the rule and, unless left out, two random baselines at equal learned labels.

    Attributes
    ----------
    random : Run or None
        A simple random sample of the stream.
    paced : Run or None
        Random sampling at the ledger's own pace, head start included: what is left of the rule's gain
        there is *which* labels it buys, not *when*.
    """

    seed: int
    rule: Run
    random: Run | None
    paced: Run | None


def compare_seed(
    table: Table,
    settings: Settings,
    people: Annotators,
    plan: Plan,
    *,
    baseline: bool = True,
    progress: Progress | None = None,
    trace: Trace | None = None,
) -> Pair:
    """Run the rule, then the random baselines that learn as many labels."""
    simulation = Simulation(table, settings, people, plan)
    rule = simulation(progress, trace)
    random = paced = None
    if baseline:
        random = matched_random(simulation, rule.learned, progress=progress)
        paced = matched_random(simulation, rule.learned, paced=True, progress=progress)
    return Pair(settings.seed, rule, random, paced)


def matched_random(
    simulation: Simulation, learned: int, *, paced: bool = False, progress: Progress | None = None
) -> Run:
    """Return a run that asks at random and learns as many labels, or of four tries the nearest.

    Parameters
    ----------
    simulation : Simulation
        Whose table, settings, people and plan are used; it may have run or not.
    learned : int
    paced : bool
        Ask at the ledger's own pace, head start included; else a simple random sample.

    Notes
    -----
    With several votes a request, ties and late votes decide how many labels come of a sample, so the
    sample is fitted: what is missing is asked for in addition, as much more as was asked in vain.
    """
    settings, events = simulation.settings, simulation.end - simulation.first
    preferred = _paced_ids(simulation) if paced else frozenset()
    wanted, runs = learned, list[Run]()
    for _ in range(TRIES):
        sample = random_sample(simulation, wanted, preferred)
        policy = ListedPolicy(settings.budget(), sample, events)
        run = Simulation(simulation.table, settings, simulation.people, simulation.plan, policy)(progress)
        runs.append(run)
        if run.learned == learned:
            break
        wanted = max(0, wanted + round((learned - run.learned) * max(1.0, wanted / max(1, run.learned))))
    return min(runs, key=lambda run: abs(run.learned - learned))


def _paced_ids(simulation: Simulation) -> frozenset[str]:
    """Return the events that random sampling on the same ledger would ask about; no model is needed."""
    settings = simulation.settings
    policy = RandomPolicy(settings.budget(), settings.seed + 1)
    rows = range(simulation.first, simulation.end)
    ids = [event_id(simulation.table, i) for i in rows]
    events = [ScoredEvent(name, int(simulation.times[i]), 0) for name, i in zip(ids, rows, strict=True)]
    _, decisions = policy.decide(policy.initial(), events, Feedback(), lambda i: False, lambda i: None)
    return frozenset(name for name, decision in zip(ids, decisions, strict=True) if decision.asked)


@dataclass(frozen=True, slots=True)
class Job:
    """A comparison as plain values: what a worker process is told.

    Attributes
    ----------
    source : str or Path
        A file, or the name of a bundled data set (shuffled by the seed).
    reading : dict
        Keyword arguments of :func:`~stream_al.datasets.read_table`; None for bundled data.
    overrides : dict
        Settings; file and environment are not looked at, so a figure depends on the command alone.
    """

    source: str
    reading: dict[str, Any] | None
    overrides: dict[str, Any]
    delay: str = "none"
    no_answer: float = 0.2
    noise: float = 0.1
    plan: Plan = field(default_factory=Plan)
    baseline: bool = True
    head: int | None = None

    def settings(self, seed: int) -> Settings:
        """Return the settings of one seed."""
        return make_settings({**self.overrides, "seed": seed})

    def table(self, seed: int) -> Table:
        """Return the table of one seed: a file stays in its order, bundled data are shuffled."""
        if self.reading is None:
            return bundled(self.source, seed=seed, head=self.head)
        return read_table(self.source, **self.reading)

    def people(self, seed: int) -> Annotators:
        """Return the annotators of one seed."""
        return Annotators(Delay.parse(self.delay, seed), self.no_answer, self.noise, seed)

    def run(self, seed: int, progress: Progress | None = None, trace: Trace | None = None) -> Pair:
        """Run one seed."""
        return compare_seed(
            self.table(seed),
            self.settings(seed),
            self.people(seed),
            self.plan,
            baseline=self.baseline,
            progress=progress,
            trace=trace,
        )


def run_seeds(job: Job, seeds: Sequence[int], workers: int = 1) -> Iterator[Pair]:
    """Yield one pair a seed, in the order of the seeds; several at once where workers allow."""
    if workers == 1 or len(seeds) == 1:
        yield from map(job.run, seeds)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy locks that other threads hold
    with ProcessPoolExecutor(min(workers, len(seeds)), mp_context=context) as pool:
        yield from pool.map(job.run, seeds)


def random_sample(simulation: Simulation, learned: int, preferred: Collection[str] = ()) -> list[str]:
    """Return ids of a random sample just large enough for so many labels to be learned in time.

    The stream is walked in a random order (a coin for every event), preferred events first, until enough
    of the visited ones would be answered before the end.
    """
    table, first, end = simulation.table, simulation.first, simulation.end
    coin = Coin("baseline", simulation.settings.seed)
    ids = {i: event_id(table, i) for i in range(first, end)}
    order = sorted(ids, key=lambda i: (ids[i] not in preferred, coin(ids[i])))
    chosen: list[str] = []
    for i in order:
        if learned <= 0:
            break
        chosen.append(ids[i])
        learned -= answered_in_time(simulation, i)
    return chosen


def answered_in_time(simulation: Simulation, row: int) -> bool:
    """Return whether a request about this row would be answered before the last event is predicted."""
    table, people, times = simulation.table, simulation.people, simulation.times
    first, end, tick = simulation.first, simulation.end, simulation.plan.tick
    last_fold = end - 1 if tick is None else first + (end - 1 - first) // tick * tick
    for number in range(simulation.settings.query.overlap):
        vote = people.answer(person_id(event_id(table, row), number), table.label(row), [])
        if vote is None or due_row(times, row, vote.delay, people.delay.unit) > last_fold:
            return False
    return True


def report(pairs: Sequence[Pair], settings: Settings, people: Annotators) -> dict[str, Any]:
    """Return the result as JSON values: the contract of ``simulate --json`` and ``demo --json``.

    Every figure is the mean over seeds; ``standard_error`` and ``per_seed`` stand beside it.
    """
    budget = settings.budget()
    rules = [_figures(pair.rule, settings) for pair in pairs]
    result = _mean(rules)
    result = {"schema": SCHEMA, "seeds": [pair.seed for pair in pairs], **result}
    result["labels"]["bound"] = budget.bound()
    baselines = [_figures(pair.random, settings) for pair in pairs if pair.random is not None]
    paced = [_figures(pair.paced, settings) for pair in pairs if pair.paced is not None]
    if baselines and paced:
        result["baseline"] = {"random": _mean(baselines), "random_same_ledger": _mean(paced)}
        result["efficiency"] = _efficiency(rules, baselines)
        result["efficiency"]["same_ledger"] = _efficiency(rules, paced)
    if len(pairs) > 1:
        result["standard_error"] = _standard_error(rules)
        result["per_seed"] = [
            {"seed": pair.seed, **figures} for pair, figures in zip(pairs, rules, strict=True)
        ]
        if baselines:
            result["baseline"]["random"]["per_seed"] = baselines
            result["baseline"]["random_same_ledger"]["per_seed"] = paced
    result["people"] = terms_of(people)
    result["config"] = settings.model_dump(mode="json", exclude={"ticket_keys"})
    return result


def terms_of(people: Annotators) -> dict[str, Any]:
    """Return how simulated people answer, as JSON values."""
    delay = people.delay
    return {
        "delay": {"median": delay.median, "sigma": delay.sigma, "unit": delay.unit},
        "no_answer": people.no_answer,
        "noise": people.noise,
    }


def figures_of_runs(runs: Sequence[Run], settings: Settings) -> dict[str, Any]:
    """Return the figures of one strategy: means over runs (one a seed), ``per_seed``, ``standard_error``."""
    rows = [_figures(run, settings) for run in runs]
    found = {**_mean(rows), "per_seed": rows}
    if len(rows) > 1:
        found["standard_error"] = _standard_error(rows)
    return found


def paired_interval(gains: Sequence[float]) -> dict[str, float | None]:
    """Return the mean of paired differences and Student's 95 % interval; no ends where there is one pair.

    Examples
    --------
    >>> {name: round(value, 3) for name, value in paired_interval([0.1, 0.2, 0.3]).items()}
    {'gain': 0.2, 'lower': -0.048, 'upper': 0.448}
    """
    gain = np.array(gains)
    if len(gain) < 2:
        return {"gain": float(gain.mean()), "lower": None, "upper": None}
    half = student.ppf(0.5 + CONFIDENCE / 2, len(gain) - 1) * gain.std(ddof=1) / math.sqrt(len(gain))
    return {
        "gain": float(gain.mean()),
        "lower": float(gain.mean() - half),
        "upper": float(gain.mean() + half),
    }


def _figures(run: Run, settings: Settings) -> dict[str, Any]:
    matrix = run.confusion
    accuracy: dict[str, float | None] = {
        "prequential": matrix.accuracy,
        "balanced": matrix.balanced_accuracy,
        "kappa": matrix.kappa,
        "log_loss": _number(run.calibration.log_loss),
        "ece": _number(run.calibration.ece),
    }
    if run.positive_probability is not None and run.positive_truth is not None:
        accuracy["pr_auc"] = _number(pr_auc(run.positive_truth, run.positive_probability))
        accuracy["precision_at_1pct"] = _number(
            precision_at_1pct(run.positive_truth, run.positive_probability)
        )
    delays = np.array(run.delays_events or [0])
    figures: dict[str, Any] = {
        "events": run.events,
        "labels": {
            "budget": settings.query.budget,
            "asked": run.asked,
            "answered": run.answered,
            "learned": run.learned,
            "min_per_class": run.min_per_class,
            "unscored": run.unscored,
            "share": run.asked * settings.query.overlap / run.events,
            "worst_excess": run.worst_excess,
            "unpaid_debt": run.unpaid_debt,
        },
        "accuracy": accuracy,
        "estimate": _numbers(run.estimate),
        "effective_delay_events": {
            "p50": float(np.quantile(delays, 0.5)),
            "p95": float(np.quantile(delays, 0.95)),
        },
        "curve": [{"events": p.events, "labels": p.labels, "accuracy": p.accuracy} for p in run.curve],
        "reliability": run.calibration.reliability,
        "events_per_second": run.events / max(run.seconds, 1e-9),
    }
    if run.holdout:
        figures["holdout"] = {
            "initial": run.holdout[0][1],
            "final": run.holdout[-1][1],
            "curve": [{"labels": labels, "accuracy": value} for labels, value in run.holdout],
        }
    return figures


def _efficiency(rules: Sequence[dict[str, Any]], baselines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the paired gain in kappa and accuracy with Student's interval over seeds."""
    gains: dict[str, Any] = {
        "labels_difference": max(
            abs(r["labels"]["learned"] - b["labels"]["learned"])
            for r, b in zip(rules, baselines, strict=True)
        )
    }
    for name in ("kappa", "prequential"):
        gains[name] = paired_interval(
            [r["accuracy"][name] - b["accuracy"][name] for r, b in zip(rules, baselines, strict=True)]
        )
    return gains


def _mean(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the element-wise mean of equally shaped results; curves are the first seed's."""
    mean: dict[str, Any] = _combine(rows, lambda values: float(np.mean(values)))
    return mean


def _standard_error(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    errors = _combine(rows, lambda values: float(np.std(values, ddof=1) / math.sqrt(len(values))))
    return {name: value for name, value in errors.items() if name not in ("curve", "events", "reliability")}


def _combine(rows: Sequence[Any], how: Callable[[list[float]], float]) -> Any:
    head = rows[0]
    if isinstance(head, dict):
        return {name: _combine([row[name] for row in rows], how) for name in head}
    if isinstance(head, list):
        return head
    numbers = [row for row in rows if row is not None]
    if not numbers:
        return None
    if all(isinstance(n, int) for n in numbers) and len(set(numbers)) == 1 and how([1.0, 1.0]) == 1.0:
        return numbers[0]
    return how(numbers) if len(numbers) > 1 or how([1.0, 1.0]) == 1.0 else None


def _numbers(tree: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _numbers(below) if isinstance(below, dict) else _number(below) for name, below in tree.items()
    }


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
