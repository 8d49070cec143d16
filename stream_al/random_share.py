"""Is choosing worth it? A second model that learns only what was asked at random, beside the first.

Both say what an answered event is, at the moment its label is folded and before either learns it: the same
events, the same time, weighted so that they stand for all events. What the first is better by is what
choosing has bought so far, with an interval. The second model knows only a fraction of the labels, so this is
the worth of the chosen labels, not of choosing against as many random ones.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_al.models.inputs import Inputs
from stream_al.models.protocol import OnlineModel
from stream_al.monitor.estimate import PSEUDO, Z95, Estimate, interval

F64 = NDArray[np.float64]
WINDOW = 400
"""Answers that are compared."""


class Advantage(NamedTuple):
    """What the model is better by than the one that learns random asks only.

    Attributes
    ----------
    labels : int
        What the second model learned.
    random : Estimate
        Its accuracy over all events, by the answers of the window.
    value, lower, upper : float
        Accuracy of the first less that of the second, and its 95 % interval.
    """

    labels: int
    random: Estimate
    value: float
    lower: float
    upper: float

    @property
    def shown(self) -> bool:
        """Whether there are enough answers for a number."""
        return self.random.shown


class RandomShare:
    """The second model, and the last answers on which both were asked.

    Parameters
    ----------
    model : OnlineModel
        Unfitted, of the same kind as the first.
    """

    def __init__(self, model: OnlineModel) -> None:
        self.model = model
        self.labels = 0
        self._last: deque[tuple[float, float, float]] = deque(maxlen=WINDOW)

    def compare(self, x: Inputs, y: int, said: F64, weight: float) -> None:
        """Note what both say of an answered event that neither has learned.

        Parameters
        ----------
        x : Inputs
            One row.
        y : int
            What people say.
        said : (k,) float64
            Probabilities of the first model.
        weight : float
            1 / propensity.
        """
        second = self.model.predict_proba(x)[0] if self.model.fitted else None
        wrong = 1.0 if second is None else float(int(second.argmax()) != y)
        self._last.append((float(int(said.argmax()) != y), wrong, weight))

    def learn(self, x: Inputs, y: int, weight: float) -> None:
        """Learn a label of a random ask, or one that nobody asked for."""
        self.model.learn(x, y, weight)
        self.labels += 1

    def advantage(self) -> Advantage | None:
        """Return the comparison over the window; None before the first answer."""
        if not self._last:
            return None
        first, second, weights = np.array(self._last).T
        low, value, high = paired_interval(second - first, weights)
        return Advantage(self.labels, interval(second, weights), value, low, high)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the state but for the number of labels; nothing of a model that cannot be written."""
        return {**(self.model.dump() or {}), "last.answers": np.array(self._last).reshape(-1, 3)}

    def load(self, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over the number of labels and what :meth:`arrays` returned; the model knows the classes."""
        self.labels = facts["labels"]
        rows = arrays["last.answers"].tolist()
        self._last = deque(((first, second, weight) for first, second, weight in rows), maxlen=WINDOW)
        self.model.load({name: array for name, array in arrays.items() if name != "last.answers"})


def paired_interval(difference: F64, weights: F64, z: float = Z95) -> tuple[float, float, float]:
    """Return the interval's lower end, the weighted mean of differences in [-1, 1], and the upper end.

    As for the accuracy, a pseudo-answer of half the largest weight stands for what is asked least: it is
    half 1 and half -1, so it adds to the variance alone. The rest is the normal interval of a weighted mean.

    Parameters
    ----------
    difference : (n,) float64
        n > 0.
    weights : (n,) float64
        1 / propensity, positive.

    Examples
    --------
    >>> [round(end, 3) for end in paired_interval(np.repeat([1.0, 0.0], [40, 360]), np.ones(400))]
    [0.07, 0.1, 0.129]
    """
    w = weights / weights.max()
    total = float(w.sum()) + PSEUDO
    mean = float(w @ difference) / total
    squares = float(np.square(w * (difference - mean)).sum()) + PSEUDO**2 * (1.0 + mean * mean)
    half = z * math.sqrt(squares) / total
    value = float(w @ difference) / float(w.sum())
    return max(-1.0, min(value, mean - half)), value, min(1.0, max(value, mean + half))
