"""``stream-al backlog`` as a person types it, alone and beside a running service."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stream_al.log.protocol import EVENTS, LABEL_REPLIES, LABEL_REQUESTS, TOPICS
from stream_al.outputs import is_backlog

from .conftest import Run, decide, reading, serving
from .test_commands import first_run
from .test_service import post, until


def backlog_requests() -> list[dict]:
    with reading() as log:
        values = [record.value for record in log.tail(LABEL_REQUESTS, 0, 0, 1_000)]
    return [json.loads(value) for value in values if is_backlog(value)]


def standing() -> list:
    """Return the bounds of every topic, and the committed positions and states."""
    with reading() as log:
        rows = log._connection.execute("SELECT * FROM progress").fetchall()
        return [*(log.bounds(topic, 0) for topic in TOPICS), rows]


def test_without_ask_nothing_is_written(run: Run, points: Path) -> None:
    first_run(run, points)
    before = standing()
    found = run("backlog", "--top", 5, "--json").json
    assert standing() == before
    assert len(found["picked"]) == 5
    assert (found["asked"], found["allowance"]) == (0, None)
    assert found["events"] == 300
    assert found["already_asked"] > 10
    assert all(each["label"] in ("left", "right") for each in found["picked"])
    shown = run("backlog", "--top", 5).out
    assert all(each["event_id"] in shown for each in found["picked"])
    assert "--ask" in shown
    assert standing() == before


def test_what_is_asked_is_answered_learned_exported_and_explained(run: Run, points: Path) -> None:
    first_run(run, points)
    before = standing()[-1]
    ran = run("backlog", "--top", 5, "--ask")
    assert "allowance: 5 labels, outside the stream's budget" in ran.out
    assert standing()[-1] == before
    asked = [request["event"]["event_id"] for request in backlog_requests()]
    assert len(asked) == 5
    with reading() as log:
        answered = log.bounds(LABEL_REPLIES, 0)[1]
    run("annotator", "--answers", points, "--label", "side", "--once", "--no-answer", 0)
    with reading() as log:
        assert log.bounds(LABEL_REPLIES, 0)[1] == answered + 5
    decide()
    rows = [json.loads(line) for line in run("labels", "export").out.splitlines()]
    ours = [row for row in rows if row["channel"] == "backlog"]
    assert [row["event_id"] for row in ours] == asked
    assert {row["propensity"] for row in ours} == {None}
    assert run("labels", "export", "--out", "rows.csv").code == 0
    assert run("replay", "--json").json["equal"]
    told = run("explain", asked[0], "--json").json
    assert (told["source"], told["asked"], told["in_backlog"]) == ("log", False, True)
    assert told["answers"][0]["label"] in ("left", "right")
    again = run("backlog", "--top", 5, "--ask", "--json").json
    assert not {each["event_id"] for each in again["picked"]} & set(asked)


def test_a_backlog_request_is_explained_when_all_else_is_gone(run: Run, points: Path) -> None:
    run("init", "--from", points, "--label", "side")
    run("produce", points, "--label", "side")
    picked = run("backlog", "--top", 3, "--ask", "--json").json["picked"]
    with reading() as log:
        log._lanes[EVENTS, 0].forget(300)
    told = run("explain", picked[0]["event_id"])
    assert told.code == 0
    assert "outside the stream's budget" in told.out


def test_a_new_task_on_old_data_asks_before_anything_is_learned(run: Run, points: Path) -> None:
    run("init", "--from", points, "--label", "side")
    run("produce", points, "--label", "side")
    found = run("backlog", "--top", 20, "--ask", "--json").json
    assert not found["fitted"]
    assert found["asked"] == found["allowance"] == 20
    assert {each["score"] for each in found["picked"]} == {1.0}
    assert "uniform sample" in run("backlog", "--top", 1).out


def test_it_says_when_there_are_no_more(run: Run, tmp_path: Path) -> None:
    (tmp_path / "few.csv").write_text("a,side\n1,left\n1,left\n2,right\n")
    run("init", "--from", "few.csv", "--label", "side")
    run("produce", "few.csv", "--label", "side")
    ran = run("backlog", "--top", 3)
    assert "2 of 2 candidates" in ran.out
    assert "no more" in ran.out


@pytest.mark.parametrize("top", [0, 10_001, "x"])
def test_an_impossible_number_is_refused(run: Run, points: Path, top: object) -> None:
    run("init", "--from", points, "--label", "side")
    run("produce", points, "--label", "side")
    assert run("backlog", "--top", top).code == 2


def test_a_running_service_goes_on_and_learns_the_answers(run: Run, tmp_path: Path) -> None:
    """The budget of the running service is what it was; its queue shows what was asked."""
    (tmp_path / "stream-al.toml").write_text('[task]\nlabels = ["left", "right"]\n[query]\nbudget = 0.1\n')
    with serving(tmp_path) as served:
        events = [
            {"event_id": f"e{i}", "features": {"a": (i * 37 % 101) / 10, "b": i % 7}} for i in range(200)
        ]
        post(served.http, "/v1/events", events)
        before = until(served.http, "events", 200)
        assert run("backlog", "--top", 7, "--ask", "--json").json["asked"] == 7
        mine = {request["request_id"] for request in backlog_requests()}
        shown = served.http.get("/v1/requests", params={"max": 1000}).json()["requests"]
        assert mine <= {request["request_id"] for request in shown}
        answers = [
            {"reply_id": each["request_id"], "ticket": each["ticket"], "label": "left", "annotator_id": "me"}
            for each in shown
            if each["request_id"] in mine
        ]
        post(served.http, "/v1/replies", answers)
        after = until(served.http, "learned", 7)
        assert (after["asked"], after["budget"]) == (before["asked"], before["budget"])
        assert after["estimate"] == before["estimate"]
    assert run("replay", "--json").json["equal"]
