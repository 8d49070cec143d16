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
from stream_al.query.policy import UNSCORED
from stream_al.query.score_context import F64, Score, ScoreContext
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

    Attributes
    ----------
    failures : int
        Events that it has failed to score.
    error : str
        What went wrong last.
    """

    def __init__(self, score: Score, seed: int) -> None:
        self.failures = 0
        self.error = ""
        self._score = score
        self._seed = seed

    def __call__(self, learner: Learner, scored: Scored, ids: Sequence[str]) -> list[int]:
        """Return u of scored events as 16-bit integers, ``UNSCORED`` where the score failed.

        It is 1 while nothing was learned or a single class is known, and `risk` while a class is rare.
        """
        if not scored.fitted or scored.probabilities.shape[1] < 2:
            return [SCALE] * len(ids)
        rare = learner.rare_class()
        context = ScoreContext(
            scored.probabilities, ids, scored.inputs, rare, self._seed, model=learner.model
        )
        try:
            u = _checked((self._score if rare is None else risk)(context), len(ids))
        except Exception as error:  # the user's code: nothing that it does may stop the stream
            self._note(len(ids), f"{type(error).__name__}: {error}")
            return [UNSCORED] * len(ids)
        finite = np.isfinite(u)
        if not finite.all():
            self._note(int((~finite).sum()), "it is no number")
        whole = np.rint(np.clip(np.where(finite, u, 0.0), 0.0, 1.0) * SCALE).astype(np.int64)
        found: list[int] = np.where(finite, whole, UNSCORED).tolist()
        return found

    def _note(self, events: int, error: str) -> None:
        if error != self.error:
            logger.warning("the query score failed: %s", error)
        self.failures += events
        self.error = error


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
    context = ScoreContext(probabilities, [f"probe-{i}" for i in range(rows)], batch, None, 0, model=model)
    try:
        found = _checked(score(context), rows)
    except Exception as error:
        raise ConfigurationError(f"query.score {name!r} fails: {type(error).__name__}: {error}") from error
    if not np.isfinite(found).all() or found.min() < -1e-9 or found.max() > 1 + 1e-9:
        raise ConfigurationError(
            f"query.score {name!r} returns {found.tolist()}; expected numbers from 0 to 1 "
            "(stream_al.conformance.check_score says all that is expected)"
        )
