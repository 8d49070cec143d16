"""The threshold strategies of the field, on our ledger: chosen is where the model is not sure enough.

I. Žliobaitė, A. Bifet, B. Pfahringer and G. Holmes, "Active learning with drifting streaming data", IEEE
Transactions on Neural Networks and Learning Systems 25(1), 2014. The certainty is ``1 - u``, u being the
configured score; where nothing can be chosen for lack of tokens, a threshold stays as it is. What spends
the budget, and never more, is the ledger: a full bucket chooses whatever comes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from stream_al.query.policy import Chance, Feedback, RankedPolicy
from stream_al.query.state import QueryState
from stream_al.query.window import SCALE, ScoreWindow

FIXED = 0.9
"""Threshold of `fixed_uncertainty`."""
STEP = 0.01
"""s: a choice narrows the threshold by this share of it, any other event widens it."""
RANDOM_SHARE = 0.2
"""nu of `split`: the part of the stream that is chosen from at random."""
NARROWEST, WIDEST = 1e-9, 10.0
"""Far beyond what any stream needs: only so that a threshold stays a number."""


class FixedUncertaintyPolicy(RankedPolicy):
    """Chosen where the certainty is below a constant."""

    name = "fixed_uncertainty"

    def _ranks(self, window: ScoreWindow, scores: Sequence[int]) -> list[float]:
        return [score / SCALE for score in scores]

    def _chance(self, state: QueryState, window: ScoreWindow, feedback: Feedback) -> tuple[Chance, float]:
        def chance(number: int, score: int, u: float, coin: float, rate: float) -> float:
            return float(1.0 - u < FIXED and rate > 0.0)

        return chance, math.inf


class VariableUncertaintyPolicy(FixedUncertaintyPolicy):
    """Chosen where the certainty is below a threshold, which starts at 1 and follows what it chooses.

    The threshold theta stands in the window of S where other policies keep their running mean.
    """

    name = "variable_uncertainty"

    def _chance(self, state: QueryState, window: ScoreWindow, feedback: Feedback) -> tuple[Chance, float]:
        def chance(number: int, score: int, u: float, coin: float, rate: float) -> float:
            if rate == 0.0:
                return 0.0
            chosen = 1.0 - u < window.mean
            _follow(window, chosen)
            return float(chosen)

        return chance, math.inf


class RandomVariableUncertaintyPolicy(FixedUncertaintyPolicy):
    """The same with a threshold that is drawn anew for every event, from N(theta, theta^2).

    So every event has a chance, Phi(1 - certainty/theta), and its propensity says which.
    """

    name = "random_variable_uncertainty"

    def _chance(self, state: QueryState, window: ScoreWindow, feedback: Feedback) -> tuple[Chance, float]:
        def chance(number: int, score: int, u: float, coin: float, rate: float) -> float:
            if rate == 0.0:
                return 0.0
            p = _normal(1.0 - (1.0 - u) / window.mean)
            _follow(window, coin < p)
            return p

        return chance, math.inf


class SplitPolicy(FixedUncertaintyPolicy):
    """A fifth of the stream is chosen from at random, the rest by `variable_uncertainty`.

    Which part an event belongs to is a second number from its query coin. Its chance is that over both:
    ``nu b' + (1 - nu) [certainty < theta]``, b' being what the budget leaves for choosing.
    """

    name = "split"

    def _chance(self, state: QueryState, window: ScoreWindow, feedback: Feedback) -> tuple[Chance, float]:
        share = self._terms.chosen

        def chance(number: int, score: int, u: float, coin: float, rate: float) -> float:
            if rate == 0.0:
                return 0.0
            chosen = 1.0 - u < window.mean
            if _second(coin) >= RANDOM_SHARE:
                _follow(window, chosen)
            return RANDOM_SHARE * share + (1.0 - RANDOM_SHARE) * chosen

        return chance, math.inf


def _follow(window: ScoreWindow, chosen: bool) -> None:
    """Narrow the threshold after a choice, widen it after none."""
    theta = window.mean * (1.0 - STEP if chosen else 1.0 + STEP)
    window.mean = min(WIDEST, max(NARROWEST, theta))


def _normal(x: float) -> float:
    """Return the standard normal distribution function.

    >>> round(_normal(0.0), 4), round(_normal(1.96), 4)
    (0.5, 0.975)
    """
    return 0.5 * (1.0 + math.erf(x / math.sqrt(2.0)))


def _second(coin: float) -> float:
    """Return a second number in [0, 1) from the lower 30 of a coin's 53 bits."""
    return (coin * 2.0**23) % 1.0
