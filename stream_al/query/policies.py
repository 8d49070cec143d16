"""Policies by name."""

from __future__ import annotations

from stream_al.query.baselines import PeriodicPolicy, RandomPolicy
from stream_al.query.policy import RankedPolicy
from stream_al.query.thresholds import (
    FixedUncertaintyPolicy,
    RandomVariableUncertaintyPolicy,
    SplitPolicy,
    VariableUncertaintyPolicy,
)

POLICIES: dict[str, type[RankedPolicy]] = {
    policy.name: policy
    for policy in (
        RankedPolicy,
        RandomPolicy,
        PeriodicPolicy,
        FixedUncertaintyPolicy,
        VariableUncertaintyPolicy,
        RandomVariableUncertaintyPolicy,
        SplitPolicy,
    )
}
