"""How good the predictions are, estimated from weighted answers."""

from __future__ import annotations

from collections.abc import Callable

from stream_al.answers import Accuracy
from stream_al.metrics.family import Family, Read, one
from stream_al.monitor.confidence import Confidence
from stream_al.monitor.estimate import Estimate
from stream_al.monitor.ratios import PositiveRatios
from stream_al.snapshot import Snapshot


def _with_interval(
    name: str, sentence: str, find: Callable[[Accuracy], Estimate | None]
) -> tuple[Family, ...]:
    """Return the families of an estimate and of the ends of its interval; absent where not to be shown."""

    def read(end: str) -> Read:
        def value(snapshot: Snapshot) -> float | None:
            accuracy = snapshot.accuracy
            found = None if accuracy is None else find(accuracy)
            if accuracy is None or found is None or not accuracy.shows(found):
                return None
            return {"value": found.value, "lower": found.lower, "upper": found.upper}[end]

        return one(value)

    lower, upper = (f"{end} end of its 95 % interval." for end in ("Lower", "Upper"))
    return (
        Family(f"{name}_ratio", "gauge", "log", sentence, read("value")),
        Family(f"{name}_lower_ratio", "gauge", "log", lower, read("lower")),
        Family(f"{name}_upper_ratio", "gauge", "log", upper, read("upper")),
    )


def _positive(find: Callable[[PositiveRatios], Estimate]) -> Callable[[Accuracy], Estimate | None]:
    """Find a ratio of the positive class; there is none where no class is named positive."""
    return lambda a: None if a.positive is None else find(a.positive)


def _confidence(value: Callable[[Confidence], float]) -> Read:
    """Read a part of what confidence is worth; absent where the accuracy may not be shown."""
    return one(
        lambda s: (
            value(s.accuracy.confidence)
            if s.accuracy and s.accuracy.confidence and s.estimate_shown
            else None
        )
    )


def _answers(value: Callable[[Accuracy], float]) -> Read:
    """Read what describes the answers of the window, whether or not the estimate is shown."""
    return one(lambda s: value(s.accuracy) if s.accuracy is not None and s.accuracy.hajek.answered else None)


QUALITY: tuple[Family, ...] = (
    *_with_interval(
        "stream_al_estimated_accuracy",
        "Accuracy over all events, from weighted answers; absent until there are enough.",
        lambda a: a.hajek,
    ),
    *_with_interval(
        "stream_al_estimated_precision",
        "Share of the positive class among the events served as such; absent until there are enough answers.",
        _positive(lambda p: p.precision),
    ),
    *_with_interval(
        "stream_al_estimated_recall",
        "Share of the events of the positive class that were served as such; likewise.",
        _positive(lambda p: p.recall),
    ),
    *_with_interval(
        "stream_al_estimated_false_positive",
        "Share of all other events that were served as the positive class; likewise.",
        _positive(lambda p: p.false_positive),
    ),
    Family(
        "stream_al_calibration_error_ratio",
        "gauge",
        "log",
        "Mean distance of confidence and accuracy over ten bins, from weighted answers; never quite 0.",
        _confidence(lambda c: c.error),
    ),
    Family(
        "stream_al_brier_score",
        "gauge",
        "log",
        "Mean squared distance of the confidence from right (1) or wrong (0), from weighted answers.",
        _confidence(lambda c: c.brier),
    ),
    Family(
        "stream_al_cbpe_accuracy_ratio",
        "gauge",
        "log",
        "Mean confidence: the accuracy that the model claims.",
        _confidence(lambda c: c.cbpe),
    ),
    Family(
        "stream_al_cbpe_gap_ratio",
        "gauge",
        "log",
        "Claimed less estimated accuracy; above 0 the model claims too much.",
        _confidence(lambda c: c.gap),
    ),
    Family(
        "stream_al_cbpe_gap_lower_ratio",
        "gauge",
        "log",
        "Lower end of its 95 % interval; above 0: drift, or confidence that is not calibrated.",
        _confidence(lambda c: c.gap_lower),
    ),
    Family(
        "stream_al_cbpe_gap_upper_ratio",
        "gauge",
        "log",
        "Upper end of its 95 % interval; below 0: the model is better than it says.",
        _confidence(lambda c: c.gap_upper),
    ),
    Family(
        "stream_al_estimate_effective_samples",
        "gauge",
        "log",
        "Equally weighted answers that would give an interval as wide.",
        _answers(lambda a: a.hajek.n_effective),
    ),
    Family(
        "stream_al_labelled_only_accuracy_ratio",
        "gauge",
        "log",
        "Accuracy over the asked events alone: far too low, for comparison.",
        _answers(lambda a: a.labelled_only.value),
    ),
    Family(
        "stream_al_response_ratio",
        "gauge",
        "log",
        "Answered share of the requests in the estimate's window.",
        _answers(lambda a: a.response_rate),
    ),
)
"""Families of the estimates."""
