"""``/status``: the snapshot as JSON, for people and scripts."""

from __future__ import annotations

import platform
import time
from typing import Any

from stream_al import __version__
from stream_al.answers import Accuracy
from stream_al.monitor.alarm import AlarmState
from stream_al.monitor.estimate import Estimate
from stream_al.query.ledger import TOKEN
from stream_al.random_share import Advantage
from stream_al.settings import Settings
from stream_al.snapshot import Snapshot

STUCK_SECONDS = 10.0
"""A loop that has neither turned nor waited for its log for so long is not alive."""
FEW = "not enough answers yet"
WITHHELD = "a random ask found no token in the window, so the interval would not hold"


def alive(snapshot: Snapshot) -> bool:
    """Return whether the loop turns; while the service restores and catches up it need not."""
    return snapshot.phase == "starting" or time.time() - snapshot.last_tick_at < STUCK_SECONDS


def problems(snapshot: Snapshot) -> list[str]:
    """Return why the service is not ready; empty when it is."""
    found = list(snapshot.problems)
    if not alive(snapshot):
        found.append(f"the loop has not turned for {time.time() - snapshot.last_tick_at:.0f} s")
    return found


def status(snapshot: Snapshot, settings: Settings) -> dict[str, Any]:
    """Return everything a person may want to know of a running service."""
    states = snapshot.partitions.values()
    reasons = problems(snapshot)

    def tokens(name: str) -> float:
        units: int = sum(getattr(state.ledger, name) for state in states)
        return units / TOKEN

    return {
        "schema": 1,
        "phase": snapshot.phase,
        "ready": not reasons,
        "problems": reasons,
        "task": settings.task.name,
        "events": sum(state.events for state in states),
        "asked": sum(state.asked for state in states),
        "open_requests": snapshot.open_requests,
        "budget": {
            "bound": settings.budget().bound(),
            **{name: tokens(name) for name in ("allowance", "spent", "tokens", "debt", "clipped")},
            "floor_blocked": sum(state.ledger.floor_blocked for state in states),
        },
        "asking": {"chosen": snapshot.chosen_asks, "floor": snapshot.floor_asks},
        "model": {
            "name": settings.model.name,
            "model_version": snapshot.position,
            "samples": snapshot.samples,
            "refused_columns": snapshot.refused_columns,
            "labels": list(snapshot.labels),
            "learned": sum(snapshot.learned_by_class),
            "min_per_class": min(snapshot.learned_by_class, default=None),
            "learned_by_class": dict(zip(snapshot.labels, snapshot.learned_by_class, strict=True)),
        },
        "replies": {outcome: count for outcome, count in snapshot.outcomes.items() if count},
        "delay_seconds": {"p50": snapshot.delay_p50_seconds, "p95": snapshot.delay_p95_seconds},
        "estimate": _estimate(snapshot, settings.task.positive),
        "random_share": _random_share(snapshot.advantage),
        "error_alarm": _error_alarm(snapshot.error_alarm),
        "dead_letters": snapshot.dead_letters,
        "lag": {
            "replies": snapshot.reply_lag,
            "events": {
                str(partition): {"records": records, "seconds": round(seconds, 3)}
                for partition, (records, seconds) in sorted(snapshot.event_lag.items())
            },
        },
        "last_batch": {
            "mean_uncertainty": snapshot.mean_uncertainty,
            "mean_confidence": snapshot.mean_confidence,
        },
        "query_score": {
            "name": settings.query.score,
            "unscored_events": snapshot.unscored,
            "error": snapshot.score_error or None,
        },
        "uptime_seconds": round(time.time() - snapshot.started_at, 3),
        "versions": {"stream-al": __version__, "python": platform.python_version()},
    }


def _estimate(snapshot: Snapshot, positive: str | None) -> dict[str, Any]:
    """Return the accuracy with its interval, or why no number is shown, and what else the answers say."""
    found = snapshot.accuracy
    if found is None or not found.hajek.answered:
        return {"shown": False, "reason": FEW, "answered": 0}
    shown = {
        "shown": snapshot.estimate_shown,
        "answered": found.hajek.answered,
        "n_effective": round(found.hajek.n_effective, 1),
        "response_rate": round(found.response_rate, 4),
        "labelled_only": round(found.labelled_only.value, 4),
        "worst_case": {name: round(end, 4) for name, end in found.bounds._asdict().items()},
        "positive": _positive(found, positive),
        "calibration": _calibration(found),
    }
    if not found.hajek.shown:
        return shown | {"reason": FEW}
    if found.withheld:
        return shown | {"reason": WITHHELD}
    return shown | {
        "accuracy": round(found.hajek.value, 4),
        "lower": round(found.hajek.lower, 4),
        "upper": round(found.hajek.upper, 4),
    }


def _random_share(found: Advantage | None) -> dict[str, Any] | None:
    """Return what the model is better by than one that learns random asks only; None without such a one."""
    if found is None:
        return None
    if not found.shown:
        return {"shown": False, "labels": found.labels, "reason": FEW}
    return {
        "shown": True,
        "labels": found.labels,
        "accuracy": round(found.random.value, 4),
        "advantage": {name: round(getattr(found, name), 4) for name in ("value", "lower", "upper")},
    }


def _error_alarm(found: AlarmState) -> dict[str, Any]:
    """Return how often the error has risen, when last, and how near the next alarm is."""
    return {
        "alarms": found.alarms,
        "last_at": None if found.last_alarm_ms is None else found.last_alarm_ms / 1000,
        "evidence": round(found.evidence, 4),
        "reference_error": None if found.reference is None else round(found.reference, 4),
    }


def _positive(found: Accuracy, label: str | None) -> dict[str, Any] | None:
    """Return precision, recall and false-positive rate of the positive class; None where none is named."""
    if found.positive is None:
        return None
    ratios = {name: _ratio(ratio, found) for name, ratio in found.positive._asdict().items()}
    return {"label": label, **ratios}


def _ratio(ratio: Estimate, found: Accuracy) -> dict[str, Any]:
    """Return a ratio; where there are few answers the interval alone, since it says how few."""
    shown: dict[str, Any] = {
        "shown": found.shows(ratio),
        "answered": ratio.answered,
        "n_effective": round(ratio.n_effective, 1),
    }
    if found.withheld:
        return shown | {"reason": WITHHELD}
    if ratio.answered:
        shown |= {"lower": round(ratio.lower, 4), "upper": round(ratio.upper, 4)}
    return shown | ({"value": round(ratio.value, 4)} if ratio.shown else {"reason": FEW})


def _calibration(found: Accuracy) -> dict[str, Any]:
    """Return what confidence is worth, where the accuracy may be shown."""
    if found.confidence is None or not found.shows(found.hajek):
        return {"shown": False, "reason": WITHHELD if found.hajek.shown else FEW}
    kept = found.confidence
    return {
        "shown": True,
        "ece": round(kept.error, 4),
        "brier": round(kept.brier, 4),
        "cbpe": round(kept.cbpe, 4),
        "gap": {
            "value": round(kept.gap, 4),
            "lower": round(kept.gap_lower, 4),
            "upper": round(kept.gap_upper, 4),
        },
    }
