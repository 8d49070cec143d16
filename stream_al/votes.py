"""Votes: which answers count, once each, and when several of them make a label.

Memory is bounded by time: a reply whose ticket is older than ``accepted_for`` is expired before it is
looked up here, so older entries can be forgotten.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

ANNOTATOR_ACCURACY = 0.8
"""Assumed accuracy of one annotator when votes are weighed; all are alike in version 1."""


@dataclass(slots=True)
class Ballot:
    """Votes on one request; ``learned`` where they have taught the model a label."""

    asked_at: int
    voters: list[int] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    closed: bool = False
    learned: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """The label that votes add up to; ``weight`` is the posterior margin over the second label, in [0, 1]."""

    label: str
    weight: float


def voter_hash(annotator_id: str) -> int:
    """Return the eight bytes under which an annotator is remembered."""
    return int.from_bytes(blake2b(annotator_id.encode(), digest_size=8).digest(), "big")


def resolve(labels: list[str], classes: int) -> Verdict | None:
    """Return the most probable label under equal annotators, None where two are equally probable.

    One vote is believed outright. With more, the posterior is proportional to
    ``(a / ((1 - a) / (k - 1)))`` to the power of a label's votes (Dawid and Skene, 1979, with one known
    coin for everybody).

    >>> resolve(["spam", "spam", "ham"], classes=2)
    Verdict(label='spam', weight=0.6)
    >>> resolve(["spam", "ham"], classes=2) is None
    True
    """
    if len(labels) == 1:
        return Verdict(labels[0], 1.0)
    k = max(classes, 2)
    odds = ANNOTATOR_ACCURACY * (k - 1) / (1.0 - ANNOTATOR_ACCURACY)
    counts: dict[str, int] = {}
    for label in labels:
        counts[label] = counts.get(label, 0) + 1
    powers = {label: odds**count for label, count in counts.items()}
    total = sum(powers.values()) + max(0, k - len(powers))
    first, *rest = sorted(powers.items(), key=lambda item: -item[1])
    second = rest[0][1] if rest else 1.0
    margin = (first[1] - second) / total
    return Verdict(first[0], round(margin, 12)) if margin > 0 else None


class BallotBox:
    """All requests that somebody has answered and that could still be answered.

    Parameters
    ----------
    accepted_for_ms : int
        Age of a request at which its ballot may be forgotten.
    """

    def __init__(self, accepted_for_ms: int) -> None:
        self.accepted_for_ms = accepted_for_ms
        self._ballots: OrderedDict[bytes, Ballot] = OrderedDict()
        self._due: list[tuple[int, bytes]] = []

    def __len__(self) -> int:
        return len(self._ballots)

    def ballot(self, request: bytes, asked_at: int) -> Ballot:
        """Return the ballot of a request, opened at its first vote."""
        found = self._ballots.get(request)
        if found is None:
            found = self._ballots[request] = Ballot(asked_at)
        return found

    def answered(self, request: bytes) -> bool:
        """Return whether a request needs no more answers."""
        found = self._ballots.get(request)
        return found is not None and found.closed

    def learned(self, request: bytes) -> bool:
        """Return whether a request has taught the model its label."""
        found = self._ballots.get(request)
        return found is not None and found.learned

    def await_more(self, request: bytes, resolve_by: int) -> None:
        """Note that this request must be resolved at a log time with the votes it has by then."""
        heapq.heappush(self._due, (resolve_by, request))

    def due(self, now: int) -> list[bytes]:
        """Return requests whose time has come and whose ballots are still open, earliest first."""
        found = []
        while self._due and self._due[0][0] <= now:
            request = heapq.heappop(self._due)[1]
            ballot = self._ballots.get(request)
            if ballot is not None and not ballot.closed:
                found.append(request)
        return found

    def forget(self, now: int) -> None:
        """Drop ballots that no acceptable reply can reach any more."""
        while self._ballots:
            request, ballot = next(iter(self._ballots.items()))
            if now - ballot.asked_at <= self.accepted_for_ms:
                return
            del self._ballots[request]

    def dump(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return {
            "ballots": [
                [request.hex(), b.asked_at, b.voters, b.labels, b.closed, b.learned]
                for request, b in self._ballots.items()
            ],
            "due": [[due, request.hex()] for due, request in sorted(self._due)],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`dump` returned."""
        for request, *ballot in state["ballots"]:
            self._ballots[bytes.fromhex(request)] = Ballot(*ballot)
        self._due = [(at, bytes.fromhex(request)) for at, request in state["due"]]
        heapq.heapify(self._due)
