"""Waves of one event: copies, slightly changed ones, one id sent again and again, a text with a word changed.

A wave is asked about a few times and then only by the floor, which never stops: a wave that changes its
nature is seen. Without the filter a wave of uncertain events takes a quarter of the budget.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from support.engines import Clock, answer, feed, make_engine, make_learner, requests, settle
from support.messages import CLASSES, reply, truth_of

from stream_al.log.memory import MemoryLog
from stream_al.models.pool import Pool
from stream_al.query.ledger import Budget

EVENTS, COLUMNS, START, WAVE = 6_000, 8, 3_000, 2_000
BUDGET, MOST_ASKS = 0.05, 25
WORDS, CHUNK = 15, 25


class Wave(NamedTuple):
    """Asks about a wave and about everything else."""

    inside: int
    outside: int
    floor: int


def run(events: Iterator[tuple[dict[str, Any], bool]], *, near_duplicates: bool = True) -> Wave:
    """Return the asks of a stream of (event, whether it belongs to the wave), answered at once."""
    log, learner = MemoryLog(clock=Clock()), make_learner(Pool(len(CLASSES), 0))
    engine = make_engine(log, learner, budget=Budget(BUDGET), near_duplicates=near_duplicates, max_batch=50)
    inside = outside = floor = seen = 0
    while chunk := list(itertools.islice(events, CHUNK)):
        feed(log, [event for event, _ in chunk])
        settle(engine)
        fresh = requests(log)[seen:]
        seen += len(fresh)
        answer(log, [reply(r["ticket"], truth_of(r["event"]), r["request_id"]) for r in fresh])
        for request in fresh:
            of_wave = request["event"]["payload"]["wave"]
            inside, outside = inside + of_wave, outside + (not of_wave)
            floor += of_wave and learner.office.verify(request["ticket"]).channel == "floor"
    return Wave(inside, outside, floor)


def columns(*, changed: float, one_id: bool = False) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield events of three classes, and in their midst a wave of one on the border between two."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(COLUMNS, len(CLASSES)))
    rows = rng.normal(size=(EVENTS, COLUMNS))
    logits = rows @ weights
    top = np.sort(logits, axis=1)
    centre = rows[np.argmin(top[:, -1] - top[:, -2])]
    for i, row in enumerate(rows):
        wave = START <= i < START + WAVE
        values = centre + changed * rng.normal(size=COLUMNS) if wave else row
        yield (
            {
                "event_id": "retry" if wave and one_id else f"e{i}",
                "features": {f"x{j}": float(value) for j, value in enumerate(values)},
                "payload": {"truth": CLASSES[int(np.argmax(values @ weights))], "wave": wave},
            },
            wave,
        )


def texts(*, changed: int) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield texts of two classes, and from the middle on a spam wave of one, some of its words changed."""
    rng = np.random.default_rng(0)
    vocabulary = ["".join(rng.choice(list("abcdefghijklmnoprstuvw"), 5)) for _ in range(600)]
    template = rng.choice(vocabulary, WORDS)
    for i in range(EVENTS):
        wave = START <= i < START + WAVE
        ham = rng.random() < 0.7
        words = rng.choice(vocabulary[250:] if ham else vocabulary[:350], WORDS)
        if wave:
            words = template.copy()
            for place in rng.choice(WORDS, changed, replace=False):
                words[place] = f"x{rng.integers(10**4)}"
        truth = CLASSES[0] if ham and not wave else CLASSES[1]
        payload = {"truth": truth, "wave": wave}
        yield {"event_id": f"e{i}", "text": " ".join(words), "payload": payload}, wave


@pytest.mark.parametrize("changed", [0.0, 0.03, 0.1])
def test_a_wave_of_copies_or_of_slightly_changed_ones_is_asked_a_few_times(changed):
    wave = run(columns(changed=changed))
    assert 1 <= wave.inside <= MOST_ASKS
    assert wave.floor >= 3  # two thousand events, a floor of one in two hundred: it never stops


def test_without_the_filter_the_wave_takes_a_quarter_of_the_budget():
    assert run(columns(changed=0.0), near_duplicates=False).inside > 2 * MOST_ASKS


def test_an_id_that_is_sent_again_and_again_is_asked_once():
    assert run(columns(changed=0.0, one_id=True)).inside == 1


@pytest.mark.parametrize("changed", [0, 1])
def test_a_spam_wave_is_asked_a_few_times_though_a_word_is_new_in_each(changed):
    wave = run(texts(changed=changed))
    assert 1 <= wave.inside <= MOST_ASKS
    assert wave.floor >= 3
