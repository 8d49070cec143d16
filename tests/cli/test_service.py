"""The service in a process of its own: every route, a stop, a kill, a restart."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from stream_al.metrics import FAMILIES
from stream_al_consumers.bodies import MAX_BODY_BYTES

from .conftest import Run, Served, serving

CONFIGURATION = """\
[task]
labels = ["left", "right"]
[query]
budget = 1.0
near_duplicates = false
[labels]
organic = true
[ticket_keys]
k1 = "00112233445566778899aabbccddeeff"
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One service for the tests that only talk to it; each uses event ids of its own."""
    directory = tmp_path_factory.mktemp("service")
    (directory / "stream-al.toml").write_text(CONFIGURATION)
    with serving(directory) as served:
        yield served


def event(event_id: str, value: float = 1.0) -> dict[str, Any]:
    return {"event_id": event_id, "features": {"a": value}}


def post(http: httpx.Client, path: str, body: Any, status: int = 202) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body)
    answer = http.post(path, content=content)
    assert answer.status_code == status, answer.text
    return answer.json()


def prediction(http: httpx.Client, event_id: str) -> dict[str, Any]:
    """Wait for the prediction of one event."""
    found = http.get("/v1/predictions", params={"event_id": event_id, "wait": 5}).json()["predictions"]
    assert len(found) == 1
    wanted: dict[str, Any] = found[0]["prediction"]
    return wanted


def request_of(http: httpx.Client, event_id: str) -> dict[str, Any]:
    found = http.get("/v1/requests", params={"max": 1000}).json()["requests"]
    wanted: dict[str, Any] = next(r for r in found if r["event"]["event_id"] == event_id)
    return wanted


def until(http: httpx.Client, wanted: str, count: int) -> dict[str, Any]:
    """Return the status once at least so many labels were learned, or so many events decided."""
    for _ in range(500):
        found: dict[str, Any] = http.get("/status").json()
        if (found["model"][wanted] if wanted in found["model"] else found[wanted]) >= count:
            return found
        time.sleep(0.01)
    raise AssertionError(found)


def test_an_event_is_predicted_within_a_second(service: Served) -> None:
    start = time.monotonic()
    assert post(service.http, "/v1/events", event("quick"))["appended"] == 1
    found = prediction(service.http, "quick")
    assert time.monotonic() - start < 1.0
    assert found["event_id"] == "quick"
    assert found["asked"] is True


def test_arrays_and_lines_of_events(service: Served) -> None:
    post(service.http, "/v1/events", [event("array-1"), event("array-2")])
    lines = "\n".join(json.dumps(event(f"line-{i}")) for i in range(3)).encode() + b"\n"
    assert len(post(service.http, "/v1/events", lines)["positions"]) == 3
    positions = [prediction(service.http, name)["event_id"] for name in ("array-1", "array-2", "line-2")]
    assert positions == ["array-1", "array-2", "line-2"]


def test_predictions_behind_an_offset(service: Served) -> None:
    post(service.http, "/v1/events", [event("page-1"), event("page-2"), event("page-3")])
    prediction(service.http, "page-3")
    everything = service.http.get("/v1/predictions").json()
    offsets = [found["offset"] for found in everything["predictions"]]
    assert offsets == sorted(offsets)
    assert everything["after"] == offsets[-1]
    page = service.http.get("/v1/predictions", params={"after": offsets[-3], "max": 1}).json()
    assert [found["prediction"]["event_id"] for found in page["predictions"]] == ["page-2"]
    start = time.monotonic()
    nothing = service.http.get("/v1/predictions", params={"after": offsets[-1], "wait": 0.2}).json()
    assert nothing == {"predictions": [], "after": offsets[-1]}
    assert time.monotonic() - start >= 0.19


@pytest.mark.parametrize(
    ("body", "code", "where"),
    [
        (b"", "not_json", ""),
        (b"[]", "invalid", ""),
        (b"nonsense", "not_json", ""),
        (b"3", "not_an_object", ""),
        (b'{"features": {"a": 1}}', "invalid", "event_id"),
        (b'[{"event_id": "good", "text": "x"}, {"event_id": "bad"}]', "invalid", "1"),
        (b'{"event_id": "bad", "features": {"a": [1]}}', "invalid", "features.a"),
    ],
)
def test_bad_events_are_told_and_nothing_is_appended(
    service: Served, body: bytes, code: str, where: str
) -> None:
    before = service.http.get("/status").json()["events"]
    error = post(service.http, "/v1/events", body, 422)["error"]
    assert (error["code"], error["where"]) == (code, where)
    assert "found" in error["message"] or "an event needs" in error["message"]
    post(service.http, "/v1/events", event(f"after-{hash(body)}"))
    prediction(service.http, f"after-{hash(body)}")
    assert service.http.get("/status").json()["events"] == before + 1


def test_bodies_are_bounded(service: Served) -> None:
    error = post(service.http, "/v1/events", b" " * (MAX_BODY_BYTES + 1), 413)["error"]
    assert error["code"] == "body_too_large"


def test_an_answer_is_learned_and_leaves_the_queue(service: Served) -> None:
    post(service.http, "/v1/events", event("asked"))
    prediction(service.http, "asked")
    request = request_of(service.http, "asked")
    before = service.http.get("/status").json()["model"]["learned"]
    reply = {"reply_id": "r1", "ticket": request["ticket"], "label": "left", "annotator_id": "me"}
    assert post(service.http, "/v1/replies", reply)["positions"][0]["partition"] == 0
    found = until(service.http, "learned", before + 1)
    assert found["replies"]["learned"] >= 1
    mine = service.http.get("/v1/requests", params={"max": 1000}).json()["requests"]
    assert request["request_id"] not in {r["request_id"] for r in mine}


def test_replies_are_checked_at_once(service: Served) -> None:
    post(service.http, "/v1/events", event("guarded"))
    prediction(service.http, "guarded")
    ticket = request_of(service.http, "guarded")["ticket"]
    good = {"reply_id": "r2", "ticket": ticket, "label": "left", "annotator_id": "me"}
    refused = {
        "forged": good | {"ticket": ticket[:-2] + ("AA" if ticket[-2:] != "AA" else "BB")},
        "foreign": good | {"ticket": "k9." + ticket.split(".", 1)[1]},
        "unknown_label": good | {"label": "up"},
        "invalid": {"kind": "control", "chosen_asks": False},
    }
    end = service.http.get("/status").json()["replies"]
    for code, reply in refused.items():
        assert post(service.http, "/v1/replies", reply, 422)["error"]["code"] == code
    sample = {"kind": "sample", "event_id": "x", "source": {"topic": "t", "partition": 0, "offset": 0}}
    post(service.http, "/v1/replies", sample | {"input": {}, "q": 0.5}, 422)
    assert post(service.http, "/v1/replies", [good, refused["forged"]], 422)["error"]["where"] == "1.ticket"
    assert service.http.get("/status").json()["replies"] == end


def test_an_organic_label_teaches(service: Served) -> None:
    before = service.http.get("/status").json()["model"]["learned"]
    reply = {"reply_id": "r3", "event": event("chargeback"), "label": "right", "annotator_id": "bank"}
    post(service.http, "/v1/replies", reply)
    assert until(service.http, "learned", before + 1)["replies"]["organic"] >= 1


def test_a_score_writes_nothing(service: Served) -> None:
    before = service.http.get("/status").json()["events"]
    found = post(service.http, "/v1/score", [event("a", 1.0), event("b", -1.0)], 200)["predictions"]
    assert [p["event_id"] for p in found] == ["a", "b"]
    assert abs(sum(found[0]["probabilities"].values()) - 1.0) < 1e-5
    assert 0.0 <= found[0]["uncertainty"] <= 1.0
    assert service.http.get("/status").json()["events"] == before
    error = post(service.http, "/v1/score", [event(str(i)) for i in range(501)], 422)["error"]
    assert "at most 500" in error["message"]


def test_asking_can_be_paused(service: Served) -> None:
    http = service.http
    for body in ({}, {"chosen": 1}, {"chosen": True, "floors": False}, [True]):
        post(http, "/v1/asking", body, 422)
    post(http, "/v1/asking", {"chosen": False, "floor": False})
    while http.get("/status").json()["asking"] != {"chosen": False, "floor": False}:
        pass
    post(http, "/v1/events", event("unasked"))
    assert prediction(http, "unasked")["asked"] is False
    post(http, "/v1/asking", {"chosen": True, "floor": True})
    while http.get("/status").json()["asking"] != {"chosen": True, "floor": True}:
        pass


def test_health(service: Served) -> None:
    assert service.http.get("/livez").json() == {"alive": True}
    assert service.http.get("/readyz").json() == {"ready": True, "problems": []}


def test_metrics_are_those_of_the_table(service: Served) -> None:
    post(service.http, "/v1/events", event("measured"))
    prediction(service.http, "measured")
    text = service.http.get("/metrics").text
    families = {family.name for family in text_string_to_metric_families(text)}
    assert families == {family.name.removesuffix("_total") for family in FAMILIES}
    assert 'stream_al_events_total{partition="0"}' in text


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/nowhere", 404, "not_found"),
        ("/v1/events", 405, "method_not_allowed"),
        ("/v1/predictions?after=x", 422, "invalid"),
        ("/v1/predictions?partition=7", 422, "invalid"),
        ("/v1/requests?max=0", 422, "invalid"),
    ],
)
def test_errors_are_json(service: Served, path: str, status: int, code: str) -> None:
    answer = service.http.get(path)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "where"}
    assert error["code"] == code


def test_fingerprint_on_request(service: Served) -> None:
    assert "fingerprint" not in service.http.get("/status").json()["model"]
    assert len(service.http.get("/status?fingerprint=1").json()["model"]["fingerprint"]) == 32


# ---- stops, kills and restarts ---------------------------------------------------------------------


def test_stop_and_restart_lose_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "stream-al.toml").write_text(CONFIGURATION)
    with serving(tmp_path) as served:
        for start in range(0, 200, 50):
            post(served.http, "/v1/events", [event(f"e{i}", i % 7) for i in range(start, start + 50)])
        prediction(served.http, "e199")
        requests = served.http.get("/v1/requests", params={"max": 30}).json()["requests"]
        answers = [
            {"reply_id": f"r{i}", "ticket": r["ticket"], "label": "left", "annotator_id": "me"}
            for i, r in enumerate(requests)
        ]
        post(served.http, "/v1/replies", answers)
        until(served.http, "learned", len(answers))
        before = served.http.get("/status?fingerprint=1").json()
        start_seconds = time.monotonic()
        assert served.stop() == 0
        assert time.monotonic() - start_seconds < 5.0
    assert list((tmp_path / "stream-al.db.bases").iterdir())
    with serving(tmp_path) as served:
        after = served.http.get("/status?fingerprint=1").json()
        for same in ("events", "asked", "budget", "model", "replies"):
            assert after[same] == before[same]
        assert served.stop(signal.SIGINT) == 0
    replayed = run("replay", "--json").json
    assert replayed["equal"]
    assert replayed["fingerprint"] == before["model"]["fingerprint"]
    assert replayed["base"]["position"] > 0


def test_a_kill_loses_nothing_and_doubles_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAM_AL__HTTP__PORT", "0")  # a service of one's own may hold the default one
    (tmp_path / "stream-al.toml").write_text(CONFIGURATION)
    for round_ in range(2):
        with serving(tmp_path) as served:
            post(served.http, "/v1/events", [event(f"{round_}-{i}", i) for i in range(300)])
            requests = served.http.get("/v1/requests", params={"max": 5}).json()["requests"]
            answers = [
                {"reply_id": f"{round_}-{i}", "ticket": r["ticket"], "label": "right", "annotator_id": "me"}
                for i, r in enumerate(requests)
            ]
            if answers:
                post(served.http, "/v1/replies", answers)
            served.process.kill()
            served.process.wait()
    with serving(tmp_path) as served:
        until(served.http, "events", 600)
        found = served.http.get("/v1/predictions", params={"max": 5000}).json()["predictions"]
        assert [p["prediction"]["event_id"] for p in found] == [
            f"{r}-{i}" for r in range(2) for i in range(300)
        ]
        assert served.stop() == 0
    assert run("replay", "--json").json["equal"]
    assert run("check", "--integrity").code == 0


def test_a_newcomer_needs_no_configuration(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        post(served.http, "/v1/events", event("first"))
        assert prediction(served.http, "first")["label"] is None
        ticket = request_of(served.http, "first")["ticket"]
        post(
            served.http,
            "/v1/replies",
            {"reply_id": "r", "ticket": ticket, "label": "anything", "annotator_id": "me"},
        )
        assert until(served.http, "learned", 1)["model"]["labels"] == ["anything"]
        assert served.stop() == 0
        assert served.process.stderr is not None
        assert "labels are open" in served.process.stderr.read()


def test_one_class_scores_as_the_engine_does(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        reply = {"reply_id": "r", "event": event("known"), "label": "only", "annotator_id": "bank"}
        post(served.http, "/v1/replies", reply)
        until(served.http, "learned", 1)
        post(served.http, "/v1/events", event("same"))
        decided = prediction(served.http, "same")
        scored = post(served.http, "/v1/score", event("same"), 200)["predictions"][0]
        assert scored["uncertainty"] == decided["uncertainty"] == 1.0


def test_a_base_that_cannot_be_written_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "stream-al.toml").write_text(
        CONFIGURATION + '[engine]\nbase_every = 1\nbase_directory = "bases"\n'
    )
    (tmp_path / "bases").touch()
    with serving(tmp_path) as served:
        for i in range(3):
            reply = {"reply_id": "r", "event": event(f"e{i}"), "label": "left", "annotator_id": "bank"}
            post(served.http, "/v1/replies", reply)
            until(served.http, "learned", i + 1)
        assert served.stop() == 0
        assert served.process.stderr is not None
        assert served.process.stderr.read().count("no base can be written to bases") == 1


def test_drafts_of_bases_are_swept(tmp_path: Path) -> None:
    draft = tmp_path / "stream-al.db.bases" / ".base-00000000000000000007.123"
    draft.mkdir(parents=True)
    (draft / "arrays.npz").touch()
    with serving(tmp_path) as served:
        assert not draft.exists()
        assert served.stop() == 0


def test_refused_columns_are_shown(tmp_path: Path) -> None:
    (tmp_path / "stream-al.toml").write_text(CONFIGURATION + "[model]\ncolumns = 1\n")
    with serving(tmp_path) as served:
        wide = {"event_id": "wide", "features": {"a": 1, "b": 2, "c": 3}}
        reply = {"reply_id": "r", "event": wide, "label": "left", "annotator_id": "bank"}
        post(served.http, "/v1/replies", reply)
        assert until(served.http, "learned", 1)["model"]["refused_columns"] == 2
        assert "stream_al_refused_columns 2.0" in served.http.get("/metrics").text


def test_a_wrong_topic_stops_the_service(tmp_path: Path) -> None:
    (tmp_path / "stream-al.toml").write_text(
        '[task]\nopen_labels = true\n[events.map]\nid = "id"\ntext = "x"\n'
    )
    with serving(tmp_path) as served:
        post(served.http, "/v1/events", [{"id": i, "x": 3} for i in range(1_000)])
        assert served.process.wait(timeout=10) == 5
        assert served.process.stderr is not None
        message = served.process.stderr.read()
    assert "hold no valid event" in message
    assert "Traceback" not in message
    with serving(tmp_path) as again:
        assert again.process.wait(timeout=10) == 5


def test_bad_events_turn_readiness_red(tmp_path: Path) -> None:
    (tmp_path / "stream-al.toml").write_text(
        '[task]\nopen_labels = true\n[events.map]\nid = "id"\ntext = "x"\n'
    )
    with serving(tmp_path) as served:
        post(served.http, "/v1/events", [{"id": "good", "x": "text"}])
        prediction(served.http, "good")
        post(served.http, "/v1/events", [{"id": i, "x": 3} for i in range(900)])
        until(served.http, "dead_letters", 900)
        ready = served.http.get("/readyz")
        assert ready.status_code == 503
        assert "were invalid" in ready.json()["problems"][0]
        assert served.http.get("/livez").status_code == 200
