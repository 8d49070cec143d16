"""The contract of a query policy, executable: small checks that every policy passes.

A policy is a fold. Whatever it prefers, it is pure, pays for every ask, records the probability of each,
leaves the floor alone, and fits into an offset commit.
"""

from __future__ import annotations

from collections.abc import Callable

from stream_al.query.coin import Coin
from stream_al.query.ledger import TOKEN, Budget
from stream_al.query.policy import Decision, Feedback, QueryPolicy, ScoredEvent
from stream_al.query.state import MAX_ENCODED, QueryState
from stream_al.query.window import SCALE

__all__ = ["CHECKS", "MakePolicy", "check_policy"]

MakePolicy = Callable[[Budget, int], QueryPolicy]
"""``make(budget, seed)``."""

START_MS = 1_700_000_000_000
EVENTS = 600


def _events(count: int = EVENTS) -> list[ScoredEvent]:
    """Return a stream with ties, a burst and a drift; scores are drawn from a coin."""
    coin = Coin("conformance", 0)
    events = []
    for i in range(count):
        u = coin(f"e{i}")
        if i % 5 == 0:
            u = 0.5
        elif 200 <= i < 240:
            u = 1.0
        elif i >= 400:
            u *= 0.1
        events.append(ScoredEvent(f"e{i}", START_MS + 1_000 * i, round(u * SCALE)))
    return events


def _decide(
    policy: QueryPolicy, state: QueryState, events: list[ScoredEvent], feedback: Feedback | None = None
) -> tuple[QueryState, list[Decision]]:
    return policy.decide(state, events, feedback or Feedback(20, 5e4), lambda _: False, lambda _: None)


def _expect(holds: bool, problem: str) -> None:
    if not holds:
        raise AssertionError(problem)


def check_decides_every_event_once(make: MakePolicy) -> None:
    """One decision an event, in order: a prediction is written for each."""
    policy, events = make(Budget(0.1), 0), _events()
    _, decisions = _decide(policy, policy.initial(), events)
    found = [decision.score for decision in decisions]
    _expect(found == [event.score for event in events], "decisions and events do not correspond")


def check_the_state_given_is_not_changed(make: MakePolicy) -> None:
    """A commit may be lost, and then the old state is the truth."""
    policy = make(Budget(0.1), 0)
    state, _ = _decide(policy, policy.initial(), _events(100))
    before = policy.encode(state)
    _decide(policy, state, _events()[100:])
    _expect(policy.encode(state) == before, "decide changed the state that it was given")


def check_decisions_repeat(make: MakePolicy) -> None:
    """A replay must find the same: nothing but the state, the events and the feedback decides."""
    first, second = make(Budget(0.1), 0), make(Budget(0.1), 0)
    one, two = (_decide(policy, policy.initial(), _events()) for policy in (first, second))
    _expect(one[1] == two[1], "two policies with the same seed decided differently")


def check_cuts_change_nothing(make: MakePolicy) -> None:
    """Polls come as they come; 37 at once or one by one is the same stream."""
    policy, events = make(Budget(0.1), 0), _events()
    whole, expected = _decide(policy, policy.initial(), events)
    for size in (1, 37):
        state, found = policy.initial(), []
        for start in range(0, len(events), size):
            state, decisions = _decide(policy, state, events[start : start + size])
            found += decisions
        _expect(found == expected, f"in pieces of {size} events the decisions are others")
        _expect(policy.encode(state) == policy.encode(whole), f"in pieces of {size} the state is another")


def check_the_state_survives_its_text(make: MakePolicy) -> None:
    """S rides in an offset commit: short text that gives the same S back."""
    policy, state = make(Budget(0.2), 0), None
    for event in _events():
        state, _ = _decide(policy, state or policy.initial(), [event])
        text = policy.encode(state)
        _expect(
            len(text) <= MAX_ENCODED, f"the encoded state has {len(text)} characters; at most {MAX_ENCODED}"
        )
        again = policy.decode(text)
        _expect(again == state, f"after {event.event_id} the decoded state differs from the encoded one")
        _expect(policy.encode(again) == text, "a decoded state encodes differently")


def check_the_empty_text_is_the_initial_state(make: MakePolicy) -> None:
    """A partition without a commit starts from nothing."""
    policy = make(Budget(0.1), 0)
    _expect(policy.decode("") == policy.initial(), "decode of the empty text is not the initial state")


