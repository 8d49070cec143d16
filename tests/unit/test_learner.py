"""The learner: what becomes of every reply, and the same model from any part of the log."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from support.engines import make_learner
from support.messages import START_MS, gaussian_events, office, organic, reply, sample, ticket, truth_of

from stream_al.checkpoint import load_base, save_base
from stream_al.errors import InvalidMessage
from stream_al.learner import HOUR_MS, Learner
from stream_al.log.protocol import LABEL_REPLIES, Record
from stream_al.models.pool import Pool

DAY_MS = 24 * HOUR_MS


def records(values: list[bytes], *, at: list[int] | None = None, first: int = 0) -> list[Record]:
    """Return reply records, one second apart unless told."""
    times = at or [START_MS + 1_000 * (first + i) for i in range(len(values))]
    return [
        Record(LABEL_REPLIES, 0, first + i, when, None, value)
        for i, (value, when) in enumerate(zip(values, times, strict=True))
    ]


def answered(number: int = 0, label: str | None = "a", annotator: str = "ann", **changes: Any) -> bytes:
    """Return an answer to a made ticket."""
    status = changes.pop("status", "labelled")
    return reply(office().issue(ticket(number, **changes)), label, annotator, status=status)


def control(**fields: Any) -> bytes:
    return orjson.dumps({"schema_version": 1, "kind": "control", **fields})


def outcomes(learner: Learner) -> dict[str, int]:
    return {name: count for name, count in learner.outcomes.items() if count}


def folded(values: list[bytes], *, at: list[int] | None = None, **options: Any) -> Learner:
    learner = make_learner(**options)
    learner.fold(records(values, at=at))
    return learner


# ---- what becomes of a reply -----------------------------------------------------------------------


def test_an_answer_is_learned_once():
    learner = folded([answered(), answered(), answered(label="b")])
    assert outcomes(learner) == {"learned": 1, "duplicate": 2}
    assert learner.answers_by_class == learner.learned_by_class == [1, 0, 0]
    assert learner.model.counts.tolist() == [1.0, 0.0, 0.0]
    assert learner.model.fitted


def test_another_person_is_surplus_once_and_then_a_duplicate():
    learner = folded([answered(), answered(annotator="b"), answered(annotator="b")])
    assert outcomes(learner) == {"learned": 1, "surplus": 1, "duplicate": 1}


def test_skipped_and_unsure_teach_nothing_and_leave_the_request_open():
    values = [answered(label=None, status="skipped"), answered(label=None, annotator="b", status="unsure")]
    learner = folded([*values, answered(annotator="c")])
    assert outcomes(learner) == {"skipped": 1, "unsure": 1, "learned": 1}
    assert learner.partitions[0].answers == 1


def test_a_late_answer_is_learned_and_counted_an_expired_one_is_not():
    late, expired = START_MS + 2 * HOUR_MS, START_MS + 3 * DAY_MS
    hours = [START_MS + HOUR_MS * h for h in range(72)]
    values = [sample(f"s{h}", {"x": 1.0}) for h in range(72)]
    learner = make_learner(accepted_for_ms=2 * DAY_MS)
    learner.fold(records(values[:2], at=hours[:2]))
    learner.fold(records([answered(1)], at=[late], first=2))
    learner.fold(records(values[3:], at=hours[3:], first=3))
    learner.fold(records([answered(2)], at=[expired], first=72))
    assert outcomes(learner) == {"learned": 1, "late": 1, "expired": 1}


def test_k_votes_are_learned_once_with_the_margin_as_weight():
    vote = {"overlap": 3}
    values = [answered(0, label, who, **vote) for who, label in (("x", "a"), ("y", "b"), ("z", "a"))]
    learner = folded(values)
    assert outcomes(learner) == {"vote": 2, "learned": 1}
    assert learner.learned_by_class == [1, 0, 0]
    assert 0.0 < learner.model.counts[0] < 1.0  # type: ignore[attr-defined]  # the centroid's weight


def test_equal_votes_teach_nothing():
    learner = folded([answered(0, "a", "x", overlap=2), answered(0, "b", "y", overlap=2)])
    assert outcomes(learner) == {"vote": 1, "tied": 1}
    assert not learner.model.fitted


def test_too_few_votes_are_resolved_when_log_time_passes_resolve_by():
    first = answered(0, "a", "x", overlap=2, resolve_by=START_MS + 5_000)
    learner = folded([first, sample("s", {"x": 1.0})], at=[START_MS, START_MS + 4_999])
    assert outcomes(learner) == {"vote": 1}
    learner.fold(records([sample("s2", {"x": 2.0})], at=[START_MS + 5_000], first=2))
    assert outcomes(learner) == {"vote": 1, "learned": 1}
    learner.fold(records([answered(0, "a", "y", overlap=2)], at=[START_MS + 6_000], first=3))
    assert outcomes(learner) == {"vote": 1, "learned": 1, "surplus": 1}


def test_organic_labels_teach_within_their_cap_and_stay_out_of_estimates():
    events = gaussian_events(4, seed=1)
    values = [organic(event, "a") for event in events[:3]] + [organic(events[0], "a")]
    learner = folded(values, organic_cap=2)
    assert outcomes(learner) == {"organic": 2, "organic_capped": 1, "duplicate": 1}
    assert learner.learned_by_class == [2, 0, 0]
    assert learner.answers_by_class == [0, 0, 0]
    assert learner.book.window(learner.now + DAY_MS) == []


def test_organic_labels_can_be_refused():
    rejected = []
    learner = make_learner(organic=False)
    values = [organic(gaussian_events(1)[0], "a")]
    learner.fold(records(values), lambda record, error: rejected.append(error.code))
    assert rejected == ["organic_refused"]
    assert outcomes(learner) == {"organic_refused": 1}


BAD = {
    "not_utf8": b"\xff",
    "not_json": b"{",
    "invalid": b'{"kind": "reply", "reply_id": "r", "annotator_id": "a"}',
    "unknown_label": answered(7, "zebra"),
    "foreign": reply(office(k9="sixteen bytes or more").issue(ticket()), "a"),
    "forged": reply(office().issue(ticket()).replace("eyJ", "eyK", 1), "a"),
    "malformed": reply("0123456789abcdefgh", "a"),
}


@pytest.mark.parametrize("code", sorted(BAD))
def test_a_bad_reply_is_counted_rejected_and_moves_the_position(code):
    rejected: list[tuple[int, str]] = []
    learner = make_learner()

    def reject(record: Record, error: InvalidMessage) -> None:
        rejected.append((record.offset, error.code))

    learner.fold(records([answered(1), BAD[code], answered(2)]), reject)
    assert rejected == [(1, code)]
    assert learner.position == 3
    assert sum(learner.outcomes.values()) == 3
    assert learner.outcomes["learned"] == 2


def test_an_unknown_label_may_be_corrected():
    assert outcomes(folded([answered(0, "zebra"), answered(0, "b")])) == {"unknown_label": 1, "learned": 1}


def test_open_labels_are_appended_in_the_order_of_the_log():
    learner = folded([answered(i, name) for i, name in enumerate("zyxz")], labels=(), open_labels=True)
    assert learner.labels == ["z", "y", "x"]
    assert learner.learned_by_class == [2, 1, 1]
    assert learner.model.classes == 3


# ---- operators, time, staleness --------------------------------------------------------------------


def test_controls_add_labels_and_pause_asking():
    learner = folded([control(add_labels=["d"]), control(chosen_asks=False)])
    assert learner.labels[-1] == "d"
    assert (learner.feedback(0).chosen_asks, learner.feedback(0).floor_asks) == (False, True)
    learner.fold(records([control(chosen_asks=True, floor_asks=False)], first=2))
    assert (learner.feedback(0).chosen_asks, learner.feedback(0).floor_asks) == (True, False)


def test_one_clock_ten_years_ahead_moves_log_time_by_an_hour_at_most():
    values = [sample(f"s{i}", {"x": 1.0}) for i in range(3)]
    learner = folded(values, at=[START_MS, START_MS + 3_650 * DAY_MS, START_MS + 10])
    assert learner.now == START_MS + HOUR_MS


def test_feedback_counts_answered_requests_and_their_delay():
    values = [answered(0), answered(0, annotator="b"), answered(1, label=None, status="skipped")]
    learner = folded(values, at=[START_MS + 100, START_MS + 200, START_MS + 300])
    feedback = learner.feedback(0)
    assert feedback.answers == 2
    assert feedback.delay_ms == pytest.approx(100 + 0.05 * 200)
    assert learner.feedback(1) == (0, None, False, True, True)


def test_a_class_is_rare_by_the_counts_of_asked_answers():
    values = [answered(i, "a" if i % 2 else "b") for i in range(80)]
    assert folded(values[:6]).rare_class() is None
    assert folded(values).rare_class() == 2
    assert make_learner(positive="b").rare_class() == 1


def test_the_rarest_class_is_the_one_that_was_never_seen():
    values = [answered(i, "a") for i in range(5)]
    few, many = (folded(values[:n], labels=(), open_labels=True) for n in (4, 5))
    assert (few.seeks_rare(), many.seeks_rare()) == (False, True)
    assert many.rare_class() is None
    named = folded(values[:1], labels=(), open_labels=True, positive="b")
    assert (named.seeks_rare(), named.rare_class()) == (True, None)


def test_answers_of_a_class_that_has_few_may_count_for_more():
    """A ticket's own weight is kept, and the factor is that of the labels learned so far, from whomever."""
    event = gaussian_events(1, seed=0)[0]
    values = [answered(0), organic(event, "a"), answered(1, weight=2.0), answered(2, "b"), answered(3)]
    assert folded(values).model.counts.tolist() == [5.0, 1.0, 0.0]
    assert folded(values, class_weight="balanced").model.counts.tolist() == [4 + 5 / 8, 2.0, 0.0]


