"""The rule in batches: candidates are held over a block of the stream, and the best diverse few are asked.

Ledger, ranks, staleness and floor are those of the ranked rule, event by event. Only the query coin is
not tossed: the chances add up over the block, and at its end, which is the first event of another block,
their whole number is asked at once.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple, Protocol

from stream_al.query.block import MOST, Block, Candidate, Window
from stream_al.query.ledger import DAY_MS, TOKEN, Budget
from stream_al.query.policy import UNSCORED, Chance, Decision, Feedback, RankedPolicy, ScoredEvent
from stream_al.query.state import REMEMBERED_IDS, QueryState, id_hash
from stream_al.query.window import SCALE, ScoreWindow
from stream_al.ticket import Totals

_NEVER = 2**63
"""More tokens than there are: nothing is asked between two ends because the bucket is full."""

Choose = Callable[[Sequence[int], int], list[int]]
"""From the candidates' offsets, the best first, and a number to the offsets to ask about, in that order."""


class Span(NamedTuple):
    """Events ``start`` to ``stop`` of a batch, all of one block."""

    number: int
    start: int
    stop: int


class BatchAsk(NamedTuple):
    """One request of a block's end; the totals are those behind it."""

    candidate: Candidate
    decision: Decision
    totals: Totals


class Contents(Protocol):
    """What the policy may ask about the events of a batch; i counts within the span that is decided."""

    def near(self, i: int) -> bool:
        """Return whether event i is a near-duplicate of a remembered request."""
        ...

    def alike(self, i: int, offsets: Sequence[int]) -> list[bool]:
        """Return which held candidates are closer to event i than requests typically lie apart."""
        ...

    def served(self, i: int) -> tuple[int, int, int]:
        """Return offset, served class and its confidence in millionths of event i."""
        ...

    def asked(self, i: int) -> None:
        """Note that event i is asked about."""
        ...


class BatchedPolicy(RankedPolicy):
    """The ranked rule, asking at the ends of blocks.

    Between two ends :meth:`decide` asks about floor events only. The bucket holds what 16 requests cost
    on top of its capacity; the grant, and so the bound, are not touched by that.

    Parameters
    ----------
    budget : Budget
    window : Window
    seed : int
    fingerprint : tuple
        What else the windows and the open block depend on.
    """

    def __init__(
        self, budget: Budget, window: Window, seed: int = 0, fingerprint: tuple[object, ...] = ()
    ) -> None:
        super().__init__(budget, seed, (*fingerprint, "window", window.size, window.unit))
        self.window = window
        rim = budget.limit + MOST * budget.cost
        self._terms = replace(self._terms, rim=rim, full=_NEVER)
        self._full = rim - budget.cost

    def initial(self) -> QueryState:
        """Return S before the first event."""
        return self._with_block(super().initial())

    def decode(self, text: str) -> QueryState:
        """Return S from its text; under another configuration no open block survives."""
        return self._with_block(super().decode(text))

    def spans(self, state: QueryState, offsets: Sequence[int], times: Sequence[int]) -> Iterator[Span]:
        """Yield the parts of a batch that lie in one block each, in their order."""
        clock, start = state.copy(), 0
        numbers = []
        for offset, record_ms in zip(offsets, times, strict=True):
            numbers.append(self.window.number(offset, clock.advance(record_ms)))
            clock.events += 1
        for number, part in groupby(numbers):
            stop = start + len(list(part))
            yield Span(number, start, stop)
            start = stop

    def turn(
        self, state: QueryState, number: int, record_ms: int, feedback: Feedback, choose: Choose
    ) -> tuple[QueryState, list[BatchAsk]]:
        """Return the state with block ``number`` open, and what is asked at the end of the one before.

        As many as the chances of the block add up to, as can be paid above the token that is kept for
        the floor, and as are held; at most 16. Nothing where the block is open already.

        Parameters
        ----------
        state : QueryState
            Not changed.
        number : int
        record_ms : int
            Time of the event that opens the block: when the requests are made.
        feedback : Feedback
        choose : callable
        """
        s = state.copy()
        block = _block_of(s)
        if block.number == number:
            return s, []
        clock = s.now, s.last_ms
        now = s.advance(record_ms)
        due = int(block.expected)
        count = min(due, MOST, self._payable(s, now)) if feedback.chosen_asks and feedback.floor_asks else 0
        held = {candidate.offset: candidate for candidate in block.candidates}
        chosen = choose(list(held), count) if count > 0 and held else []
        asks = [self._ask(s, held[offset]) for offset in chosen]
        s.now, s.last_ms = clock  # the event itself moves the clock, when it is decided
        s.block = Block(number, block.expected - due)
        return s, asks

    def decide_within(
        self, state: QueryState, events: Sequence[ScoredEvent], feedback: Feedback, contents: Contents
    ) -> tuple[QueryState, list[Decision]]:
        """Return the state after events of the open block, the best of them held, and their decisions."""
        holding = _Holding(state, events, contents)
        after, decisions = self.decide(state, events, feedback, contents.near, holding.asked)
        _block_of(after).candidates = holding.end()
        return after, decisions

    def _chance(self, state: QueryState, window: ScoreWindow, feedback: Feedback) -> tuple[Chance, float]:
        """Return a function that adds an event's chance to the block's, and never lets it be chosen now."""
        ranked, until = super()._chance(state, window, feedback)
        block, ledger, full = _block_of(state), state.ledger, self._full

        def chance(number: int, score: int, rank: float, coin: float, rate: float) -> float:
            p = ranked(number, score, rank, coin, rate)
            if rate > 0.0:
                block.expected += 1.0 if ledger.tokens > full else p
            return 0.0

        return chance, until

    def _payable(self, s: QueryState, now: int) -> int:
        ledger, cap = s.ledger, self._terms.cap
        payable = (ledger.tokens - TOKEN) // self._terms.cost
        if cap is None:
            return payable
        if now // DAY_MS != ledger.day:
            ledger.day, ledger.day_asked = now // DAY_MS, 0
        return min(payable, cap - ledger.day_asked)

    def _ask(self, s: QueryState, candidate: Candidate) -> BatchAsk:
        """Pay for one candidate; given S the choice is certain, and it has no weight in the estimates."""
        tokens = s.ledger.tokens / TOKEN
        s.ledger.pay(self._terms.cost)
        s.note(candidate.identity, 0.0)
        decision = Decision(
            True, candidate.score, candidate.score / SCALE, 1.0, tokens, False, 1.0, False, s.now
        )
        return BatchAsk(candidate, decision, Totals(s.asked, s.inverse_propensity, s.ledger.floor_blocked))

    @staticmethod
    def _with_block(state: QueryState) -> QueryState:
        if state.block is None:
            state.block = Block()
            state.thin_marks()
        return state


