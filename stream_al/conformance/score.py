"""The contract of a score, executable: a pure function of its context, in [0, 1], row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
from numpy.typing import NDArray

from stream_al.models.inputs import Inputs
from stream_al.models.products import BLOCK
from stream_al.models.protocol import OnlineModel
from stream_al.models.scaler import Scaler
from stream_al.query.projection import Projection
from stream_al.query.representatives import Representatives
from stream_al.query.score_context import Distances, Score, ScoreContext

__all__ = ["CHECKS", "check_score"]

F64 = NDArray[np.float64]
COLUMNS, RECENT = 3, 10


def _context(probabilities: F64, ids: int | None = None, *, first: int = 0) -> ScoreContext:
    """Return a context of padded rows; the inputs of a row depend on its number alone."""
    rows = len(probabilities)
    numbers = np.arange(first, first + rows)[:, None]
    dense = np.sin(numbers * (1.0 + np.arange(COLUMNS)))
    scaler = Scaler()
    scaler.grow(np.zeros(COLUMNS, dtype=bool))
    for value in (-1.0, 0.0, 1.0):
        scaler.observe(np.full(COLUMNS, value), 1.0)
    count = rows if ids is None else ids
    names = [f"e{number}" for number in range(first, first + count)]
    inputs = Inputs(count, dense, scaler)
    asked = Distances(np.abs(dense[:, 0]), 0.5)
    recent = _representatives(probabilities.shape[1], scaler)
    model = cast("OnlineModel", _Members(probabilities))
    return ScoreContext(
        probabilities, names, inputs, model=model, asked=lambda: asked, sampled=lambda: recent
    )


def _representatives(classes: int, scaler: Scaler) -> Representatives:
    """Return recent events of the stream, the same for every batch."""
    dense = np.full((BLOCK, COLUMNS), np.nan)
    dense[:RECENT] = np.cos(np.arange(RECENT)[:, None] * (1.0 + np.arange(COLUMNS)))
    return Representatives(Inputs(RECENT, dense, scaler), _probabilities(classes, RECENT), Projection(0))


class _Members:
    """A committee of three around given probabilities; nothing else of a model."""

    def __init__(self, probabilities: F64) -> None:
        self._members = np.stack(
            [0.7 * probabilities + 0.3 * np.roll(probabilities, shift, axis=1) for shift in range(3)]
        )

    def members(self, batch: Inputs) -> F64:
        """Return what the members say of the rows that the committee was made for."""
        return self._members


def _probabilities(classes: int, rows: int = 2 * BLOCK) -> F64:
    """Return rows from certain to uniform, and some in between."""
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(classes, 0.5), rows) if classes > 1 else np.ones((rows, classes))
    if classes > 1:
        p[0] = 1.0 / classes
        p[1] = np.eye(classes)[0]
        p[2] = np.eye(classes)[classes - 1]
    return p


def _expect(holds: bool, problem: str) -> None:
    if not holds:
        raise AssertionError(problem)


def check_one_number_a_row(score: Score) -> None:
    """The engine rounds and ranks what comes back, row by row."""
    for classes in (1, 2, 3, 20):
        found = score(_context(_probabilities(classes)))
        _expect(found.shape == (2 * BLOCK,), f"shape {found.shape} for {2 * BLOCK} rows of {classes} classes")


def check_within_zero_and_one(score: Score) -> None:
    """Scores are kept as 16-bit integers: what lies outside would be cut, and NaN ranked as nothing."""
    for classes in (1, 2, 3, 20):
        found = score(_context(_probabilities(classes)))
        _expect(bool(np.isfinite(found).all()), f"a score is not finite with {classes} classes")
        inside = bool((found >= -1e-12).all() and (found <= 1 + 1e-12).all())
        _expect(inside, f"scores from {found.min()} to {found.max()} with {classes} classes")


def check_pure(score: Score) -> None:
    """A replay must find the same score, and the context belongs to others."""
    context = _context(_probabilities(3))
    before = context.probabilities.copy()
    one, two = score(context), score(context)
    _expect(one.tobytes() == two.tobytes(), "the same context gave two different scores")
    _expect(np.array_equal(before, context.probabilities), "the score changed the probabilities")


def check_rows_are_independent(score: Score) -> None:
    """Polls come as they come: a row's score may not depend on its neighbours, to the bit."""
    p = _probabilities(4, 4 * BLOCK)
    whole = score(_context(p))
    for first in range(0, len(p), BLOCK):
        piece = score(_context(p[first : first + BLOCK], first=first))
        same = piece.tobytes() == whole[first : first + BLOCK].tobytes()
        _expect(same, f"rows {first} to {first + BLOCK} score differently without the others")


def check_padding_is_harmless(score: Score) -> None:
    """Rows after the last id are padding: uniform probabilities, missing values."""
    p = _probabilities(3, BLOCK)
    p[5:] = 1.0 / 3.0
    found = score(_context(p, 5))
    _expect(len(found) >= 5, f"{len(found)} scores for 5 events")
    _expect(found[:5].tobytes() == score(_context(p))[:5].tobytes(), "padding changed the scores of events")


CHECKS: list[Callable[[Score], None]] = [
    check_one_number_a_row,
    check_within_zero_and_one,
    check_pure,
    check_rows_are_independent,
    check_padding_is_harmless,
]
"""Every check, the simplest first."""


def check_score(score: Score) -> None:
    """Run every check over a score.

    Raises
    ------
    AssertionError
        Names the first law that does not hold.

    Examples
    --------
    >>> from stream_al.query.scores import margin
    >>> check_score(margin)
    """
    for check in CHECKS:
        try:
            check(score)
        except AssertionError as error:
            raise AssertionError(f"{check.__name__}: {error}") from error
