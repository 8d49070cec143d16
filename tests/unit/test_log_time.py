"""Log time: one bad clock moves it by an hour, a quiet week by the week."""

from __future__ import annotations

from stream_al.query.ledger import Budget, Ledger
from stream_al.query.state import HOUR_MS, QueryState, advanced

DAY = 24 * HOUR_MS
START = 1_700_000_000_000


def clock(*records: int) -> list[int]:
    state = QueryState(Ledger.opened(Budget(0.1)))
    found = []
    for record in records:
        found.append(state.advance(record) - START)
        state.events += 1
    return found


def test_a_single_leap_is_cut_to_an_hour():
    assert clock(START, START + 3650 * DAY, START + 1_000) == [0, HOUR_MS, HOUR_MS]


def test_a_leap_that_the_next_record_confirms_is_believed():
    assert clock(START, START + 7 * DAY, START + 7 * DAY + 5) == [0, HOUR_MS, 7 * DAY]


def test_a_slow_stream_lags_by_one_record_at_most():
    moments = [START + day * DAY for day in range(40)]
    found = clock(*moments)
    assert all(now + START >= moments[i - 1] for i, now in enumerate(found) if i)


def test_it_never_runs_backwards():
    assert advanced(START, START, START - DAY) == START
