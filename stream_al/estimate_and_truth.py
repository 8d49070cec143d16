"""Estimates beside the truth, which a simulation knows: what ``simulate --json`` shows under ``estimate``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_al.answers import Accuracy
from stream_al.monitor.confidence import confidence_kept
from stream_al.monitor.estimate import Estimate
from stream_al.monitor.ratios import positive_ratios

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Truth:
    """All events of a window whose label is known, in arrays (n,).

    Attributes
    ----------
    right : bool
        Whether the served label was right.
    confidence : float
        Probability shown for it; 0 where none was served.
    positive, served_positive : bool
        Whether the event is, and was served as, the positive class.
    """

    right: Mask
    confidence: NDArray[np.float64]
    positive: Mask
    served_positive: Mask


def estimate_and_truth(found: Accuracy, truth: Truth) -> dict[str, Any]:
    """Return every estimate beside its truth over all events of the window; None is no number.

    Keys are the same whatever is there, so that runs can be averaged; ``positive`` is there only where a
    class is named positive.
    """
    everything = np.ones(len(truth.right))
    known = confidence_kept(truth.confidence, truth.right, everything)
    figures: dict[str, Any] = {
        **_ends(found.hajek),
        "truth": float(truth.right.mean()) if len(truth.right) else None,
        "labelled_only": found.labelled_only.value,
        "calibration": {
            name: {
                "value": None if found.confidence is None else getattr(found.confidence, field),
                **_gap_ends(found, name),
                "truth": None if known is None else getattr(known, field),
            }
            for name, field in (("ece", "error"), ("brier", "brier"), ("cbpe", "cbpe"), ("gap", "gap"))
        },
    }
    if found.positive is not None:
        true = positive_ratios(truth.positive, truth.served_positive, everything)
        figures["positive"] = {
            name: {**_ends(ratio), "truth": getattr(true, name).value}
            for name, ratio in found.positive._asdict().items()
        }
    return figures


def _ends(found: Estimate) -> dict[str, float]:
    return {
        "value": found.value,
        "lower": found.lower,
        "upper": found.upper,
        "n_effective": found.n_effective,
    }


def _gap_ends(found: Accuracy, name: str) -> dict[str, float | None]:
    """Return the ends of the interval of the gap; the others have none."""
    if name != "gap":
        return {}
    kept = found.confidence
    return {
        "lower": None if kept is None else kept.gap_lower,
        "upper": None if kept is None else kept.gap_upper,
    }
