"""Bases: they can only save time; one that does not fit is passed over."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from support.engines import make_learner
from support.messages import START_MS, TOPIC, gaussian_events, organic, sample, ticket, truth_of
from support.messages import reply as reply_to

from stream_al.checkpoint import identity, load_base, save_base
from stream_al.learner import Learner
from stream_al.log.memory import MemoryLog
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


def test_a_base_of_0_1_0_which_had_no_samples_is_passed_over_whole(tmp_path: Path, monkeypatch):
    learner = make_learner()
    vote = reply_to(learner.office.issue(ticket(overlap=2)), "a")
    learner.fold([Record(LABEL_REPLIES, 0, 0, ticket().asked_at, None, vote)])
    facts, arrays = learner.dump()
    assert facts["open"]
    del facts["recent_samples"]
    monkeypatch.setattr(learner, "dump", lambda: (facts, arrays))
    save_base(tmp_path, learner, "id")
    other = make_learner()
    before = other.fingerprint()
    assert load_base(tmp_path, other, "id") == 0
    assert other.fingerprint() == before


def test_the_last_samples_are_part_of_a_base(tmp_path: Path):
    learner = taught()
    values = [sample(f"s{i}", {"x0": float(i)}) for i in range(70)]
    learner.fold([Record(LABEL_REPLIES, 0, 20 + i, 2_000 + i, None, v) for i, v in enumerate(values)])
    assert [encoded.numbers["x0"] for encoded in learner.recent_samples] == [float(i) for i in range(6, 70)]
    save_base(tmp_path, learner, "id")
    again = make_learner()
    load_base(tmp_path, again, "id")
    assert again.recent_samples == learner.recent_samples
    assert again.fingerprint() == learner.fingerprint()
    again.recent_samples = again.recent_samples[1:]
    assert again.fingerprint() != learner.fingerprint()


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
    head, facts = (base / "facts.json").read_text(encoding="utf-8").splitlines()
    assert json.loads(head)["identity"] == "id"
    assert json.loads(facts)["position"] == 20
    assert replace(ticket(), offset=1) != ticket()


def replies(n: int, flip: bool = False) -> MemoryLog:
    log = MemoryLog(clock=lambda: START_MS)
    for event in list(gaussian_events(60))[:n]:
        label = truth_of(event)
        log.append(LABEL_REPLIES, None, organic(event, "abc"[("abc".index(label) + flip) % 3]))
    return log


def folded(log: MemoryLog, learner: Learner | None = None) -> Learner:
    learner = learner or make_learner()
    learner.fold(log.tail(LABEL_REPLIES, 0, learner.position, 1_000))
    return learner


def test_a_base_of_a_log_that_was_replaced_is_passed_over_and_swept(tmp_path: Path):
    """The same positions hold other replies: loading it would be a wrong model, silently."""
    save_base(tmp_path, folded(replies(40)), "id")
    other = replies(60, flip=True)
    assert load_base(tmp_path, make_learner(), "id", other) == 0
    assert load_base(tmp_path, make_learner(), "id", replies(60)) == 40
    save_base(tmp_path, folded(replies(20, flip=True)), "id")
    assert [base.name[-2:] for base in tmp_path.iterdir()] == ["20"]
    assert load_base(tmp_path, make_learner(), "id", other) == 20


def test_changed_facts_are_noticed_and_other_folders_left_alone(tmp_path: Path):
    base = save_base(tmp_path, taught(), "id")
    assert base is not None
    (tmp_path / "base-old").mkdir()
    facts = base / "facts.json"
    facts.write_text(facts.read_text().replace('"position": 20', '"position": 19'))
    learner = make_learner()
    assert load_base(tmp_path, learner, "id") == 0
    assert learner.position == 0


def test_a_base_under_another_identity_at_the_same_position_is_replaced(tmp_path: Path):
    save_base(tmp_path, taught(), "old")
    save_base(tmp_path, taught(), "new")
    assert load_base(tmp_path, make_learner(), "new") == 20
