"""Asking in batches keeps the laws of the ledger, of S and of cuts, on streams that hypothesis makes.

Offsets grow with gaps, ids repeat, people pause, and a block is so many offsets or so much log time.
"""

from __future__ import annotations

import dataclasses
from base64 import b64decode
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.streams import Step, budgets, streams

from stream_al.conformance.policy import CHECKS
from stream_al.query.batched import BatchAsk, BatchedPolicy
from stream_al.query.block import MILLION, MOST, Block, Candidate, Window
from stream_al.query.coin import TwoCoins
from stream_al.query.ledger import DAY_MS, TOKEN, Budget, Ledger
from stream_al.query.policy import Decision, Feedback, RankedPolicy, ScoredEvent
from stream_al.query.state import (
    FORMAT,
    FORMAT_WITH_BLOCK,
    MARKS,
    MARKS_BESIDE_BLOCK,
    MAX_ENCODED,
    QueryState,
    id_hash,
)
from stream_al.query.window import SIZE, ScoreWindow

windows = st.sampled_from([Window.parse(each) for each in (2, 7, 50, 300, "20s", "5m", "2h")])
GAPS = (1, 1, 3)
"""Offsets are not dense on every log."""


class Passed(NamedTuple):
    """What one event did: the requests before it, its decision, and the state behind it."""

    event: ScoredEvent
    offset: int
    turned: QueryState
    asks: list[BatchAsk]
    decision: Decision
    state: QueryState


class Contents:
    """Events of equal hash modulo 11 are alike, and those of 0 are like what was asked."""

    def __init__(self, events: Sequence[ScoredEvent], offsets: Sequence[int], kinds: dict[int, int]) -> None:
        self.start = 0
        self._events = events
        self._offsets = offsets
        self._kinds = kinds
        kinds.update((offset, id_hash(e.event_id) % 11) for e, offset in zip(events, offsets, strict=True))

    def near(self, i: int) -> bool:
        return self._kinds[self._offsets[self.start + i]] == 0

    def alike(self, i: int, offsets: Sequence[int]) -> list[bool]:
        kind = self._kinds[self._offsets[self.start + i]]
        return [self._kinds[offset] == kind for offset in offsets]

    def served(self, i: int) -> tuple[int, int, int]:
        return self._offsets[self.start + i], 3, MILLION // 3

    def asked(self, i: int) -> None:
        return None


def every_second(offsets: Sequence[int], count: int) -> list[int]:
    return [*offsets[::2], *offsets[1::2]][:count]


def passing(policy: BatchedPolicy, steps: Sequence[Step], cut: int) -> Iterator[Passed]:
    """Yield what every event of a stream did, polled in pieces of one size; S goes through its text."""
    state, offset, kinds = policy.initial(), 0, dict[int, int]()
    for step in steps:
        for first in range(0, len(step.events), cut):
            events = step.events[first : first + cut]
            offsets = []
            for _ in events:
                offsets.append(offset)
                offset += GAPS[offset % len(GAPS)]
            contents = Contents(events, offsets, kinds)
            times = [event.timestamp_ms for event in events]
            state = policy.decode(policy.encode(state))
            for number, start, stop in policy.spans(state, offsets, times):
                turned, asks = policy.turn(state, number, times[start], step.feedback, every_second)
                contents.start = start
                state, found = policy.decide_within(turned, events[start:stop], step.feedback, contents)
                for i, decision in enumerate(found, start):
                    yield Passed(events[i], offsets[i], turned, asks if i == start else [], decision, state)


# ---- the ledger ------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(budget=budgets(), steps=streams(longest=150), window=windows, seed=st.integers(0, 9))
def test_the_bound_and_the_identity_hold_at_every_prefix(budget, steps, window, seed):
    grant = budget.limit // 2 + budget.credit_units
    asked = 0
    for events, passed in enumerate(passing(BatchedPolicy(budget, window, seed), steps, 1), 1):
        for state, earned in ((passed.turned, events - 1), (passed.state, events)):
            ledger = state.ledger
            assert ledger.allowance == earned * budget.income
            assert ledger.spent == state.asked * budget.cost
            assert ledger.spent <= ledger.allowance + grant
            assert ledger.balanced()
            assert min(ledger.tokens, ledger.debt, ledger.clipped) >= 0
        asked += len(passed.asks) + passed.decision.asked
        assert passed.state.asked == asked
        if passed.asks:
            assert passed.turned.ledger.tokens >= TOKEN, "one token is kept for the floor"


@settings(max_examples=30)
@given(budget=budgets(), steps=streams(longest=150), window=windows)
def test_a_daily_cap_is_never_exceeded(budget, steps, window):
    asked: dict[int, int] = {}
    budget = dataclasses.replace(budget, daily_cap=2)
    for passed in passing(BatchedPolicy(budget, window), steps, 1):
        day = passed.decision.now // DAY_MS
        asked[day] = asked.get(day, 0) + passed.decision.asked + len(passed.asks)
        assert asked[day] <= 2


