"""The window of answers: the same estimates from any part of the log, and nothing that may not be shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from prometheus_client import generate_latest
from support.engines import make_learner
from support.messages import START_MS, office, reply, ticket

from stream_al.answers import KEPT, WINDOW, Accuracy, AnswerBook
from stream_al.learner import Learner
from stream_al.log.protocol import LABEL_REPLIES, Record
from stream_al.metrics import make_registry
from stream_al.monitor.confidence import confidence_kept
from stream_al.monitor.estimate import NOTHING
from stream_al.monitor.ratios import positive_ratios
from stream_al.settings import make_settings
from stream_al.snapshot import Snapshot
from stream_al.ticket import Ticket, Totals
from stream_al_consumers.status import status

LATER = START_MS + 10**7
SETTINGS = make_settings({"task": {"labels": ["a", "b", "c"], "positive": "a"}})


def answers(n: int, *, classes: str = "abc", blocked: int = 0, seed: int = 0) -> list[tuple[Ticket, str]]:
    """Return tickets of all channels and what people said to them."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(n):
        channel = str(rng.choice(["floor", "chosen", "batch"], p=[0.2, 0.7, 0.1]))
        changes: dict[str, Any] = {
            "channel": channel,
            "propensity": {"floor": 0.05, "chosen": float(rng.uniform(0.05, 1)), "batch": 1.0}[channel],
            "served": None if i < 5 else str(rng.choice(list(classes))),
            "confidence": 0.0 if i < 5 else float(rng.uniform(0.4, 1)),
            "asked_at": START_MS + 1_000 * i,
            "totals": Totals(i + 1, 3.0 * (i + 1), blocked * i),
        }
        label = (
            changes["served"] if changes["served"] and rng.random() < 0.7 else str(rng.choice(list(classes)))
        )
        made.append((ticket(i, **changes), label))
    return made


def book(made: list[tuple[Ticket, str]], positive: str | None = "a") -> AnswerBook:
    filled = AnswerBook(positive)
    for one, label in made:
        filled.enter(one, label, 1_000)
    return filled


def snapshot(accuracy: Accuracy) -> Snapshot:
    return Snapshot(phase="running", problems=(), accuracy=accuracy)


def shown(accuracy: Accuracy) -> dict[str, Any]:
    found: dict[str, Any] = status(snapshot(accuracy), SETTINGS)["estimate"]
    return found


def exported(accuracy: Accuracy) -> set[str]:
    """Return the series that stand in the metrics."""
    text = generate_latest(make_registry(lambda: snapshot(accuracy))).decode()
    return {line.split()[0] for line in text.splitlines() if not line.startswith("#")}


def test_the_window_is_that_of_the_accuracy_and_leaves_out_what_has_no_weight():
    made = answers(800)
    found = book(made).accuracy(LATER)
    weighing = [(one, label) for one, label in made if one.channel != "batch"][-WINDOW:]
    weights = np.array([1 / one.propensity for one, _ in weighing if one.propensity])
    positive = np.array([label == "a" for _, label in weighing])
    served = np.array([one.served == "a" for one, _ in weighing])
    right = np.array([one.served == label for one, label in weighing])
    assert found.positive == positive_ratios(positive, served, weights)
    confidence = np.array([one.confidence for one, _ in weighing])
    assert found.confidence == confidence_kept(confidence, right, weights)
    assert found.confidence.cbpe - found.confidence.gap == pytest.approx(found.hajek.value)


def test_without_a_positive_class_there_are_no_ratios():
    made = answers(300)
    found = book(made, None).accuracy(LATER)
    assert found.positive is None
    assert found.confidence == book(made).accuracy(LATER).confidence
    assert shown(found)["positive"] is None
    assert "stream_al_brier_score" in exported(found)
    assert not any("precision" in name for name in exported(found))


