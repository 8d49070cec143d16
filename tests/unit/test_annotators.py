"""Simulated people are a function of the event's id and the seed."""

from __future__ import annotations

import numpy as np
import pytest

from stream_al.annotators import Annotators, Delay
from stream_al.duration import parse_duration
from stream_al.errors import ConfigurationError

IDS = [f"event-{i}" for i in range(20_000)]


@pytest.mark.parametrize(
    ("text", "median", "sigma", "unit"),
    [
        ("none", 0.0, 0.0, "events"),
        ("fixed:500", 500.0, 0.0, "events"),
        ("fixed:5m", 300_000.0, 0.0, "ms"),
        ("lognormal:500,1.2", 500.0, 1.2, "events"),
        ("lognormal:2h, 0.5", 7_200_000.0, 0.5, "ms"),
    ],
)
def test_delays_are_parsed(text: str, median: float, sigma: float, unit: str) -> None:
    delay = Delay.parse(text, seed=3)
    assert (delay.median, delay.sigma, delay.unit, delay.seed) == (median, sigma, unit, 3)


@pytest.mark.parametrize(
    "text",
    ["", "fixed", "fixed:", "fixed:-1", "fixed:5,1", "fixed:nan", "fixed:5y", "lognormal:5", "lognormal:,1",
     "lognormal:5,x", "lognormal:5,11", "uniform:1,2", "none:1"],
)  # fmt: skip
def test_other_delays_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        Delay.parse(text)


@pytest.mark.parametrize("text", ["5", "m", "-5m", "5 years", "", "1e3s"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="for example 5m"):
        parse_duration(text)


def test_durations() -> None:
    assert [parse_duration(t) for t in ("250ms", "90s", "3d", "1w")] == [250.0, 9e4, 2.592e8, 6.048e8]


def test_lognormal_delays_have_their_median_and_spread() -> None:
    delays = Delay.parse("lognormal:500,1.0", seed=1).delays(IDS)
    assert np.isfinite(delays).all()
    assert np.median(delays) == pytest.approx(500, rel=0.05)
    assert np.log(delays).std() == pytest.approx(1.0, rel=0.03)


def test_a_delay_alone_is_the_delay_in_a_batch() -> None:
    for text in ("fixed:7", "lognormal:500,1.3"):
        delay = Delay.parse(text, seed=4)
        assert [delay(i) for i in IDS[:100]] == delay.delays(IDS[:100]).tolist()


def test_people_do_not_depend_on_the_order_of_questions() -> None:
    def ask(ids: list[str]) -> dict[str, object]:
        people = Annotators(Delay.parse("lognormal:50,1"), seed=9)
        return {i: people.answer(i, "a", ["a", "b", "c"]) for i in ids}

    assert ask(IDS[:500]) == ask(IDS[:500][::-1])


def test_shares_of_silence_and_error() -> None:
    people = Annotators(Delay(), no_answer=0.2, noise=0.1, seed=5)
    answers = [people.answer(i, "a", ["a", "b", "c"]) for i in IDS]
    given = [answer.label for answer in answers if answer is not None]
    assert len(given) / len(IDS) == pytest.approx(0.8, abs=0.01)
    assert given.count("a") / len(given) == pytest.approx(0.9, abs=0.01)
    assert given.count("b") / len(given) == pytest.approx(0.05, abs=0.007)


def test_an_error_needs_another_label_and_an_answer_a_truth() -> None:
    people = Annotators(Delay(), no_answer=0.0, noise=1.0)
    assert {people.answer(i, "a", ["a"]).label for i in IDS[:50]} == {"a"}  # type: ignore[union-attr]  # all answer
    assert {people.answer(i, "a", []).label for i in IDS[:50]} == {"a"}  # type: ignore[union-attr]  # all answer
    assert {people.answer(i, "a", ["b", "a"]).label for i in IDS[:50]} == {"b"}  # type: ignore[union-attr]  # all answer
    assert people.answer("event-1", None, ["a", "b"]) is None


@pytest.mark.parametrize("options", [{"noise": 1.1}, {"no_answer": -0.1}])
def test_shares_are_probabilities(options: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        Annotators(Delay(), **options)
