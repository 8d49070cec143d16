"""Metrics: every family is fed, named by the rules, and absolute."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from stream_al.answers import Accuracy
from stream_al.metrics import FAMILIES, make_registry
from stream_al.metrics.family import Family
from stream_al.metrics.learning import MAX_CLASSES
from stream_al.monitor.confidence import confidence_kept
from stream_al.monitor.estimate import Bounds, interval, labelled_only
from stream_al.monitor.ratios import positive_ratios
from stream_al.query.ledger import Budget, Ledger
from stream_al.query.state import QueryState
from stream_al.random_share import Advantage
from stream_al.snapshot import SECONDS, Buckets, Snapshot

LOSSES = np.array([0.0, 0.0, 0.0, 1.0] * 20)
SPAM = np.arange(80) % 2 == 0
ESTIMATED = Accuracy(
    interval(LOSSES, np.ones(80)),
    labelled_only(LOSSES),
    Bounds(0.6, 0.9),
    0.8,
    False,
    None,
    None,
    confidence_kept(np.full(80, 0.9), LOSSES == 0.0, np.ones(80)),
    positive_ratios(SPAM, SPAM ^ (LOSSES == 1.0), np.ones(80)),
)


def full_snapshot() -> Snapshot:
    times = Buckets()
    for seconds in (0.0005, 0.3, 60.0):
        times.observe(seconds)
    state = QueryState(Ledger.opened(Budget(0.05)), now=1_700_000_000_500, events=1_000, asked=40)
    return Snapshot(
        phase="running",
        reply_lag=3,
        event_lag={0: (7, 0.5), 1: (0, 0.0)},
        rebalances=2,
        commit_outcomes={"committed": 90, "fenced": 1, "failed": 0},
        problems=(),
        partitions={0: state, 1: state},
        labels=("ham", "spam"),
        learned_by_class=(30, 10),
        outcomes={"learned": 40, "late": 2},
        delay_p50_seconds=60.0,
        delay_p95_seconds=600.0,
        accuracy=ESTIMATED,
        advantage=Advantage(12, interval(LOSSES, np.ones(80)), 0.1, 0.05, 0.15),
        open_requests=7,
        batch=times.counts(),
        commit=times.counts(),
        mean_uncertainty=0.4,
        mean_confidence=0.9,
        chosen_asks=False,
    )


def exported(snapshot: Snapshot) -> dict[str, float]:
    """Return every sample as `name{labels}` to value."""
    text = generate_latest(make_registry(lambda: snapshot)).decode()
    return {
        sample.name + "".join(f"|{value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_family_has_a_name_by_the_rules_and_is_fed(family: Family) -> None:
    assert re.fullmatch(r"stream_al_[a-z0-9_]+", family.name)
    assert family.name.endswith("_total") == (family.kind == "counter")
    assert family.help[0].isupper() or family.help[0].isdigit()
    assert family.help.endswith(".")
    readings = list(family.read(full_snapshot()))
    assert readings
    assert all(len(labels) == len(family.labels) for labels, _ in readings)


def test_names_are_unique() -> None:
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)


def test_values_are_those_of_the_snapshot() -> None:
    found = exported(full_snapshot())
    assert found["stream_al_events_total|0"] == found["stream_al_events_total|1"] == 1_000
    assert found["stream_al_label_tokens|0"] == 25.0
    assert found["stream_al_label_replies_total|learned"] == 40
    assert found["stream_al_labels_learned_total|spam"] == 10
    assert found["stream_al_asking|chosen"] == 0
    assert found["stream_al_asking|floor"] == 1
    assert found["stream_al_estimated_accuracy_ratio"] == pytest.approx(0.75)
    assert found["stream_al_estimated_recall_ratio"] == 1.0 > found["stream_al_estimated_recall_lower_ratio"]
    assert found["stream_al_estimated_precision_ratio"] == pytest.approx(40 / 60)
    assert found["stream_al_estimated_false_positive_ratio"] == pytest.approx(0.5)
    assert found["stream_al_cbpe_gap_ratio"] == pytest.approx(0.15)
    assert found["stream_al_cbpe_gap_lower_ratio"] < 0.15 < found["stream_al_cbpe_gap_upper_ratio"]
    assert found["stream_al_cbpe_accuracy_ratio"] == pytest.approx(0.9)
    assert found["stream_al_calibration_error_ratio"] == pytest.approx(0.15)
    assert found["stream_al_newest_event_timestamp_seconds|0"] == 1_700_000_000.5
    assert found["stream_al_open_label_requests"] == 7
    assert found["stream_al_ready"] == 1


def test_histograms_are_cumulative() -> None:
    found = exported(full_snapshot())
    assert found["stream_al_batch_seconds_bucket|0.001"] == 1
    assert found["stream_al_batch_seconds_bucket|0.5"] == 2
    assert found[f"stream_al_batch_seconds_bucket|{SECONDS[-1]}"] == 2
    assert found["stream_al_batch_seconds_bucket|+Inf"] == found["stream_al_batch_seconds_count"] == 3
    assert found["stream_al_batch_seconds_sum"] == pytest.approx(60.3005)


def test_an_estimate_is_absent_unless_it_may_be_shown() -> None:
    few = np.array([0.0, 1.0])
    for accuracy in (
        None,
        ESTIMATED._replace(withheld=True),
        ESTIMATED._replace(hajek=interval(few, np.ones(2))),
    ):
        found = exported(replace(full_snapshot(), accuracy=accuracy))
        assert not any(name.startswith("stream_al_estimated_accuracy") for name in found)
        assert not any("cbpe" in name or "calibration" in name or "brier" in name for name in found)


def test_many_classes_share_one_series() -> None:
    labels = tuple(f"class {i}" for i in range(MAX_CLASSES + 5))
    found = exported(replace(full_snapshot(), labels=labels, learned_by_class=(2,) * len(labels)))
    series = [name for name in found if name.startswith("stream_al_labels_learned_total")]
    assert len(series) == MAX_CLASSES + 1
    assert found["stream_al_labels_learned_total|other"] == 10


def test_reading_twice_counts_nothing() -> None:
    registry = make_registry(full_snapshot)
    assert generate_latest(registry) == generate_latest(registry)
    assert "_created" not in generate_latest(registry).decode()
