"""Several strategies side by side: what each would have bought on the same stream with the same budget.

A strategy is a policy, a score and a model by their names. All run through the real engine, on the same
ledger, with the same people and coins, so their learned labels are nearly equal; where they are not, the
comparison is made at the smallest number that was learned.
"""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from stream_al.build import find_policy, make_scores
from stream_al.comparison import Job, Pair, figures_of_runs, paired_interval, terms_of
from stream_al.models.registry import make_model
from stream_al.monitor.accuracy import cohen_kappa
from stream_al.settings import Settings
from stream_al.simulate import Progress, Run

SCHEMA = 1
STEPS = 20
"""Steps of learned labels that count the same where labels differ."""
EQUAL_SHARE = 0.02
"""Learned labels that differ by no more than this share of the fewest, or by one, are called equal."""
BLIND = frozenset({"random", "periodic"})
"""Policies that do not look at the score."""
DIFFERENCES = ("kappa", "prequential", "balanced", "pr_auc", "log_loss", "ece", "kappa_equal_labels")


@dataclass(frozen=True, slots=True)
class Strategy:
    """What is compared; ``name`` says only what tells it from the others."""

    name: str
    policy: str
    score: str
    model: str

    def job(self, common: Job) -> Job:
        """Return the job of this strategy under terms that all share."""
        overrides = {
            **common.overrides,
            "query": {**common.overrides.get("query", {}), "policy": self.policy, "score": self.score},
            "model": {**common.overrides.get("model", {}), "name": self.model},
        }
        return replace(common, overrides=overrides, baseline=False)


def cross(policies: Sequence[str], scores: Sequence[str], models: Sequence[str]) -> list[Strategy]:
    """Return the strategies of all combinations, each once; policies that see no score take the first one.

    Examples
    --------
    >>> [strategy.name for strategy in cross(["ranked", "random"], ["margin", "entropy"], ["pool"])]
    ['ranked, margin', 'ranked, entropy', 'random']
    """
    found: dict[tuple[str, str, str], Strategy] = {}
    for model, policy, score in product(models, policies, scores):
        blind = policy in BLIND
        parts = [policy]
        if len(set(scores)) > 1 and not blind:
            parts.append(score)
        if len(set(models)) > 1:
            parts.append(model)
        key = (policy, scores[0] if blind else score, model)
        found.setdefault(key, Strategy(", ".join(parts), *key))
    return list(found.values())


def check_strategy(settings: Settings) -> None:
    """Raise ConfigurationError, with the nearest name, unless policy, score and model can be made."""
    find_policy(settings.query.policy)
    make_model(settings.model.name, 2, settings.seed)
    make_scores(settings)


