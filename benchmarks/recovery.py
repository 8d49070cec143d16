"""How long recovery takes on a real Kafka cluster of three brokers, with a group of three real replicas.

    python -m benchmarks.recovery [--kills 20] [--json]

- restart: a replica is killed and started again at once; from its start to its first commit.
- taken over: a replica is killed and does not come back; from the kill until each of its partitions has a new
  committed prediction. Killed outside of a transaction, and inside one (the offsets sent, the commit not).
- brokers: one of three is killed, and comes back; the longest time in which a group committed nothing.

All of it with dynamic members, then with static ones, under traffic; the topics are checked in the end as in
``benchmarks.chaos``. Exit code 1 if a bound or a check does not hold. Takeovers, and kills of brokers for
each kind of members, are half as many as ``--kills``; takeovers inside of a transaction a quarter.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.chaos_checks import Checks
from benchmarks.chaos_drain import drain, statuses
from benchmarks.chaos_faults import BROKER_EVERY_SECONDS, kill_broker
from benchmarks.chaos_replicas import SESSION_SECONDS, Group, Replica
from benchmarks.chaos_report import table
from benchmarks.chaos_traffic import Traffic
from benchmarks.recovery_silence import Pulse
from stream_al.log.kafka import KafkaLog
from stream_al.log.protocol import PREDICTIONS
from tests.kafka.broker import Cluster

EVENTS_A_SECOND = 60.0
KINDS = ("dynamic", "static")
"""Of members."""
PATIENCE_SECONDS = 120.0
LOOK_SECONDS = 0.1
CLEANUP_SECONDS = 1.0
"""The test brokers' ``transaction.abort.timed.out.transaction.cleanup.interval.ms``."""
TRANSACTIONS = 10
"""What a victim commits before it stands still."""
STATIC_RESTART_SECONDS = 3.0
SILENCE_SECONDS = 10.0


def restarts(group: Group, number: int) -> list[float]:
    """Kill one replica after another, start it again at once; return seconds from start to first commit."""
    found = []
    for i in range(number):
        _settle(group)
        replica = group.replicas[i % len(group.replicas)]
        replica.kill()
        replica.start()
        _await_first_commit(replica)
        found.append(time.monotonic() - replica.started_at)
    return found


def takeovers(group: Group, place: str, number: int) -> list[float]:
    """Kill a member at its place; return seconds until all its partitions have new predictions.

    The victim sits in the slot of the last replica, which stands back meanwhile.
    """
    found = []
    slot = group.replicas[-1]
    slot.busy = True
    slot.stop()
    try:
        with closing(group.client()) as log:
            for _ in range(number):
                _settle(group, group.replicas[:-1])
                found.append(_takeover(group, slot, place, log))
    finally:
        slot.start()
        slot.busy = False
    return found


def _takeover(group: Group, slot: Replica, place: str, log: KafkaLog) -> float:
    command = [
        sys.executable,
        "-m",
        "benchmarks.recovery_victim",
        str(slot.log_path.with_name("stream-al.toml")),
    ]
    with (
        slot.log_path.open("ab") as complaints,
        subprocess.Popen(
            [*command, place, str(TRANSACTIONS)],
            env=os.environ | slot.environment,
            stdout=subprocess.PIPE,
            stderr=complaints,
        ) as victim,
    ):
        try:
            assert victim.stdout is not None
            line = victim.stdout.readline()
            if not line:
                raise RuntimeError(f"the victim ended by itself: see {slot.log_path}")
            left = {p: log.bounds(PREDICTIONS, p)[1] for p in json.loads(line)["partitions"]}
        finally:
            victim.kill()
            killed_at = time.monotonic()
    for partition, end in left.items():
        _await_prediction(log, partition, end)
    return time.monotonic() - killed_at


def broker_kills(cluster: Cluster, group: Group, number: int) -> list[tuple[float, float]]:
    """Kill one broker after another; return for each kill the silence of the group and of a replica."""
    found = []
    chance = random.Random(group.name)
    with Pulse(group) as pulse:
        for i in range(number):
            _settle(group)
            began = time.monotonic()
            kill_broker(cluster, i % 3 + 1, chance.uniform(0, 6))
            _settle(group)
            time.sleep(max(0.0, began + BROKER_EVERY_SECONDS - time.monotonic()))
            found.append(pulse.silence(began, time.monotonic()))
    return found


def _await_first_commit(replica: Replica) -> None:
    _await(lambda: replica.commits() > 0, f"a commit of {replica.log_path} after its start")


