"""A fixed list of events to ask about: the baseline of comparisons, outside any budget.

A simple random sample of m out of n events has propensity m/n for every event, so even the baseline's
estimate is honest. It is no policy for a service: it knows in advance how many events will come.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from stream_al.query.ledger import TOKEN, Budget
from stream_al.query.policy import Decision, Feedback, NearDuplicate, RankedPolicy, ScoredEvent
from stream_al.query.state import QueryState


class ListedPolicy(RankedPolicy):
    """Asks exactly the listed ids, each of which was drawn with the same probability.

    Parameters
    ----------
    budget : Budget
        For the books only; the list may exceed it.
    ids : collection of str
    events : int
        How many events the ids were drawn from.
    """

    name = "listed"

    def __init__(self, budget: Budget, ids: Collection[str], events: int) -> None:
        super().__init__(budget, fingerprint=("listed", events))
        self._ids = frozenset(ids)
        self._propensity = len(self._ids) / max(1, events)

    def decide(
        self,
        state: QueryState,
        events: Sequence[ScoredEvent],
        feedback: Feedback,
        near_duplicate: NearDuplicate,
        asked: Callable[[int], None],
    ) -> tuple[QueryState, list[Decision]]:
        """Return the state after the events, and one decision an event."""
        s = state.copy()
        decisions = []
        for i, (event_id, timestamp_ms, score) in enumerate(events):
            now = s.advance(timestamp_ms)
            s.events += 1
            s.ledger.earn(self.budget.income, self.budget.limit)
            ask = event_id in self._ids
            if ask:
                s.ledger.pay(self.budget.cost)
                s.note_ask(event_id, self._propensity)
                asked(i)
            decisions.append(
                Decision(
                    ask,
                    score,
                    1.0,
                    float(ask),
                    s.ledger.tokens / TOKEN,
                    False,
                    self._propensity or None,
                    False,
                    now,
                )
            )
        return s, decisions
