"""Precision, recall and false-positive rate: the plain ratio, laws, and intervals that hold the truth."""

from __future__ import annotations

import math
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.bench_ratios import Stream
from stream_al.monitor.estimate import NOTHING, PSEUDO, wilson
from stream_al.monitor.ratios import positive_ratios, share

ANSWERS = st.lists(
    st.tuples(st.booleans(), st.booleans(), st.floats(1.0, 1e4)), min_size=1, max_size=40
)  # positive, served as positive, weight


def arrays(answers: list[tuple[bool, bool, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    positive, served, weights = zip(*answers, strict=True)
    return np.array(positive), np.array(served), np.array(weights)


def test_the_formula_by_hand() -> None:
    found = share(np.array([True, False]), np.array([2.0, 1.0]), 4.0)
    low = (2 / 4) / (3 / 4 + PSEUDO)
    variance = (0.25 * (1 - low) ** 2 + 0.0625 * low**2 + 0.25 * low**2) / 1.25**2
    few = min(2.0, low * (1 - low) / variance)
    high = (2 / 4 + PSEUDO) / (3 / 4 + PSEUDO)
    variance = (0.25 * (1 - high) ** 2 + 0.0625 * high**2 + 0.25 * (1 - high) ** 2) / 1.25**2
    many = min(2.0, high * (1 - high) / variance)
    assert (found.value, found.answered) == (pytest.approx(2 / 3), 2)
    assert found.lower == pytest.approx(wilson(low, few)[0])
    assert found.upper == pytest.approx(wilson(high, many)[1])
    assert found.n_effective == pytest.approx(min(few, many))


@given(ANSWERS)
def test_equal_weights_give_the_plain_ratios(answers: list[tuple[bool, bool, float]]) -> None:
    positive, served, _ = arrays(answers)
    found = positive_ratios(positive, served, np.full(len(positive), 20.0))
    for ratio, hits, part in (
        (found.precision, positive, served),
        (found.recall, served, positive),
        (found.false_positive, served, ~positive),
    ):
        if part.any():
            assert ratio.value == pytest.approx(hits[part].mean())
            assert ratio.answered == part.sum()
        else:
            assert ratio is NOTHING


@given(ANSWERS, st.floats(1.0, 1e3))
def test_an_interval_is_an_interval(answers: list[tuple[bool, bool, float]], above: float) -> None:
    hits, _, weights = arrays(answers)
    found = share(hits, weights, above * weights.max())
    assert 0.0 <= found.lower <= found.value <= found.upper <= 1.0
    assert 0.0 < found.n_effective <= found.answered
    heavier = share(hits, weights, 2 * above * weights.max())
    assert heavier.upper - heavier.lower >= found.upper - found.lower - 1e-9


@given(ANSWERS)
def test_the_rest_of_a_share_is_its_mirror_image(answers: list[tuple[bool, bool, float]]) -> None:
    hits, _, weights = arrays(answers)
    found, rest = share(hits, weights, weights.max()), share(~hits, weights, weights.max())
    assert rest.value == pytest.approx(1 - found.value)
    assert rest.lower == pytest.approx(1 - found.upper, abs=1e-9)
    assert rest.upper == pytest.approx(1 - found.lower, abs=1e-9)
    assert rest.n_effective == pytest.approx(found.n_effective)


@given(ANSWERS, st.floats(1e-6, 1e6))
def test_only_ratios_of_weights_matter(answers: list[tuple[bool, bool, float]], factor: float) -> None:
    positive, served, weights = arrays(answers)
    for one, other in zip(
        positive_ratios(positive, served, weights),
        positive_ratios(positive, served, factor * weights),
        strict=True,
    ):
        assert one.answered == other.answered
        assert one.lower == pytest.approx(other.lower, abs=1e-9)
        assert one.upper == pytest.approx(other.upper, abs=1e-9)


def test_without_positives_there_is_no_number() -> None:
    never = np.zeros(50, dtype=bool)
    found = positive_ratios(never, never, np.ones(50))
    for ratio in (found.precision, found.recall):
        assert math.isnan(ratio.value)
        assert (ratio.lower, ratio.upper, ratio.answered, ratio.shown) == (0.0, 1.0, 0, False)
    assert found.false_positive.value == 0.0
    assert found.false_positive.shown
    none = np.zeros(0, dtype=bool)
    assert positive_ratios(none, none, np.zeros(0)) == (NOTHING, NOTHING, NOTHING)


def test_a_heavy_answer_elsewhere_in_the_window_makes_few_of_many() -> None:
    """What is hardly ever asked may belong to the part as well: the light answers tell nothing of it."""
    light = np.arange(300) < 100
    weights = np.where(light, 1.0, 200.0)
    assert share(light[light], weights[light], 1.0).shown
    found = positive_ratios(light, light, weights)
    for ratio in (found.precision, found.recall):
        assert (ratio.value, ratio.answered) == (1.0, 100)
        assert not ratio.shown
        assert ratio.lower < 0.5
    rest = positive_ratios(~light, ~light, weights).false_positive
    assert (rest.value, rest.answered, rest.shown) == (0.0, 100, False)
    assert rest.upper > 0.5


# ---- coverage --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "most"),
    [
        (Stream("ranked", 0.05, 0.5, 1.2), 0.985),
        (Stream("ranked", 0.20, 0.4, 1.5), 0.985),
        (Stream("graded", 0.05, 0.4, 2.0), 0.995),
        (Stream("ranked", 0.05, 0.1, 3.0, missed=0.2), 1.0),
        (Stream("risk", 0.05, 0.5, 1.2), 0.995),
        (Stream("risk", 0.05, 0.1, 2.0, missed=0.3), 1.0),
    ],
    ids=lambda value: f"{value.asking}-{value.rate}-{value.positives}" if isinstance(value, Stream) else "",
)
def test_intervals_cover_the_truth_and_those_of_labels_alone_do_not(stream: Stream, most: float) -> None:
    """A rare class has few answers, or light ones only: there the interval may be wider than it had to be.

    Of the labels alone, one of precision and recall may be right by luck: `risk` asks about all that is
    served as positive alike.
    """
    windows = 400
    rng = np.random.default_rng(11)
    held, plain = np.zeros(2), np.zeros(2)
    for _ in range(windows):
        drawn = stream.window(rng)
        asked = drawn.answered
        found = positive_ratios(drawn.positive[asked], drawn.served[asked], drawn.weights[asked])
        for i, (name, hits, part) in enumerate(islice(drawn.parts(), 2)):
            truth, ratio = hits[part].mean(), found._asdict()[name]
            held[i] += ratio.lower <= truth <= ratio.upper
            alone = hits[part & asked]
            low, high = wilson(alone.mean(), len(alone))
            plain[i] += low <= truth <= high
    assert (held / windows >= 0.93).all()
    assert (held / windows <= most).all()
    assert plain.min() / windows < 0.15