class _Holding:
    """Keeps the best of a block while its events are decided, each once it is known whether it was asked.

    Parameters
    ----------
    state : QueryState
        Before the events.
    events : sequence of ScoredEvent
    contents : Contents
    """

    def __init__(self, state: QueryState, events: Sequence[ScoredEvent], contents: Contents) -> None:
        self._events = events
        self._contents = contents
        self._best = _block_of(state).candidates
        self._recent = state.recent
        self._next = 0

    def asked(self, i: int) -> None:
        """Note a floor request: those before it are considered first, and it is held no more."""
        self._consider_until(i)
        self._next = i + 1
        identity = id_hash(self._events[i].event_id)
        self._best = [candidate for candidate in self._best if candidate.identity != identity]
        self._recent = [*self._recent, identity][-REMEMBERED_IDS:]
        self._contents.asked(i)

    def end(self) -> list[Candidate]:
        """Return the candidates after the last event."""
        self._consider_until(len(self._events))
        return self._best

    def _consider_until(self, stop: int) -> None:
        for i in range(self._next, stop):
            score = self._events[i].score
            if score != UNSCORED and (len(self._best) < MOST or score > self._best[-1].score):
                self._consider(i, score)

    def _consider(self, i: int, score: int) -> None:
        """Hold an event unless it is asked about already, or another one like it is at least as good."""
        identity, best = id_hash(self._events[i].event_id), self._best
        if identity in self._recent or any(held.identity == identity for held in best):
            return
        if self._contents.near(i):
            return
        alike = self._contents.alike(i, [held.offset for held in best])
        if any(held.score >= score for held, same in zip(best, alike, strict=True) if same):
            return
        kept = [held for held, same in zip(best, alike, strict=True) if not same]
        offset, label, confidence = self._contents.served(i)
        insort(kept, Candidate(offset, identity, score, label, confidence), key=lambda held: -held.score)
        self._best = kept[:MOST]


def _block_of(state: QueryState) -> Block:
    assert state.block is not None  # noqa: S101 - every state of this policy has one
    return state.block
