"""S: log time, marks of asks, and texts that cannot be read."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest

from stream_al.errors import LogError
from stream_al.query.ledger import Budget, Ledger
from stream_al.query.policy import RankedPolicy
from stream_al.query.state import MARKS, REMEMBERED_IDS, QueryState, id_hash

HOUR_MS = 3_600_000


def fresh() -> QueryState:
    return QueryState(Ledger.opened(Budget(0.1)))


def test_asks_younger_than_a_horizon_are_counted_never_too_few():
    state = fresh()
    times = []
    for i in range(2_000):
        state.now = 1_000 + 10 * i
        state.note_ask(f"e{i}", 0.5)
        times.append(state.now)
        assert len(state.marks) <= MARKS
    for horizon in range(0, 21_100, 700):
        exact = sum(t + horizon > state.now for t in times)
        young, until = state.asked_within(horizon)
        assert exact <= young <= (exact if exact <= 32 else 2_000)
        assert until > state.now
        later = state.copy()
        later.now = int(min(until, 1e9)) - 1
        assert later.asked_within(horizon)[0] == young
    assert state.asked_within(10**9)[0] == 2_000
    assert state.asked_within(0)[0] == 0


def test_the_last_64_asked_ids_are_remembered():
    state = fresh()
    for i in range(100):
        state.note_ask(f"e{i}", 0.25)
    assert state.recent == [id_hash(f"e{i}") for i in range(100 - REMEMBERED_IDS, 100)]
    assert state.inverse_propensity == 400.0


def test_time_is_monotone_and_an_hour_a_step():
    state = fresh()
    assert state.advance(5_000) == 5_000
    state.events = 1
    assert state.advance(4_000) == 5_000
    assert state.advance(10**15) == 5_000 + HOUR_MS


def test_a_copy_is_independent():
    state = fresh()
    copy = state.copy()
    assert copy == state
    copy.ledger.tokens -= 1
    copy.windows[0].enter([1])
    copy.note_ask("e", 0.5)
    assert state == fresh()


@pytest.mark.parametrize("text", ["%", "AAAA", b64encode(b"\x01" * 60).decode()])
def test_a_damaged_text_is_a_log_error(text):
    with pytest.raises(LogError, match="query state"):
        RankedPolicy(Budget(0.1)).decode(text)


def test_a_text_of_another_format_names_both():
    policy = RankedPolicy(Budget(0.1))
    data = b64decode(policy.encode(policy.initial()))
    with pytest.raises(LogError, match="format 9; this version reads 1"):
        policy.decode(b64encode(b"\x09" + data[1:]).decode())


def test_what_counts_as_another_configuration():
    policy = RankedPolicy(Budget(0.1), 0, ("margin", "pool"))
    text = policy.encode(policy.initial())
    assert not policy.restarts(text)
    assert not policy.restarts("")
    assert not RankedPolicy(Budget(0.1, credit=5.0), 0, ("margin", "pool")).restarts(text)
    for other in (
        RankedPolicy(Budget(0.2), 0, ("margin", "pool")),
        RankedPolicy(Budget(0.1), 1, ("margin", "pool")),
        RankedPolicy(Budget(0.1), 0, ("entropy", "pool")),
    ):
        assert other.restarts(text)
