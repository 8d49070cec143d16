"""``stream-al explain`` as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

from support.pages import codes, page, rows

from stream_al.log.protocol import EVENTS, LABEL_REQUESTS, PREDICTIONS

from .conftest import Run, decide, reading
from .test_commands import first_run


def recorded(topic: str) -> list[dict]:
    with reading() as log:
        return [json.loads(record.value) for record in log.tail(topic, 0, 0, 1_000)]


def test_explain_tells_an_asked_and_an_unasked_event(run: Run, points: Path) -> None:
    first_run(run, points)
    asked = recorded(LABEL_REQUESTS)[3]["event"]["event_id"]
    unasked = next(each for each in reversed(recorded(PREDICTIONS)) if not each["asked"])
    found = run("explain", asked, "--json").json
    assert (found["source"], found["equal"], found["asked"]) == ("log", True, True)
    assert found["answers"][0]["label"] in ("left", "right")
    assert found["sentence"].startswith("asked: ")
    other = run("explain", unasked["event_id"], "--json").json
    assert (other["asked"], other["channel"], other["request_id"]) == (False, None, None)
    assert other["score"] == round(other["score"] * 65_535) / 65_535
    assert abs(other["score"] - unasked["uncertainty"]) < 1e-6
    assert other["model_version"] == unasked["model_version"]
    assert other["query_coin"] >= other["chance"]
    table = run("explain", unasked["event_id"])
    assert table.code == 0
    for words in ("score u", "floor coin", "nearest asked", "decided again, equal", other["sentence"]):
        assert words in table.out


def test_every_field_stands_on_the_page(run: Run, points: Path) -> None:
    first_run(run, points)
    told = run("explain", "points-7", "--json").json
    assert {name for row in rows(page("docs/explain.md"), "field") for name in codes(row[0])} == told.keys()
    backlog = run("backlog", "--top", 1, "--json").json
    text = page("docs/backlog.md")
    assert [name for name in backlog if name not in ("top", "picked") and f"`{name}`" not in text] == []


def test_explain_says_what_is_gone(run: Run, points: Path) -> None:
    first_run(run, points)
    asked = recorded(LABEL_REQUESTS)[-1]["event"]["event_id"]
    with reading() as log:
        log._lanes[EVENTS, 0].forget(5)
        log._lanes[PREDICTIONS, 0].forget(5)
    found = run("explain", asked)
    assert found.code == 0
    for words in ("its ticket", "events before offset 5", "not recomputed", "rank, chance, tokens"):
        assert words in found.out
    assert run("explain", asked, "--json").json["source"] == "ticket"


def test_explain_says_loudly_when_the_record_is_another(run: Run, points: Path) -> None:
    first_run(run, points)
    event_id = recorded(PREDICTIONS)[250]["event_id"]
    changed = Path("stream-al.toml").read_text().replace("[query]", "[query]\nfloor_share = 0.5")
    Path("stream-al.toml").write_text(changed)
    ran = run("explain", event_id, "--json")
    assert ran.code == 1
    assert "DIFFERENT" in ran.err
    assert not ran.json["equal"]
    assert ran.json["difference"] is not None


def test_explain_of_an_unknown_id_is_an_error(run: Run, points: Path) -> None:
    run("init", "--from", points, "--label", "side")
    run("produce", points, "--label", "side")
    decide()
    ran = run("explain", "nobody", "--json")
    assert ran.code == 3
    assert "nobody" in ran.err
    assert "stream-al tail events" in ran.err
