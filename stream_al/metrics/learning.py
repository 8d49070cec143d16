"""What became of the replies, and what the model learned from them."""

from __future__ import annotations

from collections.abc import Iterable

from stream_al.metrics.family import Family, Reading, one
from stream_al.snapshot import Snapshot

MAX_CLASSES = 20
"""Classes with a series of their own; the others are summed as ``other``."""


def _by_class(snapshot: Snapshot) -> Iterable[Reading]:
    counts = snapshot.learned_by_class
    for label, count in zip(snapshot.labels[:MAX_CLASSES], counts, strict=False):
        yield (label,), count
    if len(counts) > MAX_CLASSES:
        yield ("other",), sum(counts[MAX_CLASSES:])


LEARNING: tuple[Family, ...] = (
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
        one(lambda s: s.delay_p50_seconds),
    ),
    Family(
        "stream_al_label_delay_p95_seconds",
        "gauge",
        "log",
        "95th percentile of the time from request to label over the last 400 answers.",
        one(lambda s: s.delay_p95_seconds),
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
        one(lambda s: min(s.learned_by_class, default=None)),
    ),
    Family(
        "stream_al_samples_total",
        "counter",
        "log",
        "Unlabelled samples from which the scale was learned.",
        one(lambda s: s.samples),
    ),
    Family(
        "stream_al_refused_columns",
        "gauge",
        "log",
        "Times that a new feature found no room: more than `model.columns` are known.",
        one(lambda s: s.refused_columns),
    ),
    Family(
        "stream_al_model_position",
        "gauge",
        "log",
        "Next offset of the reply log that the model will fold.",
        one(lambda s: s.position),
    ),
    Family(
        "stream_al_reply_log_timestamp_seconds",
        "gauge",
        "log",
        "Log time of the newest reply or sample that was folded.",
        one(lambda s: s.log_time_ms / 1000),
    ),
)
"""Families of the fold of the reply log."""