def test_scores_are_uniform_until_something_is_learned():
    from stream_al.encode import EncodedInput

    scored = make_learner().score([EncodedInput({"x": 1.0})])
    assert not scored.fitted
    assert scored.probabilities[0].tolist() == [1 / 3] * 3


def test_labels_do_not_move_the_scale():
    """The scaler learns from samples alone: labelled events are chosen, so they are biased."""
    with_samples = folded([sample(f"s{i}", {"x": float(i)}) for i in range(50)])
    before = {name: array.copy() for name, array in with_samples.scaler.dump().items()}
    taught = [answered(i, input={"numbers": {"x": 1e6}, "categories": []}) for i in range(50)]
    with_samples.fold(records(taught, first=50))
    after = with_samples.scaler.dump()
    assert all(np.array_equal(before[name], after[name]) for name in before)


# ---- one fold ---------------------------------------------------------------------------------------


def long_log() -> list[Record]:
    """Return samples, answers, votes, bad replies and organic labels of weeks, with repeats."""
    rng = np.random.default_rng(0)
    events = gaussian_events(260, seed=3)
    values, times, now = [], [], START_MS
    for i, event in enumerate(events):
        now += int(rng.integers(HOUR_MS))
        made = {"asked_at": now - 1_000, "resolve_by": now + 10 * HOUR_MS}
        encoded = {"input": {"numbers": event["features"], "categories": []}}
        kind = i % 6
        if kind in (0, 1):
            values.append(sample(event["event_id"], event["features"], 0.5))
        elif kind in (2, 3):
            values.append(answered(i, truth_of(event), **made, **encoded))
        elif kind == 4:
            values.append(answered(i, truth_of(event), overlap=2, **made, **encoded))
        else:
            again = events[int(rng.integers(5))] if i % 4 else event
            values.append(organic(again, truth_of(again)) if i % 12 else b"not json")
        times.append(now)
    return records(values, at=times)


