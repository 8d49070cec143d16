"""Query strategies of scikit-activeml and river around our models: their own public code decides.

A peer stands where our policy stands, so everything else is the same on both sides: the model, the scale,
the people, the clock. It is given the model's probabilities and says whether to ask. Peers spend as they
like; so their one knob is searched for the value at which they learn as many labels as was wanted, with
hindsight, and they may not learn more: a favour that a service could not do them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stream_al.comparison import answered_in_time
from stream_al.learner import Learner, Scored
from stream_al.query.ledger import TOKEN
from stream_al.query.policy import Decision, Feedback, NearDuplicate, RankedPolicy, ScoredEvent
from stream_al.query.scores import SCORES
from stream_al.query.state import QueryState
from stream_al.query_scores import QueryScores
from stream_al.simulate import Run, Simulation

F64 = NDArray[np.float64]
TRIES = 8
CLOSE = 0.95
"""A knob is right when the wanted labels are reached behind this part of the stream."""
NARROW = 1.1
"""Knobs that are closer than this ratio are not worth another run: what is spent jumps there."""


class Sampler(Protocol):
    """A peer's decision about one event; it remembers what it needs."""

    def __call__(self, probabilities: F64) -> bool:
        """Return whether to ask, given the probabilities (k,) of one event."""
        ...


class SplitSampler:
    """scikit-activeml's `Split`: least confidence under its ``SplitBudgetManager``, the rest as it is.

    Parameters
    ----------
    budget : float
        What the manager is told.
    seed : int
    """

    def __init__(self, budget: float, seed: int) -> None:
        from skactiveml.stream.budgetmanager import SplitBudgetManager

        self._manager = SplitBudgetManager(budget=budget, random_state=seed)
        self._candidate = np.zeros((1, 1))

    def __call__(self, probabilities: F64) -> bool:
        """Return whether it queries the one candidate."""
        chosen = self._manager.query_by_utility(1.0 - probabilities.max(keepdims=True))
        self._manager.update(self._candidate, chosen)
        return len(chosen) > 0


class _Told:
    """The classifier of river's sampler: its features *are* the probabilities."""

    def predict_proba_one(self, x: dict[int, float]) -> dict[int, float]:
        return x


class EntropySampler:
    """river's ``active.EntropySampler``.

    Parameters
    ----------
    budget : float
        Stands for its discount factor, 1/budget: it has no budget.
    seed : int
    """

    def __init__(self, budget: float, seed: int) -> None:
        from river.active import EntropySampler as Peer

        told: Any = _Told()
        self._sampler: Any = Peer(classifier=told, discount_factor=1.0 / budget, seed=seed)

    def __call__(self, probabilities: F64) -> bool:
        """Return whether it asks."""
        return bool(self._sampler.predict_proba_one(dict(enumerate(probabilities.tolist())))[1])


MakeSampler = Callable[[float, int], Sampler]


@dataclass(slots=True)
class PeerState(QueryState):
    """What the engine carries, and what the peer remembers.

    Attributes
    ----------
    sampler : Sampler
    learned : int
        Labels that will be learned in time from what was asked.
    full_at : int
        Number of the event at which enough was asked; -1 before.
    """

    sampler: Any = None
    learned: int = 0
    full_at: int = -1

    def copy(self) -> PeerState:
        """Return an independent copy."""
        plain = QueryState.copy(self)
        kept = {field.name: getattr(plain, field.name) for field in fields(QueryState)}
        return PeerState(**kept, sampler=deepcopy(self.sampler), learned=self.learned, full_at=self.full_at)


class PeerPolicy(RankedPolicy):
    """A peer in place of our policy; outside any ledger, like a list of events.

    Parameters
    ----------
    simulation : Simulation
        Of the same terms, from which it is known which requests will be answered in time.
    sampler : Sampler
        New.
    most : int
        Labels that may be learned; from then on nothing is asked.
    """

    name = "peer"

    def __init__(self, simulation: Simulation, sampler: Sampler, most: int) -> None:
        super().__init__(simulation.settings.budget(), fingerprint=("peer",))
        self._simulation = simulation
        self._sampler = sampler
        self._most = most
        self._probabilities: dict[str, F64] = {}

    def initial(self) -> PeerState:
        """Return S before the first event."""
        plain = super().initial()
        return PeerState(plain.ledger, sampler=deepcopy(self._sampler))

    def see(self, ids: Sequence[str], probabilities: F64) -> None:
        """Take the probabilities (n, k) of the events that are decided next."""
        self._probabilities = dict(zip(ids, probabilities, strict=False))

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
        assert isinstance(s, PeerState)
        decisions = []
        for i, (event_id, timestamp_ms, score) in enumerate(events):
            now = s.advance(timestamp_ms)
            s.events += 1
            s.ledger.earn(self.budget.income, self.budget.limit)
            ask = bool(s.sampler(self._probabilities[event_id])) and s.full_at < 0
            if ask:
                s.ledger.pay(self.budget.cost)
                s.note_ask(event_id, 1.0)
                asked(i)
                row = self._simulation.table.row_of(event_id)
                assert row is not None
                s.learned += answered_in_time(self._simulation, row)
                if s.learned >= self._most:
                    s.full_at = s.events
            tokens = s.ledger.tokens / TOKEN
            decisions.append(Decision(ask, score, 1.0, float(ask), tokens, False, 1.0, False, now))
        return s, decisions


