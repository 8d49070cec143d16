"""What confidence is worth: by hand, the identities, and an interval of the gap that holds the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.bench_ratios import Stream
from stream_al.monitor.confidence import BINS, confidence_kept, gap_interval
from stream_al.monitor.estimate import hajek

ANSWERS = st.lists(
    st.tuples(st.floats(0.0, 1.0), st.booleans(), st.floats(1.0, 1e4)), min_size=1, max_size=40
)  # confidence, right, weight


def arrays(answers: list[tuple[float, bool, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    confidence, right, weights = zip(*answers, strict=True)
    return np.array(confidence), np.array(right), np.array(weights)


def test_the_numbers_by_hand() -> None:
    confidence = np.array([0.6, 0.6, 0.9, 1.0])
    right = np.array([True, False, True, False])
    found = confidence_kept(confidence, right, np.array([1.0, 3.0, 4.0, 2.0]))
    assert found is not None
    # bins: 0.6 twice (right 1/4), 0.9 (right), 1.0 (wrong)
    assert found.error == pytest.approx(0.4 * abs(0.6 - 0.25) + 0.4 * 0.1 + 0.2 * 1.0)
    assert found.brier == pytest.approx(0.1 * 0.16 + 0.3 * 0.36 + 0.4 * 0.01 + 0.2 * 1.0)
    assert found.cbpe == pytest.approx(0.4 * 0.6 + 0.4 * 0.9 + 0.2 * 1.0)
    assert found.gap == pytest.approx(0.8 - 0.5)


def test_the_gaps_interval_by_hand() -> None:
    difference, weights = np.array([0.1, -0.3]), np.array([4.0, 2.0])  # the pseudo-answer weighs 2
    low, high = gap_interval(difference, weights, z=1.0)
    mean = (0.4 - 0.6) / 8
    variance = (16 * (0.1 - mean) ** 2 + 4 * (-0.3 - mean) ** 2 + 4 * mean**2) / 64
    assert low == pytest.approx(mean - variance**0.5)
    mean = (0.4 - 0.6 + 2.0) / 8
    variance = (16 * (0.1 - mean) ** 2 + 4 * (-0.3 - mean) ** 2 + 4 * (1 - mean) ** 2) / 64
    assert high == pytest.approx(mean + variance**0.5)


@given(ANSWERS)
def test_identities(answers: list[tuple[float, bool, float]]) -> None:
    confidence, right, weights = arrays(answers)
    found = confidence_kept(confidence, right, weights)
    assert found is not None
    assert found.cbpe - found.gap == pytest.approx(hajek(1.0 - right, weights), abs=1e-9)
    assert -1.0 <= found.gap_lower <= found.gap <= found.gap_upper <= 1.0
    assert abs(found.gap) - 1e-9 <= found.error <= 1.0 + 1e-9  # bins can only cancel less
    assert 0.0 <= found.brier <= found.error + 1.0


@given(ANSWERS, st.randoms(use_true_random=False))
def test_the_order_of_answers_does_not_matter(answers: list[tuple[float, bool, float]], random) -> None:
    shuffled = list(answers)
    random.shuffle(shuffled)
    one, other = confidence_kept(*arrays(answers)), confidence_kept(*arrays(shuffled))
    assert one == pytest.approx(other, abs=1e-9)


@given(ANSWERS, st.floats(1e-6, 1e6))
def test_only_ratios_of_weights_matter(answers: list[tuple[float, bool, float]], factor: float) -> None:
    confidence, right, weights = arrays(answers)
    one, other = (
        confidence_kept(confidence, right, weights),
        confidence_kept(confidence, right, weights * factor),
    )
    assert (one.brier, one.cbpe, one.gap) == pytest.approx((other.brier, other.cbpe, other.gap))


def test_equal_weights_give_ten_bins_of_equal_size() -> None:
    rng = np.random.default_rng(3)
    confidence, right = np.sort(rng.random(200)), rng.random(200) < 0.7
    found = confidence_kept(confidence, right, np.full(200, 7.0))
    assert found is not None
    bins = (confidence - right).reshape(BINS, 20).mean(axis=1)
    assert found.error == pytest.approx(np.abs(bins).mean())
    assert found.brier == pytest.approx(np.square(confidence - right).mean())


def test_a_level_of_confidence_goes_where_the_middle_of_its_weight_is() -> None:
    confidence, right = np.array([0.5, 0.6, 0.7]), np.array([True, False, True])
    found = confidence_kept(confidence, right, np.array([15.0, 4.0, 81.0]))  # middles: 7.5, 17 and 59.5 %
    assert found is not None
    assert found.error == pytest.approx(0.15 * 0.5 + 0.04 * 0.6 + 0.81 * 0.3)


def test_without_answers_there_is_no_number() -> None:
    assert confidence_kept(np.zeros(0), np.zeros(0, dtype=bool), np.zeros(0)) is None


@pytest.mark.parametrize(
    "stream",
    [
        Stream("ranked", 0.05, 0.4, 1.8),
        Stream("ranked", 0.05, 0.4, 1.8, missed=0.3),
        Stream("ranked", 0.05, 0.4, 1.8, temperature=2.0),
        Stream("ranked", 0.05, 0.4, 1.8, temperature=0.4),
    ],
    ids=["calibrated", "sure and wrong", "too sure", "too modest"],
)
def test_the_gaps_interval_covers_the_truth_and_that_of_labels_alone_does_not(stream: Stream) -> None:
    """Where confidence is right, or off by much the same everywhere, labels alone tell that, too."""
    windows = 400
    rng = np.random.default_rng(5)
    held = alone = 0
    for _ in range(windows):
        drawn = stream.window(rng)
        difference = drawn.confidence - (drawn.positive == drawn.served)
        asked = difference[drawn.answered]
        low, high = gap_interval(asked, drawn.weights[drawn.answered])
        held += low <= difference.mean() <= high
        alone += abs(asked.mean() - difference.mean()) <= 1.96 * asked.std() / len(asked) ** 0.5
    assert 0.93 <= held / windows <= 0.995
    if stream.missed or stream.temperature < 1.0:
        assert alone / windows < 0.6
