"""Deciding by a score that follows what was asked: each request counts for the very next event.

A score of novelty changes with every request, so the scores of a batch hold only as far as the next one.
A stretch of events is decided by the scores of its beginning; if one of them is asked, the stretch is
decided again up to that one, and what follows is scored anew. Cuts change nothing, whatever the policy, so
this is exactly what deciding event by event would give.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from stream_al.novelty import BatchNovelty
from stream_al.query.policy import Decision, Feedback, QueryPolicy, ScoredEvent
from stream_al.query.state import QueryState

T = TypeVar("T")
STRETCH = 16
"""Events decided at once; with one request in twenty, longer ones are mostly decided in vain (measured)."""


def decide_following(
    policy: QueryPolicy,
    state: QueryState,
    ids: Sequence[str],
    times_ms: Sequence[int],
    feedback: Feedback,
    novelty: BatchNovelty,
    score: Callable[[], list[int]],
) -> tuple[QueryState, list[Decision]]:
    """Return the state after the events and one decision an event; ``state`` is not changed.

    Parameters
    ----------
    policy : QueryPolicy
    state : QueryState
    ids, times_ms : sequences
        Of the events of one partition.
    feedback : Feedback
    novelty : BatchNovelty
        Is told of every request.
    score : callable
        Returns the scores of all these events, as of the requests so far.
    """
    decisions: list[Decision] = []
    scores, start = score(), 0
    while start < len(ids):
        stop = min(len(ids), start + STRETCH)
        events = [
            ScoredEvent(*event)
            for event in zip(ids[start:stop], times_ms[start:stop], scores[start:stop], strict=True)
        ]
        near = _behind(novelty.near, start)
        after, made = policy.decide(state, events, feedback, near, _ignore)
        first = next((i for i, decision in enumerate(made) if decision.asked), None)
        if first is not None:
            events = events[: first + 1]
            after, made = policy.decide(state, events, feedback, near, _behind(novelty.asked, start))
            scores = score()
        state, start = after, start + len(made)
        decisions += made
    return state, decisions


def _behind(function: Callable[[int], T], start: int) -> Callable[[int], T]:
    """Return a function of an event's number in its stretch."""
    return lambda i: function(start + i)


def _ignore(_: int) -> None:
    """Do nothing about an ask that may not stand."""
