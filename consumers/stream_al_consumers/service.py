"""The service: one engine on the embedded log, with its HTTP door beside it.

Start: bind the port (so that a port in use is told before the log is touched), take the log, open the
door (health can be asked for while the model catches up), load the newest base, fold the rest of the
reply log, then turn the loop. Stop, on SIGTERM or SIGINT: finish the batch, commit, write a base, close
the door, give the log up. A ``kill -9`` at any place loses nothing: see :mod:`stream_al.engine`.
"""

from __future__ import annotations

import gc
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from stream_al.build import build_engine, build_learner
from stream_al.checkpoint import PREFIX, identity, load_base, save_base
from stream_al.learner import Learner
from stream_al.log.protocol import Log
from stream_al.log.sqlite import SqliteLog
from stream_al.settings import Settings
from stream_al_consumers.board import Board, reply_lag
from stream_al_consumers.configuration import open_log
from stream_al_consumers.door import Door, access_token, bind
from stream_al_consumers.output import progress, say
from stream_al_consumers.threads import one_thread

IDLE_POLL_SECONDS = 0.01
"""How long a poll waits for events; errands (scores) wait as long at most."""
RETAIN_SECONDS = 5.0
"""How often an idle service lets the log forget what is old; busy ones do so in every commit."""
GC_THRESHOLDS = (20_000, 50, 50)
"""A micro-batch makes thousands of short-lived objects and no cycles: collecting at Python's default of 700
takes a quarter of the engine's time (measured)."""


class _Stopped(Exception):
    """A signal came before the loop turned: nothing is committed, so nothing is to be finished."""


@dataclass(frozen=True, slots=True)
class Address:
    """What a service says of itself when it is up."""

    url: str
    log: str
    bound: str
    keyed: bool

    def sentence(self) -> str:
        """Return the one line that is printed."""
        tickets = (
            "tickets are keyed" if self.keyed else "tickets have no key: that guards only against accidents"
        )
        return f"serving {self.url}, log {self.log}; asks about {self.bound}; {tickets}"


class Service:
    """One engine, its log and its board.

    Parameters
    ----------
    settings : Settings
    log : SqliteLog
        Taken as owner.
    """

    def __init__(self, settings: Settings, log: SqliteLog) -> None:
        self._log = log
        self._learner = build_learner(settings)
        self._bases = base_directory(settings)
        self._identity = identity(self._learner, settings.model.name, settings.seed)
        self._base_every = settings.engine.base_every
        self._base_failed = False
        sweep_drafts(self._bases)
        self._base_at = load_base(self._bases, self._learner, self._identity, log)
        self.engine = build_engine(settings, log, self._learner)
        self.engine.options = replace(self.engine.options, poll_seconds=IDLE_POLL_SECONDS)
        self.board = Board(self.engine, log)
        self._stopping = False
        self._looping = False

    def stop(self, number: int = 0, frame: FrameType | None = None) -> None:
        """Ask the loop to end after its batch; before it turns, leave at once. A signal handler."""
        self._stopping = True
        if not self._looping:
            raise _Stopped

    def catch_up(self) -> None:
        """Restore what was committed and fold all of the reply log, with a progress bar."""
        with watched(self._learner, self._log):
            first = self.engine.tick()
            while self.engine.fold_some():
                pass
        self.board.publish(first)

    def run(self) -> None:
        """Turn the loop until :meth:`stop`; then write a base.

        Raises
        ------
        LogError
            The log failed or was taken over; nothing that was committed is lost.
        WrongTopic
            The first 1,000 records hold no valid event.
        """
        self._looping = True
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        retain_at = time.monotonic() + RETAIN_SECONDS
        while not self._stopping:
            tick = self.engine.tick()
            self.board.publish(tick)
            self.board.run_errands()
            if tick.committed:
                retain_at = time.monotonic() + RETAIN_SECONDS
            elif time.monotonic() > retain_at:
                self._log.retain()
                retain_at = time.monotonic() + RETAIN_SECONDS
            if self._learner.position - self._base_at >= self._base_every:
                self._save_base()
        self.board.closing()
        self._save_base()

    def _save_base(self) -> None:
        """Write a base where that loses nothing: see :class:`~stream_al_consumers.board.Rejections`.

        A base only saves time, so a disk that takes none is told once and tried again ``base_every``
        replies later.
        """
        if not self.board.settled or self._learner.position <= self._base_at:
            return
        try:
            save_base(self._bases, self._learner, self._identity)
        except OSError as error:
            sweep_drafts(self._bases)
            if not self._base_failed:
                say(
                    f"warning: no base can be written to {self._bases} ({error.strerror or error}); the next "
                    "start folds the reply log from the newest one there is; free the disk, or set "
                    "engine.base_directory"
                )
            self._base_failed = True
        else:
            self._base_failed = False
        self._base_at = self._learner.position


def base_directory(settings: Settings) -> Path:
    """Return where bases stand: beside the log unless configured."""
    path = settings.log.path
    return settings.engine.base_directory or path.with_name(path.name + ".bases")


def sweep_drafts(directory: Path) -> None:
    """Remove what was left of bases whose writing was broken off; the log's owner alone writes there."""
    for draft in directory.glob(f".{PREFIX}*"):
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def watched(learner: Learner, log: Log) -> Iterator[None]:
    """Show a progress bar of the fold while it runs, from a thread that only reads its position."""
    behind = reply_lag(log, learner)
    end = learner.position + behind
    done = threading.Event()
    with progress() as bars:
        task = bars.add_task("folding replies", total=end, completed=learner.position)

        def watch() -> None:
            while not done.wait(0.1):
                bars.update(task, completed=min(end, learner.position))

        thread = threading.Thread(target=watch, daemon=True)
        if behind > 1_000:
            thread.start()
        try:
            yield
        finally:
            done.set()
            if behind > 1_000:
                thread.join()


def serve(settings: Settings, announce: Callable[[Address], None]) -> None:
    """Run the service until SIGTERM or SIGINT.

    Parameters
    ----------
    settings : Settings
    announce : callable
        Called once, when the service has caught up.

    Raises
    ------
    ConfigurationError
        The port is in use, or the service would be reachable from elsewhere without a token.
    LogError
        The log cannot be used, or another service owns it.
    """
    token = access_token(settings.http)
    with bind(settings.http) as listener, closing(open_log(settings, owner=True)) as log, one_thread():
        service = Service(settings, log)
        door = Door(settings, token, open_log(settings), service.board, listener)
        try:
            signal.signal(signal.SIGTERM, service.stop)
            signal.signal(signal.SIGINT, service.stop)
            door.open()
            service.catch_up()
            bound, keyed = settings.budget().bound(), bool(settings.ticket_keys)
            announce(Address(door.url, str(settings.log.path), bound, keyed))
            service.run()
        except _Stopped:
            pass
        finally:
            service.board.closing()
            door.close()
