"""What tells whether asking keeps its budget."""

from __future__ import annotations

from collections.abc import Callable

from stream_al.metrics.family import PARTITION, Family, Read, each, one
from stream_al.query.ledger import TOKEN, Ledger


def _tokens(value: Callable[[Ledger], int]) -> Read:
    """Read an amount of the ledger of each partition, in tokens."""
    return each(lambda state: value(state.ledger) / TOKEN)


ASKING: tuple[Family, ...] = (
    Family(
        "stream_al_label_requests_total",
        "counter",
        "partition",
        "Label requests published.",
        each(lambda state: state.asked),
        PARTITION,
    ),
    Family(
        "stream_al_label_tokens_allowed_total",
        "counter",
        "partition",
        "Label tokens that the budget has earned so far.",
        _tokens(lambda ledger: ledger.allowance),
        PARTITION,
    ),
    Family(
        "stream_al_label_tokens_spent_total",
        "counter",
        "partition",
        "Label tokens spent on requests; a request costs its overlap.",
        _tokens(lambda ledger: ledger.spent),
        PARTITION,
    ),
    Family(
        "stream_al_label_tokens_clipped_total",
        "counter",
        "partition",
        "Label tokens that a full bucket could not take.",
        _tokens(lambda ledger: ledger.clipped),
        PARTITION,
    ),
    Family(
        "stream_al_label_tokens",
        "gauge",
        "partition",
        "Label tokens at hand.",
        _tokens(lambda ledger: ledger.tokens),
        PARTITION,
    ),
    Family(
        "stream_al_label_debt_tokens",
        "gauge",
        "partition",
        "Tokens of the starting credit that are not paid back yet.",
        _tokens(lambda ledger: ledger.debt),
        PARTITION,
    ),
    Family(
        "stream_al_floor_blocked_total",
        "counter",
        "partition",
        "Random asks that could not be made (no token, or paused): the estimate is withheld over them.",
        each(lambda state: state.ledger.floor_blocked),
        PARTITION,
    ),
    Family(
        "stream_al_open_label_requests",
        "gauge",
        "process",
        "Requests that still want an answer and are not expired.",
        one(lambda s: s.open_requests),
    ),
    Family(
        "stream_al_asking",
        "gauge",
        "log",
        "1 while asks of this channel go on, 0 while an operator pauses them.",
        lambda s: [(("chosen",), s.chosen_asks), (("floor",), s.floor_asks)],
        ("channel",),
    ),
)
"""Families of label requests and of the ledger that pays for them."""
