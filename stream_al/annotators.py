"""Simulated people: late, sometimes silent, sometimes wrong.

What a person does about an event is a function of the event's id and the seed alone. So a rerun, a
replay, or another policy that asks about the same event meets the same person in the same mood.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from stream_al.duration import DURATION, parse_duration
from stream_al.errors import ConfigurationError
from stream_al.query.coin import Coin

MAX_SIGMA = 10.0
"""Beyond it delays overflow."""
_FORMS = "none, fixed:N, fixed:5m, lognormal:MEDIAN,SIGMA (N and MEDIAN in events, or a duration like 2h)"


@dataclass(frozen=True, slots=True)
class Delay:
    """How long people take to answer.

    Parameters
    ----------
    median : float
        In ``unit``; 0 answers at once.
    sigma : float
        Standard deviation of the logarithm; 0 is a fixed delay.
    unit : {"events", "ms"}
        Milliseconds need a clock (a time column).
    seed : int

    Examples
    --------
    >>> delay = Delay.parse("lognormal:500,1.0", seed=7)
    >>> delay("event-1") == delay("event-1"), delay.unit
    (True, 'events')
    >>> Delay.parse("fixed:2h").median, Delay.parse("none").median
    (7200000.0, 0.0)
    """

    median: float = 0.0
    sigma: float = 0.0
    unit: Literal["events", "ms"] = "events"
    seed: int = 0

    @classmethod
    def parse(cls, text: str, seed: int = 0) -> Delay:
        """Return the delay that ``none``, ``fixed:N`` or ``lognormal:MEDIAN,SIGMA`` describes.

        Raises
        ------
        ConfigurationError
            It is none of the forms.
        """
        form, _, rest = text.strip().partition(":")
        median, comma, sigma = rest.partition(",")
        if form == "none" and not rest:
            return cls(seed=seed)
        if form not in ("fixed", "lognormal") or (form == "lognormal") != bool(comma):
            raise ConfigurationError(f"found the delay {text!r}; expected one of {_FORMS}")
        spread = _number(sigma, text) if comma else 0.0
        if spread > MAX_SIGMA:
            raise ConfigurationError(f"found sigma {spread:g} in the delay {text!r}; expected at most 10")
        if DURATION.fullmatch(median.strip()):
            return cls(parse_duration(median), spread, "ms", seed)
        return cls(_number(median, text), spread, "events", seed)

    def __call__(self, event_id: str) -> float:
        """Return the delay of the answer about one event, in ``unit``."""
        return float(self.delays([event_id])[0])

    def delays(self, event_ids: Iterable[str]) -> NDArray[np.float64]:
        """Return the delays of several answers, each as if asked for alone.

        Returns
        -------
        (n,) float64
            ``median * exp(sigma * z)`` with z the normal quantile of the event's coin.
        """
        coin = Coin("delay", self.seed)
        u = np.array([coin(event_id) for event_id in event_ids], dtype=np.float64)
        if not self.sigma:
            return np.full(len(u), self.median)
        z: NDArray[np.float64] = ndtri(np.clip(u, 2.0**-53, 1.0 - 2.0**-53))  # finite at both ends
        return self.median * np.exp(self.sigma * z)


class Answer(NamedTuple):
    """What a person says, and how long after the question (in the delay's unit)."""

    delay: float
    label: str


class Annotators:
    """People who answer label requests.

    Parameters
    ----------
    delay : Delay
    no_answer : float
        Probability that nobody ever answers.
    noise : float
        Probability that an answer is wrong.
    seed : int

    Examples
    --------
    >>> people = Annotators(Delay.parse("fixed:10"), no_answer=0.0, noise=0.0)
    >>> people.answer("event-1", "spam", ["ham", "spam"])
    Answer(delay=10.0, label='spam')
    """

    def __init__(self, delay: Delay, no_answer: float = 0.2, noise: float = 0.1, seed: int = 0) -> None:
        for name, share in (("no_answer", no_answer), ("noise", noise)):
            if not 0.0 <= share <= 1.0:
                raise ConfigurationError(f"{name} is {share}; expected a probability between 0 and 1")
        self.delay = delay
        self.no_answer = no_answer
        self.noise = noise
        self._silence = Coin("no-answer", seed)
        self._error = Coin("noise", seed)
        self._choice = Coin("noise-label", seed)

    def answer(self, event_id: str, truth: str | None, labels: Sequence[str]) -> Answer | None:
        """Answer one request.

        Parameters
        ----------
        event_id : str
            For more than one person an event, give each an id of their own (``f"{event_id}#2"``).
        truth : str or None
            The true label; None where nobody knows it.
        labels : sequence of str
            Labels seen so far, in a fixed order: a wrong answer is one of them, each equally likely.

        Returns
        -------
        Answer or None
            None: nobody ever answers. While no label but the truth is known, an answer is right.
        """
        if truth is None or self._silence(event_id) < self.no_answer:
            return None
        label = truth
        if self._error(event_id) < self.noise:
            others = [other for other in labels if other != truth]
            if others:
                label = others[min(int(self._choice(event_id) * len(others)), len(others) - 1)]
        return Answer(self.delay(event_id), label)


def _number(text: str, whole: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0.0):
        raise ConfigurationError(f"found {text!r} in the delay {whole!r}; expected one of {_FORMS}")
    return number
