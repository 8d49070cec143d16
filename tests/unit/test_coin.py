"""Coins: uniform, independent by purpose and seed, the same for everybody."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from stream_al.query.coin import Coin, PlaceCoin, TwoCoins


def test_a_coin_is_the_hash_of_salt_and_id():
    digest = blake2b(b"floor:7\0event-1", digest_size=8).digest()
    assert Coin("floor", 7)("event-1") == (int.from_bytes(digest, "big") >> 11) / 2**53


def test_many_are_tossed_as_one_by_one():
    coin, names = Coin("query", 1), [f"e{i}" for i in range(100)]
    assert coin.many(names) == [coin(name) for name in names]


def test_two_coins_are_the_halves_of_one_digest():
    digest = blake2b(b"query:7\0event-1", digest_size=16).digest()
    halves = [(int.from_bytes(half, "big") >> 11) / 2**53 for half in (digest[:8], digest[8:])]
    assert TwoCoins("query", 7)(["event-0", "event-1"])[0][1] == halves[0]
    assert TwoCoins("query", 7)(["event-0", "event-1"])[1][1] == halves[1]


def test_a_coin_of_a_place_is_splitmix64():
    state, mask = int.from_bytes(blake2b(b"sample:7\x003", digest_size=8).digest(), "big"), 2**64 - 1
    z = (state + 11 * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    assert PlaceCoin("sample", 7)(3, [10, 11])[1] == ((z ^ (z >> 31)) >> 11) / 2**53


def test_numbers_are_uniform_and_uncorrelated_across_purposes_and_seeds():
    names = [f"e{i}" for i in range(20_000)]
    tosses = np.array(
        [
            *(Coin(purpose, seed).many(names) for purpose in ("floor", "query") for seed in (0, 1)),
            *TwoCoins("query", 0)(names),
            *(PlaceCoin("sample", 0)(partition, range(20_000)) for partition in (0, 1)),
            PlaceCoin("sample", 0)(0, range(20_000, 40_000)),
            PlaceCoin("sample", 1)(0, range(20_000)),
        ]
    )
    assert tosses.min() >= 0.0
    assert tosses.max() < 1.0
    for row in tosses:
        share = np.histogram(row, bins=10, range=(0, 1))[0] / len(names)
        assert np.abs(share - 0.1).max() < 0.01
    assert np.abs(np.corrcoef(tosses) - np.eye(10)).max() < 0.03
