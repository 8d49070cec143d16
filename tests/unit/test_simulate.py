"""Simulation: every event is predicted before its label, and people are exactly as late as they are."""

from __future__ import annotations

import numpy as np
import orjson
import pytest
from support.tables import gaussian_table, people, settings

from stream_al.annotators import Delay
from stream_al.errors import DataError
from stream_al.query.ledger import TOKEN
from stream_al.query.score_context import ScoreContext
from stream_al.query.scores import F64, SCORES, margin
from stream_al.simulate import Plan, Run, Simulation
from stream_al.table import assemble, coded
from stream_al.virtual_time import due_row, due_rows


def run(delay: str = "lognormal:20,1", *, plan: Plan | None = None) -> tuple[Run, list[dict]]:
    """Return a run over 800 rows and its decisions."""
    lines: list[bytes] = []
    result = Simulation(gaussian_table(), settings(), people(delay), plan)(trace=lines.append)
    return result, [orjson.loads(line) for line in lines]


def test_accuracy_is_over_every_event_and_recomputes_from_the_decisions():
    result, decisions = run()
    table = gaussian_table()
    assert result.confusion.total == result.events == len(decisions) == table.n
    assert [d["event_id"] for d in decisions] == [f"made-{i}" for i in range(table.n)]
    assert result.confusion.accuracy == pytest.approx(result.correct.mean())
    assert result.asked == sum(d["asked"] for d in decisions) > 60
    assert result.correct[-200:].mean() > 0.6


def test_the_budget_holds_at_every_prefix_of_the_decisions():
    result, decisions = run()
    budget = settings().budget()
    spent = np.cumsum([d["asked"] for d in decisions])
    promised = (budget.income * np.arange(1, 801) + budget.limit // 2 + budget.credit_units) / TOKEN
    assert (spent <= promised).all()
    assert result.worst_excess == pytest.approx((spent - promised).max())


def test_two_runs_are_one():
    (one, first), (two, second) = run(), run()
    assert first == second
    assert one.fingerprint == two.fingerprint


@pytest.mark.parametrize("delay", ["none", "fixed:1", "fixed:40"])
def test_the_model_position_moves_exactly_when_an_answer_is_due(delay):
    """An answer about row i with delay d is known to the model at row i + d (samples move it as well)."""
    _, decisions = run(delay)
    wait = max(1, int(delay.partition(":")[2] or 0))
    answers = people(delay)
    table = gaussian_table()
    taught = {
        i + wait
        for i, decision in enumerate(decisions)
        if decision["asked"] and answers.answer(f"made-{i}", table.label(i), ["x"]) is not None
    }
    moved = {i for i in range(300, 800) if decisions[i]["v"] > decisions[i - 1]["v"]}
    assert {i for i in taught if 300 <= i < 800} <= moved


def test_initial_rows_teach_and_are_not_scored():
    result, decisions = run(plan=Plan(initial=100, holdout=0.25))
    assert (result.events, len(decisions)) == (500, 500)
    assert decisions[0]["event_id"] == "made-100"
    assert decisions[0]["u"] < 65_535
    assert result.holdout[0][0] == 100
    assert result.holdout[-1][1] > 0.6


def test_a_coarse_tick_moves_the_model_less_often():
    _, fine = run("none")
    _, coarse = run("none", plan=Plan(tick=200))
    assert len({d["v"] for d in coarse}) == 4 < len({d["v"] for d in fine})


def test_a_row_that_makes_no_event_is_named():
    table = assemble("t", {}, coded(["a", "b", "a"]), texts=["short", "y" * 300_000, "short"])
    with pytest.raises(DataError, match="data row 2 makes no valid event"):
        Simulation(table, settings(), people())()


def test_too_many_rows_taken_away_are_refused():
    with pytest.raises(DataError, match="leave none to score"):
        Simulation(gaussian_table(10), settings(), people(), Plan(initial=5, holdout=0.5))


def test_an_absurd_delay_is_never_and_no_overflow():
    table = gaussian_table(20)
    never = people("fixed:100000000000000000000000000000")
    times = np.arange(20, dtype=np.int64)
    assert (due_rows(never, table, times, 1) >= 20).all()


@pytest.mark.parametrize(
    ("delay", "unit", "row"), [(0.0, "events", 4), (2.5, "events", 6), (2_000.0, "ms", 5)]
)
def test_an_answer_is_due_before_the_next_row_at_the_earliest(delay, unit, row):
    times = np.arange(20, dtype=np.int64) * 1_000
    assert due_row(times, 3, delay, unit) == row
    assert Delay(delay, unit=unit)("any") == delay


def no_number_at_seven(context: ScoreContext) -> F64:
    """Score an event by its margin, but not one whose number ends in 7."""
    u = margin(context)
    u[[i for i, event_id in enumerate(context.ids) if event_id.endswith("7")]] = np.nan
    return u


def test_an_event_that_the_score_fails_on_is_counted_once(monkeypatch):
    """Answers at once cut the batches: what is behind a cut is scored again."""
    monkeypatch.setitem(SCORES, "mine", no_number_at_seven)
    table, initial = gaussian_table(), 20
    atonce = people("none", no_answer=0.0, noise=0.0)
    found = Simulation(table, settings(score="mine"), atonce, Plan(initial=initial))()
    bad = [table.event(i)["event_id"].endswith("7") for i in range(initial, table.n)]
    assert found.unscored == sum(bad) > 50