@pytest.mark.parametrize("chunk", [1, 13, 256])
def test_the_fold_is_the_same_in_any_chunks(chunk):
    log, options = long_log(), {"accepted_for_ms": DAY_MS}
    whole, pieces = make_learner(**options), make_learner(**options)
    whole.fold(log)
    for start in range(0, len(log), chunk):
        pieces.fold(log[start : start + chunk])
    assert pieces.fingerprint() == whole.fingerprint()
    assert {"learned", "vote", "organic", "duplicate", "invalid"} <= set(outcomes(whole)) | {"invalid"}


@pytest.mark.parametrize("position", [1, 57, 130, 200, 259])
def test_replay_is_base_plus_tail_to_the_bit(position, tmp_path):
    log = long_log()
    whole = make_learner(Pool(3, 0))
    whole.fold(log[:position])
    saved = save_base(tmp_path, whole, "same")
    whole.fold(log[position:])
    assert saved is not None
    part = make_learner(Pool(3, 0))
    assert load_base(tmp_path, part, "same") == position
    part.fold(log[position:])
    assert part.fingerprint() == whole.fingerprint()
    assert part.outcomes == whole.outcomes
    fresh = make_learner(Pool(3, 0))
    fresh.fold(log)
    assert fresh.fingerprint() == whole.fingerprint()
