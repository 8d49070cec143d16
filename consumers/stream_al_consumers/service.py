"""The service: one engine on its log, with its HTTP door beside it.

Start: bind the port (so that a port in use is told before the log is touched), take the log, open the
door (health can be asked for while the model catches up), load the newest base, fold the rest of the
reply log, only then take partitions, and turn the loop. Stop, on SIGTERM or SIGINT: finish the batch,
commit, write a base, close the door, give the log up. A ``kill -9`` at any place loses nothing: see
:mod:`stream_al.engine`. A log that does not answer is asked again for a minute; a loop that hangs is ended
by the watchdog.
"""

from __future__ import annotations

import gc
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from types import FrameType
from typing import cast

from stream_al.build import build_engine, build_learner
from stream_al.engine import Tick
from stream_al.errors import LogError, LogUnreachable
from stream_al.learner import Learner
from stream_al.log.protocol import Log
from stream_al.settings import Settings
from stream_al_consumers.bases import Bases
from stream_al_consumers.board import Board, reply_lag
from stream_al_consumers.configuration import OpenLog, log_name, open_log, sign_of_life
from stream_al_consumers.door import Door, access_token, bind
from stream_al_consumers.output import progress, say
from stream_al_consumers.resting import RestingLog
from stream_al_consumers.threads import one_thread
from stream_al_consumers.watchdog import Watchdog

POLL_SECONDS = {"sqlite": 0.01, "kafka": 0.5}
"""How long a poll waits for events: it returns as soon as one is there, replies are folded between two of
them, and SIGTERM waits as long at most. On Kafka each costs questions to the brokers."""
RETRY_SECONDS = 0.5
SILENCE_SECONDS = 60.0
"""How long a log may not answer."""
RETAIN_SECONDS = 5.0
"""How often an idle service lets the log forget what is old; busy ones do so in every commit."""
GC_THRESHOLDS = (5_000, 5, 5)
"""A micro-batch makes thousands of short-lived objects: collecting at Python's default of 700 takes a quarter
of the engine's time (measured). The Kafka client leaves cycles that hold whole batches: a hundred times more
rarely, and a service grows to a gigabyte of garbage (measured)."""


class _Stopped(BaseException):  # nobody who bears errors may bear this
    """A signal came before the loop turned: nothing is committed, so nothing is to be finished."""


@dataclass(frozen=True, slots=True)
class Address:
    """What a service says of itself when it is up; ``group`` and ``partitions`` where it shares events."""

    url: str
    log: str
    bound: str
    keyed: bool
    group: str | None = None
    partitions: tuple[int, ...] = ()

    def sentence(self) -> str:
        """Return the one line that is printed."""
        tickets = (
            "tickets are keyed" if self.keyed else "tickets have no key: that guards only against accidents"
        )
        shared = f", group {self.group}, {_listed(self.partitions)}" if self.group else ""
        return f"serving {self.url}, log {self.log}{shared}; asks about {self.bound}; {tickets}"


def _listed(partitions: tuple[int, ...]) -> str:
    """Return partitions in words.

    >>> _listed((0, 1)), _listed(())
    ('partitions 0, 1', 'no partition: the others of the group have all')
    """
    if not partitions:
        return "no partition: the others of the group have all"
    return f"partition{'s' if len(partitions) > 1 else ''} {', '.join(map(str, partitions))}"


class Silence:
    """A log that does not answer: told once, borne for a minute."""

    def __init__(self) -> None:
        self._since: float | None = None

    def note(self, error: LogUnreachable) -> None:
        """Note that it did not answer.

        Raises
        ------
        LogError
            It has not for a minute.
        """
        now = time.monotonic()
        if self._since is None:
            self._since = now
            say(f"warning: {error}; trying again for {SILENCE_SECONDS:.0f} s")
        elif now - self._since > SILENCE_SECONDS:
            raise LogError(f"no answer for {SILENCE_SECONDS:.0f} s: {error}") from error

    def over(self) -> None:
        """Note that it answered."""
        if self._since is not None:
            say(f"the log answers again, after {time.monotonic() - self._since:.0f} s")
        self._since = None


