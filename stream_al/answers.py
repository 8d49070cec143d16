"""Answered requests as the reply log shows them, and the estimate over their last window.

A function of the reply log alone: every replica and every replay gives the same number.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_al.monitor.confidence import Confidence, confidence_kept
from stream_al.monitor.estimate import Bounds, Estimate, interval, labelled_only, worst_case
from stream_al.monitor.ratios import PositiveRatios, positive_ratios
from stream_al.ticket import BATCH, Ticket

WINDOW = 400
"""Matured answered requests in the estimate."""
KEPT = 2_000
MATURE = 0.95
"""A request is matured when it is older than this quantile of the seen delays."""


class Answered(NamedTuple):
    """One answered request; sorts by ask order.

    ``weight`` is 0 for the choice of a block's end. An event that the floor asks about at once is not known
    to be one that the end would have chosen, so with any weight such events would count twice.
    ``positive`` and ``served_positive`` tell whether the answer, and the served label, is the positive class.
    """

    asked_at: int
    partition: int
    asked: int
    loss: float
    weight: float
    inverse_total: float
    floor_blocked: int
    floor: bool
    event_offset: int
    confidence: float
    positive: bool
    served_positive: bool


class Accuracy(NamedTuple):
    """The estimate with all that should stand beside it.

    Attributes
    ----------
    hajek : Estimate
        Accuracy over all events of the window, with its 95 % interval.
    labelled_only : Estimate
        Accuracy over the labelled events: biased, for comparison.
    bounds : Bounds
        Accuracy if all missing answers were wrong, and if all were right.
    response_rate : float
        Answered share of the window's requests.
    withheld : bool
        True where a floor coin could not ask in the window (no token, or paused): show no number.
    first, last : Answered or None
        The ends of the window: its first and last answer that has a weight.
    confidence : Confidence or None
        What the confidence shown is worth; None without answers.
    positive : PositiveRatios or None
        Precision, recall and false-positive rate; None where no class is named positive.
    """

    hajek: Estimate
    labelled_only: Estimate
    bounds: Bounds
    response_rate: float
    withheld: bool
    first: Answered | None
    last: Answered | None
    confidence: Confidence | None = None
    positive: PositiveRatios | None = None

    def shows(self, found: Estimate) -> bool:
        """Return whether an estimate over this window may be shown: enough answers, nothing withheld."""
        return found.shown and not self.withheld


class AnswerBook:
    """The last answered requests by ask order, and the last delays.

    Parameters
    ----------
    positive : str or None
        The class whose precision and recall are estimated.
    """

    def __init__(self, positive: str | None = None) -> None:
        self._positive = positive
        self._book: list[Answered] = []
        self._delays: deque[int] = deque(maxlen=WINDOW)

    def enter(self, ticket: Ticket, label: str, delay_ms: int) -> Answered:
        """Judge the served prediction of one request of the stream against the label that people gave."""
        assert ticket.propensity is not None  # noqa: S101 - the backlog's requests are not entered
        loss = 0.0 if ticket.served == label else 1.0
        totals = ticket.totals
        answered = Answered(
            ticket.asked_at,
            ticket.partition,
            totals.asked,
            loss,
            0.0 if ticket.channel == BATCH else 1.0 / ticket.propensity,
            totals.inverse_propensity,
            totals.floor_blocked,
            ticket.channel == "floor",
            ticket.offset,
            ticket.confidence,
            self._positive is not None and label == self._positive,
            self._positive is not None and ticket.served == self._positive,
        )
        insort(self._book, answered)
        self._delays.append(delay_ms)
        if len(self._book) > KEPT:
            del self._book[0]
        return answered

    def window(self, now: int) -> list[Answered]:
        """Return the last 400 matured answers that have a weight, and those between, in ask order."""
        if not self._delays:
            return []
        # the order statistic at or above the quantile: no interpolation between two delays
        ordered = sorted(self._delays)
        horizon = now - ordered[min(len(ordered) - 1, int(MATURE * len(ordered)))]
        end = len(self._book)
        while end and self._book[end - 1].asked_at > horizon:
            end -= 1
        weighing = [i for i in range(end) if self._book[i].weight]
        return self._book[weighing[-WINDOW] if len(weighing) > WINDOW else 0 : end]

    def accuracy(self, now: int) -> Accuracy:
        """Return the estimate over the window at a log time."""
        window = self.window(now)
        losses = np.array([a.loss for a in window])
        weights = np.array([a.weight for a in window])
        asked = blocked = 0
        total_weight = 0.0
        for partition in {a.partition for a in window}:
            part = [a for a in window if a.partition == partition]
            asked += part[-1].asked - part[0].asked + 1
            blocked += part[-1].floor_blocked - part[0].floor_blocked
            total_weight += part[-1].inverse_total - part[0].inverse_total + part[0].weight
        weighing = [a for a in window if a.weight]
        judged, weight = losses[weights > 0.0], weights[weights > 0.0]
        return Accuracy(
            interval(judged, weight),
            labelled_only(losses),
            worst_case(losses, weights, total_weight),
            len(window) / asked if asked else 0.0,
            blocked > 0,
            weighing[0] if weighing else None,
            weighing[-1] if weighing else None,
            confidence_kept(np.array([a.confidence for a in weighing]), judged == 0.0, weight),
            self._ratios(weighing, weight),
        )

    def _ratios(self, weighing: list[Answered], weight: NDArray[np.float64]) -> PositiveRatios | None:
        if self._positive is None:
            return None
        positive = np.array([a.positive for a in weighing], dtype=bool)
        return positive_ratios(positive, np.array([a.served_positive for a in weighing], dtype=bool), weight)

    def delay_quantile(self, share: float) -> float | None:
        """Return a quantile of the last delays in ms, None before the first."""
        return float(np.quantile(np.array(self._delays), share)) if self._delays else None

    def dump(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return {"book": [list(a) for a in self._book], "delays": list(self._delays)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`dump` returned."""
        self._book = [Answered(*row) for row in state["book"]]
        self._delays = deque(state["delays"], maxlen=WINDOW)
