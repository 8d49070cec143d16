"""Votes: what several answers add up to, and how long they are remembered."""

from __future__ import annotations

import pytest

from stream_al.votes import BallotBox, resolve


def test_one_vote_is_believed():
    assert resolve(["a"], 5) == ("a", 1.0) or resolve(["a"], 5).weight == 1.0


@pytest.mark.parametrize(("votes", "label"), [("aab", "a"), ("abbb", "b"), ("ab", None), ("aabbc", None)])
def test_the_majority_wins_and_ties_teach_nothing(votes, label):
    verdict = resolve(list(votes), 3)
    assert (verdict.label if verdict else None) == label


def test_the_weight_is_the_posterior_margin():
    odds = 0.8 * 2 / 0.2
    assert resolve(list("aab"), 3).weight == pytest.approx((odds**2 - odds) / (odds**2 + odds + 1))
    assert resolve(list("aaa"), 3).weight > resolve(list("aab"), 3).weight


def test_ballots_are_due_once_and_forgotten_when_nothing_can_reach_them():
    box = BallotBox(accepted_for_ms=100)
    box.ballot(b"one", 0).labels.append("a")
    box.await_more(b"one", 50)
    box.ballot(b"two", 10).closed = True
    assert box.due(49) == []
    assert box.due(50) == [b"one"]
    assert box.due(60) == []
    box.forget(100)
    assert len(box) == 2
    box.forget(105)
    assert len(box) == 1
    assert box.answered(b"two")
    box.forget(111)
    assert len(box) == 0


def test_a_box_survives_its_dump():
    box = BallotBox(100)
    box.ballot(b"one", 3).voters.append(2**64 - 1)
    box.await_more(b"one", 50)
    again = BallotBox(100)
    again.load(box.dump())
    assert again.dump() == box.dump()
    assert again.due(50) == [b"one"]
