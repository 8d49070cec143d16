"""An alarm that may be looked at after every answer: has the error risen above what it was?

Looking again and again at an interval finds a rise sooner or later where there is none. A test by betting
does not: money is staked on a rise at fair odds if there is none, so that without a rise the capital
reaches 1/alpha with probability alpha at most, however long one looks (Ville's inequality).

The losses are those of *floor* answers alone, which a coin chose for no reason: they are a random sample of
the stream, whatever the query rule does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
ALPHA = 0.05
"""Chance of a false alarm, ever, between two alarms."""
FIRST_REFERENCE = 100
"""Floor answers of the first reference; the next are taken at twice, four times, eight times as many."""
START_EVERY = 50
"""Answers from one new bet to the next: each further start lowers the share of all."""
RISES = np.array([0.02, 0.05, 0.1, 0.2, 0.4, 0.7])
"""Rises that are betted on, as shares of what is not yet wrong: of an error e, ``e + rise (1 - e)``."""


class AlarmState(NamedTuple):
    """What there is to show: alarms, log time of the last, how near the next is, and from what error."""

    alarms: int = 0
    last_alarm_ms: int | None = None
    evidence: float = 0.0
    reference: float | None = None


NO_ALARM = AlarmState()
"""Before the first floor answer."""


@dataclass(slots=True)
class Bet:
    """Capital staked on the error having risen above a reference, at some moment after it was taken.

    The t-th bet starts ``50 (t - 1)`` answers after the reference, with the share ``1 / (t (t + 1))`` of the
    capital; an equal part of that is on each rise to p, and what is not staked yet is kept. Its factor
    ``1 + lambda (l - r)``, with ``lambda = (p - r) / (r (1 - r)) = rise / r``, is the likelihood ratio of p
    against r. All are martingales where the error is r, and supermartingales below, and so is their sum.

    Parameters
    ----------
    reference : float
        The error r, in (0, 1), that is at most exceeded by chance.
    needed : float
        Capital at which the alarm goes off.
    """

    reference: float
    needed: float
    answers: int
    staked: F64

    @classmethod
    def opened(cls, reference: float, needed: float) -> Bet:
        """Return a bet that nothing was staked on."""
        return cls(reference, needed, 0, np.zeros(len(RISES)))

    def observe(self, loss: float) -> None:
        """Settle the bets on one loss in [0, 1]."""
        if self.answers % START_EVERY == 0:
            t = self.answers // START_EVERY + 1
            self.staked = self.staked + 1.0 / (t * (t + 1) * len(RISES))
        self.answers += 1
        self.staked = self.staked * (1.0 + RISES / self.reference * (loss - self.reference))

    @property
    def capital(self) -> float:
        """What a unit has become; 1 / ``needed`` bounds the chance that it ever reaches ``needed``."""
        starts = -(-self.answers // START_EVERY)
        return float(self.staked.sum()) + 1.0 / (starts + 1)


class ErrorAlarm:
    """Watches the losses of floor answers, in the order of the reply log.

    References are taken from the losses themselves, after 100, 200, 400, 800 answers and so on, since a model
    that learns has lower and lower errors to fall back from. Each is of the answers since the reference
    before the last, three quarters of all; it is the upper end of Clopper and Pearson's interval of their
    mean loss. The j-th has ``a_j = alpha / (j (j + 1))`` to err: half of it for the end, half for the bets
    against it. So where the error never rises above what it was on average in any reference, the chance of an
    alarm, ever, is at most ``sum a_j = alpha``. After an alarm all begins anew.

    Parameters
    ----------
    alpha : float
        In (0, 1).

    References
    ----------
    Ville, J. (1939), Étude critique de la notion de collectif. Shafer, G. (2021), Testing by betting,
    J. R. Stat. Soc. A 184(2). Waudby-Smith, I. and Ramdas, A. (2024), Estimating means of bounded random
    variables by betting, J. R. Stat. Soc. B 86(1). Shin, J., Ramdas, A. and Rinaldo, A. (2024), E-detectors,
    New Engl. J. Stat. Data Sci. 2(2), for bets that start at every moment.

    Examples
    --------
    >>> alarm = ErrorAlarm()
    >>> for at in range(400):
    ...     alarm.observe(float(at % 10 == 0), at)
    >>> alarm.alarms, round(alarm.reference, 2)
    (0, 0.16)
    >>> for at in range(400, 600):
    ...     alarm.observe(float(at % 2), at)
    >>> alarm.alarms
    1
    """

    def __init__(self, alpha: float = ALPHA) -> None:
        if not 0.0 < alpha < 1.0:
            raise ValueError(f"alpha is {alpha}; it must be above 0 and below 1")
        self.alpha = alpha
        self.alarms = 0
        self.last_alarm_ms: int | None = None
        self._answers = 0
        self._wrong = 0.0
        self._marks: list[tuple[int, float]] = [(0, 0.0)]  # answers and losses at each reference
        self._bets: list[Bet] = []

    def observe(self, loss: float, now_ms: int) -> None:
        """Take in one floor answer.

        Parameters
        ----------
        loss : float
            In [0, 1]: 1 where the prediction served was wrong.
        now_ms : int
            Log time.
        """
        for bet in self._bets:
            bet.observe(loss)
        if any(bet.capital >= bet.needed for bet in self._bets):
            self.alarms += 1
            self.last_alarm_ms = now_ms
            self._answers, self._wrong, self._marks, self._bets = 0, 0.0, [(0, 0.0)], []
            return
        self._answers += 1
        self._wrong += loss
        if self._answers == FIRST_REFERENCE << len(self._bets):
            self._take_reference()

    def _take_reference(self) -> None:
        j = len(self._bets) + 1
        share = self.alpha / (j * (j + 1)) / 2.0
        since, wrong = self._marks[max(0, len(self._marks) - 2)]
        end = upper_end(self._wrong - wrong, self._answers - since, share)
        self._bets.append(Bet.opened(end, 1.0 / share))
        self._marks.append((self._answers, self._wrong))

    @property
    def reference(self) -> float | None:
        """The lowest error that a rise is measured from; None before the first reference."""
        return min((bet.reference for bet in self._bets), default=None)

    @property
    def evidence(self) -> float:
        """How near an alarm is, 0 to 1: logarithm of the capital, as a share of that of what is needed."""
        return max(
            (max(0.0, math.log(bet.capital) / math.log(bet.needed)) for bet in self._bets), default=0.0
        )

    def state(self) -> AlarmState:
        """Return what there is to show."""
        return AlarmState(self.alarms, self.last_alarm_ms, self.evidence, self.reference)

    def dump(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return {
            "alarms": self.alarms,
            "last_alarm_ms": self.last_alarm_ms,
            "answers": self._answers,
            "wrong": self._wrong,
            "marks": [list(mark) for mark in self._marks],
            "bets": [[bet.reference, bet.needed, bet.answers, bet.staked.tolist()] for bet in self._bets],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`dump` returned."""
        self.alarms, self.last_alarm_ms = state["alarms"], state["last_alarm_ms"]
        self._answers, self._wrong = state["answers"], state["wrong"]
        self._marks = [(answers, wrong) for answers, wrong in state["marks"]]
        self._bets = [_bet(row) for row in state["bets"]]


def upper_end(wrong: float, answers: int, alpha: float) -> float:
    """Return the upper end of the one-sided interval of a mean loss at level ``1 - alpha``, below 1.

    Clopper and Pearson's where losses are 0 or 1; for losses between, the sum is rounded up. Clopper, C. and
    Pearson, E. S. (1934), Biometrika 26(4).

    Examples
    --------
    >>> round(upper_end(10, 100, 0.025), 3)
    0.176
    """
    from scipy.stats import beta  # slow to import, and needed once in a hundred answers

    whole = math.ceil(wrong)
    if whole >= answers:
        return 1.0 - 1e-9  # nothing can be above: the bets against it are never won
    return float(beta.ppf(1.0 - alpha, whole + 1, answers - whole))


def _bet(row: Sequence[Any]) -> Bet:
    reference, needed, answers, staked = row
    return Bet(reference, needed, answers, np.array(staked))
