"""Simulation: the real engine on a memory log, under a virtual clock.

A table's rows become events in their order; simulated people answer the requests. The clock never runs
ahead of knowledge: events are fed only up to the next reply that could be due, so the model learns
between two events exactly where the delay says so. Every event is predicted before its label is known.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from stream_al.annotators import Annotators
from stream_al.answers import Accuracy
from stream_al.batches import Late
from stream_al.build import build_engine
from stream_al.decode import decode_event_fields
from stream_al.encode import encode
from stream_al.engine import Engine, Tick, sample_probability
from stream_al.errors import DataError
from stream_al.estimate_and_truth import Truth, estimate_and_truth
from stream_al.log.memory import MemoryLog
from stream_al.log.protocol import DEAD_LETTERS, EVENTS, LABEL_REPLIES, LABEL_REQUESTS, PREDICTIONS, Log
from stream_al.monitor.accuracy import ConfusionMatrix
from stream_al.monitor.calibration import Calibration
from stream_al.monitor.curve import CurvePoint, LearningCurve
from stream_al.query.coin import PlaceCoin
from stream_al.query.ledger import TOKEN
from stream_al.query.policy import Decision, QueryPolicy
from stream_al.settings import Settings
from stream_al.table import Table
from stream_al.virtual_time import due_row, due_rows, person_id, times_of

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
CHUNK, SMALLEST_CHUNK = 500, 8
HOLDOUT_CURVE_POINTS = 20
KAPPA_POINTS = 200


@dataclass(frozen=True, slots=True)
class Plan:
    """How a table is run.

    Attributes
    ----------
    initial : int
        First rows that arrive labelled (organic replies) and are not scored.
    holdout : float
        Share of the rows, the last ones, that are only evaluated.
    tick : int or None
        Events a tick, as in live operation; None learns between two events where the delay says so.
    """

    initial: int = 0
    holdout: float = 0.0
    tick: int | None = None


@dataclass(slots=True)
class Run:
    """What one simulated run gave; arrays are over the scored events in order.

    ``truth`` and ``predicted`` hold the same small integers for the same labels, -1 for none; ``confidence``
    is the probability shown for the prediction, 0 where there was none;
    ``learned_by_event`` how many labels the model had learned when it predicted.
    """

    events: int = 0
    asked: int = 0
    answered: int = 0
    learned: int = 0
    min_per_class: int = 0
    unscored: int = 0
    spent_by_event: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    asked_rows: list[int] = field(default_factory=list)
    unpaid_debt: float = 0.0
    worst_excess: float = 0.0
    confusion: ConfusionMatrix = field(default_factory=ConfusionMatrix)
    correct: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    known: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    calibration: Calibration = field(default_factory=Calibration)
    truth: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    predicted: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    confidence: F64 = field(default_factory=lambda: np.zeros(0))
    learned_by_event: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    positive_probability: F64 | None = None
    positive_truth: NDArray[np.bool_] | None = None
    delays_events: list[int] = field(default_factory=list)
    curve: list[CurvePoint] = field(default_factory=list)
    kappa_curve: list[dict[str, float]] = field(default_factory=list)
    holdout: list[tuple[int, float]] = field(default_factory=list)
    estimate: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    seconds: float = 0.0
    stage_seconds: dict[str, float] = field(default_factory=dict)


MakeLog = Callable[[Callable[[], int]], Log]
Progress = Callable[["Simulation"], None]
Trace = Callable[[bytes], object]


class Simulation:
    """One run of a table through an engine.

    Parameters
    ----------
    table : Table
    settings : Settings
    people : Annotators
    plan : Plan
    policy : QueryPolicy, optional
        In place of the configured one.
    make_log : callable, optional
        Makes the log from the virtual clock; a memory log otherwise, which forgets what was used.

    Raises
    ------
    DataError
        The table has no rows left to score.
    """

    def __init__(
        self,
        table: Table,
        settings: Settings,
        people: Annotators,
        plan: Plan | None = None,
        policy: QueryPolicy | None = None,
        make_log: MakeLog | None = None,
    ) -> None:
        self.table = table
        self.settings = settings
        self.people = people
        self.plan = plan or Plan()
        self.first = self.plan.initial
        self.end = table.n - round(self.plan.holdout * table.n)
        if self.end <= self.first:
            raise DataError(
                f"{table.n} rows less {self.first} initial and {table.n - self.end} held out leave none to "
                "score; take fewer away"
            )
        self.times = times_of(table)
        self._clock_ms = int(self.times[self.first])
        self.log: Log = (make_log or _memory_log)(lambda: self._clock_ms)
        self.engine: Engine = build_engine(settings, self.log, policy=policy)
        self.learner = self.engine.learner
        self.row = self.first
        self.run = Run()
        self._due = due_rows(people, table, self.times, settings.query.overlap)
        self._samples = self._sample_rows()
        self._replies: list[tuple[int, int, int, bytes]] = []
        self._shown = 0
        self._chunk = SMALLEST_CHUNK
        self._stop = self.first
        self.last_tick_events = 0
        self._curve = LearningCurve(window=None)
        self._positive = self._positive_label()
        n = self.end - self.first
        self.run.correct, self.run.known = np.zeros(n, bool), np.zeros(n, bool)
        self.run.spent_by_event, self.run.learned_by_event = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self.run.truth = table.label_codes[self.first : self.end].astype(np.int64)
        self.run.predicted, self.run.confidence = np.full(n, -1), np.zeros(n)
        self._codes = {label: code for code, label in enumerate(table.label_names)}
        if self._positive is not None:
            self.run.positive_probability = np.zeros(n)
            self.run.positive_truth = np.array(
                [table.label(i) == self._positive for i in range(self.first, self.end)], dtype=bool
            )

    def __call__(self, progress: Progress | None = None, trace: Trace | None = None) -> Run:
        """Run to the end and return the result.

        Parameters
        ----------
        progress : callable, optional
            Called after every tick.
        trace : callable, optional
            Receives one JSON line an event: the decision with all that explains it.
        """
        started = time.perf_counter()
        self.engine.tick()  # joins
        self._teach_initial()
        self._evaluate_holdout()
        while self.row < self.end:
            stop = self._safe_stop()
            self._feed(stop)
            before = self.row
            self._tick(trace)
            self.last_tick_events = self.row - before
            self._evaluate_holdout()
            if progress:
                progress(self)
        self.run.seconds = time.perf_counter() - started
        self._finish()
        return self.run

    # ---- the virtual clock --------------------------------------------------------------------

    def _safe_stop(self) -> int:
        """Return up to where events can be fed before a reply or a sample is due."""
        if self.plan.tick is not None:
            return min(self.end, self.row + self.plan.tick)
        stop = min(self.end, self.row + self._chunk)
        if self._replies:
            stop = min(stop, max(self.row + 1, self._replies[0][0]))
        place = int(np.searchsorted(self._samples, self.row))
        if place < len(self._samples):
            stop = min(stop, int(self._samples[place]) + 1)
        return stop

    def _cut(self, tick: Tick) -> int:
        """Return how many events stand before the first answer that this batch itself would cause.

        The law that cuts change nothing makes this exact: the rest is decided again after the answer.
        """
        whole = kept = len(tick.decided)
        if self._replies:
            kept = min(kept, max(1, self._replies[0][0] - self.row))
        for i, (_, _, decision) in enumerate(tick.decided):
            if i >= kept:
                break
            if decision.asked:
                kept = min(kept, int(self._due[self.row + i]) - self.row)
        for late in tick.late:
            due = self._due_at(self.row + late.place, late.event_id)
            kept = min(kept, due - self.row) if late.place < kept else kept
        # chunks grow while nothing is cut off, so that little is decided twice
        self._chunk = min(CHUNK, 2 * self._chunk) if kept == whole else max(SMALLEST_CHUNK, kept)
        return kept

    def _due_at(self, row: int, asked_id: str) -> int:
        """Return before which row the first answer would be there if an event was asked about at ``row``."""
        people = range(self.settings.query.overlap)
        delays = self.people.delay.delays(person_id(asked_id, number) for number in people)
        return min(due_row(self.times, row, float(delay), self.people.delay.unit) for delay in delays)

    def _feed(self, stop: int) -> None:
        """Append the replies that are due before the next event, then the events."""
        self._deliver(before_row=self.row)
        rows = range(self.row, stop)
        self._clock_ms = max(self._clock_ms, int(self.times[stop - 1]))
        if isinstance(self.log, MemoryLog):
            for i in rows:
                self.log.append(EVENTS, None, self.table.event_json(i), timestamp_ms=int(self.times[i]))
        else:
            self.log.append_many(EVENTS, [(None, self.table.event_json(i)) for i in rows])
        self._stop = stop

    def _deliver(self, before_row: int) -> None:
        while self._replies and self._replies[0][0] <= before_row:
            row, _, asked_row, value = heapq.heappop(self._replies)
            now = int(self.times[min(row, self.end - 1)])
            if isinstance(self.log, MemoryLog):
                self.log.append(LABEL_REPLIES, None, value, timestamp_ms=now)
            else:
                self._clock_ms = max(self._clock_ms, now)
                self.log.append(LABEL_REPLIES, None, value)
            self.run.delays_events.append(row - asked_row)
        while self.engine.fold_some():
            pass
        self._forget(LABEL_REPLIES, self.learner.position)

    def _tick(self, trace: Trace | None) -> None:
        while self.row < self._stop:
            if self._replies and self._replies[0][0] <= self.row and self.plan.tick is None:
                self._deliver(before_row=self.row)
            learned = sum(self.learner.answers_by_class)
            tick = self.engine.tick(cut=self._cut if self.plan.tick is None else None)
            if tick.dead_letters:
                self._refuse_bad_rows()
            for stage, seconds in tick.stage_seconds.items():
                self.run.stage_seconds[stage] = self.run.stage_seconds.get(stage, 0.0) + seconds
            self._account(tick, learned, trace)
        for topic in (EVENTS, PREDICTIONS, LABEL_REQUESTS):
            self._forget(topic, self.log.bounds(topic, 0)[1])

    def _forget(self, topic: str, before_offset: int) -> None:
        """Keep a long simulation small; a log on disk has its own retention."""
        if isinstance(self.log, MemoryLog):
            self.log.truncate(topic, 0, before_offset)

    def _refuse_bad_rows(self) -> None:
        """Raise DataError where a row made no valid event: truth and decisions would part company."""
        first, end = self.log.bounds(DEAD_LETTERS, 0)
        for record in self.log.tail(DEAD_LETTERS, 0, first, end - first):
            letter = orjson.loads(record.value)
            if letter["stage"] == "event":
                row = self.first + letter["source"]["offset"]
                raise DataError(
                    f"{self.table.name}: data row {row + 1} makes no valid event: "
                    f"{letter['error']['message']}; mend or remove it, or drop the column"
                )
        self._forget(DEAD_LETTERS, end)

    # ---- people -------------------------------------------------------------------------------

    def _account(self, tick: Tick, learned: int, trace: Trace | None) -> None:
        """Count one committed tick and let people see its requests."""
        scored = tick.scored
        if scored is None:
            return
        n = len(tick.decided)
        start = self.row - self.first
        labels = self.learner.labels
        truth = [self.table.label(self.row + i) for i in range(n)]
        said = scored.best(np.arange(n))
        predicted = [None if c is None else labels[c] for c in said]
        self.run.confusion.add(truth, predicted)
        correct = np.array([t == p for t, p in zip(truth, predicted, strict=True)], dtype=bool)
        known = np.array([t is not None for t in truth], dtype=bool)
        self.run.correct[start : start + n] = correct
        self.run.known[start : start + n] = known
        self._curve.add(correct[known], learned)
        self.run.learned_by_event[start : start + n] = learned
        codes = [self._codes.setdefault(label, len(self._codes)) for label in labels]
        self.run.predicted[start : start + n] = [-1 if c is None else codes[c] for c in said]
        if scored.fitted:
            self.run.confidence[start : start + n] = scored.shown[:n].max(axis=1)
            columns = {label: column for column, label in enumerate(labels)}
            places = np.array([columns.get(t, -1) for t in truth if t is not None], dtype=np.int64)
            self.run.calibration.add(scored.shown[:n][known], places)
        if (
            start + n
        ) * KAPPA_POINTS // self.run.correct.size > start * KAPPA_POINTS // self.run.correct.size:
            point = {"events": start + n, "labels": learned, "kappa": self.run.confusion.kappa}
            self.run.kappa_curve.append(point)
        if self.run.positive_probability is not None and scored.fitted and self._positive in labels:
            column = labels.index(self._positive)
            self.run.positive_probability[start : start + n] = scored.shown[:n, column]
        cost = self.settings.query.overlap
        spent = self.run.spent_by_event[start - 1] if start else 0
        asking: list[int] = []
        ends = {late.place: [each for each in tick.late if each.place == late.place] for late in tick.late}
        for i, (_, event, decision) in enumerate(tick.decided):
            batch = ends.get(i, [])
            rows = [*(self.first + late.offset for late in batch), *[self.row + i] * decision.asked]
            spent += cost * len(rows)
            self.run.asked += len(rows)
            self.run.asked_rows += rows
            asking += [self.row + i] * len(rows)
            self.run.spent_by_event[start + i] = spent
            if trace:
                trace(_decision_line(event.event_id, tick, decision, scored.shown[i].tolist(), batch))
        requests = self.log.tail(LABEL_REQUESTS, 0, self._shown, len(asking)) if asking else []
        for record, row in zip(requests, asking, strict=True):
            self._show(record.value, row)
            self._shown = record.offset + 1
        self.row += n

    def _show(self, request: bytes, asked_at: int) -> None:
        """Let people answer one request, each when they will; it was made at row ``asked_at``."""
        message = orjson.loads(request)
        asked_id = message["event"]["event_id"]
        row = self.table.row_of(asked_id)
        if row is None:
            return
        for number in range(message["overlap"]):
            person = person_id(asked_id, number)
            answer = self.people.answer(person, self.table.label(row), self.learner.labels)
            if answer is None:
                continue
            self.run.answered += number == 0
            reply = {
                "schema_version": 1,
                "kind": "reply",
                "reply_id": person,
                "ticket": message["ticket"],
                "label": answer.label,
                "annotator_id": f"simulated-{number}",
            }
            due = due_row(self.times, asked_at, answer.delay, self.people.delay.unit)
            heapq.heappush(self._replies, (due, row, asked_at, orjson.dumps(reply)))

    def _teach_initial(self) -> None:
        """Append the first rows as organic replies, as somebody importing old labels does."""
        for i in range(self.first):
            label = self.table.label(i)
            if label is None:
                continue
            reply = {
                "schema_version": 1,
                "kind": "reply",
                "reply_id": f"initial-{i}",
                "event": self.table.event(i),
                "label": label,
                "annotator_id": "import",
            }
            self.log.append(LABEL_REPLIES, None, orjson.dumps(reply))
        while self.engine.fold_some():
            pass

    # ---- results ------------------------------------------------------------------------------

    def _evaluate_holdout(self) -> None:
        """Evaluate the held-out rows, at most some twenty times a run."""
        learned = sum(self.learner.learned_by_class)
        if self.end == self.table.n or (self.run.holdout and self.run.holdout[-1][0] == learned):
            return
        expected = self.settings.query.budget * (self.end - self.first)
        step = max(1.0, expected / HOLDOUT_CURVE_POINTS)
        if self.run.holdout and learned - self.run.holdout[-1][0] < step and self.row < self.end:
            return
        self.run.holdout.append((learned, self.accuracy_over(range(self.end, self.table.n))))

    def accuracy_over(self, rows: range) -> float:
        """Return the present model's accuracy over labelled rows of the table."""
        right = total = 0
        for chunk in _chunks(rows):
            labelled = [i for i in chunk if self.table.label(i) is not None]
            encoded = [
                encode(decode_event_fields(self.table.event(i)), self.engine.options.encoding)
                for i in labelled
            ]
            if not encoded:
                continue
            best = self.learner.score(encoded).shown[: len(encoded)].argmax(axis=1).tolist()
            total += len(encoded)
            if self.learner.model.fitted:
                right += sum(
                    self.learner.labels[c] == self.table.label(i) for c, i in zip(best, labelled, strict=True)
                )
        return right / total if total else float("nan")

    def _finish(self) -> None:
        run = self.run
        run.events = self.end - self.first
        run.learned = self.learner.outcomes["learned"]
        run.min_per_class = min(self.learner.learned_by_class, default=0)
        run.unscored = self.engine.scores.failures
        accuracy = self.learner.accuracy()
        run.estimate = estimate_and_truth(accuracy, self._truth(accuracy))
        state = self.engine.states[0]
        run.unpaid_debt = state.ledger.debt / TOKEN
        run.worst_excess = self._worst_excess()
        run.curve = self._curve.points()
        run.fingerprint = self.learner.fingerprint()
        if self.end < self.table.n:
            self._deliver(before_row=self.table.n + max((r[0] for r in self._replies), default=0))
            self._evaluate_holdout()

    def _truth(self, accuracy: Accuracy) -> Truth:
        """Return what is true of all events from the first to the last request of the estimate's window."""
        run, window = self.run, slice(0, 0)
        if accuracy.first is not None and accuracy.last is not None:
            window = slice(accuracy.first.event_offset, accuracy.last.event_offset + 1)
        known = run.known[window]
        positive = self._codes.get(self.settings.task.positive or "", -2)  # -1 is no label
        return Truth(
            run.correct[window][known],
            run.confidence[window][known],
            run.truth[window][known] == positive,
            run.predicted[window][known] == positive,
        )

    def _worst_excess(self) -> float:
        """Return the largest (spent - promised) over all prefixes, in labels: 0 or less keeps the promise."""
        budget = self.settings.budget()
        promised = budget.income * np.arange(1, self.run.events + 1) + budget.limit // 2 + budget.credit_units
        return float((self.run.spent_by_event * TOKEN - promised).max()) / TOKEN

    def _sample_rows(self) -> I64:
        """Return the rows whose events will be written as samples; known from their places alone."""
        count = self.end - self.first
        coins = PlaceCoin("sample", self.settings.seed)(0, range(count))
        hits = np.flatnonzero(coins < [sample_probability(n) for n in range(1, count + 1)])
        return self.first + hits

    def _positive_label(self) -> str | None:
        if self.settings.task.positive is not None:
            return self.settings.task.positive
        codes = self.table.label_codes[self.first : self.end]
        counts = np.bincount(codes[codes >= 0], minlength=len(self.table.label_names))
        present = np.flatnonzero(counts)
        if len(present) != 2:
            return None
        return self.table.label_names[int(present[np.argmin(counts[present])])]


def _memory_log(clock: Callable[[], int]) -> Log:
    return MemoryLog(clock=clock)


def _chunks(rows: range) -> Iterator[range]:
    for start in range(rows.start, rows.stop, CHUNK):
        yield range(start, min(rows.stop, start + CHUNK))


def _decision_line(
    event_id: str, tick: Tick, decision: Decision, probabilities: list[float], batch: Sequence[Late]
) -> bytes:
    """Return an event's line; ``batch`` names what was asked right before it, at the end of a block."""
    return orjson.dumps(
        {
            "event_id": event_id,
            "v": tick.model_version,
            "probabilities": probabilities,
            "u": decision.score,
            "rank": decision.rank,
            "p": decision.probability,
            "tokens": decision.tokens,
            "floor": decision.floor,
            "asked": decision.asked,
            "propensity": decision.propensity,
            **({"batch": [late.event_id for late in batch]} if batch else {}),
        }
    )
