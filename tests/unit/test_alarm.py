"""The alarm on the error: fair bets, silence without a rise, and the same state after every restart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_al.monitor.alarm import ALPHA, Bet, ErrorAlarm, upper_end


def told(losses: np.ndarray) -> ErrorAlarm:
    alarm = ErrorAlarm()
    for at, loss in enumerate(losses):
        alarm.observe(float(loss), at)
    return alarm


@given(
    st.floats(0.01, 0.99),
    st.lists(st.booleans(), max_size=120),
)
def test_bets_are_fair_at_the_reference(reference: float, losses: list[bool]):
    """What comes next changes the capital by nothing on average, if the error is the reference."""
    bet = Bet.opened(reference, 20.0)
    for loss in losses:
        bet.observe(float(loss))
    before, ends = bet.capital, []
    for loss in (0.0, 1.0):
        after = Bet(bet.reference, bet.needed, bet.answers, bet.staked.copy())
        after.observe(loss)
        ends.append(after.capital)
    assert (1.0 - reference) * ends[0] + reference * ends[1] == pytest.approx(before, rel=1e-9)
    assert ends[0] >= 0.0


def test_without_a_rise_it_goes_off_in_less_than_its_share_of_the_streams():
    rng = np.random.default_rng(5)
    gone_off = sum(told(rng.random(600) < rng.choice([0.02, 0.1, 0.3])).alarms > 0 for _ in range(100))
    assert gone_off <= 100 * ALPHA


def test_a_falling_error_is_no_alarm():
    rng = np.random.default_rng(6)
    error = np.linspace(0.6, 0.05, 1500)
    assert told(rng.random(1500) < error).alarms == 0


def test_a_rise_is_found_and_watching_begins_anew():
    rng = np.random.default_rng(7)
    losses = np.concatenate([rng.random(800) < 0.1, rng.random(400) < 0.3])
    alarm = told(losses)
    assert alarm.alarms == 1
    assert alarm.last_alarm_ms is not None
    assert 800 <= alarm.last_alarm_ms < 1100
    assert alarm.evidence < 1.0


@given(st.lists(st.booleans(), min_size=90, max_size=450), st.integers(0, 450))
def test_a_restart_anywhere_changes_nothing(losses: list[bool], cut: int):
    through = told(np.array(losses))
    first = told(np.array(losses[:cut]))
    second = ErrorAlarm()
    second.load(first.dump())
    for at, loss in enumerate(losses[cut:], start=cut):
        second.observe(float(loss), at)
    assert second.dump() == through.dump()
    assert second.state() == through.state()


@pytest.mark.parametrize("wrong", [0.0, 3.0, 20.0])
def test_the_upper_end_is_exceeded_with_its_probability(wrong: float):
    """Clopper and Pearson: at the end, seeing as few or fewer has probability alpha."""
    from scipy.stats import binom

    end = upper_end(wrong, 50, 0.025)
    assert binom.cdf(wrong, 50, end) == pytest.approx(0.025)


def test_nothing_is_above_an_error_of_one():
    alarm = told(np.ones(500))
    assert alarm.alarms == 0
    assert alarm.evidence < 1e-6


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_level_that_is_none_is_refused(alpha: float):
    with pytest.raises(ValueError, match="above 0 and below 1"):
        ErrorAlarm(alpha)
