"""What is promised, compared with what stands in the topics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.demo_kafka.tally import Predicted, Tally


@dataclass(frozen=True)
class Check:
    """One promise, and what was found."""

    promise: str
    kept: bool
    found: str


def check_log(tally: Tally, expected: int, share: float, head_start: float) -> list[Check]:
    """Compare what stands in the topics with what is promised.

    Parameters
    ----------
    tally : Tally
        Of everything, read from the beginning.
    expected : int
        Events that were produced.
    share, head_start : float
        No prefix of a partition of n events has more than ``share * n + head_start`` requests.
    """
    predicted = Counter(each.event_id for found in tally.predictions.values() for each in found)
    twice = sum(count > 1 for count in predicted.values())
    lost = len(tally.events - predicted)
    claimed = Counter(p.event_id for found in tally.predictions.values() for p in found if p.asked)
    excess = max((_excess(found, share) for found in tally.predictions.values()), default=0.0)
    asked_twice = sum(count > 1 for count in (tally.requests | tally.requested).values())
    return [
        Check(
            "every event is predicted exactly once",
            predicted == tally.events and len(tally.events) == tally.events.total() == expected,
            f"{tally.events.total():,} events of {expected:,}, {predicted.total():,} predictions, "
            f"{lost} lost, {twice} doubled",
        ),
        Check(
            "every question is asked exactly once",
            asked_twice == 0 and tally.requested == claimed and tally.asked > 0,
            f"{tally.asked} requests, {asked_twice} doubled, "
            f"{(claimed - tally.requested).total()} lost, {(tally.requested - claimed).total()} unaccounted",
        ),
        Check(
            "the budget holds at every prefix",
            excess <= head_start,
            f"{tally.asked} asked of {tally.events.total():,}; at the worst moment of a partition "
            f"{excess:.2f} above {share:.0%}, {head_start:g} allowed",
        ),
    ]


def _excess(predictions: Sequence[Predicted], share: float) -> float:
    """Return by how much the requests were ever above their share of the events."""
    worst = asked = 0.0
    for events, prediction in enumerate(predictions, 1):
        asked += prediction.asked
        worst = max(worst, asked - share * events)
    return worst
