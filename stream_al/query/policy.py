"""THE rule: which events are asked about, under one exact budget, with a propensity on record.

For every event, in offset order: earn, toss the floor coin (blind to the event), rank the score among
the last 256, tilt by the saved tokens, toss the query coin. Everything is a pure function of the
committed state, the scores and the hashed ids; the clock is the log's, and there is no other
randomness. Policies differ in one number only, the *chance* of an event to be chosen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

from stream_al.query.coin import TwoCoins
from stream_al.query.ledger import DAY_MS, TOKEN, Budget, Ledger
from stream_al.query.state import (
    QueryState,
    config_hash,
    decode_state,
    encode_state,
    id_hash,
)
from stream_al.query.window import SCALE, ScoreWindow

UNSCORED = -1
"""In place of a score that failed: such an event is not chosen."""
DELAY_HORIZON = 4.0
"""Asks younger than this many seen delays count as open."""


class Feedback(NamedTuple):
    """What the reply log says to a partition at one model position.

    Attributes
    ----------
    answers : int
        Replies to this partition's requests, learned or not.
    delay_ms : float or None
        D, running mean of (reply - asked) in log time; None before the first answer.
    rare : bool
        Rare mode: the second window and the `risk` score are active.
    chosen_asks, floor_asks : bool
        False where an operator paused them.
    """

    answers: int = 0
    delay_ms: float | None = None
    rare: bool = False
    chosen_asks: bool = True
    floor_asks: bool = True


class ScoredEvent(NamedTuple):
    """One event as the policy sees it; ``score`` is u as a 16-bit integer, or ``UNSCORED``."""

    event_id: str
    timestamp_ms: int
    score: int


class Decision(NamedTuple):
    """What was decided for one event; ``rank``, ``probability`` and ``tokens`` explain it.

    ``propensity`` is None where the ledger could not pay whatever the coins said; ``floor_blocked`` where
    the floor coin hit and nothing could be asked, for lack of tokens or because asking is paused.
    """

    asked: bool
    score: int
    rank: float
    probability: float
    tokens: float
    floor: bool
    propensity: float | None
    near_duplicate: bool
    now: int
    floor_blocked: bool = False

    @property
    def channel(self) -> str:
        """``"floor"`` whenever the floor coin hit, else ``"chosen"``."""
        return "floor" if self.floor else "chosen"


# Builds a Decision in C: a third of the time of Decision(...), once an event.
_decision: Callable[[tuple[object, ...]], Decision] = partial(tuple.__new__, Decision)
Chance = Callable[[int, int, float, float, float], float]
"""From an event's number, score, rank, query coin and rate to the probability that it is chosen.

