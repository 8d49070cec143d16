"""Strategies side by side: who runs, what is called equal, and the comparison where it is not."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tables import gaussian_table

from stream_al.comparison import Job, paired_interval
from stream_al.errors import ConfigurationError
from stream_al.monitor.accuracy import ConfusionMatrix
from stream_al.simulate import Run
from stream_al.strategies import (
    Strategy,
    check_strategy,
    compare,
    cross,
    kappa_at_equal_labels,
    run_strategies,
)

COMMON = Job(
    source="phishing",
    reading=None,
    overrides={"query": {"budget": 0.1}, "task": {"open_labels": True}},
    no_answer=0.0,
    noise=0.0,
    head=400,
)
SEEDS = [0, 1]


@pytest.fixture(scope="module")
def compared():
    strategies = cross(["ranked", "random"], ["margin"], ["pool"])
    jobs = {each.name: each.job(COMMON) for each in strategies}
    runs: dict[str, list[Run]] = {name: [] for name in jobs}
    for name, pair in run_strategies(jobs, SEEDS):
        runs[name].append(pair.rule)
    return runs, compare(strategies, runs, SEEDS, COMMON)


def test_names_say_what_differs():
    names = [each.name for each in cross(["ranked", "split"], ["margin", "entropy"], ["pool", "a.b:c"])]
    assert len(names) == len(set(names)) == 8
    assert names[0] == "ranked, margin, pool"
    assert [each.name for each in cross(["ranked"], ["margin"], ["pool"])] == ["ranked"]


def test_a_policy_that_sees_no_score_runs_once():
    found = cross(["random", "periodic", "ranked"], ["entropy", "margin"], ["pool"])
    assert [(each.policy, each.score) for each in found] == [
        ("random", "entropy"),
        ("periodic", "entropy"),
        ("ranked", "entropy"),
        ("ranked", "margin"),
    ]


@pytest.mark.parametrize(
    ("strategy", "near"),
    [
        (Strategy("x", "rankd", "margin", "pool"), "did you mean 'ranked'"),
        (Strategy("x", "ranked", "margn", "pool"), "did you mean 'margin'"),
        (Strategy("x", "ranked", "margin", "poool"), "did you mean 'pool'"),
    ],
)
def test_an_unknown_name_gives_the_nearest(strategy, near):
    with pytest.raises(ConfigurationError, match=near):
        check_strategy(strategy.job(COMMON).settings(0))


def test_every_strategy_is_on_the_same_ledger_with_the_same_people(compared):
    runs, _ = compared
    for each in runs.values():
        assert [run.learned for run in each] == [
            run.asked - late for run, late in zip(each, _late(each), strict=True)
        ]
        assert max(run.worst_excess for run in each) <= 0
    assert [run.fingerprint for run in runs["ranked"]] != [run.fingerprint for run in runs["random"]]


def _late(runs: list[Run]) -> list[int]:
    """Return how many requests about the very last event nobody could answer in time."""
    return [int(run.asked_rows[-1] == run.events - 1) for run in runs]


def test_what_is_called_equal_is(compared):
    runs, result = compared
    learned = np.array([[run.learned for run in each] for each in runs.values()])
    spread = learned.max(axis=0) - learned.min(axis=0)
    assert result["labels"]["difference"] == spread.max()
    assert result["labels"]["fewest"] == learned.min(axis=0).mean()
    assert result["labels"]["equal"] == all(spread <= np.maximum(1, 0.02 * learned.min(axis=0)))
    assert result["by"] == ("kappa" if result["labels"]["equal"] else "kappa_equal_labels")


def test_labels_that_differ_are_not_called_equal(compared):
    runs, _ = compared
    strategies = cross(["ranked", "random"], ["margin"], ["pool"])
    fewer = [run.learned - 10 for run in runs["ranked"]]
    short = [_cut_short(run, few) for run, few in zip(runs["ranked"], fewer, strict=True)]
    result = compare(strategies, {"ranked": runs["ranked"], "random": short}, SEEDS, COMMON)
    assert not result["labels"]["equal"]
    assert result["by"] == "kappa_equal_labels"
    assert result["labels"]["difference"] == 10
    # the same predictions up to there: no difference, although all events would show one
    assert result["strategies"][1]["difference"]["kappa_equal_labels"]["gain"] == pytest.approx(0.0)


def _cut_short(run: Run, learned: int) -> Run:
    predicted = np.where(run.learned_by_event < learned, run.predicted, 0)
    return Run(
        events=run.events,
        learned=learned,
        confusion=run.confusion,
        truth=run.truth,
        predicted=predicted,
        learned_by_event=np.minimum(run.learned_by_event, learned),
        curve=run.curve,
        estimate=run.estimate,
        calibration=run.calibration,
        positive_probability=run.positive_probability,
        positive_truth=run.positive_truth,
    )


def test_figures_are_means_and_differences_are_paired_by_seed(compared):
    runs, result = compared
    first, second = result["strategies"]
    kappas = {name: [run.confusion.kappa for run in each] for name, each in runs.items()}
    assert first["accuracy"]["kappa"] == pytest.approx(np.mean(kappas["ranked"]))
    gains = np.subtract(kappas["random"], kappas["ranked"])
    assert second["difference"]["kappa"] == pytest.approx(paired_interval(gains.tolist()))
    assert first["difference"]["kappa"] == {"gain": 0.0, "lower": 0.0, "upper": 0.0}
    assert [row["seed"] for row in second["per_seed"]] == SEEDS
    assert second["labels"]["worst_excess"] == max(run.worst_excess for run in runs["random"])
    json.dumps(result, allow_nan=False)


def test_the_same_run_in_another_process_is_the_same(compared):
    runs, _ = compared
    jobs = {each.name: each.job(COMMON) for each in cross(["ranked", "random"], ["margin"], ["pool"])}
    found = {(name, pair.seed): pair.rule.fingerprint for name, pair in run_strategies(jobs, [0], workers=2)}
    assert found == {(name, 0): runs[name][0].fingerprint for name in jobs}


# ---- kappa at equal labels ----------------------------------------------------------------------


def made_run(truth: list[int], predicted: list[int], learned: list[int]) -> Run:
    return Run(
        truth=np.array(truth, dtype=np.int64),
        predicted=np.array(predicted, dtype=np.int64),
        learned_by_event=np.array(learned, dtype=np.int64),
    )


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 2), st.integers(1, 9)), min_size=2, max_size=12))
def test_how_long_a_label_lasts_does_not_matter(rows):
    """The events of one label many times over, of another only once: what counts is the label."""
    truth, predicted, times = map(list, zip(*rows, strict=True))
    learned = list(range(len(rows)))
    fast = made_run(truth, predicted, learned)
    slow = made_run(*(np.repeat(each, times).tolist() for each in (truth, predicted, learned)))
    assert kappa_at_equal_labels(slow, 12) == pytest.approx(kappa_at_equal_labels(fast, 12))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 2)), min_size=1, max_size=40))
def test_with_equally_long_labels_it_is_kappa(pairs):
    truth, predicted = map(list, zip(*pairs, strict=True))
    matrix = ConfusionMatrix()
    matrix.add([str(t) for t in truth], [None if p < 0 else str(p) for p in predicted])
    found = kappa_at_equal_labels(made_run(truth, predicted, list(range(len(pairs)))), len(pairs))
    steps = np.bincount(np.arange(len(pairs)) * min(20, len(pairs)) // len(pairs))
    if len(set(steps.tolist())) == 1:
        assert found == pytest.approx(matrix.kappa)
    assert found <= 1.0 + 1e-12


def test_events_after_the_common_labels_do_not_count():
    good, bad = [0, 1] * 10, [1, 0] * 10
    run = made_run([0, 1] * 20, good + bad, [k // 2 for k in range(40)])
    assert kappa_at_equal_labels(run, 10) == pytest.approx(1.0)
    assert kappa_at_equal_labels(run, 20) == pytest.approx(0.0)


def test_a_row_without_a_label_is_left_out():
    run = made_run([-1, 0, 1], [0, 0, 1], [0, 0, 0])
    assert kappa_at_equal_labels(run, 1) == pytest.approx(1.0)
    assert np.isnan(kappa_at_equal_labels(run, 0))


def test_the_run_knows_what_was_said_when():
    from support.tables import people, settings

    from stream_al.simulate import Simulation

    table = gaussian_table(300)
    run = Simulation(table, settings(), people("fixed:30", no_answer=0.0))()
    assert run.truth.tolist() == table.label_codes.tolist()
    assert np.array_equal(run.predicted == run.truth, run.correct)
    assert (np.diff(run.learned_by_event) >= 0).all()
    assert run.learned_by_event[0] == 0
    assert run.learned - run.learned_by_event[-1] in (0, 1)
    assert not run.learned_by_event[: run.asked_rows[0] + 30].any()
    assert run.calibration.events == int((run.predicted >= 0).sum())