@settings(max_examples=30)
@given(budget=budgets(), steps=streams(longest=150), window=windows, seed=st.integers(0, 9))
def test_between_the_ends_only_the_floor_asks_and_its_coin_is_the_rules(budget, steps, window, seed):
    coins, threshold = TwoCoins("query", seed), budget.floor_share * budget.asks_per_event
    for passed in passing(BatchedPolicy(budget, window, seed), steps, 64):
        decision = passed.decision
        [[floor_coin], _] = coins([passed.event.event_id])
        assert decision.floor <= (floor_coin < threshold)
        assert not decision.asked or decision.floor
        assert decision.propensity is None or decision.propensity == pytest.approx(min(1.0, threshold))


@pytest.mark.parametrize(
    ("tokens", "expected", "held", "cap", "asked"),
    [
        (3.99, 9.9, 16, None, 2),
        (0.99, 9.9, 16, None, 0),
        (40.0, 2.9, 16, None, 2),
        (40.0, 99.0, 5, None, 5),
        (40.0, 99.0, 16, None, MOST),
        (40.0, 99.0, 16, 3, 3),
    ],
)
def test_an_end_asks_what_the_chances_tokens_candidates_and_the_cap_allow(tokens, expected, held, cap, asked):
    policy = BatchedPolicy(Budget(0.05, daily_cap=cap), Window.parse(50))
    state = policy.initial()
    state.ledger.tokens = round(tokens * TOKEN)
    state.block = Block(0, expected, [Candidate(i, i, 9_000 - i, 0, 0) for i in range(held)])
    before = policy.encode(state)
    turned, asks = policy.turn(state, 1, DAY_MS, Feedback(), every_second)
    assert len(asks) == asked
    assert turned.ledger.spent == asked * TOKEN
    assert turned.block == Block(1, pytest.approx(expected % 1), [])
    assert policy.encode(state) == before, "the state that was given is not changed"


@pytest.mark.parametrize("window", [50, 300])
def test_what_a_block_earns_is_spent(window):
    """Nothing is clipped while a block fills, also where it earns more than the capacity of 10."""
    policy = BatchedPolicy(Budget(0.05, credit=0.0), Window.parse(window))
    events = [ScoredEvent(f"e{i}", 1_000 * i, id_hash(f"u{i}") % 65_536) for i in range(8_000)]
    *_, last = passing(policy, [Step(events, Feedback(8_000, 1.0))], 500)
    ledger = last.state.ledger
    assert ledger.clipped == 0
    assert ledger.spent >= ledger.allowance - policy.budget.limit - MOST * TOKEN


