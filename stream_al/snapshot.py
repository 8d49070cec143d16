"""The service at one moment, as health, status and metrics show it.

The loop makes a new snapshot after a tick and publishes it with one assignment, so that no reader ever
takes a lock or sees half a tick.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from stream_al.answers import Accuracy
from stream_al.monitor.alarm import NO_ALARM, AlarmState
from stream_al.query.state import QueryState
from stream_al.random_share import Advantage

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper ends of the time buckets."""


class BucketCounts(NamedTuple):
    """A histogram at one moment: observations per bucket (the last one is +Inf), and their sum."""

    counts: tuple[int, ...]
    total_seconds: float


NO_TIMES = BucketCounts((0,) * (len(SECONDS) + 1), 0.0)
"""A histogram without observations."""


class Buckets:
    """A histogram of seconds that costs half a microsecond an observation."""

    def __init__(self) -> None:
        self._counts = [0] * (len(SECONDS) + 1)
        self._total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one observation."""
        self._counts[bisect_left(SECONDS, seconds)] += 1
        self._total += seconds

    def counts(self) -> BucketCounts:
        """Return what was counted so far."""
        return BucketCounts(tuple(self._counts), self._total)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The service after one tick. Nothing in it changes, so any thread may read it.

    Attributes
    ----------
    phase : {"starting", "running", "stopping"}
    started_at, last_tick_at : float
        Seconds since the epoch, by this machine's clock.
    problems : tuple of str
        Why the service is not ready; empty when it is.
    partitions : mapping of partition to QueryState
        Committed states.
    labels, learned_by_class
        Class names and the labels learned of each.
    outcomes : mapping of str to int
        Replies by what became of them.
    position, log_time_ms, samples : int
        How far the reply log is folded, its time, and unlabelled samples seen.
    refused_columns : int
        Times that a feature found no room among the columns.
    delay_p50_seconds, delay_p95_seconds : float or None
        Of the last answers.
    accuracy : Accuracy or None
    advantage : Advantage or None
        Over the model that learns random asks only; None without one.
    error_alarm : AlarmState
        Whether the error has risen.
    chosen_asks, floor_asks : bool
        False while an operator pauses them.
    dead_letters : int
        Ever written; where a group shares the events, by this process since it started.
    open_requests : int or None
        Requests that still want an answer.
    batch, commit : BucketCounts
        Time of a micro-batch, and of its commit.
    commits, lost_commits : int
        Of this process.
    mean_uncertainty, mean_confidence : float or None
        Of the last micro-batch: the query score, and the probability of the predicted class.
    unscored : int
        Events of this process that the query score failed on.
    forgotten_candidates : int
        Candidates of open blocks that the log had forgotten when their partition was restored.
    score_error : str
        What went wrong with it last; empty while nothing has.
    bad_ratio : float
        Share of invalid records among the last thousand events.
    reply_lag : int
        Offsets of the reply log that are not folded yet; 0 where its end was reached.
    event_lag : mapping of partition to (int, float)
        How far each owned partition is behind, in records and in seconds; empty where no group shares them.
    rebalances : int or None
        How often the group gave this process its partitions; None without a group.
    commit_outcomes : mapping of str to int
        Commits of this process by what became of them; empty without a group.
    """

    phase: str = "starting"
    started_at: float = 0.0
    last_tick_at: float = 0.0
    problems: tuple[str, ...] = ("starting",)
    partitions: Mapping[int, QueryState] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    learned_by_class: tuple[int, ...] = ()
    outcomes: Mapping[str, int] = field(default_factory=dict)
    position: int = 0
    log_time_ms: int = 0
    samples: int = 0
    refused_columns: int = 0
    delay_p50_seconds: float | None = None
    delay_p95_seconds: float | None = None
    accuracy: Accuracy | None = None
    advantage: Advantage | None = None
    error_alarm: AlarmState = NO_ALARM
    chosen_asks: bool = True
    floor_asks: bool = True
    dead_letters: int = 0
    open_requests: int | None = None
    batch: BucketCounts = NO_TIMES
    commit: BucketCounts = NO_TIMES
    commits: int = 0
    lost_commits: int = 0
    mean_uncertainty: float | None = None
    mean_confidence: float | None = None
    unscored: int = 0
    forgotten_candidates: int = 0
    score_error: str = ""
    bad_ratio: float = 0.0
    reply_lag: int = 0
    event_lag: Mapping[int, tuple[int, float]] = field(default_factory=dict)
    rebalances: int | None = None
    commit_outcomes: Mapping[str, int] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """Whether the service can be relied on now."""
        return not self.problems

    @property
    def estimate_shown(self) -> bool:
        """Whether the accuracy estimate may be shown: enough answers, and nothing withheld."""
        return self.accuracy is not None and self.accuracy.shows(self.accuracy.hajek)
