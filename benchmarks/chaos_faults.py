"""What is done to replicas and brokers: killed, frozen, asked to stop; one broker at a time.

All sleeps here are the random moments at which something happens.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence

from benchmarks.chaos_replicas import HUNG, SESSION_SECONDS, Group, Replica
from tests.kafka.broker import Cluster

DECK = ("kill",) * 10 + ("freeze",) * 3 + ("term",) * 2
"""Faults of replicas are dealt from a shuffled deck, so that a run of any length has its share of each."""
STARTING_SHARE = 0.2
"""Of the victims: not serving yet."""
BROKER_EVERY_SECONDS = 22.0
FIRST_BROKER_SECONDS = 15.0
BROKER_KILL_SHARE = 0.8


def deal(kills: int, chance: random.Random) -> list[str]:
    """Return faults with so many kills among them.

    >>> Counter(deal(12, random.Random(0)))["kill"]
    12
    """
    cards: list[str] = []
    while cards.count("kill") < kills:
        cards += chance.sample(DECK, len(DECK))
    while cards.count("kill") > kills:
        cards.remove("kill")
    return cards


class ReplicaFaults:
    """Kills, freezes and stops of replicas until so many were killed.

    Parameters
    ----------
    groups : sequence of Group
    chance : random.Random

    Attributes
    ----------
    counts : Counter
        What was done.
    wrong : list of str
        Stops that did not end as they must.
    stop_seconds : list of float
        From SIGTERM to the end.
    """

    def __init__(self, groups: Sequence[Group], chance: random.Random) -> None:
        self.counts: Counter[str] = Counter(kills=0, freezes=0, freezes_beyond_session=0, terms=0)
        self.wrong: list[str] = []
        self.stop_seconds: list[float] = []
        self._groups = groups
        self._chance = chance
        self._lock = threading.Lock()

    def run(self, kills: int, deadline: float) -> None:
        """Do it, and return when every replica has been started again."""
        cards, threads = deal(kills, self._chance), []
        while cards and time.monotonic() < deadline:
            victim = self._victim()
            if victim is not None:
                kind = cards.pop()
                victim.busy = True
                threads.append(threading.Thread(target=self._act, args=(victim, kind, self._plan(kind))))
                threads[-1].start()
            self._pause(self._moment())
        for thread in threads:
            thread.join()

    def _victim(self) -> Replica | None:
        """Return a replica that decides events, sometimes one that is still starting; None for neither.

        So the faults are no faster than the machine: a group whose members never get ready shows nothing.
        """
        group = self._chance.choice(self._groups)
        idle = [replica for replica in group.replicas if not replica.busy]
        victim = self._chance.choice(idle) if idle else None
        if victim is None or self._chance.random() < STARTING_SHARE or victim.commits():
            return victim
        return None

    def _moment(self) -> float:
        """Return how long to wait for the next fault: several often come at once."""
        chance = self._chance
        return chance.uniform(0.2, 1.6) if chance.random() < 0.8 else chance.uniform(2.0, 5.0)

    def _plan(self, kind: str) -> float:
        """Return how long the replica is away."""
        chance = self._chance
        if kind == "freeze":
            beyond = SESSION_SECONDS + 1, 2 * SESSION_SECONDS
            return chance.uniform(*(beyond if chance.random() < 0.8 else (1.0, 5.0)))
        return chance.uniform(0, 1) if chance.random() < 0.8 else chance.uniform(5, 9)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for group in self._groups:
                group.watch()
            time.sleep(min(0.2, max(0.0, until - time.monotonic())))

    def _act(self, replica: Replica, kind: str, away: float) -> None:
        try:
            if kind == "freeze":
                replica.send(signal.SIGSTOP)
                time.sleep(away)
                replica.send(signal.SIGCONT)
                with self._lock:
                    self.counts["freezes"] += 1
                    self.counts["freezes_beyond_session"] += away > SESSION_SECONDS
                return
            if kind == "kill":
                replica.kill()
            else:
                self._stop(replica)
            with self._lock:
                self.counts[f"{kind}s"] += 1
            time.sleep(away)
            replica.start()
        finally:
            replica.busy = False

    def _stop(self, replica: Replica) -> None:
        serving = replica.commits() > 0
        began = time.monotonic()
        code = replica.stop()
        with self._lock:
            self.stop_seconds.append(time.monotonic() - began)
            # before its first line of Python a process dies of SIGTERM, as every program does
            if code == HUNG or (serving and code != 0):
                self.wrong.append(f"SIGTERM of replica {replica.log_path}: exit code {code}")


class BrokerFaults:
    """One broker after another is killed or paused; the next one only when all replicas are in sync again.

    Parameters
    ----------
    cluster : Cluster
    chance : random.Random

    Attributes
    ----------
    counts : Counter
    wrong : list of str
    """

    def __init__(self, cluster: Cluster, chance: random.Random) -> None:
        self.counts: Counter[str] = Counter(broker_kills=0, broker_pauses=0)
        self.wrong: list[str] = []
        self._cluster = cluster
        self._chance = chance
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        """Begin; the first fault is a kill."""
        self._thread.start()

    def finish(self) -> None:
        """Begin no more, and return when all brokers are in sync."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        wait, kill = FIRST_BROKER_SECONDS, True
        try:
            while not self._over.wait(wait):
                began = time.monotonic()
                away = self._chance.uniform(0, 6)
                if kill:
                    kill_broker(self._cluster, self._chance.randint(1, 3), away)
                    self.counts["broker_kills"] += 1
                else:
                    self._freeze(away)
                rest = BROKER_EVERY_SECONDS + self._chance.uniform(0, 8) - (time.monotonic() - began)
                wait, kill = max(1.0, rest), self._chance.random() < BROKER_KILL_SHARE
        except Exception as error:
            self.wrong.append(f"brokers: {error!r}")

    def _freeze(self, away: float) -> None:
        node = self._cluster.node(self._chance.randint(1, 3))
        node.pause()
        time.sleep(away)
        node.resume()
        self._cluster.wait_until_in_sync()
        self.counts["broker_pauses"] += 1


def kill_broker(cluster: Cluster, node_id: int, away: float) -> None:
    """Kill a broker, start it again after a while, and wait until every replica is in sync."""
    node = cluster.node(node_id)
    node.kill()
    time.sleep(away)
    node.start()
    cluster.wait_until_in_sync()
