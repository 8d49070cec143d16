"""Coins: uniform, independent by purpose and seed, the same for everybody."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from stream_al.query.coin import Coin


def test_a_coin_is_the_hash_of_salt_and_id():
    digest = blake2b(b"floor:7\0event-1", digest_size=8).digest()
    assert Coin("floor", 7)("event-1") == (int.from_bytes(digest, "big") >> 11) / 2**53


def test_many_are_tossed_as_one_by_one():
    coin, names = Coin("query", 1), [f"e{i}" for i in range(100)]
    assert coin.many(names) == [coin(name) for name in names]


def test_numbers_are_uniform_and_uncorrelated_across_purposes_and_seeds():
    names = [f"e{i}" for i in range(20_000)]
    tosses = np.array([Coin(purpose, seed).many(names) for purpose in ("floor", "query") for seed in (0, 1)])
    assert tosses.min() >= 0.0
    assert tosses.max() < 1.0
    for row in tosses:
        share = np.histogram(row, bins=10, range=(0, 1))[0] / len(names)
        assert np.abs(share - 0.1).max() < 0.01
    assert np.abs(np.corrcoef(tosses) - np.eye(4)).max() < 0.03
