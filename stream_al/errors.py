"""Every error that stream-al raises on purpose.

::

    StreamALError                what was found, what was expected, what to do
    ├── ConfigurationError       a setting is unknown, missing or contradictory       exit 2
    ├── DataError                a file or a record cannot be used                    exit 3
    │   ├── InvalidMessage       one record that becomes a dead letter
    │   └── InvalidTicket        a reply's ticket does not verify
    ├── LogError                 the log refuses: locked, read-only, corrupt, full    exit 4
    │   ├── CommitLost           this batch was not committed; read the truth back
    │   ├── LogUnreachable       nobody answers at present; nothing is lost, try again
    │   └── LogOwned             another service owns the log
    └── WrongTopic               the first records hold no valid event                exit 5
"""

from __future__ import annotations


class StreamALError(Exception):
    """The root: its message is meant for a person and needs no traceback."""

    exit_code = 1


class ConfigurationError(StreamALError):
    """A setting is unknown, missing, out of range, or contradicts another."""

    exit_code = 2


class DataError(StreamALError):
    """A file or a record cannot be used."""

    exit_code = 3


class InvalidMessage(DataError):
    """One message that is not what its topic promises.

    Parameters
    ----------
    code : str
        A stable machine word, for example ``"not_json"``.
    message : str
        What was found and what was expected.
    where : str
        Dotted place inside the message, ``""`` for the whole.
    """

    def __init__(self, code: str, message: str, where: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.where = where


class InvalidTicket(DataError):
    """A ticket was changed on its way, or was never ours.

    Parameters
    ----------
    reason : {"malformed", "foreign", "forged"}
        ``foreign``: signed for another topic prefix or with an unknown key id.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class LogError(StreamALError):
    """The log cannot be read or written."""

    exit_code = 4


class CommitLost(LogError):
    """Nothing of this batch was committed: drop all memory and poll again."""


class LogUnreachable(LogError):
    """The log does not answer at present; what was asked may be asked again."""


class LogOwned(LogError):
    """Another live service owns the log."""


class WrongTopic(StreamALError):
    """The first records since the start hold no valid event; nothing was committed."""

    exit_code = 5
