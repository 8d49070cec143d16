"""A score is the user's own code: it may fail, and the stream goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.engines import (
    answer,
    feed,
    outputs,
    requests,
    settle,
    trained,
)
from support.messages import gaussian_events, reply

from stream_al.build import build_engine
from stream_al.decode import decode_event
from stream_al.encode import EncodedInput
from stream_al.engine import Engine
from stream_al.errors import ConfigurationError
from stream_al.log.memory import MemoryLog
from stream_al.metrics import make_registry
from stream_al.models.pool import Pool
from stream_al.query.ledger import Budget
from stream_al.query.policy import UNSCORED, Decision
from stream_al.query.score_context import Distances, ScoreContext
from stream_al.query.scores import SCORES, margin
from stream_al.query_scores import QueryScores, try_score
from stream_al.settings import Settings, make_settings
from stream_al_consumers.board import Board
from stream_al_consumers.scoring import Scoring
from stream_al_consumers.status import status

EVENTS = 400


def build(**query: Any) -> None:
    settings = make_settings({"task": {"labels": ["a", "b"]}, "query": query.pop("query", {}), **query})
    build_engine(settings, MemoryLog())


def raises(context: ScoreContext) -> Any:
    raise ZeroDivisionError("by design")


def half(context: ScoreContext) -> Any:
    """Score every other event; the rest is no number."""
    return np.where(np.arange(len(context.probabilities)) % 2, np.nan, 0.5)


FAILS_LATER = """
seen = []
def score(context):
    seen.append(context)
    assert len(seen) < 2, "fails behind the probe"
    return context.probabilities[:, 0] * 0
