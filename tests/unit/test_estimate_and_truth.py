"""A simulation shows each estimate beside what is true of all events of its window."""

from __future__ import annotations

import numpy as np
import pytest
from support.tables import gaussian_table, people

from stream_al.comparison import compare_seed, report
from stream_al.settings import Settings
from stream_al.simulate import Plan, Simulation


def settings(positive: str | None, budget: float = 0.3) -> Settings:
    return Settings(query={"budget": budget}, task={"open_labels": True, "positive": positive})


def test_the_truth_is_that_of_all_events_of_the_window():
    simulation = Simulation(gaussian_table(2_500), settings("class-1"), people("none", noise=0.0))
    run = simulation()
    found = simulation.learner.accuracy()
    assert found.first is not None
    assert found.last is not None
    window = slice(found.first.event_offset, found.last.event_offset + 1)
    assert window.start > 300
    code = simulation.table.label_names.index("class-1")
    truth, served = run.truth[window] == code, run.predicted[window] == code
    positive, kept = run.estimate["positive"], run.estimate["calibration"]
    assert positive["precision"]["truth"] == pytest.approx(truth[served].mean())
    assert positive["recall"]["truth"] == pytest.approx(served[truth].mean())
    assert positive["false_positive"]["truth"] == pytest.approx(served[~truth].mean())
    assert kept["cbpe"]["truth"] == pytest.approx(run.confidence[window].mean())
    assert kept["gap"]["truth"] == pytest.approx(kept["cbpe"]["truth"] - run.estimate["truth"])
    assert kept["brier"]["truth"] == pytest.approx(
        np.square(run.confidence[window] - run.correct[window]).mean()
    )
    for each in (*positive.values(), kept["gap"]):
        assert each["lower"] <= each["value"] <= each["upper"]


def test_where_everything_is_asked_and_answered_the_estimates_are_the_truth():
    simulation = Simulation(
        gaussian_table(300), settings("class-1", budget=1.0), people("none", no_answer=0.0, noise=0.0)
    )
    estimate = simulation().estimate
    for each in (estimate, *estimate["positive"].values(), *estimate["calibration"].values()):
        assert each["value"] == pytest.approx(each["truth"], abs=1e-5)  # tickets hold millionths


def test_the_result_averages_them_over_seeds_and_leaves_out_what_nobody_asked_for():
    pairs = [
        compare_seed(gaussian_table(300, seed=s), settings("class-1"), people(), Plan(), baseline=False)
        for s in (0, 1)
    ]
    found = report(pairs, settings("class-1"), people())["estimate"]
    values = [pair.rule.estimate["positive"]["recall"]["value"] for pair in pairs]
    assert found["positive"]["recall"]["value"] == pytest.approx(np.mean(values))
    plain = Simulation(gaussian_table(300), settings(None), people())().estimate
    assert "positive" not in plain
    assert plain["calibration"].keys() == {"ece", "brier", "cbpe", "gap"}


def test_a_class_that_never_comes_is_no_number_and_no_crash():
    pair = compare_seed(gaussian_table(200), settings("nowhere"), people(), Plan(), baseline=False)
    found = report([pair], settings("nowhere"), people())["estimate"]["positive"]
    assert found["recall"]["value"] is None
    assert found["recall"]["truth"] is None
    assert found["false_positive"]["truth"] == 0.0
