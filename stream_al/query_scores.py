"""A score as the rule takes it: one 16-bit integer an event, whatever the score does.

A score may be the user's own code. What of its faults shows on a made-up batch is an error at the start;
any other one leaves the events of its batch without a score: they are not chosen, only the floor may still
ask about them, they are counted, and the stream goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np

from stream_al.errors import ConfigurationError
from stream_al.learner import Learner, Scored
from stream_al.models.inputs import Inputs, pad_dense
from stream_al.models.protocol import OnlineModel
from stream_al.models.scaler import Scaler
from stream_al.query.novelty_scores import novelty
from stream_al.query.policy import UNSCORED
from stream_al.query.projection import Projection
from stream_al.query.representatives import Representatives
from stream_al.query.score_context import F64, Distances, Score, ScoreContext
from stream_al.query.scores import risk
from stream_al.query.window import SCALE

logger = logging.getLogger(__name__)
PROBE = np.array([[-1.0, 0.5], [1.0, 0.5], [-1.0, -0.5], [1.0, -0.5], [0.0, np.nan]])
"""A made-up batch of two columns, for a score to show itself on."""


class QueryScores:
    """Scores events by one score, or by `risk` while a class is rare.

    Parameters
    ----------
    score : Score
    seed : int
    coverage : bool
        Whether novelty alone is the score until there are :func:`enough_answers`.

    Attributes
    ----------
    failures : int
        Events that it has failed to score.
    error : str
        What went wrong last.
    """

    def __init__(self, score: Score, seed: int, *, coverage: bool = False) -> None:
        self.failures = 0
        self.error = ""
        self._score = score
        self._seed = seed
        self._coverage = coverage
        self._project = Projection(seed)
        self._follows: set[int] = set()
        self._sampled: tuple[int, Representatives | None] | None = None

    def apart(self) -> QueryScores:
        """Return the same rules with counters of their own."""
        return QueryScores(self._score, self._seed, coverage=self._coverage)

    def __call__(self, learner: Learner, scored: Scored, ids: Sequence[str]) -> list[int] | Following:
        """Return u of scored events as 16-bit integers, ``UNSCORED`` where the score failed.

        It is 1 while nothing was learned or a single class is known, and `risk` while a class is rare, be it
        that five answers all name the same one.
        A score that looks at what a partition has asked gives no numbers but a way to them.
        """
        score = self._current(learner, scored)
        if score is None:
            return [SCALE] * len(ids)
        if id(score) not in self._follows:
            looked: list[bool] = []

            def peek() -> Distances:
                looked.append(True)
                return Distances(np.full(len(scored.probabilities), np.inf), 0.0)

            found, error = self._judge(score, self._context(learner, scored, ids, peek))
            if not looked:
                self._note(found.count(UNSCORED), error)
                return found
            self._follows.add(id(score))
        return Following(self, score, learner, scored, ids)

    def alone(self, learner: Learner, scored: Scored, ids: Sequence[str]) -> list[int]:
        """Return u of events that no partition holds: compared with nothing, they are all new."""
        score = self._current(learner, scored)
        if score is None:
            return [SCALE] * len(ids)
        found, error = self._judge(score, self._context(learner, scored, ids, None))
        self._note(found.count(UNSCORED), error)
        return found

    def _current(self, learner: Learner, scored: Scored) -> Score | None:
        """Return the score that holds at this model position, None where every event scores 1."""
        if self._coverage and not enough_answers(learner.answers_by_class):
            return novelty
        if not scored.fitted:
            return None
        if learner.seeks_rare():
            return risk
        return self._score if scored.probabilities.shape[1] > 1 else None

    def _context(
        self, learner: Learner, scored: Scored, ids: Sequence[str], asked: Callable[[], Distances] | None
    ) -> ScoreContext:
        return ScoreContext(
            scored.probabilities,
            ids,
            scored.inputs,
            learner.rare_class(),
            self._seed,
            model=learner.model,
            asked=asked,
            sampled=lambda: self._representatives(learner),
        )

    def _representatives(self, learner: Learner) -> Representatives | None:
        """Return the last samples as the model sees them now, worked out once a model position."""
        if self._sampled is None or self._sampled[0] != learner.position:
            samples = learner.recent_samples
            found = None
            if samples:
                scored = learner.score(samples)
                found = Representatives(scored.inputs, scored.probabilities[: len(samples)], self._project)
            self._sampled = learner.position, found
        return self._sampled[1]

    def _judge(self, score: Score, context: ScoreContext) -> tuple[list[int], str]:
        """Return u of the events, and what went wrong.

        Where the score fails as a whole, each event is scored by itself: one that it cannot score takes no
        other with it, whatever batch they came in.
        """
        events = len(context.ids)
        try:
            u = _checked(score(context), events)
        except Exception as error:  # the user's code: nothing that it does may stop the stream
            if events > 1:
                singly = [self._judge(score, context.alone(i)) for i in range(events)]
                return [u for found, _ in singly for u in found], next((why for _, why in singly if why), "")
            return [UNSCORED] * events, f"{type(error).__name__}: {error}"
        finite = np.isfinite(u)
        whole = np.rint(np.clip(np.where(finite, u, 0.0), 0.0, 1.0) * SCALE).astype(np.int64)
        found: list[int] = np.where(finite, whole, UNSCORED).tolist()
        return found, "" if finite.all() else "it is no number"

    def _note(self, events: int, error: str) -> None:
        if not events:
            return
        if error != self.error:
            logger.warning("the query score failed: %s", error)
        self.failures += events
        self.error = error


class Following:
    """Scores of a batch that change with what is asked: those of one partition, as often as it asks.

    Parameters
    ----------
    scores : QueryScores
        Counts what fails, each event once.
    score : Score
    learner : Learner
    scored : Scored
    ids : sequence of str
        Of the whole batch.
    """

    def __init__(
        self, scores: QueryScores, score: Score, learner: Learner, scored: Scored, ids: Sequence[str]
    ) -> None:
        self._scores = scores
        self._score = score
        self._parts = learner, scored, ids

    def of(self, rows: slice, nearest: Callable[[], Distances]) -> Callable[[], list[int]]:
        """Return what gives u of some rows of the batch, as of the requests known to ``nearest`` now."""
        learner, scored, ids = self._parts
        context = self._scores._context(learner, scored, ids, nearest)
        counted = 0

        def score() -> list[int]:
            nonlocal counted
            found, error = self._scores._judge(self._score, context)
            mine = found[rows]
            failed = mine.count(UNSCORED)
            self._scores._note(max(0, failed - counted), error)
            counted = max(counted, failed)
            return mine

        return score


def enough_answers(answers_by_class: Sequence[int]) -> bool:
    """Return whether a cold start is over: ten answers a class known, at most 50.

    Two classes at least are taken to be known, or open labels would end it before it begins.

    >>> enough_answers([]), enough_answers([12, 7]), enough_answers([12, 8]), enough_answers([5] * 10)
    (False, False, True, True)
    """
    return sum(answers_by_class) >= min(10 * max(2, len(answers_by_class)), 50)


def _checked(u: F64, events: int) -> F64:
    """Return the scores of the events, padding cut off."""
    found = np.asarray(u, dtype=np.float64)
    if found.ndim != 1 or len(found) < events:
        raise ValueError(f"it returned shape {found.shape} for {events} events; expected one number a row")
    return found[:events]


def try_score(name: str, score: Score, make: Callable[[], OnlineModel]) -> None:
    """Let a score judge a made-up batch, with a model that has learned a little.

    Parameters
    ----------
    name : str
        For the message.
    score : Score
    make : callable
        Makes a new model for two classes.

    Raises
    ------
    ConfigurationError
        It raises there, or returns what is no number from 0 to 1 a row.
    """
    model, scaler, rows = make(), Scaler(), PROBE.shape[0]
    model.grow(2)
    scaler.grow(np.zeros(PROBE.shape[1], dtype=bool))
    names = tuple(f"column {i}" for i in range(PROBE.shape[1]))
    for row in PROBE:
        scaler.observe(row, 1.0)
    for i, row in enumerate(PROBE):
        model.learn(Inputs(1, row[None], scaler, columns=names), i % 2, 1.0)
    batch = Inputs(rows, pad_dense(PROBE), scaler, columns=names)
    probabilities = model.predict_proba(batch)
    asked = Distances(np.linspace(0.0, 2.0, len(probabilities)), 1.0)
    sampled = Representatives(batch, probabilities[:rows], Projection(0))
    context = ScoreContext(
        probabilities,
        [f"probe-{i}" for i in range(rows)],
        batch,
        model=model,
        asked=lambda: asked,
        sampled=lambda: sampled,
    )
    try:
        found = _checked(score(context), rows)
    except Exception as error:
        raise ConfigurationError(f"query.score {name!r} fails: {type(error).__name__}: {error}") from error
    if not np.isfinite(found).all() or found.min() < -1e-9 or found.max() > 1 + 1e-9:
        raise ConfigurationError(
            f"query.score {name!r} returns {found.tolist()}; expected numbers from 0 to 1 "
            "(stream_al.conformance.check_score says all that is expected)"
        )