"""


# ---- at the start ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(SCORES))
def test_every_score_starts_with_the_default_model(name: str) -> None:
    build(query={"score": name})


@pytest.mark.parametrize("name", ["vote_entropy", "consensus_kl", "bald"])
def test_disagreement_needs_members(name: str) -> None:
    alone = "sklearn:sklearn.naive_bayes.GaussianNB"
    with pytest.raises(ConfigurationError, match=r"committee:10:"):
        build(query={"score": name}, model={"name": alone})
    build(query={"score": name}, model={"name": f"committee:3:{alone}"})


@pytest.mark.parametrize(
    ("score", "says"),
    [
        (raises, "ZeroDivisionError: by design"),
        (half, "expected numbers from 0 to 1"),
        (lambda context: margin(context)[:2], "expected one number a row"),
        (lambda context: context.probabilities, "expected one number a row"),
        (lambda context: 7.0 + margin(context), "expected numbers from 0 to 1"),
    ],
)
def test_a_score_that_shows_its_fault(score: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        try_score("mypkg.mod:score", score, lambda: Pool(2, 0))


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"score": "entropie"}, "did you mean 'entropy'"),
        ({"score": "hybrid:1.5"}, "expected hybrid:ALPHA"),
        ({"score": "hybrid:"}, "expected hybrid:ALPHA"),
        ({"score": "hybrid:much"}, "expected hybrid:ALPHA"),
        ({"score": "hybird"}, "did you mean 'hybrid'"),
        ({"cold_start": "covrage"}, "'none' or 'coverage'"),
        ({"policy": "splitt"}, "did you mean 'split'"),
        ({"policy": "nothing like it"}, "expected one of fixed_uncertainty, periodic"),
    ],
)
def test_an_unknown_name_gets_the_nearest(query: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        build(query=query)


@pytest.mark.parametrize(
    "name", ["committee:1:pool", "committee:10:", "committee:x:pool", "committee:3x0:pool"]
)
def test_a_committee_of_no_size(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"expected committee:N:NAME|there is no model"):
        build(model={"name": name})


# ---- later -------------------------------------------------------------------------------------------


def decided(score: Any, budget: Budget) -> tuple[QueryScores, list[Decision]]:
    """Let an engine that has learned something decide a stream by this score."""
    log, engine = trained(budget=budget, near_duplicates=False)
    engine.scores = QueryScores(score, 0)
    feed(log, gaussian_events(EVENTS, seed=5))
    found: list[Decision] = []
    for _ in range(20):
        found += [decision for _, _, decision in engine.tick().decided]
    assert len(found) == EVENTS
    return engine.scores, found


def test_where_a_score_fails_only_the_floor_asks() -> None:
    scores, found = decided(raises, Budget(0.2))
    assert (scores.failures, scores.error) == (EVENTS, "ZeroDivisionError: by design")
    assert {decision.probability for decision in found} == {0.0}
    asked = [decision for decision in found if decision.asked]
    assert asked
    assert all(decision.floor for decision in asked)


def fails_on_some(context: ScoreContext) -> Any:
    """Raise wherever a row of a batch has a first column above 3."""
    if (context.inputs.dense[: len(context.ids), 0] > 3.0).any():
        raise ValueError("a row that cannot be scored")
    return margin(context)


@pytest.mark.parametrize("texts", [False, True])
def test_an_event_that_cannot_be_scored_takes_no_other_with_it(texts: bool) -> None:
    """Batches are cut anywhere, so whoever shares one with a bad event must not notice."""
    _, engine = trained(budget=Budget(0.2))
    learner, events = engine.learner, gaussian_events(EVENTS, seed=5)
    bad = np.array([event["features"]["x0"] > 3.0 for event in events])
    assert 10 < bad.sum() < EVENTS / 2
    encoded = [
        EncodedInput(event["features"], (), {i % 50: 2, 50 + i % 7: 1} if texts else None)
        for i, event in enumerate(events)
    ]
    learner.columns.register(encoded[0])
    found = {}
    for cut in (1, 7, EVENTS):
        scores = QueryScores(fails_on_some, 0)
        said: list[int] = []
        for i in range(0, EVENTS, cut):
            ids = [event["event_id"] for event in events[i : i + cut]]
            said += scores.alone(learner, learner.score(encoded[i : i + cut]), ids)
        assert (scores.failures, scores.error) == (bad.sum(), "ValueError: a row that cannot be scored")
        found[cut] = said
    assert found[1] == found[7] == found[EVENTS]
    assert [u == UNSCORED for u in found[1]] == bad.tolist()
    assert len(set(found[1])) > 100


def test_an_event_alone_is_as_new_as_in_its_batch() -> None:
    _, engine = trained(budget=Budget(0.2))
    encoded = [EncodedInput(event["features"]) for event in gaussian_events(9, seed=6)]
    scored = engine.learner.score(encoded)
    asked = Distances(np.linspace(0.0, 2.0, len(scored.probabilities)), 1.0)
    context = ScoreContext(
        scored.probabilities, [f"e{i}" for i in range(9)], scored.inputs, asked=lambda: asked
    )
    for i in range(9):
        alone = context.alone(i)
        assert alone.novelty()[0] == context.novelty()[i]
        assert (alone.inputs.z[0] == context.inputs.z[i]).all()


def test_rows_that_are_no_number_are_not_chosen() -> None:
    scores, found = decided(half, Budget(0.2))
    assert scores.failures == EVENTS // 2
    assert not any(decision.probability for decision in found[1::2])
    assert any(decision.probability for decision in found[::2])
    assert all(decision.score >= 0 for decision in found)


def test_everything_is_asked_about_all_the_same_where_the_budget_says_so() -> None:
    _, found = decided(margin, Budget(1.0, credit=0.0))
    assert all(decision.asked for decision in found)


def answered(settings: Settings) -> tuple[MemoryLog, Engine]:
    """Return a log and an engine that has asked about all of eight events, with the answers."""
    log = MemoryLog()
    engine = build_engine(settings, log)
    feed(log, [{"event_id": f"e{i}", "features": {"x": float(i % 2)}} for i in range(8)])
    settle(engine)
    for number, request in enumerate(requests(log)):
        answer(log, [reply(request["ticket"], "ab"[number % 2])])
    return log, engine


def test_a_failure_is_in_the_status_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(FAILS_LATER)
    monkeypatch.syspath_prepend(tmp_path)
    settings = make_settings(
        {"task": {"labels": ["a", "b"]}, "query": {"score": "mine:score", "budget": 1.0}}
    )
    log, engine = answered(settings)
    feed(log, [{"event_id": f"f{i}", "features": {"x": float(i % 2)}} for i in range(8)])
    board = Board(engine, log)
    for _ in range(4):
        board.publish(engine.tick())
    found = status(board.look(), settings)
    assert found["query_score"] == {
        "name": "mine:score",
        "unscored_events": 8,
        "error": "AssertionError: fails behind the probe",
    }
    assert len(outputs(log)["predictions"]) == 16
    registry = make_registry(board.look)
    assert registry.get_sample_value("stream_al_unscored_events_total") == 8
    assert registry.get_sample_value("stream_al_min_labels_per_class") == found["model"]["min_per_class"] == 4


@pytest.mark.parametrize(("cold_start", "says"), [("none", False), ("coverage", True)])
def test_a_score_on_demand_follows_the_cold_start(cold_start: str, says: bool) -> None:
    settings = make_settings(
        {"task": {"labels": ["a", "b"]}, "query": {"budget": 1.0, "cold_start": cold_start}}
    )
    log, engine = answered(settings)
    settle(engine)
    scoring = Scoring(Board(engine, log), settings.encoding())
    event = decode_event(b'{"event_id": "new", "features": {"x": 1.0}}')
    (found,) = scoring.score([event])
    assert (found["uncertainty"] == 1.0) is says
