"""The demo's course: a stream, people who answer, a replica that is killed and comes back, the reckoning."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live

from benchmarks.demo_kafka.check import Check, check_log
from benchmarks.demo_kafka.processes import CommandFailed, Process, Replica, run
from benchmarks.demo_kafka.screen import screen
from benchmarks.demo_kafka.tally import Reader, Tally
from stream_al.datasets import read_table
from stream_al.query.ledger import TOKEN
from stream_al.settings import load_settings

PARTITIONS = 4
LABELS = ("normal", "anomaly")
PEOPLE = ("--delay", "lognormal:2s,0.7", "--no-answer", "0.2", "--noise", "0.02")
SESSION_SECONDS = 4.0
"""How long the group waits for a member that says nothing; 30 s for a named one unless it is set."""
KILL_AFTER = 0.25
"""Share of the events after which a replica is killed."""
ALONE_SECONDS = 3.0
"""How long the other one has all partitions before the killed one is started again."""
PATIENCE_SECONDS = 90.0
QUIET_SECONDS = 3.0
"""So long without an answer, after the last event: whoever has not answered by now never will."""
LOOK_SECONDS = 0.25
"""How often the replicas are asked and the table is drawn; more often would cost the stream its CPU."""
DATA = "shuttle.csv"


@dataclass(frozen=True)
class Plan:
    """How much of the stream, and how fast."""

    events: int
    rate: float


class Show:
    """Runs the demo on a broker; a context manager that leaves no process behind.

    Parameters
    ----------
    bootstrap : list of str
    folder : Path
        An empty one, for configuration, data and what the processes say.
    prefix : str
        Of the topics and the group; nobody else's.
    plan : Plan
    console : rich.console.Console
    """

    def __init__(self, bootstrap: list[str], folder: Path, prefix: str, plan: Plan, console: Console) -> None:
        self._bootstrap, self._folder, self._prefix, self._plan = bootstrap, folder, prefix, plan
        self._console = console
        self._began = time.monotonic()
        self._notes: list[str] = []
        (folder / "stream-al.toml").write_text(_configuration(bootstrap, prefix))
        budget = load_settings(folder / "stream-al.toml").budget()
        self._share = budget.share
        self._head_start = (budget.limit // 2 + budget.credit_units) / TOKEN
        self._replicas = [Replica(f"serve-{n}", folder) for n in (1, 2)]
        rows = ("--label", "label", "--head", str(plan.events))
        self._produce = Process("produce", folder, "produce", DATA, *rows, "--rate", str(plan.rate))
        self._people = Process("annotator", folder, "annotator", "--answers", DATA, *rows, *PEOPLE)
        self._exit = ExitStack()
        self._refresh: Callable[[], object] = lambda: None
        self._looked_at = 0.0

    def __enter__(self) -> Show:
        """Let every process end with the block."""
        for process in (*self._replicas, self._people, self._produce):
            self._exit.callback(process.kill)
        return self

    def __exit__(self, *_: object) -> None:
        """Kill what still runs."""
        self._exit.close()

    def play(self) -> tuple[list[Check], float]:
        """Run the whole demo; return what was checked, and the accuracy over all events.

        Raises
        ------
        CommandFailed
            A process failed, or something did not happen in time.
        """
        self._prepare()
        with closing(Reader(self._bootstrap, self._prefix)) as reader, self._shown(reader.tally):
            self._stream(reader)
            self._let_people_finish(reader)
            equal = self._compare_models(reader)
        with closing(Reader(self._bootstrap, self._prefix)) as whole:
            whole.read_all()  # not what the table counted: once more, from the beginning
        checks = check_log(whole.tally, self._plan.events, self._share, self._head_start)
        right = self._right(whole.tally)
        for replica in self._replicas:
            replica.stop()
        return [*checks, equal], right

    # ---- the course ---------------------------------------------------------------------------

    def _prepare(self) -> None:
        self._note("a broker is up; making the topics")
        run(self._folder, "topics", "create")
        self._note("starting two replicas, and people who wait for questions")
        for replica in self._replicas:
            replica.start()
        run(self._folder, "demo", "--export-data", DATA)
        self._people.start()

    def _stream(self, reader: Reader) -> None:
        """Produce; kill one replica meanwhile, wait until the other has its work, start it again."""
        tally, (survivor, victim) = reader.tally, self._replicas
        self._until(reader, lambda: all(r.ready for r in self._replicas), "both replicas to be ready")
        self._until(reader, lambda: _owned(survivor) and _owned(victim), "the partitions to be shared")
        self._produce.start()
        self._note(f"events come, {self._plan.rate:g} a second; people answer late, 20 % never, 2 % wrongly")
        enough = KILL_AFTER * self._plan.events
        self._until(reader, lambda: tally.predicted >= enough, "predictions")
        victim.kill()
        self._note(f"{victim.name} was killed with SIGKILL; {survivor.name} goes on with its partitions")
        killed = time.monotonic()
        self._until(reader, lambda: len(_owned(survivor)) == PARTITIONS, f"{survivor.name} to take over")
        self._note(f"{survivor.name} has all partitions, {time.monotonic() - killed:.1f} s after the kill")
        alone = time.monotonic()
        self._until(reader, lambda: time.monotonic() - alone > ALONE_SECONDS, "some seconds")
        restarted = time.monotonic()
        victim.start()
        self._note(f"{victim.name} is started again")
        self._until(reader, lambda: bool(_owned(victim)), f"{victim.name} to have partitions again")
        self._note(
            f"{victim.name} shares the work again, {time.monotonic() - restarted:.1f} s after its start"
        )
        everything = self._plan.events
        seconds = everything / self._plan.rate + PATIENCE_SECONDS
        self._until(reader, lambda: tally.predicted >= everything, "every prediction", seconds)
        self._produce.finish(PATIENCE_SECONDS)
        self._note("every event is predicted; waiting for the last answers")

    def _let_people_finish(self, reader: Reader) -> None:
        tally = reader.tally
        answered, since = tally.answered, time.monotonic()

        def quiet() -> bool:
            nonlocal answered, since
            if tally.answered > answered:
                answered, since = tally.answered, time.monotonic()
            return time.monotonic() - since > QUIET_SECONDS

        self._until(reader, quiet, "the last answers")
        self._people.stop()

    def _compare_models(self, reader: Reader) -> Check:
        """Compare what both replicas have learned with each other and with the log, folded anew."""
        models: list[dict[str, Any]] = []

        def same_position() -> bool:
            statuses = [replica.ask(fingerprint=True) for replica in self._replicas]
            if any(s is None or s["lag"]["replies"] or "position" not in s["model"] for s in statuses):
                return False
            models[:] = [status["model"] for status in statuses if status is not None]
            return len({model["position"] for model in models}) == 1

        self._until(reader, same_position, "both replicas to have folded every answer")
        position = models[0]["position"]
        replayed = json.loads(run(self._folder, "replay", "--no-decisions", "--json", "--to", str(position)))
        prints = [*(model["fingerprint"] for model in models), replayed["fingerprint"]]
        return Check(
            "both replicas have the same model, to the bit",
            len(set(prints)) == 1 and models[0]["learned"] > 0,
            f"{models[0]['learned']} labels learned; fingerprints at position {position:,}: "
            f"{', '.join(each[:12] for each in prints[:-1])}; the log folded anew: {prints[-1][:12]}",
        )

    def _right(self, tally: Tally) -> float:
        """Return the accuracy over all events, which only who has every answer knows."""
        table = read_table(self._folder / DATA, label="label", head=self._plan.events)
        right = 0
        for predictions in tally.predictions.values():
            for each in predictions:
                row = table.row_of(each.event_id)
                right += row is not None and table.label(row) == each.label
        return right / max(1, tally.predicted)

    # ---- meanwhile ----------------------------------------------------------------------------

    def _until(
        self, reader: Reader, condition: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS
    ) -> None:
        """Go on counting, asking and showing until something holds.

        Raises
        ------
        CommandFailed
            A process failed, or it did not hold in time.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise CommandFailed(f"waited {seconds:.0f} s in vain for {what}")
            reader.read(100)
            if time.monotonic() - self._looked_at > LOOK_SECONDS:
                self._look()

    def _look(self) -> None:
        """See whether everybody runs, ask the replicas how they are, and show it."""
        self._looked_at = time.monotonic()
        for process in (self._produce, self._people):
            process.check()
        for replica in self._replicas:
            replica.ask()
        self._refresh()

    def _note(self, what: str) -> None:
        line = f"{time.monotonic() - self._began:5.1f} s  {what}"
        self._notes.append(line)
        if not self._console.is_terminal:
            self._console.print(line, markup=False)

    @contextmanager
    def _shown(self, tally: Tally) -> Iterator[None]:
        """Show the table while the block runs; where nobody looks, once at its end."""

        def now(notes: Sequence[str] = self._notes) -> Group:
            return screen(tally, self._replicas, self._share, PARTITIONS * self._head_start, notes)

        if self._console.is_terminal:
            with Live(now(), console=self._console, auto_refresh=False) as live:
                self._refresh = lambda: live.update(now(), refresh=True)
                yield
                self._look()
        else:
            yield
            self._console.print(now(()))  # the notes were printed as they came


def _owned(replica: Replica) -> list[str]:
    """Return the partitions that a replica says are its own."""
    return list(replica.status["lag"]["events"]) if replica.status else []


def _configuration(bootstrap: list[str], prefix: str) -> str:
    """Return everybody's configuration; what differs between replicas is in their environment."""
    return f"""\
[task]
name = "shuttle"
labels = {json.dumps(LABELS)}

[query]
budget = 0.01

[log]
kind = "kafka"
prefix = "{prefix}"
partitions = {PARTITIONS}

[kafka]
bootstrap = {json.dumps(bootstrap)}
group = "{prefix}stream-al"
start = "earliest"
replication_factor = 1
session_seconds = {SESSION_SECONDS}
"""
