"""The board: what the loop shows to everybody else, and the small errands others have for the loop.

The engine belongs to one thread at a time. It publishes a new immutable snapshot after a tick with one
assignment; other threads read that, and nothing else of the engine's. What needs the engine itself (a
score, a fingerprint) is handed over as an errand and done between two ticks, or while the engine rests in
a poll, so that no decision is ever disturbed by a reader.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from stream_al.engine import Engine, Tick
from stream_al.learner import OUTCOMES, Learner
from stream_al.log.protocol import DEAD_LETTERS, LABEL_REPLIES, Log
from stream_al.query.window import SCALE
from stream_al.query_scores import QueryScores
from stream_al.snapshot import Buckets, Snapshot

BAD_WINDOW = 1_000
"""Events over which the share of invalid records is taken."""
BAD_LIMIT = 0.5
DEAD_LETTERED = OUTCOMES[-6:]
"""Outcomes of replies that get a dead letter."""
MAX_ERRANDS = 64
REPLY_LAG_LIMIT = 1_000
"""Records of the reply log that a ready service may still have to fold."""
EVENT_LAG_SECONDS = 60.0
"""Age of the last event read, with others waiting, above which a service is not ready."""
UNSETTLED_SECONDS = 10.0
"""How long a ready service may be without its partitions: most rebalances take less."""
_WORK = ("decode", "score", "query score", "decide", "encode out", "commit")

T = TypeVar("T")


class Busy(Exception):
    """The loop has too many errands already, or has ended."""


@runtime_checkable
class Grouped(Protocol):
    """A log whose events are shared by a group of processes."""

    outcomes: Counter[str]
    rebalances: int

    def lag(self) -> Mapping[int, tuple[int, float]]:
        """Return how far each partition that is owned now is behind, in records and in seconds."""
        ...


class Board:
    """Published state of one engine.

    Parameters
    ----------
    engine : Engine
    log : Log
        The engine's own.
    beaten_at : callable returning float
        When the loop last turned or waited for its log, in seconds since the epoch.
    engine_lock : Lock, optional
        Held by the engine's thread but while it rests.

    Attributes
    ----------
    current : Snapshot
        The newest one; replaced, never changed.
    on_commit : callable
        Called on the engine's thread after each commit; must be quick.
    """

    def __init__(
        self,
        engine: Engine,
        log: Log,
        beaten_at: Callable[[], float] = lambda: 0.0,
        engine_lock: threading.Lock | None = None,
    ) -> None:
        self.current = Snapshot(started_at=time.time(), last_tick_at=time.time())
        self.on_commit: Callable[[], None] = lambda: None
        self._engine = engine
        self._log = log
        self._group = log if isinstance(log, Grouped) else None
        self._beaten_at = beaten_at
        self._engine_lock = engine_lock
        self._called = threading.Event()
        self._unsettled_since: float | None = None
        self._batch, self._commit = Buckets(), Buckets()
        self._errands: queue.Queue[tuple[Callable[[], Any], Future[Any]]] = queue.Queue(MAX_ERRANDS)
        self._rejections = Rejections(engine.learner)
        self._recent: deque[tuple[int, int]] = deque()
        self._accuracy_at = -1
        if engine_lock is not None:
            threading.Thread(target=self._attend, name="stream-al-errands", daemon=True).start()

    # ---- the engine's side --------------------------------------------------------------------

    def publish(self, tick: Tick, reply_lag: int = 0) -> None:
        """Show what a tick did, and how far the fold of the replies is behind."""
        was = self.current
        changes: dict[str, Any] = {"last_tick_at": time.time(), "phase": "running", "reply_lag": reply_lag}
        if tick.committed:
            stages = tick.stage_seconds
            self._batch.observe(sum(stages.get(stage, 0.0) for stage in _WORK))
            self._commit.observe(stages.get("commit", 0.0))
            bad_replies = self._rejections.settle(self._engine)
            self._count_bad(tick.events, max(0, tick.dead_letters - bad_replies))
            changes |= {
                "commits": was.commits + 1,
                "batch": self._batch.counts(),
                "commit": self._commit.counts(),
                "bad_ratio": self._bad_ratio(),
                **_means(tick),
                "unscored": self._engine.scores.failures,
                "forgotten_candidates": self._engine.forgotten_candidates,
                "score_error": self._engine.scores.error,
            }
        if self._group is not None:
            # nothing but the records themselves could be counted: offsets also count transactions
            changes["dead_letters"] = was.dead_letters + (tick.dead_letters if tick.committed else 0)
        elif tick.dead_letters or was.phase != "running":
            changes["dead_letters"] = self._log.bounds(DEAD_LETTERS, 0)[1]
        if tick.lost:
            changes["lost_commits"] = was.lost_commits + 1
        changes |= self._owned()
        changes["problems"] = tuple(
            problem
            for problem in (
                _bad_events(changes.get("bad_ratio", was.bad_ratio)),
                _replies_behind(reply_lag),
                _events_behind(changes.get("event_lag", {})),
                self._without_partitions(),
            )
            if problem
        )
        self.current = replace(was, **changes, **self._fold())
        if tick.committed:
            self.on_commit()

    def silent(self, problem: str) -> None:
        """Show that the log does not answer; the next tick that does takes it back."""
        self.current = replace(self.current, last_tick_at=time.time(), problems=(problem,))

    def _owned(self) -> dict[str, Any]:
        """Return what is known of the partitions that are this process's at this moment."""
        states = self._engine.states
        if self._group is None:
            return {"partitions": states}
        lag = self._group.lag()
        settled = states.keys() == lag.keys()
        self._unsettled_since = None if settled else self._unsettled_since or time.monotonic()
        return {
            # what is no longer assigned may be another replica's by now: it is not shown twice
            "partitions": {p: state for p, state in states.items() if p in lag},
            "event_lag": lag,
            "rebalances": self._group.rebalances,
            "commit_outcomes": dict(self._group.outcomes),
        }

    def _without_partitions(self) -> str | None:
        since = self._unsettled_since
        if since is None or time.monotonic() - since < UNSETTLED_SECONDS:
            return None
        return (
            f"the group has given out no partitions for {time.monotonic() - since:.0f} s: members join and "
            "leave, or one that is gone is waited for"
        )

    def closing(self) -> None:
        """Show that the service stops, wake those who wait, and send those with an errand away."""
        self.current = replace(self.current, phase="stopping", problems=("stopping",))
        self.on_commit()
        self._called.set()
        with suppress(queue.Empty):
            while True:
                _, future = self._errands.get_nowait()
                if future.set_running_or_notify_cancel():
                    future.set_exception(Busy())

    @property
    def learner(self) -> Learner:
        """The engine's learner; for errands only."""
        return self._engine.learner

    @property
    def scores(self) -> QueryScores:
        """The engine's query scores; for errands only."""
        return self._engine.scores

    @property
    def settled(self) -> bool:
        """Whether every bad reply folded so far has its dead letter, so that a base may replace the log."""
        return self._rejections.settled

    def run_errands(self) -> None:
        """Do what others asked for; by whoever holds the engine."""
        self._called.clear()
        for _ in range(MAX_ERRANDS):
            try:
                errand, future = self._errands.get_nowait()
            except queue.Empty:
                return
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(errand())
                except Exception as error:
                    future.set_exception(error)

    def _attend(self) -> None:
        """Do errands while the engine rests."""
        assert self._engine_lock is not None  # noqa: S101 - started with one only
        while self._called.wait() and self.current.phase != "stopping":
            with self._engine_lock:
                # replies may have been folded since the last tick ended
                self.current = replace(self.current, **self._fold())
                self.run_errands()

    def _fold(self) -> dict[str, Any]:
        """Return what the reply log says, worked out anew only when the position moved."""
        learner = self._engine.learner
        if self._accuracy_at == learner.position:
            return {}
        self._accuracy_at = learner.position
        delays = {f"delay_p{p}_seconds": learner.book.delay_quantile(p / 100) for p in (50, 95)}
        return {
            "labels": tuple(learner.labels),
            "learned_by_class": tuple(learner.learned_by_class),
            "outcomes": dict(learner.outcomes),
            "position": learner.position,
            "log_time_ms": learner.now,
            "samples": learner.samples,
            "refused_columns": learner.columns.refused,
            "accuracy": learner.accuracy(),
            "advantage": learner.random_share.advantage() if learner.random_share else None,
            "error_alarm": learner.alarm.state(),
            "chosen_asks": learner.chosen_asks,
            "floor_asks": learner.floor_asks,
            **{name: None if ms is None else ms / 1000 for name, ms in delays.items()},
        }

    def _count_bad(self, good: int, bad: int) -> None:
        self._recent.append((good, bad))
        seen = sum(map(sum, self._recent))
        while seen - sum(self._recent[0]) >= BAD_WINDOW:
            seen -= sum(self._recent.popleft())

    def _bad_ratio(self) -> float:
        seen = sum(map(sum, self._recent))
        return sum(bad for _, bad in self._recent) / max(seen, BAD_WINDOW)

    # ---- everybody else's side ----------------------------------------------------------------

    def look(self) -> Snapshot:
        """Return the newest snapshot, and in it when the loop last turned or waited for its log."""
        found = self.current
        return replace(found, last_tick_at=max(found.last_tick_at, self._beaten_at()))

    def ask(self, errand: Callable[[], T]) -> Future[T]:
        """Hand an errand to whoever holds the engine next.

        Raises
        ------
        Busy
            Too many wait already, or the service stops.
        """
        future: Future[T] = Future()
        try:
            self._errands.put_nowait((errand, future))
        except queue.Full:
            raise Busy from None
        self._called.set()
        if self.current.phase == "stopping":  # looked at after putting: nobody may come for it any more
            raise Busy
        return future

    def fingerprint(self) -> dict[str, object]:
        """Return the model's fingerprint and the position it is of; for errands only."""
        learner = self._engine.learner
        return {"fingerprint": learner.fingerprint(), "position": learner.position}


