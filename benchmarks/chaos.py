"""Chaos on a real Kafka cluster: replicas and brokers die, freeze and come back; nothing is lost or doubled.

    python -m benchmarks.chaos --kills 1000 [--seed N] [--minutes M] [--state DIRECTORY] [--json]

Three brokers (replication factor 3, two in sync) and two groups of three replicas, each the real service
with its default model: one group with dynamic members, one with static ones. Events flow with labels that
come late, never or twice, and bad records among them; replicas are killed, frozen for longer than their
session and stopped, brokers killed and paused. When the traffic has drained, everything is checked from the
topics.

It goes by rounds of at most 50 kills, each on topics of its own. A round that passed is added to
``chaos.json``; a run goes on until the sum is ``--kills``, so it may be broken off and called again. The
first round in which anything does not hold ends the run with exit code 1; the brokers' data, what
the replicas said and what was found stay in the directory.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.chaos_checks import Checks
from benchmarks.chaos_drain import Pair, drain, statuses
from benchmarks.chaos_faults import BrokerFaults, ReplicaFaults
from benchmarks.chaos_replicas import Group
from benchmarks.chaos_report import Totals, table
from benchmarks.chaos_traffic import Traffic
from tests.kafka.broker import Cluster

KILLS_A_ROUND = 50
EVENTS_A_SECOND = 60.0
READY_SECONDS = 90.0


class Round:
    """One round on a running cluster.

    Parameters
    ----------
    cluster : Cluster
    directory : Path
        For configurations and what the replicas say; must not exist.
    seed : str

    Attributes
    ----------
    figures : dict
    failed : list of str
        What does not hold.
    """

    def __init__(self, cluster: Cluster, directory: Path, seed: str) -> None:
        self.figures: dict[str, Any] = {}
        self.failed: list[str] = []
        self._cluster = cluster
        self._directory = directory
        self._seed = seed

    def run(self, kills: int, deadline: float) -> None:
        """Do so many kills, or as many as there is time for; then check."""
        chance = random.Random(self._seed)
        key = f"{chance.getrandbits(256):064x}"
        began = time.monotonic()
        groups = [
            Group(
                self._directory / name,
                f"{self._directory.name}-{name}",
                self._cluster.bootstrap,
                key,
                static=name == "static",
            )
            for name in ("dynamic", "static")
        ]
        pairs = [(group, Traffic(group, EVENTS_A_SECOND, f"{self._seed}/{group.name}")) for group in groups]
        try:
            self._disturb(pairs, chance, kills, deadline)
            self.failed += drain(pairs)
            self._check(pairs)
            for group in groups:
                codes = group.stop()
                if any(codes):
                    self.failed.append(f"{group.name}: exit codes at the end: {codes}")
        finally:
            for group in groups:
                group.kill()
        self._count(pairs, time.monotonic() - began)

    def _disturb(self, pairs: Sequence[Pair], chance: random.Random, kills: int, deadline: float) -> None:
        for group, traffic in pairs:
            group.start()
            traffic.start()
        groups = [group for group, _ in pairs]
        for group in groups:
            if not group.await_commits(READY_SECONDS):
                self.failed.append(f"{group.name}: not all replicas commit after {READY_SECONDS:g} s")
        replicas = ReplicaFaults(groups, chance)
        brokers = BrokerFaults(self._cluster, random.Random(f"{self._seed}/brokers"))
        brokers.start()
        try:
            replicas.run(kills, deadline)
        finally:
            brokers.finish()
        self.failed += replicas.wrong + brokers.wrong
        self.figures |= replicas.counts | brokers.counts
        self.figures["stop_seconds_max"] = round(max(replicas.stop_seconds, default=0.0), 2)

    def _check(self, pairs: Sequence[Pair]) -> None:
        summed: Counter[str] = Counter()
        for group, traffic in pairs:
            checks = Checks(group, traffic.books, statuses(group))
            checks.run()
            self.failed += checks.failed
            least = checks.figures.pop("least_room_in_budget")
            self.figures["least_room_in_budget"] = min(least, self.figures.get("least_room_in_budget", least))
            summed.update(checks.figures)
        self.figures |= summed

    def _count(self, pairs: Sequence[Pair], seconds: float) -> None:
        codes = sum((group.ended for group, _ in pairs), Counter[str]())
        self.figures |= {"exit_codes": dict(codes), "ended_by_themselves": codes.total()}
        self.figures["seconds"] = round(seconds, 1)


def keep_evidence(cluster: Cluster, directory: Path, current: Round) -> None:
    """Keep what was found and the brokers' data beside what the replicas said."""
    found = {"failed": current.failed, "figures": current.figures}
    (directory / "found.json").write_text(json.dumps(found, indent=1))
    for node in cluster.nodes:
        node.kill()
        node.data.rename(directory / f"node-{node.node_id}")


def run(kills: int, seed: int, minutes: float, state: Path) -> tuple[Totals, list[str]]:
    """Go on until the sum of all rounds is ``kills``, or the time is over; return totals and what failed."""
    state.mkdir(parents=True, exist_ok=True)
    totals = Totals(state)
    deadline = time.monotonic() + 60 * minutes
    with Cluster() as cluster:
        while (left := kills - totals.sum["kills"]) > 0 and time.monotonic() < deadline:
            number = len(totals.rounds) + 1
            while (directory := state.absolute() / f"round-{number}").exists():
                number += 1  # of a run that was broken off
            current = Round(cluster, directory, f"{seed}/{number}")
            current.run(min(left, KILLS_A_ROUND), deadline)
            if current.failed:
                keep_evidence(cluster, directory, current)
                return totals, current.failed
            totals.add(current.figures)
            print(table(f"round {number} passed", current.figures), file=sys.stderr, flush=True)
    return totals, []


def main() -> None:
    """Print the sum; exit 1 with what does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="the sum that is wanted")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing new after so many")
    parser.add_argument("--state", type=Path, default=Path("build/chaos"), help="of runs that are added up")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    totals, failed = run(arguments.kills, arguments.seed, arguments.minutes, arguments.state)
    if arguments.json:
        print(json.dumps({**totals.sum, "failed": failed}, indent=1))
    else:
        print(table("sum of all rounds that passed", totals.sum))
    if failed:
        sys.exit("\n".join(["does not hold:", *failed]))


if __name__ == "__main__":
    main()