The rate is the share of the stream that the saved tokens allow to choose now; 0 where nothing may be chosen.
Called once an event, in offset order, so it may keep a running number in the window of S.
"""
NearDuplicate = Callable[[int], bool]
"""Tells whether event i of the batch is a near-duplicate of something asked before it."""


class QueryPolicy(Protocol):
    """A fold: ``decide(S, events) -> (S', decisions)``, pure, with S small enough for a commit."""

    budget: Budget

    def initial(self) -> QueryState:
        """Return S before the first event."""
        ...

    def decide(
        self,
        state: QueryState,
        events: Sequence[ScoredEvent],
        feedback: Feedback,
        near_duplicate: NearDuplicate,
        asked: Callable[[int], None],
    ) -> tuple[QueryState, list[Decision]]:
        """Return the state after the events and one decision an event; ``state`` is not changed.

        ``asked(i)`` is called right after event i is asked, so that the novelty of the following ones
        can take it into account.
        """
        ...

    def encode(self, state: QueryState) -> str:
        """Return S as text."""
        ...

    def decode(self, text: str) -> QueryState:
        """Return the S that the text stands for; the empty text is the initial one."""
        ...

    def restarts(self, text: str) -> bool:
        """Return whether the text was written under another configuration."""
        ...


def query_coins(seed: int) -> TwoCoins:
    """Return the coins of every policy: the floor coin and the query coin of an id."""
    return TwoCoins("query", seed)


@dataclass(frozen=True, slots=True)
class _Terms:
    """Numbers of the rule that are fixed for a batch; ``full`` is -1 where everything is asked.

    ``rim`` is what the bucket holds; above ``full`` whatever comes is chosen.
    """

    floor: float
    chosen: float
    cost: int
    reserve: int
    rim: int
    full: int
    tilt: float
    cap: int | None


class RankedPolicy:
    """The default: rank and uncertainty, softened by how stale the model is.

    Parameters
    ----------
    budget : Budget
    seed : int
        Salt of all coins.
    fingerprint : tuple
        What else the windows depend on (score and model names); another one restarts them.
    """

    name = "ranked"

    def __init__(self, budget: Budget, seed: int = 0, fingerprint: tuple[object, ...] = ()) -> None:
        self.budget = budget
        self.configuration = config_hash(
            self.name, budget.share, budget.overlap, budget.floor_share, budget.capacity, seed, *fingerprint
        )
        self._coins = query_coins(seed)
        b = budget.asks_per_event
        self._terms = _Terms(
            floor=budget.floor_share * b,
            chosen=b * (1.0 - budget.floor_share),
            cost=budget.cost,
            reserve=budget.cost + TOKEN,
            rim=budget.limit,
            full=-1 if budget.asks_everything else budget.limit - budget.cost,
            tilt=2.0 / budget.limit,
            cap=budget.daily_cap,
        )

    def initial(self) -> QueryState:
        """Return S before the first event: half a bucket of tokens and the credit."""
        return QueryState(Ledger.opened(self.budget))

    def encode(self, state: QueryState) -> str:
        """Return S as at most 3,072 characters."""
        return encode_state(state, self.configuration)

    def decode(self, text: str) -> QueryState:
        """Return S from its text; under another configuration only what is a fact survives."""
        if not text:
            return self.initial()
        return decode_state(text, self.configuration, self.budget)[0]

    def restarts(self, text: str) -> bool:
        """Return whether a committed state was made under another configuration."""
        return bool(text) and not decode_state(text, self.configuration, self.budget)[1]

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
        ledger, window = s.ledger, s.windows[1 if feedback.rare else 0]
        terms, income, limit = self._terms, self.budget.income, self._terms.rim
        recent = set(s.recent)
        decisions: list[Decision] = []
        floor_coins, query_coins = self._coins([event.event_id for event in events])
        scores = [max(0, event.score) for event in events]
        ranks = self._ranks(window, scores)
        chance, until = self._chance(s, window, feedback)
        asking = feedback.chosen_asks and feedback.floor_asks
        rows = zip(events, scores, ranks, floor_coins, query_coins, strict=True)
        for i, ((event_id, timestamp_ms, given), score, rank, floor_coin, query_coin) in enumerate(rows):
            now = s.advance(timestamp_ms)
            s.events += 1
            ledger.earn(income, limit)
            if terms.cap is not None and now // DAY_MS != ledger.day:
                ledger.day, ledger.day_asked = now // DAY_MS, 0
            if now >= until:
                chance, until = self._chance(s, window, feedback)
            tokens = ledger.tokens
            payable = tokens >= terms.cost and (terms.cap is None or ledger.day_asked < terms.cap)
            able = payable and asking and given != UNSCORED
            rate = 0.0
            if able and tokens >= terms.reserve:
                fill = tokens * terms.tilt
                rate = terms.chosen * min(4.0, max(0.25, fill * fill))
            p = chance(s.events, score, rank, query_coin, rate)
            if able and tokens > terms.full:
                p = 1.0
            hit = floor_coin < terms.floor
            floor = hit and feedback.floor_asks
            duplicate = ask = False
            if floor or query_coin < p:
                known = id_hash(event_id) in recent
                duplicate = not known and payable and terms.full >= 0 and near_duplicate(i)
                if known or duplicate:
                    p = 0.0
                ask = payable and not known and (floor or p > 0.0)
            blocked = hit and not (payable and feedback.floor_asks)
            ledger.floor_blocked += blocked
            propensity = 1.0 - (1.0 - terms.floor) * (1.0 - p) if payable else None
            if ask and propensity is not None:
                ledger.pay(terms.cost)
                s.note_ask(event_id, propensity)
                recent = set(s.recent)  # the oldest of 64 may be gone, whatever the cut
                asked(i)
                chance, until = self._chance(s, window, feedback)
            decisions.append(
                _decision((ask, score, rank, p, tokens / TOKEN, floor, propensity, duplicate, now, blocked))
            )
        return s, decisions

    def _ranks(self, window: ScoreWindow, scores: Sequence[int]) -> list[float]:
        """Return the rank of every score; it depends on no decision, so the whole batch enters first."""
        return window.enter(scores)

    def _chance(self, state: QueryState, window: ScoreWindow, feedback: Feedback) -> tuple[Chance, float]:
        """Return the function to an event's chance, and until what log time it holds.

        The staler the model, the more evenly it asks: ``st`` is the part of the requests that are still
        open, against the answers that were learned.
        """
        pending, until = state.asked - feedback.answers, math.inf
        if feedback.delay_ms is not None:
            young, until = state.asked_within(DELAY_HORIZON * feedback.delay_ms)
            pending = min(pending, young)
        pending = max(0, pending)
        stale = pending / (pending + 10.0 + 0.5 * feedback.answers)
        fresh = 1.0 - stale
        even = 0.0 if feedback.rare else 0.9 * stale
        u_power = 2.0 * fresh
        rank_power = 4.0 * (1.0 if feedback.rare else fresh)
        log, exp, normalise = math.log, math.exp, window.normalise

        def chance(number: int, score: int, rank: float, coin: float, rate: float) -> float:
            s = exp(u_power * log(score / SCALE + 1e-3) + rank_power * log(rank)) if rank > 0.0 else 0.0
            return min(1.0, rate * ((1.0 - even) * normalise(s) + even))

        return chance, until