class _Probabilities(QueryScores):
    """In place of a score: hands the policy the model's probabilities as they are."""

    def __init__(self, policy: PeerPolicy) -> None:
        super().__init__(SCORES["margin"], 0)
        self._policy = policy

    def __call__(self, learner: Learner, scored: Scored, ids: Sequence[str]) -> list[int]:
        """Return scores that nobody looks at."""
        known = scored.probabilities.shape[1] > 1  # before, two classes that nothing is known of
        proba = scored.probabilities[: len(ids)] if known else np.full((len(ids), 2), 0.5)
        self._policy.see(ids, proba)
        return [0] * len(ids)


@dataclass(frozen=True, slots=True)
class Tuned:
    """A peer's run, and how it was found.

    Attributes
    ----------
    run : Run
    knob : float
    tries : int
        Runs that the search took.
    reached : float
        Part of the stream after which enough was asked.
    """

    run: Run
    knob: float
    tries: int
    reached: float


class _TooEarly(Exception):
    """The wanted labels were asked for too early in the stream: the rest need not be run."""


def run_peer(
    simulation: Simulation, make: MakeSampler, knob: float, most: int, earliest: int = 0
) -> tuple[Run | None, int]:
    """Return a run in which a peer decides, and the event at which enough was asked (-1: never).

    Parameters
    ----------
    simulation : Simulation
        Whose table, settings, people and plan are used.
    make : callable
        Makes a sampler from the knob and the seed.
    knob : float
    most : int
        Labels that may be learned.
    earliest : int
        Where enough was asked before this event, the run is broken off and there is none.
    """
    policy = PeerPolicy(simulation, make(knob, simulation.settings.seed), most)
    again = Simulation(simulation.table, simulation.settings, simulation.people, simulation.plan, policy)
    again.engine.scores = _Probabilities(policy)

    def full_at(running: Simulation) -> int:
        state = running.engine.states[0]
        assert isinstance(state, PeerState)
        return state.full_at

    def watch(running: Simulation) -> None:
        if 0 < full_at(running) < earliest:
            raise _TooEarly

    try:
        return again(watch), full_at(again)
    except _TooEarly:
        return None, full_at(again)


def tuned_run(simulation: Simulation, make: MakeSampler, learned: int) -> Tuned:
    """Return the run of a peer whose knob makes it learn so many labels, as late in the stream as it can.

    The knob is searched in its logarithm: by how far the last run was off, then within what is known to be
    too little and too much. What is asked near the end under a delay is not learned, so a place in the
    stream is measured by the answers that would come in time up to there.
    """
    reach = np.cumsum([answered_in_time(simulation, i) for i in range(simulation.first, simulation.end)])
    reach = reach / max(1, reach[-1])
    earliest = int(np.searchsorted(reach, CLOSE)) + 1
    knob = simulation.settings.query.budget
    low, high = (1e-7, 1e-9), (1e3, 1e9)  # knobs and what they got, or would have
    found: list[tuple[tuple[int, float], float, Run | None]] = []
    for _ in range(TRIES):
        run, full_at = run_peer(simulation, make, knob, learned, earliest)
        part = float(reach[full_at - 1]) if full_at > 0 else 1.0
        got = learned if run is None else run.learned
        found.append(((got, part), knob, run))
        if run is not None and got >= learned - 1:
            break
        if got < learned:
            low = max(low, (knob, max(got, 0.5)))
        else:
            high = min(high, (knob, got / max(part, 1e-3)))
        if high[0] / low[0] < NARROW:
            break
        knob = _next_knob(knob, learned, got / max(part, 1e-3), low, high)
    # one label less is as good: then the knob whose labels last longer
    (_, reached), knob, run = max(found, key=lambda each: (min(each[0][0], learned - 1), *each[0][::-1]))
    if run is None:
        run, _ = run_peer(simulation, make, knob, learned)
    assert run is not None
    return Tuned(run, knob, len(found), reached)


def _next_knob(
    knob: float, wanted: int, got: float, low: tuple[float, float], high: tuple[float, float]
) -> float:
    """Return a knob that asks a little more than is wanted: in proportion, then between the two sides."""
    target = math.log(1.02 * wanted)
    (low_knob, low_got), (high_knob, high_got) = low, high
    if low_got <= 1e-9 or high_got >= 1e9:
        guess = knob * min(30.0, max(1 / 30, 1.02 * wanted / max(got, 0.5)))
        if low_knob < guess < high_knob:
            return guess
    share = (target - math.log(low_got)) / max(1e-9, math.log(high_got) - math.log(low_got))
    share = min(0.7, max(0.3, share))  # what is spent jumps: a model that is asked about more is surer
    return math.exp((1 - share) * math.log(low_knob) + share * math.log(high_knob))
