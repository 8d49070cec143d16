"""What tells whether the service is healthy: readiness, time, lag, commits, events."""

from __future__ import annotations

import platform

from stream_al import __version__
from stream_al.metrics.family import PARTITION, Family, Read, each, one


def _lag(part: int) -> Read:
    """Read a part of (records, seconds) of each partition that this process owns."""
    return lambda s: [((str(p),), lag[part]) for p, lag in sorted(s.event_lag.items())]


SERVING: tuple[Family, ...] = (
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
        one(lambda s: s.ready),
    ),
    Family(
        "stream_al_last_tick_timestamp_seconds",
        "gauge",
        "process",
        "When the loop turned last.",
        one(lambda s: s.last_tick_at),
    ),
    Family(
        "stream_al_batch_seconds",
        "histogram",
        "process",
        "Time of one micro-batch, from decoding to its commit.",
        one(lambda s: s.batch),
    ),
    Family(
        "stream_al_commit_seconds",
        "histogram",
        "process",
        "Time of one commit.",
        one(lambda s: s.commit),
    ),
    Family(
        "stream_al_commits_lost_total",
        "counter",
        "process",
        "Commits that failed and were done again from the truth.",
        one(lambda s: s.lost_commits),
    ),
    Family(
        "stream_al_unscored_events_total",
        "counter",
        "process",
        "Events that the query score failed on; they are not chosen.",
        one(lambda s: s.unscored),
    ),
    Family(
        "stream_al_forgotten_candidates_total",
        "counter",
        "process",
        "Candidates of open blocks that the log had forgotten at a restart; they are not asked about.",
        one(lambda s: s.forgotten_candidates),
    ),
    Family(
        "stream_al_consumer_lag_records",
        "gauge",
        "partition",
        "Events behind the newest one, on Kafka; gone when the partition goes to another replica.",
        _lag(0),
        PARTITION,
    ),
    Family(
        "stream_al_consumer_lag_seconds",
        "gauge",
        "partition",
        "Age of the last event that was read while others wait, on Kafka.",
        _lag(1),
        PARTITION,
    ),
    Family(
        "stream_al_consumer_rebalances_total",
        "counter",
        "process",
        "Times that the group gave this process its partitions, on Kafka.",
        one(lambda s: s.rebalances),
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
        each(lambda state: state.events),
        PARTITION,
    ),
    Family(
        "stream_al_newest_event_timestamp_seconds",
        "gauge",
        "partition",
        "Log time of the newest event that was decided.",
        each(lambda state: state.now / 1000),
        PARTITION,
    ),
    Family(
        "stream_al_dead_letters_total",
        "counter",
        "process",
        "Records that could not be used: events and replies; on Kafka since this process started.",
        one(lambda s: s.dead_letters),
    ),
    Family(
        "stream_al_bad_events_ratio",
        "gauge",
        "process",
        "Share of invalid records among the last thousand events.",
        one(lambda s: s.bad_ratio),
    ),
    Family(
        "stream_al_reply_lag_records",
        "gauge",
        "process",
        "Offsets of the reply log that are not folded yet; 0 when its end was reached.",
        one(lambda s: s.reply_lag),
    ),
    Family(
        "stream_al_batch_mean_uncertainty_ratio",
        "gauge",
        "process",
        "Mean query score of the last micro-batch.",
        one(lambda s: s.mean_uncertainty),
    ),
    Family(
        "stream_al_batch_mean_confidence_ratio",
        "gauge",
        "process",
        "Mean probability of the predicted class in the last micro-batch.",
        one(lambda s: s.mean_confidence),
    ),
)
"""Families of the running service and of its stream."""
