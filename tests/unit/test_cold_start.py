"""The beginning of a stream: no labels, many classes, and what a class that nobody named needs."""

from __future__ import annotations

import numpy as np
import pytest
from support.tables import people

from stream_al.query_scores import enough_answers
from stream_al.settings import make_settings
from stream_al.simulate import Plan, Run, Simulation
from stream_al.table import Table, assemble, coded

CLASSES = 40


def forty_classes(n: int = 1_000) -> Table:
    """Return rows of forty Gaussian classes, some of them five times as frequent as others."""
    rng = np.random.default_rng(2)
    share = np.where(np.arange(CLASSES) % 2, 5.0, 1.0)
    classes = rng.choice(CLASSES, size=n, p=share / share.sum())
    rows = 4.0 * rng.normal(size=(CLASSES, 6))[classes] + rng.normal(size=(n, 6))
    features = {f"x{j}": rows[:, j] for j in range(6)}
    return assemble("forty", features, coded([f"class-{c}" for c in classes]))


def simulated(table: Table, plan: Plan | None = None, *, declared: bool = False, **query: object) -> Run:
    labels = [f"class-{c}" for c in range(CLASSES)] if declared else []
    settings = make_settings({"task": {"labels": labels, "open_labels": not declared}, "query": query})
    simulation = Simulation(table, settings, people("fixed:3", no_answer=0.0, noise=0.0), plan)
    run = simulation()
    assert run.learned == sum(simulation.learner.answers_by_class)
    assert run.min_per_class == min(simulation.learner.learned_by_class)
    assert run.worst_excess <= 0.0
    return run


@pytest.mark.parametrize("cold_start", ["none", "coverage"])
@pytest.mark.parametrize("declared", [False, True])
def test_forty_classes_without_any_label_at_the_start(cold_start, declared):
    table = forty_classes()
    run = simulated(table, declared=declared, cold_start=cold_start, budget=0.2)
    found = {table.label(row) for row in run.asked_rows}
    print(f"{cold_start}, declared {declared}: {len(found)} classes, {run.confusion.accuracy:.3f} right")
    assert len(found) >= CLASSES - 2
    # an open label is known from its first answer on
    assert (run.min_per_class == 0) == (declared and len(found) < CLASSES)
    assert run.correct[-200:].mean() > 0.7


def test_forty_classes_of_which_twenty_are_known_from_a_warm_start():
    """Rows that arrive labelled name some classes; the others are named by the people who are asked."""
    table = forty_classes()
    first = {table.label(row) for row in range(25)}
    assert 10 < len(first) < CLASSES
    run = simulated(table, Plan(initial=25), cold_start="coverage", budget=0.2)
    assert len(first | {table.label(row) for row in run.asked_rows}) >= CLASSES - 2
    assert run.correct[-200:].mean() > 0.7


def lonely(seed: int, n: int = 400) -> Table:
    """Return rows of one large group and, from row 60 on, of nine small ones far away."""
    rng = np.random.default_rng(seed)
    group = np.where(rng.random(n) < 0.1, rng.integers(1, 10, size=n), 0)
    group[:60] = 0
    centres = np.concatenate([np.zeros((1, 5)), 12.0 * rng.normal(size=(9, 5))])
    rows = centres[group] + rng.normal(size=(n, 5))
    features = {f"x{j}": rows[:, j] for j in range(5)}
    return assemble("lonely", features, coded([f"group-{g}" for g in group]))


def test_coverage_asks_about_what_is_far_from_everything_asked():
    """No probability can point to a class that nobody has named yet."""
    found: dict[str, list[int]] = {}
    for seed in range(1, 9):
        table = lonely(seed)
        for name, query in {"coverage": {"cold_start": "coverage"}, "random": {"policy": "random"}}.items():
            asked = simulated(table, budget=0.08, credit=0.0, **query).asked_rows
            found.setdefault(name, []).append(len({table.label(row) for row in asked}))
    print(found)
    assert sum(found["coverage"]) >= 2 * sum(found["random"])


def test_the_score_takes_over_after_ten_answers_a_class_and_fifty_at_most():
    assert not enough_answers([0] * CLASSES)
    assert not enough_answers([2] * 24)
    assert enough_answers([2] * 25)
    assert not enough_answers([19])
    assert enough_answers([20])
    assert not enough_answers([10, 10, 9])


@pytest.mark.parametrize(
    "changed", [{"query": {"cold_start": "coverage"}}, {"model": {"class_weight": "balanced"}}]
)
def test_what_moves_the_scores_restarts_the_windows(changed):
    from stream_al.build import build_engine
    from stream_al.log.memory import MemoryLog

    engines = [build_engine(make_settings(settings), MemoryLog()) for settings in ({}, changed)]
    assert engines[1].learner.options.class_weight == changed.get("model", {}).get("class_weight", "none")
    policies = [engine.policy for engine in engines]
    assert policies[1].restarts(policies[0].encode(policies[0].initial()))
    assert not policies[0].restarts(policies[0].encode(policies[0].initial()))
