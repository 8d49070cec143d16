"""What Prometheus sees: a typed table of metric families over one immutable snapshot of the service.

Totals are absolute numbers taken from state, never incremented here: a restart, a replay or a partition
that moves does not count anything twice. A family stands in the table only if something feeds it.

A family's *scope* says how replicas add up. ``log``: a function of the log, the same on every replica
(``max by (job)``). ``partition``: from a partition's state, on one replica (``sum``). ``process``: its own.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from stream_al import __version__
from stream_al.answers import Accuracy
from stream_al.monitor.confidence import Confidence
from stream_al.monitor.estimate import Estimate
from stream_al.monitor.ratios import PositiveRatios
from stream_al.query.ledger import TOKEN, Ledger
from stream_al.query.state import QueryState
from stream_al.snapshot import SECONDS, BucketCounts, Snapshot

MAX_CLASSES = 20
"""Classes with a series of their own; the others are summed as ``other``."""

Reading = tuple[tuple[str, ...], float | BucketCounts]
Read = Callable[[Snapshot], Iterable[Reading]]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name, type, scope, sentence, and how it is read off a snapshot."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    scope: Literal["log", "partition", "process"]
    help: str
    read: Read
    labels: tuple[str, ...] = ()


def _one(value: Callable[[Snapshot], float | BucketCounts | None]) -> Read:
    """Read one number; the series is absent while there is none."""

    def read(snapshot: Snapshot) -> Iterable[Reading]:
        found = value(snapshot)
        return () if found is None else (((), found),)

    return read


def _each(value: Callable[[QueryState], float]) -> Read:
    """Read one number a partition."""
    return lambda snapshot: [((str(p),), value(state)) for p, state in sorted(snapshot.partitions.items())]


def _tokens(value: Callable[[Ledger], int]) -> Read:
    """Read an amount of the ledger of each partition, in tokens."""
    return _each(lambda state: value(state.ledger) / TOKEN)


def _with_interval(
    name: str, sentence: str, find: Callable[[Accuracy], Estimate | None]
) -> tuple[Family, ...]:
    """Return the families of an estimate and of the ends of its interval; absent where not to be shown."""

    def read(end: str) -> Read:
        def value(snapshot: Snapshot) -> float | None:
            accuracy = snapshot.accuracy
            found = None if accuracy is None else find(accuracy)
            if accuracy is None or found is None or not accuracy.shows(found):
                return None
            return {"value": found.value, "lower": found.lower, "upper": found.upper}[end]

        return _one(value)

    lower, upper = (f"{end} end of its 95 % interval." for end in ("Lower", "Upper"))
    return (
        Family(f"{name}_ratio", "gauge", "log", sentence, read("value")),
        Family(f"{name}_lower_ratio", "gauge", "log", lower, read("lower")),
        Family(f"{name}_upper_ratio", "gauge", "log", upper, read("upper")),
    )


def _positive(find: Callable[[PositiveRatios], Estimate]) -> Callable[[Accuracy], Estimate | None]:
    """Find a ratio of the positive class; there is none where no class is named positive."""
    return lambda a: None if a.positive is None else find(a.positive)


def _confidence(value: Callable[[Confidence], float]) -> Read:
    """Read a part of what confidence is worth; absent where the accuracy may not be shown."""
    return _one(
        lambda s: (
            value(s.accuracy.confidence)
            if s.accuracy and s.accuracy.confidence and s.estimate_shown
            else None
        )
    )


def _answers(value: Callable[[Accuracy], float]) -> Read:
    """Read what describes the answers of the window, whether or not the estimate is shown."""
    return _one(lambda s: value(s.accuracy) if s.accuracy is not None and s.accuracy.hajek.answered else None)


def _by_class(snapshot: Snapshot) -> Iterable[Reading]:
    counts = snapshot.learned_by_class
    for label, count in zip(snapshot.labels[:MAX_CLASSES], counts, strict=False):
        yield (label,), count
    if len(counts) > MAX_CLASSES:
        yield ("other",), sum(counts[MAX_CLASSES:])


def _lag(part: int) -> Read:
    """Read a part of (records, seconds) of each partition that this process owns."""
    return lambda s: [((str(p),), lag[part]) for p, lag in sorted(s.event_lag.items())]


_PARTITION = ("partition",)

FAMILIES: tuple[Family, ...] = (
    Family(
        "stream_al_build_info",
        "gauge",
        "process",
        "Version of stream-al and of Python; always 1.",
        lambda s: [((__version__, platform.python_version()), 1)],
        ("version", "python"),
    ),
    Family(
        "stream_al_ready",
        "gauge",
        "process",
        "1 while the service is restored, caught up and sees mostly valid events.",
        _one(lambda s: s.ready),
    ),
    Family(
        "stream_al_last_tick_timestamp_seconds",
        "gauge",
        "process",
        "When the loop turned last.",
        _one(lambda s: s.last_tick_at),
    ),
    Family(
        "stream_al_batch_seconds",
        "histogram",
        "process",
        "Time of one micro-batch, from decoding to its commit.",
        _one(lambda s: s.batch),
    ),
    Family(
        "stream_al_commit_seconds",
        "histogram",
        "process",
        "Time of one commit.",
        _one(lambda s: s.commit),
    ),
    Family(
        "stream_al_commits_lost_total",
        "counter",
        "process",
        "Commits that failed and were done again from the truth.",
        _one(lambda s: s.lost_commits),
    ),
    Family(
        "stream_al_unscored_events_total",
        "counter",
        "process",
        "Events that the query score failed on; they are not chosen.",
        _one(lambda s: s.unscored),
    ),
    Family(
        "stream_al_forgotten_candidates_total",
        "counter",
        "process",
        "Candidates of open blocks that the log had forgotten at a restart; they are not asked about.",
        _one(lambda s: s.forgotten_candidates),
    ),
    Family(
        "stream_al_consumer_lag_records",
        "gauge",
        "partition",
        "Events behind the newest one, on Kafka; gone when the partition goes to another replica.",
        _lag(0),
        _PARTITION,
    ),
    Family(
        "stream_al_consumer_lag_seconds",
        "gauge",
        "partition",
        "Age of the last event that was read while others wait, on Kafka.",
        _lag(1),
        _PARTITION,
    ),
    Family(
        "stream_al_consumer_rebalances_total",
        "counter",
        "process",
        "Times that the group gave this process its partitions, on Kafka.",
        _one(lambda s: s.rebalances),
    ),
    Family(
        "stream_al_consumer_commits_total",
        "counter",
        "process",
        "Commits by outcome, on Kafka: `fenced` is another replica's gain, `failed` the brokers' failure.",
        lambda s: [((outcome,), count) for outcome, count in s.commit_outcomes.items()],
        ("outcome",),
    ),
    Family(
        "stream_al_events_total",
        "counter",
        "partition",
        "Valid events that were scored and decided.",
        _each(lambda state: state.events),
        _PARTITION,
    ),
    Family(
        "stream_al_newest_event_timestamp_seconds",
        "gauge",
        "partition",
        "Log time of the newest event that was decided.",
        _each(lambda state: state.now / 1000),
        _PARTITION,
    ),
    Family(
        "stream_al_dead_letters_total",
        "counter",
        "process",
        "Records that could not be used: events and replies; on Kafka since this process started.",
        _one(lambda s: s.dead_letters),
    ),
    Family(
        "stream_al_bad_events_ratio",
        "gauge",
        "process",
        "Share of invalid records among the last thousand events.",
        _one(lambda s: s.bad_ratio),
    ),
    Family(
        "stream_al_label_requests_total",
        "counter",
        "partition",
        "Label requests published.",
        _each(lambda state: state.asked),
        _PARTITION,
    ),
    Family(
        "stream_al_label_tokens_allowed_total",
        "counter",
        "partition",
        "Label tokens that the budget has earned so far.",
        _tokens(lambda ledger: ledger.allowance),
        _PARTITION,
    ),
    Family(
        "stream_al_label_tokens_spent_total",
        "counter",
        "partition",
        "Label tokens spent on requests; a request costs its overlap.",
        _tokens(lambda ledger: ledger.spent),
        _PARTITION,
    ),
    Family(
        "stream_al_label_tokens_clipped_total",
        "counter",
        "partition",
        "Label tokens that a full bucket could not take.",
        _tokens(lambda ledger: ledger.clipped),
        _PARTITION,
    ),
    Family(
        "stream_al_label_tokens",
        "gauge",
        "partition",
        "Label tokens at hand.",
        _tokens(lambda ledger: ledger.tokens),
        _PARTITION,
    ),
    Family(
        "stream_al_label_debt_tokens",
        "gauge",
        "partition",
        "Tokens of the starting credit that are not paid back yet.",
        _tokens(lambda ledger: ledger.debt),
        _PARTITION,
    ),
    Family(
        "stream_al_floor_blocked_total",
        "counter",
        "partition",
        "Random asks that could not be made (no token, or paused): the estimate is withheld over them.",
        _each(lambda state: state.ledger.floor_blocked),
        _PARTITION,
    ),
    Family(
        "stream_al_open_label_requests",
        "gauge",
        "process",
        "Requests that still want an answer and are not expired.",
        _one(lambda s: s.open_requests),
    ),
    Family(
        "stream_al_label_replies_total",
        "counter",
        "log",
        "Replies by what became of them; late ones are learned as well.",
        lambda s: [((outcome,), count) for outcome, count in s.outcomes.items()],
        ("outcome",),
    ),
    Family(
        "stream_al_label_delay_p50_seconds",
        "gauge",
        "log",
        "Median time from request to label over the last 400 answers.",
        _one(lambda s: s.delay_p50_seconds),
    ),
    Family(
        "stream_al_label_delay_p95_seconds",
        "gauge",
        "log",
        "95th percentile of the time from request to label over the last 400 answers.",
        _one(lambda s: s.delay_p95_seconds),
    ),
    Family(
        "stream_al_labels_learned_total",
        "counter",
        "log",
        "Labels that the model learned, by class.",
        _by_class,
        ("label",),
    ),
    Family(
        "stream_al_min_labels_per_class",
        "gauge",
        "log",
        "Labels learned of the class that has the fewest; 0 while one has none.",
        _one(lambda s: min(s.learned_by_class, default=None)),
    ),
    Family(
        "stream_al_samples_total",
        "counter",
        "log",
        "Unlabelled samples from which the scale was learned.",
        _one(lambda s: s.samples),
    ),
    Family(
        "stream_al_refused_columns",
        "gauge",
        "log",
        "Times that a new feature found no room: more than `model.columns` are known.",
        _one(lambda s: s.refused_columns),
    ),
    Family(
        "stream_al_model_position",
        "gauge",
        "log",
        "Next offset of the reply log that the model will fold.",
        _one(lambda s: s.position),
    ),
    Family(
        "stream_al_reply_lag_records",
        "gauge",
        "process",
        "Offsets of the reply log that are not folded yet; 0 when its end was reached.",
        _one(lambda s: s.reply_lag),
    ),
    Family(
        "stream_al_reply_log_timestamp_seconds",
        "gauge",
        "log",
        "Log time of the newest reply or sample that was folded.",
        _one(lambda s: s.log_time_ms / 1000),
    ),
    Family(
        "stream_al_asking",
        "gauge",
        "log",
        "1 while asks of this channel go on, 0 while an operator pauses them.",
        lambda s: [(("chosen",), s.chosen_asks), (("floor",), s.floor_asks)],
        ("channel",),
    ),
    *_with_interval(
        "stream_al_estimated_accuracy",
        "Accuracy over all events, from weighted answers; absent until there are enough.",
        lambda a: a.hajek,
    ),
    *_with_interval(
        "stream_al_estimated_precision",
        "Share of the positive class among the events served as such; absent until there are enough answers.",
        _positive(lambda p: p.precision),
    ),
    *_with_interval(
        "stream_al_estimated_recall",
        "Share of the events of the positive class that were served as such; likewise.",
        _positive(lambda p: p.recall),
    ),
    *_with_interval(
        "stream_al_estimated_false_positive",
        "Share of all other events that were served as the positive class; likewise.",
        _positive(lambda p: p.false_positive),
    ),
    Family(
        "stream_al_calibration_error_ratio",
        "gauge",
        "log",
        "Mean distance of confidence and accuracy over ten bins, from weighted answers; never quite 0.",
        _confidence(lambda c: c.error),
    ),
    Family(
        "stream_al_brier_score",
        "gauge",
        "log",
        "Mean squared distance of the confidence from right (1) or wrong (0), from weighted answers.",
        _confidence(lambda c: c.brier),
    ),
    Family(
        "stream_al_cbpe_accuracy_ratio",
        "gauge",
        "log",
        "Mean confidence: the accuracy that the model claims.",
        _confidence(lambda c: c.cbpe),
    ),
    Family(
        "stream_al_cbpe_gap_ratio",
        "gauge",
        "log",
        "Claimed less estimated accuracy; above 0 the model claims too much.",
        _confidence(lambda c: c.gap),
    ),
    Family(
        "stream_al_cbpe_gap_lower_ratio",
        "gauge",
        "log",
        "Lower end of its 95 % interval; above 0: drift, or confidence that is not calibrated.",
        _confidence(lambda c: c.gap_lower),
    ),
    Family(
        "stream_al_cbpe_gap_upper_ratio",
        "gauge",
        "log",
        "Upper end of its 95 % interval; below 0: the model is better than it says.",
        _confidence(lambda c: c.gap_upper),
    ),
    Family(
        "stream_al_estimate_effective_samples",
        "gauge",
        "log",
        "Equally weighted answers that would give an interval as wide.",
        _answers(lambda a: a.hajek.n_effective),
    ),
    Family(
        "stream_al_labelled_only_accuracy_ratio",
        "gauge",
        "log",
        "Accuracy over the asked events alone: far too low, for comparison.",
        _answers(lambda a: a.labelled_only.value),
    ),
    Family(
        "stream_al_response_ratio",
        "gauge",
        "log",
        "Answered share of the requests in the estimate's window.",
        _answers(lambda a: a.response_rate),
    ),
    Family(
        "stream_al_batch_mean_uncertainty_ratio",
        "gauge",
        "process",
        "Mean query score of the last micro-batch.",
        _one(lambda s: s.mean_uncertainty),
    ),
    Family(
        "stream_al_batch_mean_confidence_ratio",
        "gauge",
        "process",
        "Mean probability of the predicted class in the last micro-batch.",
        _one(lambda s: s.mean_confidence),
    ),
)
"""Every metric that is exported."""


class SnapshotCollector(Collector):
    """Makes metric families from the newest snapshot whenever Prometheus asks.

    Parameters
    ----------
    current : callable returning Snapshot
    """

    def __init__(self, current: Callable[[], Snapshot]) -> None:
        self._current = current

    def collect(self) -> Iterator[Metric]:
        """Yield every family, those without a reading empty."""
        snapshot = self._current()
        for family in FAMILIES:
            yield _metric(family, family.read(snapshot))

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not need a snapshot."""
        return ()


def make_registry(current: Callable[[], Snapshot]) -> CollectorRegistry:
    """Return a registry of its own that exports the newest snapshot."""
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(current))
    return registry


def _metric(family: Family, readings: Iterable[Reading]) -> Metric:
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        for labels, counts in readings:
            if isinstance(counts, BucketCounts):
                histogram.add_metric(labels, _cumulative(counts), counts.total_seconds)
        return histogram
    make = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = make(family.name, family.help, labels=family.labels)
    for labels, value in readings:
        if not isinstance(value, BucketCounts):
            metric.add_metric(labels, value)
    return metric


def _cumulative(counts: BucketCounts) -> list[tuple[str, float]]:
    ends = (*map(str, SECONDS), "+Inf")
    return list(zip(ends, map(float, accumulate(counts.counts)), strict=True))
