"""Executable contracts: public suites that a log, a model, a policy or a score must pass.

Each suite is a list of small named checks; ``check_*`` runs them all and raises ``AssertionError``
naming the first law that does not hold.
"""

from stream_al.conformance.log import check_log
from stream_al.conformance.model import check_model
from stream_al.conformance.policy import check_policy
from stream_al.conformance.score import check_score

__all__ = ["check_log", "check_model", "check_policy", "check_score"]
