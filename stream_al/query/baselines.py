"""Policies without a model: what every other one must beat, on the same ledger and with the same floor."""

from __future__ import annotations

import math
from collections.abc import Sequence

from stream_al.query.policy import Chance, Feedback, RankedPolicy
from stream_al.query.state import QueryState
from stream_al.query.window import ScoreWindow


class RandomPolicy(RankedPolicy):
    """Every event deserves the same: random sampling."""

    name = "random"

    def _ranks(self, window: ScoreWindow, scores: Sequence[int]) -> list[float]:
        return [1.0] * len(scores)

    def _chance(self, state: QueryState, window: ScoreWindow, feedback: Feedback) -> tuple[Chance, float]:
        return lambda number, score, rank, coin, rate: min(1.0, rate), math.inf


class PeriodicPolicy(RandomPolicy):
    """Every (1/b)-th event: a deterministic choice, so its propensity is 1, or the floor's elsewhere."""

    name = "periodic"

    def _chance(self, state: QueryState, window: ScoreWindow, feedback: Feedback) -> tuple[Chance, float]:
        share = self._terms.chosen

        def chance(number: int, score: int, rank: float, coin: float, rate: float) -> float:
            due = math.floor(number * share) > math.floor((number - 1) * share)
            return float(due and rate > 0.0)

        return chance, math.inf
