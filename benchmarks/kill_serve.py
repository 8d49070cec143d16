"""``kill -9`` of the service at random moments while events, answers and HTTP calls flow: nothing lost.

    python -m benchmarks.kill_serve [--kills 100] [--seed 0] [--keep DIRECTORY] [--json]

Every life of the service ends at a random moment of one kind: in its first instants, while it starts,
while it folds what it missed, just when it is ready, in the middle of a write, or somewhere; now and then
by SIGTERM instead. The next one starts at once. In the end the log is checked from the file: each event one
prediction, each request once, the budget at every prefix, dead letters, states, and three ways to the same
model. Exit code 1 if anything does not hold.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.kill_checks import Checks
from benchmarks.kill_lives import Lives, free_port
from benchmarks.kill_traffic import PARTITIONS, TTL_SECONDS, Books, Client, NotSent, Traffic, Unknown
from stream_al.log.protocol import EVENTS, LABEL_REPLIES
from stream_al.log.sqlite import SqliteLog
from stream_al.settings import Settings, load_settings

MOMENTS = {"birth": 10, "start": 20, "catch-up": 20, "ready": 10, "write": 20, "any": 20}
"""Kinds of moments and how often they come."""
TERM_SHARE = 0.15
STOP_LIMIT_SECONDS = 5.0
DRAIN_SECONDS = 60.0
CONFIGURATION = """\
[task]
labels = ["left", "right"]
[query]
budget = 0.1
[labels]
ttl_seconds = {ttl}
[log]
path = "kill.db"
partitions = {partitions}
[http]
port = {port}
[engine]
base_every = 300
"""


def await_moment(lives: Lives, kind: str, chance: random.Random, path: Path) -> None:
    """Return at a random moment of its kind; the sleeps are the moments."""
    usual = median(lives.starts) if lives.starts else 1.5
    if kind == "birth":
        time.sleep(chance.uniform(0, 0.3 * usual))
    elif kind == "start":
        lives.await_ready(chance.uniform(0.3, 1.0) * usual)
    elif kind == "catch-up":
        lives.await_door()
        lives.await_ready(chance.uniform(0, 0.1))
    elif kind == "ready":
        lives.await_ready()
        time.sleep(chance.uniform(0, 0.1))
    else:
        lives.await_ready()
        time.sleep(chance.uniform(0, 1.5))
        if kind == "write":
            _await_write(path)
            time.sleep(chance.uniform(0, 0.003))


def _await_write(path: Path) -> None:
    """Wait for the next page that is written to the log."""
    wal = path.with_name(path.name + "-wal")
    before = wal.stat().st_mtime_ns
    deadline = time.monotonic() + 1.0
    while wal.stat().st_mtime_ns == before and time.monotonic() < deadline:
        pass


def end_life(lives: Lives, chance: random.Random, books: Books) -> str:
    """End a life, mostly by SIGKILL; return how."""
    if chance.random() >= TERM_SHARE:
        lives.end(signal.SIGKILL)
        return "kill"
    ready = lives.ready
    code = lives.end(signal.SIGTERM)
    # before its first line of Python a process dies of SIGTERM, as every program does
    if code != 0 and (ready or code != -signal.SIGTERM):
        books.complain(f"SIGTERM, ready {ready}: exit code {code}")
    if lives.stops[-1] > STOP_LIMIT_SECONDS:
        books.complain(f"SIGTERM took {lives.stops[-1]:.1f} s")
    return "term"


def drain(lives: Lives, books: Books, path: Path) -> dict[str, Any]:
    """Wait until the service has decided and folded everything; return its status with the fingerprint."""
    status: dict[str, Any] = {"model": {}, "replies": {}}
    client = Client(lives, books, path, random.Random(0), threading.Event())
    with closing(client.log) as log:
        bad = sum(topic == EVENTS for topic, _, _ in books.bad)
        events = sum(log.bounds(EVENTS, p)[1] for p in range(PARTITIONS)) - bad
        deadline = time.monotonic() + DRAIN_SECONDS
        while time.monotonic() < deadline:
            try:
                code, body = client.call("/status?fingerprint=1")
            except (NotSent, Unknown):
                break
            if code == 200:
                status = json.loads(body)
                found = status["events"], status["dead_letters"], status["model"]["position"]
                if found == (events, len(books.bad), log.bounds(LABEL_REPLIES, 0)[1]):
                    return status
    books.complain(f"not drained; the last status: {status}")
    return status


def measure(kills: int, seed: int, directory: Path) -> tuple[dict[str, Any], list[str]]:
    """Run everything in a directory; return the figures, and what does not hold."""
    chance = random.Random(seed)
    port = free_port(chance)
    path = directory / "kill.db"
    configuration = directory / "stream-al.toml"
    configuration.write_text(CONFIGURATION.format(port=port, ttl=TTL_SECONDS, partitions=PARTITIONS))
    key = f"{chance.getrandbits(256):064x}"
    settings: Settings = load_settings(configuration, {"log": {"path": path}, "ticket_keys": {"k1": key}})
    books, ends = Books(), Counter[str]()
    SqliteLog(path, PARTITIONS).close()  # so that the traffic need not wait for the first life
    started_at = time.monotonic()
    with Lives(directory, port, {"STREAM_AL__TICKET_KEYS__K1": key}) as lives:
        traffic = Traffic(lives, books, path, seed)
        traffic.start()
        while ends["kill"] < kills:
            lives.start()
            kind = chance.choices(list(MOMENTS), list(MOMENTS.values()))[0]
            await_moment(lives, kind, chance, path)
            ends[end_life(lives, chance, books)] += 1
            ends[f"at {kind}"] += 1
        lives.start()
        if not lives.await_ready():
            books.complain("the last service is not ready")
        traffic.finish()
        status = drain(lives, books, path)
        code = lives.end(signal.SIGTERM)
        if code != 0 or lives.stops[-1] > STOP_LIMIT_SECONDS:
            books.complain(f"the last SIGTERM: exit code {code} after {lives.stops[-1]:.1f} s")
    seconds = time.monotonic() - started_at
    complaints = (directory / "service.err").read_text(errors="replace")
    if complaints.strip():
        books.complain(f"the service complained: {complaints[:2000]}")
    checks = Checks(path, settings, books, status)
    checks.run()
    figures = {
        "kills": ends["kill"],
        "terms": ends["term"],
        "moments": {name: ends[f"at {name}"] for name in MOMENTS},
        "seconds": round(seconds, 1),
        "start_seconds": {"median": round(median(lives.starts), 2), "max": round(max(lives.starts), 2)},
        "stop_seconds_max": round(max(lives.stops), 2),
        **checks.figures,
        "taken_without_answer": books.taken_unanswered,
        "calls": dict(sorted(books.calls.items())),
    }
    return figures, checks.failed


def main() -> None:
    """Print the figures; exit 1 with what does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="an empty directory for the log, kept afterwards")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = arguments.keep or Path(temporary)
        directory.mkdir(exist_ok=True)
        figures, failed = measure(arguments.kills, arguments.seed, directory)
    if arguments.json:
        print(json.dumps({**figures, "failed": failed}, indent=2))
    else:
        for name, value in figures.items():
            print(f"{name}: {value}")
    if failed:
        sys.exit("\n".join(["does not hold:", *failed]))


if __name__ == "__main__":
    main()
