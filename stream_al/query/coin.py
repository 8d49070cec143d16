"""Coins that everybody can toss again.

Randomness is a hash of the event's id, so a decision can be replayed, and no cut of the stream, no
replica and no restart changes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np

_SCALE = 2.0**-53


class Coin:
    """Uniform numbers in [0, 1) determined by a salt and an id: BLAKE2b(salt ‖ 0 ‖ id) / 2^64.

    Cut to 53 bits, so that rounding to a double never gives 1.

    Parameters
    ----------
    purpose : str
        What the coin decides; coins of different purpose are independent.
    seed : int
        Moves all coins of a run.

    Examples
    --------
    >>> coin = Coin("floor", seed=7)
    >>> coin("event-1") == coin("event-1"), 0.0 <= coin("event-1") < 1.0
    (True, True)
    """

    __slots__ = ("_start",)

    def __init__(self, purpose: str, seed: int) -> None:
        self._start = blake2b(f"{purpose}:{seed}".encode() + b"\0", digest_size=8)

    def __call__(self, identity: str) -> float:
        """Return the number for this id."""
        digest = self._start.copy()
        digest.update(identity.encode())
        return (int.from_bytes(digest.digest(), "big") >> 11) * _SCALE

    def many(self, identities: Iterable[str]) -> list[float]:
        """Return the numbers for several ids, each as if tossed alone."""
        start, digests = self._start.copy, []
        for identity in identities:
            digest = start()
            digest.update(identity.encode())
            digests.append(digest.digest())
        words = np.frombuffer(b"".join(digests), dtype=">u8")
        numbers: list[float] = ((words >> np.uint64(11)) * _SCALE).tolist()
        return numbers