class Rejections:
    """How many bad replies were folded, and whether all of them have their dead letters.

    A reply is folded before its dead letter is committed, so between the two a base must not be
    written: after a crash the reply would not be folded, and so not be dead-lettered, again.
    """

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._settled = self._folded()

    def _folded(self) -> int:
        return sum(self._learner.outcomes[outcome] for outcome in DEAD_LETTERED)

    @property
    def settled(self) -> bool:
        """Whether nothing waits for a dead letter."""
        return self._folded() == self._settled

    def settle(self, engine: Engine) -> int:
        """Note a commit; return how many bad replies it may have written dead letters of."""
        owner = engine.states.get(0)
        folded = self._folded()
        if owner is not None and owner.reply_position < engine.learner.position:
            return 0
        fresh, self._settled = folded - self._settled, folded
        return fresh


def reply_lag(log: Log, learner: Learner) -> int:
    """Return how far the fold is behind the end of the reply log, in offsets.

    On a log whose offsets are not dense it is above 0 even where nothing is left to fold.
    """
    return max(0, log.bounds(LABEL_REPLIES, 0)[1] - learner.position)


def _bad_events(ratio: float) -> str | None:
    if ratio <= BAD_LIMIT:
        return None
    return (
        f"{100 * ratio:.0f} % of the last {BAD_WINDOW:,} events were invalid; look at the dead letters "
        "(`stream-al tail dead-letters`)"
    )


def _replies_behind(lag: int) -> str | None:
    if lag <= REPLY_LAG_LIMIT:
        return None
    return f"{lag:,} records of the reply log are not folded yet; expected at most {REPLY_LAG_LIMIT:,}"


def _events_behind(lag: Mapping[int, tuple[int, float]]) -> str | None:
    late = {p: behind for p, behind in lag.items() if behind[1] > EVENT_LAG_SECONDS}
    if not late:
        return None
    records, seconds = sum(r for r, _ in late.values()), max(s for _, s in late.values())
    return (
        f"{records:,} events wait in partitions {', '.join(map(str, sorted(late)))}, up to {seconds:.0f} s "
        f"behind; expected at most {EVENT_LAG_SECONDS:.0f} s"
    )


def _means(tick: Tick) -> dict[str, Any]:
    """Return the batch's mean query score and mean confidence; nothing where no event was valid."""
    if tick.scored is None or not tick.decided:
        return {}
    n = len(tick.decided)
    uncertainty = sum(decision.score for _, _, decision in tick.decided) / n / SCALE
    confidence = float(np.max(tick.scored.shown[:n], axis=1).mean())
    return {"mean_uncertainty": uncertainty, "mean_confidence": confidence if tick.scored.fitted else None}
