"""The service's bases: where they stand, who writes them, and what a disk that takes none is worth.

A base is a function of the reply log, the same on every replica. So replicas that share a directory share
its bases: the first one writes, the others read.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from stream_al.checkpoint import PREFIX, identity, load_base, save_base
from stream_al.errors import LogError
from stream_al.learner import Learner
from stream_al.log.owner_lock import OwnerLock
from stream_al.log.protocol import Log
from stream_al.settings import Settings
from stream_al_consumers.output import say


def base_directory(settings: Settings) -> Path:
    """Return where bases stand unless configured: beside the file, or for Kafka in the working directory."""
    if settings.engine.base_directory is not None:
        return settings.engine.base_directory
    if settings.log.kind == "kafka":
        return Path("stream-al.bases") / settings.kafka.group
    path = settings.log.path
    return path.with_name(path.name + ".bases")


class Bases:
    """Bases of one service.

    Parameters
    ----------
    settings : Settings
    learner : Learner
        Unfitted; :meth:`load` fits it.

    Attributes
    ----------
    position : int
        Of the newest base that was loaded or written.
    """

    def __init__(self, settings: Settings, learner: Learner) -> None:
        self.position = 0
        self._learner = learner
        self._directory = base_directory(settings)
        self._identity = identity(learner, settings.model.name, settings.seed)
        self._every = settings.engine.base_every
        self._told = False
        # the owner of a file's log is alone already
        self._lock = OwnerLock(self._directory / "writer") if settings.log.kind == "kafka" else None
        self._locked = False

    def load(self, log: Log) -> None:
        """Load the newest base that stands for a prefix of this log."""
        if self._ours():
            self._sweep_drafts()
        self.position = load_base(self._directory, self._learner, self._identity, log)

    @property
    def due(self) -> bool:
        """Whether the model has learned enough for another base."""
        return self._learner.position - self.position >= self._every

    def save(self) -> None:
        """Write a base, if the model has moved and no other replica writes here.

        A base only saves time, so a disk that takes none is told once and tried again later.
        """
        if self._learner.position <= self.position:
            return
        if self._ours():
            try:
                save_base(self._directory, self._learner, self._identity)
            except OSError as error:
                self._sweep_drafts()
                self._tell(error)
            else:
                self._told = False
        self.position = self._learner.position

    def close(self) -> None:
        """Let another replica write."""
        if self._lock is not None:
            self._lock.release()
            self._locked = False

    def _ours(self) -> bool:
        """Return whether this process may write: it is alone, or the first one here."""
        if self._lock is None or self._locked:
            return True
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except OSError as error:
            self._tell(error)
        except LogError:  # another replica writes, or no lock can be had here
            pass
        else:
            self._locked = True
        return self._locked

    def _tell(self, error: OSError) -> None:
        if not self._told:
            say(
                f"warning: no base can be written to {self._directory} ({error.strerror or error}); the next "
                "start folds the reply log from the newest one there is; free the disk, or set "
                "engine.base_directory"
            )
        self._told = True

    def _sweep_drafts(self) -> None:
        """Remove what was left of bases whose writing was broken off."""
        for draft in self._directory.glob(f".{PREFIX}*"):
            shutil.rmtree(draft, ignore_errors=True)