def _await_prediction(log: KafkaLog, partition: int, end: int) -> None:
    _await(lambda: bool(log.tail(PREDICTIONS, partition, end, 1)), f"a prediction of partition {partition}")


def _settle(group: Group, replicas: Sequence[Replica] | None = None) -> None:
    """Wait until each of these replicas commits something more."""
    for replica in group.replicas if replicas is None else replicas:
        before = replica.commits()

        def goes_on(replica: Replica = replica, before: int = before) -> bool:
            group.watch()
            now = replica.commits()
            return now > before or 0 < now < before  # a new life counts from the beginning

        _await(goes_on, f"{group.name}/{replica.name}: more commits")


def _await(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {PATIENCE_SECONDS:g} s in vain for {what}")
        time.sleep(LOOK_SECONDS)


def measure(kills: int, directory: Path) -> tuple[dict[str, Any], list[str]]:
    """Measure everything; return the figures, and what does not hold."""
    figures: dict[str, Any] = {}
    failed: list[str] = []
    with Cluster() as cluster:
        for kind in KINDS:
            name = f"recovery-{kind}"
            group = Group(directory / kind, name, cluster.bootstrap, "2b" * 32, static=kind == "static")
            traffic = Traffic(group, EVENTS_A_SECOND, name)
            try:
                group.start()
                traffic.start()
                figures |= _measured(cluster, group, kills)
                failed += drain([(group, traffic)])
                figures[f"checked, {kind}"] = _checked(group, traffic, failed)
            finally:
                group.kill()
    return figures, _exceeded(figures, group.options.transaction_seconds) + failed


def _measured(cluster: Cluster, group: Group, kills: int) -> dict[str, Any]:
    """Measure one group: the brokers last."""
    kind = "static" if group.static else "dynamic"
    half, quarter = max(1, kills // 2), max(1, kills // 4)
    stages: dict[str, Callable[[], list[float]]] = {
        "restart to first commit": lambda: restarts(group, kills),
        "taken over, killed outside": lambda: takeovers(group, "outside", half),
        "taken over, killed inside": lambda: takeovers(group, "inside", quarter),
    }
    figures: dict[str, Any] = {}
    for name, stage in stages.items():
        figures[f"{name}, {kind}"] = _spread(stage())
        print(kind, name, figures[f"{name}, {kind}"], file=sys.stderr, flush=True)
    silences = broker_kills(cluster, group, half)
    for whose, seconds in zip(("the group", "a replica"), zip(*silences, strict=True), strict=True):
        name = f"broker killed, silence of {whose}"
        figures[f"{name}, {kind}"] = _spread(seconds)
        print(kind, name, figures[f"{name}, {kind}"], file=sys.stderr, flush=True)
    return figures


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "n": len(ordered),
        "median": round(median(ordered), 2),
        "p90": round(ordered[int(0.9 * (len(ordered) - 1))], 2),
        "max": round(ordered[-1], 2),
    }


def _exceeded(figures: dict[str, Any], transaction_seconds: float) -> list[str]:
    outside = SESSION_SECONDS + 2.0
    inside = max(outside, transaction_seconds + CLEANUP_SECONDS + 2.0)
    bounds = {("restart to first commit, static", "median"): STATIC_RESTART_SECONDS}
    for kind in KINDS:
        bounds[f"broker killed, silence of the group, {kind}", "max"] = SILENCE_SECONDS
        bounds[f"taken over, killed outside, {kind}", "max"] = outside
        bounds[f"taken over, killed inside, {kind}", "max"] = inside
    return [
        f"{name}: {which} {figures[name][which]} s; expected at most {bound:g} s"
        for (name, which), bound in bounds.items()
        if figures[name][which] > bound
    ]


def _checked(group: Group, traffic: Traffic, failed: list[str]) -> dict[str, Any]:
    checks = Checks(group, traffic.books, statuses(group))
    checks.run()
    failed += checks.failed
    return checks.figures


def main() -> None:
    """Print the figures; exit 1 with what does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--keep", type=Path, help="a new directory for what the replicas say")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        figures, failed = measure(arguments.kills, (arguments.keep or Path(temporary)).absolute())
    if arguments.json:
        print(json.dumps({**figures, "failed": failed}, indent=1))
    else:
        print(table("seconds", figures))
    if failed:
        sys.exit("\n".join(["does not hold:", *failed]))


if __name__ == "__main__":
    main()