# ---- the choice ------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(budget=budgets(), steps=streams(longest=150), window=windows, cut=st.sampled_from([1, 64]))
def test_what_is_held_is_the_best_of_the_open_block(budget, steps, window, cut):
    policy = BatchedPolicy(budget, window)
    for passed in passing(policy, steps, cut):
        block = passed.state.block
        assert block is not None
        held = block.candidates
        assert len(held) <= MOST
        assert [c.score for c in held] == sorted((c.score for c in held), reverse=True)
        assert len({c.identity for c in held}) == len({c.identity % 11 for c in held}) == len(held)
        assert not {c.identity % 11 for c in held} & {0}
        assert not {c.identity for c in held} & set(passed.state.recent)
        if window.unit == "events":
            assert {c.offset // window.size for c in held} <= {block.number}
        assert block.expected >= 0.0


@settings(max_examples=50)
@given(budget=budgets(), steps=streams(longest=150), window=windows)
def test_an_end_asks_about_its_own_block_in_the_order_chosen_and_16_times_at_most(budget, steps, window):
    before: list[Candidate] = []
    for passed in passing(BatchedPolicy(budget, window), steps, 1):
        asked = [ask.candidate for ask in passed.asks]
        assert len(asked) <= MOST
        assert asked == [c for o in every_second([c.offset for c in before], len(asked)) for c in before
                         if c.offset == o]  # fmt: skip
        for ask in passed.asks:
            assert ask.candidate.offset < passed.offset
            assert (ask.decision.now, ask.decision.propensity) == (passed.decision.now, 1.0)
        assert [ask.totals.asked for ask in passed.asks] == list(
            range(passed.turned.asked - len(asked) + 1, passed.turned.asked + 1)
        )
        before = passed.state.block.candidates if passed.state.block else []


@pytest.mark.parametrize("paused", [{"chosen_asks": False}, {"floor_asks": False}])
def test_a_pause_at_the_end_of_a_block_asks_nothing(paused):
    policy = BatchedPolicy(Budget(0.05), Window.parse(50))
    state = policy.initial()
    state.block = Block(0, 5.0, [Candidate(i, i, 9_000, 0, 0) for i in range(9)])
    assert len(policy.turn(state, 1, 0, Feedback(), every_second)[1]) == 5
    turned, asks = policy.turn(state, 1, 0, Feedback(**paused), every_second)
    assert (asks, turned.ledger, turned.block) == ([], state.ledger, Block(1, 0.0, []))


def test_what_was_held_while_asking_was_paused_is_held_no_more_when_a_retry_of_it_is_asked():
    policy = BatchedPolicy(Budget(0.5), Window.parse(1_000))
    names = [f"e{i}" for i in range(2_000) if id_hash(f"e{i}") % 11]
    coins, _ = TwoCoins("query", 0)(names)
    hit = names[coins.index(min(coins))]
    paused, resumed = Feedback(floor_asks=False), Feedback()
    *_, first, second = passing(
        policy,
        [Step([ScoredEvent(hit, 0, 65_535)], paused), Step([ScoredEvent(hit, 0, 65_535)], resumed)],
        1,
    )
    assert [held.identity for held in first.state.block.candidates] == [id_hash(hit)]
    assert second.decision.asked
    assert second.state.block.candidates == []


def test_the_end_of_a_block_leaves_log_time_as_it_is():
    """One bad clock moves time by an hour at most, also where it ends a block and so is looked at twice."""
    times = [0, 1_000, 7_200_000, 2_000, 9_000_000, 9_000_001]
    events = [ScoredEvent(f"e{i}", now, 30_000) for i, now in enumerate(times)]
    plain = RankedPolicy(Budget(0.5))
    _, decisions = plain.decide(plain.initial(), events, Feedback(), lambda _: False, lambda _: None)
    for window in (2, "1m"):
        passed = passing(BatchedPolicy(Budget(0.5), Window.parse(window)), [Step(events, Feedback())], 6)
        assert [each.decision.now for each in passed] == [decision.now for decision in decisions]


# ---- cuts, and S -----------------------------------------------------------------------------------


@settings(max_examples=40)
@given(budget=budgets(), steps=streams(longest=200), window=windows, cut=st.sampled_from([1, 7, 64]))
def test_cuts_change_nothing(budget, steps, window, cut):
    policy = BatchedPolicy(budget, window, 3)
    whole, pieces = list(passing(policy, steps, 10**6)), list(passing(policy, steps, cut))
    assert [(p.asks, p.decision) for p in pieces] == [(p.asks, p.decision) for p in whole]
    assert policy.encode(pieces[-1].state) == policy.encode(whole[-1].state)


@settings(max_examples=30)
@given(budget=budgets(), steps=streams(longest=120), window=windows)
def test_a_state_equals_its_decoded_text_after_every_event(budget, steps, window):
    policy = BatchedPolicy(budget, window)
    for passed in passing(policy, steps, 1):
        text = policy.encode(passed.state)
        assert policy.decode(text) == passed.state
        assert len(text) <= MAX_ENCODED


def full_state(policy: RankedPolicy) -> QueryState:
    """Return the largest state there can be."""
    full = policy.initial()
    room = MARKS if full.block is None else MARKS_BESIDE_BLOCK
    full.windows = [ScoreWindow([65_535] * SIZE, 2**63, 0.123) for _ in full.windows]
    full.marks = [(2**62 - room + i, 2**32 - 1) for i in range(room)]
    full.recent = [id_hash(f"e{i}") for i in range(64)]
    full.now = full.events = full.asked = full.model_version = full.reply_position = 2**62
    full.ledger = Ledger(*[2**62] * len(Ledger.__slots__))
    if full.block is not None:
        largest = Candidate(2**62, 2**32 - 1, 65_535, 65_535, MILLION)
        full.block = Block(-(2**62), 1e300, [largest] * MOST)
    return full


def test_a_full_state_fits():
    policy = BatchedPolicy(Budget(0.5), Window.parse(50))
    full = full_state(policy)
    text = policy.encode(full)
    print(f"a full state with an open block has {len(text)} characters")
    assert len(text) <= MAX_ENCODED
    assert policy.decode(text) == full


def test_switching_batches_on_and_off_keeps_the_ledger_and_fits():
    """The block restarts with every other window; without one the text is that of the format before."""
    plain, batched = RankedPolicy(Budget(0.5)), BatchedPolicy(Budget(0.5), Window.parse(50))
    other = BatchedPolicy(Budget(0.5), Window.parse("5m"))
    for was, now in ((plain, batched), (batched, other), (batched, plain)):
        full = full_state(was)
        full.ledger.tokens = 10
        text = was.encode(full)
        assert now.restarts(text)
        state = now.decode(text)
        assert state.ledger == full.ledger
        assert state.recent == full.recent
        assert state.block == (None if now is plain else Block())
        assert len(now.encode(state)) <= MAX_ENCODED
        assert now.decode(now.encode(state)) == state
    forms = [b64decode(policy.encode(policy.initial()))[0] for policy in (plain, batched)]
    assert forms == [FORMAT, FORMAT_WITH_BLOCK]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_between_the_ends_the_policy_conforms(check):
    check(lambda budget, seed: BatchedPolicy(budget, Window.parse(50), seed))