def check_every_ask_is_paid(make: MakePolicy) -> None:
    """The budget is a bound at every prefix, whatever the policy would like."""
    for budget in (Budget(0.01), Budget(0.3, overlap=2), Budget(1.0, credit=0.0), Budget(0.1, daily_cap=5)):
        policy = make(budget, 0)
        state, asked = policy.initial(), 0
        grant = budget.limit // 2 + budget.credit_units
        for number, event in enumerate(_events(), 1):
            state, [decision] = _decide(policy, state, [event])
            asked += decision.asked
            ledger = state.ledger
            _expect(ledger.balanced(), f"the books do not balance after {number} events under {budget}")
            _expect(ledger.spent == asked * budget.cost, f"{asked} asks were not paid under {budget}")
            _expect(
                ledger.spent <= number * budget.income + grant, f"overspent after {number} under {budget}"
            )
        if budget.daily_cap is not None:
            _expect(asked <= budget.daily_cap, f"{asked} asks in a day of at most {budget.daily_cap}")


def check_propensities_are_probabilities(make: MakePolicy) -> None:
    """Estimates divide by them; none means that the ledger could not pay."""
    budget = Budget(0.1)
    policy = make(budget, 0)
    floor = budget.floor_share * budget.asks_per_event
    for decision in _decide(policy, policy.initial(), _events())[1]:
        chance = decision.propensity
        _expect(not (decision.asked and chance is None), "an event was asked without a propensity")
        if chance is not None:
            _expect(floor * (1 - 1e-9) <= chance <= 1.0, f"propensity {chance} is not in [{floor}, 1]")
        else:
            _expect(decision.tokens * TOKEN < budget.cost, "an event that could be paid has no propensity")


def check_the_floor_is_blind(make: MakePolicy) -> None:
    """The floor keeps the estimates honest: its coin knows the id, never the score or the tokens."""
    policy = make(Budget(0.3), 0)
    events = _events()
    blind = [event._replace(score=0) for event in events]
    rich = policy.initial()
    poor = policy.initial()
    poor.ledger.tokens = 0
    seen = [
        [decision.floor for decision in _decide(policy, state, stream)[1]]
        for state, stream in ((rich, events), (rich, blind), (poor, events))
    ]
    _expect(any(seen[0]), "the floor never hits: no estimate will be possible")
    _expect(seen[0] == seen[1], "the floor coin depends on scores")
    _expect(seen[0] == seen[2], "the floor coin depends on tokens")


def check_replies_leave_the_ledger_alone(make: MakePolicy) -> None:
    """The budget counts what was asked of people: no refund, no charge on a reply."""
    policy = make(Budget(0.1), 0)
    state, _ = _decide(policy, policy.initial(), _events(300))
    for answers in (0, 1, 10_000):
        after, _ = _decide(policy, state, [], Feedback(answers, 1.0))
        _expect(after.ledger == state.ledger, f"{answers} answers changed the ledger")


def check_pauses_are_obeyed(make: MakePolicy) -> None:
    """An operator's pause stops chosen asks, or all, at once."""
    policy = make(Budget(0.5), 0)
    chosen = _decide(policy, policy.initial(), _events(), Feedback(chosen_asks=False))[1]
    _expect(all(d.floor for d in chosen if d.asked), "a chosen event was asked while choosing was paused")
    nothing = _decide(policy, policy.initial(), _events(), Feedback(floor_asks=False))[1]
    _expect(not any(d.asked for d in nothing), "an event was asked while all asking was paused")


def check_an_asked_event_is_not_asked_again(make: MakePolicy) -> None:
    """A producer's retry is scored, and bothers nobody twice."""
    policy = make(Budget(1.0), 0)
    events = [ScoredEvent("twice", START_MS + i, SCALE) for i in range(20)]
    asked = sum(decision.asked for decision in _decide(policy, policy.initial(), events)[1])
    _expect(asked <= 1, f"one event was asked {asked} times")


CHECKS: list[Callable[[MakePolicy], None]] = [
    check_decides_every_event_once,
    check_the_state_given_is_not_changed,
    check_decisions_repeat,
    check_cuts_change_nothing,
    check_the_state_survives_its_text,
    check_the_empty_text_is_the_initial_state,
    check_every_ask_is_paid,
    check_propensities_are_probabilities,
    check_the_floor_is_blind,
    check_replies_leave_the_ledger_alone,
    check_pauses_are_obeyed,
    check_an_asked_event_is_not_asked_again,
]
"""Every check, the simplest first."""


def check_policy(make: MakePolicy) -> None:
    """Run every check over policies that ``make(budget, seed)`` gives.

    Raises
    ------
    AssertionError
        Names the first law that does not hold.
    """
    for check in CHECKS:
        try:
            check(make)
        except AssertionError as error:
            raise AssertionError(f"{check.__name__}: {error}") from error
