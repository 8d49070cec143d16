"""The comparison: random sampling with as many learned labels, figures that average and pair rightly."""

from __future__ import annotations

import numpy as np
import pytest
from support.tables import gaussian_table, people, settings

from stream_al.comparison import compare_seed, random_sample, report
from stream_al.simulate import Plan, Simulation


@pytest.fixture(scope="module")
def pair():
    return compare_seed(gaussian_table(), settings(), people(), Plan())


def test_the_baseline_learns_as_many_labels(pair):
    assert pair.random is not None
    assert pair.rule.learned > 40
    assert abs(pair.rule.learned - pair.random.learned) <= 1


def test_the_paced_baseline_learns_as_many_with_the_same_head_start(pair):
    assert pair.paced is not None
    assert abs(pair.rule.learned - pair.paced.learned) <= 1
    early = [sum(row < 40 for row in run.asked_rows) for run in (pair.rule, pair.paced, pair.random)]
    assert abs(early[0] - early[1]) <= 6
    assert early[2] < early[1]


def test_with_two_votes_a_request_the_labels_are_still_equal():
    changed = settings(0.2, overlap=2)
    found = compare_seed(gaussian_table(), changed, people("lognormal:50,1"), Plan())
    assert found.rule.learned > 20
    assert found.rule.learned == found.random.learned == found.paced.learned


def test_the_baseline_is_spread_over_the_whole_stream(pair):
    rows = np.array(pair.random.asked_rows)
    assert 0.35 < rows.mean() / 800 < 0.65


def test_the_sample_is_no_longer_than_needed():
    simulation = Simulation(gaussian_table(), settings(), people("none", no_answer=0.0), Plan())
    assert len(random_sample(simulation, 30)) <= 31
    assert random_sample(simulation, 0) == []


def test_the_report_is_the_contract(pair):
    found = report([pair], settings(), people())
    wanted = {
        "schema", "events", "seeds", "labels", "accuracy", "estimate",
        "effective_delay_events", "curve", "reliability", "baseline", "efficiency",
        "events_per_second", "config",
    }  # fmt: skip
    assert wanted <= found.keys()
    assert {"budget", "asked", "answered", "learned", "share", "worst_excess"} <= found["labels"].keys()
    assert {"value", "lower", "upper", "n_effective", "truth", "labelled_only"} <= found["estimate"].keys()
    assert found["accuracy"]["prequential"] == pytest.approx(pair.rule.confusion.accuracy)
    assert found["efficiency"]["labels_difference"] <= 1
    assert "ticket_keys" not in found["config"]


def test_means_and_errors_are_over_seeds(pair):
    other = compare_seed(gaussian_table(seed=1), settings(), people(), Plan())
    found = report([pair, other], settings(), people())
    kappas = [p.rule.confusion.kappa for p in (pair, other)]
    gains = [p.rule.confusion.kappa - p.random.confusion.kappa for p in (pair, other)]
    assert found["accuracy"]["kappa"] == pytest.approx(np.mean(kappas))
    assert found["standard_error"]["accuracy"]["kappa"] == pytest.approx(np.std(kappas, ddof=1) / 2**0.5)
    assert found["efficiency"]["kappa"]["gain"] == pytest.approx(np.mean(gains))
    assert len(found["per_seed"]) == 2