def test_a_class_that_nobody_named_yet_has_no_numbers():
    found = book(answers(300, classes="bc")).accuracy(LATER)
    assert found.positive is not None
    assert found.positive.precision is found.positive.recall is NOTHING
    assert found.positive.false_positive.value == 0.0
    told = shown(found)["positive"]
    nothing = {"shown": False, "answered": 0, "n_effective": 0.0, "reason": "not enough answers yet"}
    assert told["precision"] == told["recall"] == nothing
    assert told["false_positive"]["shown"]
    assert not any("precision" in name or "recall" in name for name in exported(found))
    assert "stream_al_estimated_false_positive_upper_ratio" in exported(found)


def test_few_answers_of_a_class_show_how_far_the_ratio_may_be():
    found = book(answers(60)).accuracy(LATER)
    assert found.positive is not None
    assert not found.positive.recall.shown
    told = shown(found)["positive"]["recall"]
    assert told["reason"] == "not enough answers yet"
    assert told["upper"] - told["lower"] > 0.3
    assert "value" not in told


def test_nothing_is_shown_over_a_window_in_which_the_floor_could_not_ask():
    whole, blocked = (book(answers(600, blocked=each)).accuracy(LATER) for each in (0, 1))
    assert blocked.positive == whole.positive
    told = shown(blocked)
    assert not any(ratio.keys() & {"value", "lower"} for ratio in told["positive"].values() if ratio != "a")
    assert told["calibration"] == {"shown": False, "reason": told["reason"]}
    assert "random ask" in told["reason"]
    gone = exported(whole) - exported(blocked)
    assert {name for name in gone if "estimated" in name or "cbpe" in name or "calibration" in name} == {
        f"stream_al_{name}{end}_ratio"
        for name in (
            *(f"estimated_{ratio}" for ratio in ("accuracy", "precision", "recall", "false_positive")),
            "cbpe_gap",
        )
        for end in ("", "_lower", "_upper")
    } | {"stream_al_cbpe_accuracy_ratio", "stream_al_calibration_error_ratio"}


def test_status_shows_what_the_answers_say():
    found = book(answers(800)).accuracy(LATER)
    told = shown(found)
    assert found.positive is not None
    assert told["positive"]["label"] == "a"
    assert told["positive"]["precision"]["value"] == round(found.positive.precision.value, 4)
    assert told["calibration"]["cbpe"] == pytest.approx(
        told["accuracy"] + told["calibration"]["gap"]["value"], abs=2e-4
    )
    orjson.dumps(told)


def test_the_book_stays_bounded_and_goes_on_from_what_was_dumped():
    made = answers(KEPT + 300)
    whole, first = book(made), book(made[:-100])
    rows = whole.dump()["book"]
    assert len(rows) == KEPT
    assert {len(row) for row in rows} == {12}
    second = AnswerBook("a")
    second.load(orjson.loads(orjson.dumps(first.dump())))
    for one, label in made[-100:]:
        second.enter(one, label, 1_000)
    assert second.accuracy(LATER) == whole.accuracy(LATER)


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_the_estimates_are_a_function_of_the_log(chunk: int):
    """However the log is cut, and with a dump and a load in the middle."""
    values = [reply(office().issue(one), label) for one, label in answers(300)]
    log = [Record(LABEL_REPLIES, 0, i, START_MS + 1_001 * i, None, value) for i, value in enumerate(values)]
    whole = make_learner(positive="a")
    whole.fold(log)
    cut = make_learner(positive="a")
    for start in range(0, 150, chunk):
        cut.fold(log[start : min(150, start + chunk)])
    facts, arrays = cut.dump() or pytest.fail("it has no dump")
    restored: Learner = make_learner(positive="a")
    restored.load(orjson.loads(orjson.dumps(facts)), arrays)
    for start in range(150, 300, chunk):
        restored.fold(log[start : start + chunk])
    assert restored.accuracy() == whole.accuracy()
    assert restored.fingerprint() == whole.fingerprint()
    assert whole.accuracy().positive is not None
    assert whole.accuracy().hajek.answered > 200
