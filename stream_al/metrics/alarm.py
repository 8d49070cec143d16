"""Whether the error has risen, said by an alarm that may be looked at all the time."""

from __future__ import annotations

from stream_al.metrics.family import Family, one

ALARM: tuple[Family, ...] = (
    Family(
        "stream_al_error_alarms_total",
        "counter",
        "log",
        "Alarms that the error has risen above what it was, from floor answers.",
        one(lambda s: s.error_alarm.alarms),
    ),
    Family(
        "stream_al_error_alarm_last_timestamp_seconds",
        "gauge",
        "log",
        "Log time of the last such alarm; 0 while there was none.",
        one(lambda s: (s.error_alarm.last_alarm_ms or 0) / 1000),
    ),
    Family(
        "stream_al_error_alarm_evidence_ratio",
        "gauge",
        "log",
        "Evidence of such a rise, as a share of what an alarm needs.",
        one(lambda s: s.error_alarm.evidence),
    ),
)
"""Families of the alarm on floor answers."""
