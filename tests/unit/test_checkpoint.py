"""Bases: they can only save time; one that does not fit is passed over."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from support.engines import make_learner
from support.messages import TOPIC, gaussian_events, organic, ticket, truth_of
from support.messages import reply as reply_to

from stream_al.checkpoint import identity, load_base, save_base
from stream_al.learner import Learner
from stream_al.log.protocol import LABEL_REPLIES, Record
from stream_al.ticket import TicketOffice


def taught(n: int = 20, learner: Learner | None = None) -> Learner:
    learner = learner or make_learner()
    values = [organic(event, truth_of(event)) for event in gaussian_events(n)]
    learner.fold([Record(LABEL_REPLIES, 0, i, 1_000 + i, None, v) for i, v in enumerate(values)])
    return learner


def test_a_base_gives_the_learner_back(tmp_path: Path):
    learner = taught()
    assert save_base(tmp_path, learner, "id") == save_base(tmp_path, learner, "id")
    again = make_learner()
    assert load_base(tmp_path, again, "id") == learner.position
    assert again.fingerprint() == learner.fingerprint()


def test_the_newest_that_fits_is_taken_and_two_are_kept(tmp_path: Path):
    for n in (5, 10, 15):
        save_base(tmp_path, taught(n), "id")
    assert [base.name[-2:] for base in sorted(tmp_path.iterdir())] == ["10", "15"]
    assert load_base(tmp_path, make_learner(), "id") == 15
    assert load_base(tmp_path, make_learner(), "id", not_after=14) == 10
    assert load_base(tmp_path, make_learner(), "another") == 0
    assert load_base(tmp_path / "nowhere", make_learner(), "id") == 0


def test_a_damaged_base_is_passed_over(tmp_path: Path):
    save_base(tmp_path, taught(5), "id")
    newest = save_base(tmp_path, taught(9), "id")
    assert newest is not None
    arrays = newest / "arrays.npz"
    arrays.write_bytes(arrays.read_bytes()[:-1] + b"?")
    assert load_base(tmp_path, make_learner(), "id") == 5
    (newest / "facts.json").write_text("{", encoding="utf-8")
    assert load_base(tmp_path, make_learner(), "id") == 5


def test_a_base_with_open_requests_under_a_retired_key_is_passed_over_whole(tmp_path: Path):
    keyed = TicketOffice(TOPIC, {"old": b"a secret of many bytes"})
    learner = make_learner(tickets=keyed)
    vote = reply_to(keyed.issue(ticket(overlap=2)), "a")
    learner.fold([Record(LABEL_REPLIES, 0, 0, ticket().asked_at, None, vote)])
    save_base(tmp_path, learner, "id")
    other = make_learner(tickets=TicketOffice(TOPIC, {"new": b"another secret, as long"}))
    before = other.fingerprint()
    assert load_base(tmp_path, other, "id") == 0
    assert other.fingerprint() == before


def test_identity_changes_with_whatever_the_fold_depends_on():
    plain = make_learner()
    names = {
        identity(plain, "pool", 0),
        identity(plain, "pool", 1),
        identity(plain, "linear", 0),
        identity(make_learner(organic=False), "pool", 0),
        identity(make_learner(tickets=TicketOffice("other")), "pool", 0),
    }
    assert len(names) == 5
    assert identity(make_learner(), "pool", 0) in names


def test_a_base_holds_no_pickles(tmp_path: Path):
    base = save_base(tmp_path, taught(), "id")
    assert base is not None
    assert {file.name for file in base.iterdir()} == {"facts.json", "arrays.npz"}
    facts = json.loads((base / "facts.json").read_text(encoding="utf-8"))["facts"]
    assert facts["position"] == 20
    assert replace(ticket(), offset=1) != ticket()
