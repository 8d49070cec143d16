"""The contract of a log, executable: small checks that every :class:`~stream_al.log.protocol.Log` passes.

Each check makes a fresh log, does one thing, and says in its docstring why it matters. None
assumes dense offsets, an immediate assignment, that one member owns everything while there are
two, or that a commit is visible at once: a check waits ``patience_seconds`` for what may come late.
"""

from __future__ import annotations

from stream_al.conformance import log_clients, log_members
from stream_al.conformance.log_under_test import Check, LogUnderTest, MakeLog

__all__ = ["CHECKS", "Check", "LogUnderTest", "MakeLog", "check_log"]

CHECKS: list[Check] = [*log_clients.CHECKS, *log_members.CHECKS]
"""Every check, in the order in which a new log is best built."""


def check_log(make: MakeLog) -> None:
    """Run every check over logs that ``make(partitions)`` gives.

    Parameters
    ----------
    make : callable
        Takes the number of event partitions and returns a fresh :class:`LogUnderTest`.

    Raises
    ------
    AssertionError
        Names the first law that does not hold.
    """
    for check in CHECKS:
        try:
            check(make)
        except AssertionError as error:
            raise AssertionError(f"{check.__name__}: {error}") from error
