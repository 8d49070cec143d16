"""Who serves a log file: a kernel lock that dies with its process.

``flock`` rather than a row with a process id: the kernel releases it however the process ends
(``kill -9`` too), ids are reused, and containers that share a volume do not share ids.
The lock file is never deleted, since two processes could then hold "the" lock on two files.
"""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

from stream_al.errors import LogError, LogOwned


class OwnerLock:
    """An exclusive lock beside a log file.

    Parameters
    ----------
    path : Path
        The log file; the lock is ``path`` with ``.lock`` appended.
    """

    def __init__(self, path: Path) -> None:
        self._log = path
        self._path = path.with_name(path.name + ".lock")
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock at once, or refuse.

        Raises
        ------
        LogOwned
            A live process holds it; the message names it.
        LogError
            The lock file cannot be written, or its file system has no locks.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise LogError(
                f"the lock file {self._path} cannot be opened ({error.strerror}); the service needs to write "
                "beside its log: check the directory and its permissions"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
            os.close(descriptor)
            raise LogOwned(
                f"{self._log} is served by {holder}; a log file has one service at a time: stop that one "
                "first, or give this one another file"
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise LogError(
                f"{self._path} cannot be locked ({error.strerror}); keep the log on a local file system"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on host {socket.gethostname()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock up, if it is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
