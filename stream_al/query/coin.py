"""Coins that everybody can toss again.

Randomness is a hash of the event's id, or of its place in the log where that is enough, so a decision
can be replayed, and no cut of the stream, no replica and no restart changes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SCALE = 2.0**-53
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: the step of SplitMix64."""


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
        words = np.frombuffer(b"".join(_digests(self._start, identities)), dtype=">u8")
        return _uniform(words).tolist()  # type: ignore[no-any-return]


class TwoCoins:
    """Two independent coins an id for the price of one digest: the halves of BLAKE2b-128(salt ‖ 0 ‖ id).

    Parameters
    ----------
    purpose : str
    seed : int
    """

    __slots__ = ("_start",)

    def __init__(self, purpose: str, seed: int) -> None:
        self._start = blake2b(f"{purpose}:{seed}".encode() + b"\0", digest_size=16)

    def __call__(self, identities: Iterable[str]) -> tuple[list[float], list[float]]:
        """Return the first and the second number of every id, in [0, 1)."""
        words = np.frombuffer(b"".join(_digests(self._start, identities)), dtype=">u8")
        numbers = _uniform(words)
        return numbers[::2].tolist(), numbers[1::2].tolist()


class PlaceCoin:
    """Uniform numbers in [0, 1) determined by where an event stands, a whole batch at a time.

    For what need not follow the event's id: SplitMix64 (Steele, Lea and Flood, 2014) seeded by
    BLAKE2b(salt ‖ 0 ‖ partition), the number of an offset being its offset-th output.

    Examples
    --------
    >>> coin = PlaceCoin("sample", seed=7)
    >>> bool((coin(0, [5, 6])[1] == coin(0, [6])[0])), bool(coin(1, [6])[0] == coin(0, [6])[0])
    (True, False)
    """

    def __init__(self, purpose: str, seed: int) -> None:
        self._start = blake2b(f"{purpose}:{seed}".encode() + b"\0", digest_size=8)

    def __call__(self, partition: int, offsets: Sequence[int]) -> NDArray[np.float64]:
        """Return the numbers (n,) of n offsets of a partition."""
        [digest] = _digests(self._start, [str(partition)])
        z = np.asarray(offsets, dtype=np.uint64) * _GAMMA + np.uint64(int.from_bytes(digest, "big"))
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return _uniform(z ^ (z >> np.uint64(31)))


def _digests(start: blake2b, identities: Iterable[str]) -> list[bytes]:
    """Return the digest of every id behind a common start."""
    copy, digests = start.copy, []
    for identity in identities:
        digest = copy()
        digest.update(identity.encode())
        digests.append(digest.digest())
    return digests


def _uniform(words: NDArray[np.unsignedinteger[Any]]) -> NDArray[np.float64]:
    """Return 64-bit words as numbers in [0, 1): their upper 53 bits."""
    numbers: NDArray[np.float64] = (words >> np.uint64(11)).astype(np.float64) * _SCALE
    return numbers
