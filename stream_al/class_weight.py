"""Class-weighted learning: answers of a class that has few count for more.

    w(y) = (n / (k n_y))^a,   cut to [0.1, 10],   a = 0 (none), 1/2 (sqrt), 1 (balanced)

where n answers of k classes are learned, n_y of them of class y, the one at hand included. Where the counts
stay in proportion and the cut does not bind, a = 1 gives all classes the same weight in sum: G. King and
L. Zeng, "Logistic regression in rare events data", Political Analysis 9, 2001 (scikit-learn's "balanced").
The factor is that of the moment: what was learned before is not weighed again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

ClassWeight = Literal["none", "sqrt", "balanced"]
EXPONENTS: dict[ClassWeight, float] = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}
LARGEST = 10.0


def class_weight(kind: ClassWeight, learned: Sequence[int], y: int) -> float:
    """Return the factor on the weight of an answer of class ``y``.

    Parameters
    ----------
    kind : str
        ``none``, ``sqrt`` or ``balanced``.
    learned : sequence of int
        Labels learned so far of every class; those without any do not count.
    y : int
        The class of the next one.

    Examples
    --------
    >>> [class_weight(kind, [90, 9, 0], 1) for kind in EXPONENTS]  # 100 answers, 10 of them of class 1
    [1.0, 2.23606797749979, 5.0]
    >>> class_weight("balanced", [0, 0], 1)
    1.0
    """
    exponent = EXPONENTS[kind]
    if not exponent:
        return 1.0
    classes = sum(count > 0 or c == y for c, count in enumerate(learned))
    share = (sum(learned) + 1) / (classes * (learned[y] + 1))
    return min(LARGEST, max(1.0 / LARGEST, math.pow(share, exponent)))
