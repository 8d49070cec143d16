"""Score streams made by hypothesis: bursts, ties, drifts, falling, rising and constant scores."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from stream_al.query.ledger import Budget
from stream_al.query.policy import Decision, Feedback, QueryPolicy, ScoredEvent
from stream_al.query.state import QueryState
from stream_al.query.window import SCALE
from support.messages import START_MS

SHAPES = ("constant", "rising", "falling", "ties", "drift", "bursts", "noise")
HOUR_MS = 3_600_000


class Step(NamedTuple):
    """Events decided at one model position."""

    events: list[ScoredEvent]
    feedback: Feedback


def scores_of(shape: str, n: int, rng: np.random.Generator) -> list[int]:
    """Return n scores of one shape."""
    u = {
        "constant": np.full(n, rng.random()),
        "rising": np.linspace(0.0, 1.0, n),
        "falling": np.linspace(1.0, 0.0, n),
        "ties": rng.choice([0.0, 0.5, 1.0], size=n),
        "drift": np.where(np.arange(n) < n // 2, 0.05, 0.9) + 0.05 * rng.random(n),
        "bursts": np.where(np.arange(n) // 25 % 4 == 0, 1.0, 0.01 * rng.random(n)),
        "noise": rng.random(n),
    }[shape]
    return [int(x) for x in np.rint(np.clip(u, 0.0, 1.0) * SCALE)]


@st.composite
def budgets(draw: st.DrawFn) -> Budget:
    """Any terms that a ledger accepts."""
    overlap = draw(st.integers(1, 4))
    return Budget(
        share=draw(st.floats(0.001, 1.0)),
        overlap=overlap,
        floor_share=draw(st.floats(0.01, 1.0)),
        capacity=draw(st.floats(overlap + 1, 40.0)),
        credit=draw(st.sampled_from([0.0, 0.5, 20.0, 300.0])),
        partitions=draw(st.sampled_from([1, 3, 12])),
        daily_cap=draw(st.sampled_from([None, None, 3])),
    )


@st.composite
def streams(draw: st.DrawFn, *, longest: int = 400, paused: bool = True) -> list[Step]:
    """A stream in several steps, with feedback between them and a clock of varying pace; ids may repeat."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    now, number, answers = START_MS, 0, 0
    steps = []
    for _ in range(draw(st.integers(1, 4))):
        n = draw(st.integers(1, longest))
        retry = draw(st.sampled_from([0.0, 0.0, 0.2]))
        pace = draw(st.sampled_from([0, 1_000, 60_000, HOUR_MS]))
        events = []
        for score in scores_of(draw(st.sampled_from(SHAPES)), n, rng):
            again = number and rng.random() < retry
            name = f"e{rng.integers(number)}" if again else f"e{number}"
            number += not again
            now += pace
            events.append(ScoredEvent(name, now, score))
        answers += draw(st.integers(0, 40))
        feedback = Feedback(
            answers,
            draw(st.sampled_from([None, 0.0, 1e4, 1e8])),
            draw(st.booleans()),
            draw(st.sampled_from([True, True, not paused])),
            draw(st.sampled_from([True, True, not paused])),
        )
        steps.append(Step(events, feedback))
    return steps


def never_near(_: int) -> bool:
    """Say that nothing is a near-duplicate."""
    return False


def ignore(_: int) -> None:
    """Do nothing about an ask."""


def decide_all(
    policy: QueryPolicy, steps: list[Step], *, cut: int = 1_000_000, state: QueryState | None = None
) -> tuple[QueryState, list[Decision]]:
    """Return the last state and all decisions, each step cut into pieces; the state is encoded between."""
    state = policy.initial() if state is None else state
    decisions: list[Decision] = []
    for step in steps:
        for start in range(0, len(step.events), cut):
            piece = step.events[start : start + cut]
            state, made = policy.decide(state, piece, step.feedback, never_near, ignore)
            state = policy.decode(policy.encode(state))
            decisions += made
    return state, decisions
