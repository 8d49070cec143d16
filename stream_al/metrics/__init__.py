"""What Prometheus sees: a typed table of metric families over one immutable snapshot of the service.

Totals are absolute numbers taken from state, never incremented here: a restart, a replay or a partition
that moves does not count anything twice. A family stands in the table only if something feeds it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from stream_al.metrics.alarm import ALARM
from stream_al.metrics.asking import ASKING
from stream_al.metrics.family import Family, Reading
from stream_al.metrics.learning import LEARNING
from stream_al.metrics.quality import QUALITY
from stream_al.metrics.random_share import RANDOM_SHARE
from stream_al.metrics.serving import SERVING
from stream_al.snapshot import SECONDS, BucketCounts, Snapshot

FAMILIES: tuple[Family, ...] = SERVING + ASKING + LEARNING + QUALITY + ALARM + RANDOM_SHARE
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