def run_strategies(
    jobs: Mapping[str, Job], seeds: Sequence[int], workers: int = 1, progress: Progress | None = None
) -> Iterator[tuple[str, Pair]]:
    """Yield a name and a seed's run as they come; several at once where workers allow."""
    todo = [(name, seed) for seed in seeds for name in jobs]
    if workers == 1 or len(todo) == 1:
        for name, seed in todo:
            yield name, jobs[name].run(seed, progress)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy locks that other threads hold
    with ProcessPoolExecutor(min(workers, len(todo)), mp_context=context) as pool:
        futures = {pool.submit(jobs[name].run, seed): name for name, seed in todo}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def compare(
    strategies: Sequence[Strategy], runs: Mapping[str, Sequence[Run]], seeds: Sequence[int], common: Job
) -> dict[str, Any]:
    """Return the comparison as JSON values: the contract of ``compare --json``.

    Parameters
    ----------
    strategies : sequence of Strategy
        Differences are to the first one.
    runs : mapping
        Name to one run a seed, in the order of ``seeds``.
    seeds : sequence of int
    common : Job
        Terms that all share.

    Notes
    -----
    Labels that differ between strategies by more than two per cent, or by one where that is more, in any
    seed are called unequal: then ``by`` is ``"kappa_equal_labels"`` (:func:`kappa_at_equal_labels`), else
    ``"kappa"``.
    """
    learned = np.array([[run.learned for run in runs[each.name]] for each in strategies])
    fewest, most = learned.min(axis=0), learned.max(axis=0)
    equal = bool((most - fewest <= np.maximum(1.0, EQUAL_SHARE * fewest)).all())
    terms = strategies[0].job(common).settings(seeds[0])
    figures = [
        _figures(runs[each.name], each.job(common).settings(seeds[0]), seeds, fewest.tolist())
        for each in strategies
    ]
    return {
        "schema": SCHEMA,
        "seeds": list(seeds),
        "events": figures[0]["events"],
        "labels": {
            "budget": terms.query.budget,
            "bound": terms.budget().bound(),
            "fewest": float(fewest.mean()),
            "difference": int((most - fewest).max()),
            "equal": equal,
        },
        "by": "kappa" if equal else "kappa_equal_labels",
        "strategies": [
            {
                **asdict(each),
                **{name: value for name, value in found.items() if name != "events"},
                "difference": _differences(found["per_seed"], figures[0]["per_seed"]),
            }
            for each, found in zip(strategies, figures, strict=True)
        ],
        "people": terms_of(common.people(seeds[0])),
        "config": terms.model_dump(mode="json", exclude={"ticket_keys"}),
    }


def _figures(
    runs: Sequence[Run], settings: Settings, seeds: Sequence[int], fewest: Sequence[int]
) -> dict[str, Any]:
    """Return one strategy's figures; the excess over the budget is the worst of all seeds, no mean."""
    found = figures_of_runs(runs, settings)
    at_equal = [_number(kappa_at_equal_labels(run, few)) for run, few in zip(runs, fewest, strict=True)]
    for row, seed, value in zip(found["per_seed"], seeds, at_equal, strict=True):
        row["seed"] = seed
        row["accuracy"]["kappa_equal_labels"] = value
    known = [value for value in at_equal if value is not None]
    found["accuracy"]["kappa_equal_labels"] = float(np.mean(known)) if known else None
    found["labels"]["worst_excess"] = max(run.worst_excess for run in runs)
    return found


def kappa_at_equal_labels(run: Run, labels: int) -> float:
    """Return kappa as the mean over a model's first so many labels, however many events each lasted.

    The events that were predicted with 0 to ``labels - 1`` learned labels are put into twenty equal steps
    of labels; every step has the same weight in one table of truth and prediction. So a strategy that
    spends slowly gets no credit for the many events that its late labels had to wait for, and one that
    spends fast none for the events that came after its last.

    Examples
    --------
    >>> run = Run(truth=np.array([0, 1, 0, 1, 1, 1]), predicted=np.array([0, 0, 0, 1, 1, 1]))
    >>> run.learned_by_event = np.array([0, 0, 1, 1, 2, 2])
    >>> kappa_at_equal_labels(run, 2)
    0.5
    """
    kept = (run.truth >= 0) & (run.learned_by_event < labels)
    if not kept.any():
        return math.nan
    truth, predicted = run.truth[kept], run.predicted[kept]
    step = run.learned_by_event[kept] * min(STEPS, labels) // labels
    weights = 1.0 / np.bincount(step)[step]
    k = int(max(truth.max(), predicted.max())) + 1
    table = np.zeros((k, k + 1))
    np.add.at(table, (truth, np.where(predicted < 0, k, predicted)), weights)
    return cohen_kappa(table)


def _differences(rows: Sequence[dict[str, Any]], first: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what a strategy has more than the first, paired by seed."""
    found = {}
    for name in DIFFERENCES:
        values = [
            (row["accuracy"].get(name), base["accuracy"].get(name))
            for row, base in zip(rows, first, strict=True)
        ]
        known = [a - b for a, b in values if a is not None and b is not None]
        if known and len(known) == len(values):
            found[name] = paired_interval(known)
    return found


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