class Stop:
    """Whether the service shall end. A signal sets it, which may come at any moment: it takes no lock."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        """Return whether it was asked for."""
        return self.asked


class Service:
    """One engine, its log and its board.

    Parameters
    ----------
    settings : Settings
    log : OpenLog
        Taken as owner.
    watchdog : Watchdog
        Armed once the loop turns.
    stopping : Stop
    """

    def __init__(self, settings: Settings, log: OpenLog, watchdog: Watchdog, stopping: Stop) -> None:
        self._log = log
        self._learner = build_learner(settings)
        self._bases = Bases(settings, self._learner)
        self._bases.load(log)
        lock = threading.Lock()
        lock.acquire()  # ours, but while the engine rests in a poll
        self.engine = build_engine(settings, cast("Log", RestingLog(log, lock)), self._learner)
        poll_seconds = POLL_SECONDS[settings.log.kind]
        self.engine.options = replace(self.engine.options, poll_seconds=poll_seconds)
        self.board = Board(self.engine, log, lambda: watchdog.beaten_at, lock)
        self._watchdog = watchdog
        self._stopping = stopping
        self._looping = False
        self._reply_lag = 0
        self._silence = Silence()
        self._told: tuple[int, ...] = ()

    def stop(self, number: int = 0, frame: FrameType | None = None) -> None:
        """Ask the loop to end after its batch; before it turns, leave at once. A signal handler."""
        asked_before, self._stopping.asked = self._stopping.asked, True
        if not self._looping and not asked_before:
            raise _Stopped

    def catch_up(self) -> None:
        """Fold all of the reply log, with a progress bar, then restore what was committed.

        In this order, since whoever has partitions must poll: a long fold would lose them again.
        """
        with watched(self._learner, self._log):
            while self._folded_some():
                self._watchdog.beat()
        tick = None
        while tick is None or not tick.restored:
            tick = self._turn()
        self.board.publish(tick, self._reply_lag)
        self._told = self.partitions

    def _folded_some(self) -> bool:
        """Fold some replies; where the log does not answer, that is borne for a minute."""
        try:
            found = self.engine.fold_some()
        except LogUnreachable as error:
            self._silence.note(error)
            time.sleep(RETRY_SECONDS)
            return True
        self._silence.over()
        return found

    def run(self) -> None:
        """Turn the loop until :meth:`stop`; then write a base.

        Raises
        ------
        LogError
            The log failed, has not answered for a minute, or was taken over; nothing that was committed is
            lost.
        WrongTopic
            The first 1,000 records hold no valid event.
        """
        self._looping = True
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        retain_at = time.monotonic() + RETAIN_SECONDS
        self._watchdog.arm()
        while not self._stopping():
            tick = self._turn()
            if tick is not None:
                self.board.publish(tick, self._reply_lag)
                self._tell_partitions()
            self.board.run_errands()
            if tick is not None and tick.committed:
                retain_at = time.monotonic() + RETAIN_SECONDS
            elif time.monotonic() > retain_at:
                self._log.retain()
                retain_at = time.monotonic() + RETAIN_SECONDS
            if self._bases.due:
                self._save_base()
        self.board.closing()
        self._save_base()
        self._watchdog.disarm()

    def _tell_partitions(self) -> None:
        if self.partitions != self._told:
            say(f"the group has changed: this process has {_listed(self.partitions)}")
        self._told = self.partitions

    @property
    def partitions(self) -> tuple[int, ...]:
        """Partitions of the events that this process decides."""
        return tuple(sorted(self.engine.states))

    def close(self) -> None:
        """Stop what stands beside the loop; the log is the caller's."""
        self._watchdog.disarm()
        self.board.closing()
        self._bases.close()

    def _turn(self) -> Tick | None:
        """Do one tick; None where the log does not answer at present."""
        self._watchdog.beat()
        try:
            tick = self.engine.tick(self._fold)
            if not self.engine.states:  # a replica without partitions folds as well, to be ready for some
                self._fold()
        except LogUnreachable as error:
            self._silence.note(error)
            self.board.silent(f"the log does not answer: {error}")
            time.sleep(RETRY_SECONDS)
            return None
        self._silence.over()
        return tick

    def _fold(self) -> None:
        """Fold replies for at most the configured time, and note how many are left."""
        deadline = time.monotonic() + self.engine.options.fold_seconds
        while self.engine.fold_some():
            if time.monotonic() >= deadline:
                self._reply_lag = reply_lag(self._log, self._learner)
                return
        self._reply_lag = 0

    def _save_base(self) -> None:
        """Write a base where that loses nothing: see :class:`~stream_al_consumers.board.Rejections`."""
        if self.board.settled:
            self._bases.save()
            self._watchdog.beat()


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


def check_topics(settings: Settings) -> None:
    """Look at the topics before anything begins: warnings are told, errors refuse.

    Raises
    ------
    LogError
        Topics or brokers are not as they must be, each with what mends it; or no broker answers.
    """
    # imported here: only Kafka has topics to look at
    from stream_al.log.kafka_findings import ENOUGH_REPLICAS, MORE_COPIES
    from stream_al.log.kafka_topics import check_topics as look
    from stream_al_consumers.kafka_options import kafka_options

    with sign_of_life(settings):
        found = look(kafka_options(settings), settings.log.partitions)
    few = settings.kafka.replication_factor < ENOUGH_REPLICAS
    if few:  # as was wanted: said in one line, below
        found = [each for each in found if each.expected != MORE_COPIES]
    told = {
        severity: [
            f"{finding.subject}: found {finding.found}; expected {finding.expected}; {finding.cure}"
            for finding in found
            if finding.severity == severity
        ]
        for severity in ("error", "warning")
    }
    if told["error"]:
        raise LogError("\n".join(("the topics cannot be used:", *told["error"])))
    if few:
        say(
            f"warning: kafka.replication_factor is {settings.kafka.replication_factor}, for trying out: the "
            "restart of a broker may double outputs; `stream-al topics check` says more"
        )
    for line in told["warning"]:
        say(f"warning: {line}")


def serve(settings: Settings, announce: Callable[[Address], None]) -> None:
    """Run the service until SIGTERM or SIGINT.

    Parameters
    ----------
    settings : Settings
    announce : callable
        Called once, when the service has caught up and has its partitions.

    Raises
    ------
    ConfigurationError
        The port is in use, or the service would be reachable from elsewhere without a token.
    LogError
        The log cannot be used, or another service owns it.
    """
    token = access_token(settings.http)
    watchdog, stopping = Watchdog(settings.engine.watchdog_seconds), Stop()
    shared = settings.log.kind == "kafka"
    with bind(settings.http) as listener:
        if shared:
            check_topics(settings)
        log = open_log(settings, owner=True, beat=watchdog.beat, stopping=stopping)
        with closing(log), one_thread():
            service = Service(settings, log, watchdog, stopping)
            door = Door(settings, token, open_log(settings), service.board, listener)
            try:
                signal.signal(signal.SIGTERM, service.stop)
                signal.signal(signal.SIGINT, service.stop)
                door.open()
                service.catch_up()
                announce(
                    Address(
                        door.url,
                        log_name(settings),
                        settings.budget().bound(),
                        bool(settings.ticket_keys),
                        settings.kafka.group if shared else None,
                        service.partitions if shared else (),
                    )
                )
                service.run()
            except _Stopped:
                pass
            finally:
                service.close()
                door.close()
