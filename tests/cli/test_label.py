"""A person in the terminal: keys to answers, undo, and nothing lost."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest
from rich.console import Console

from stream_al.log.protocol import LABEL_REPLIES, LABEL_REQUESTS
from stream_al.log.sqlite import SqliteLog
from stream_al.ticket import TicketOffice
from stream_al_consumers.console import LabelConsole
from stream_al_consumers.labeling import Session
from stream_al_consumers.open_requests import OpenRequests

from .conftest import Run, decide, reading

DAY = 86_400


class ScriptedKeys:
    """Keys that were pressed beforehand; then the person leaves."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = iter(keys)

    def read(self, timeout_seconds: float) -> str | None:
        return next(self._keys, "q")


@pytest.fixture
def queue(run: Run, points: Path) -> Path:
    """A log with open requests."""
    run("init", "--from", points, "--label", "side")
    run("produce", points, "--label", "side")
    decide()
    return Path("stream-al.db")


def press(
    keys: Iterable[str], *, open_labels: bool = False, ttl_seconds: int = 7 * DAY
) -> tuple[Session, str]:
    """Answer with these keys; return the session and what was on the screen."""
    screen = StringIO()
    with closing(SqliteLog("stream-al.db")) as log:
        queue = OpenRequests(log, TicketOffice("stream-al.events"), ttl_seconds)
        session = Session(log, queue, "me", ("left", "right"), open_labels)
        console = Console(file=screen, width=100)
        LabelConsole(session, ScriptedKeys(keys), console).run()  # type: ignore[arg-type]  # as Keys
    return session, screen.getvalue()


def replies() -> list[dict[str, Any]]:
    with reading() as log:
        found = [json.loads(record.value) for record in log.tail(LABEL_REPLIES, 0, 0, 10_000)]
    return [reply for reply in found if reply["kind"] == "reply"]


def test_one_key_a_label(queue: Path) -> None:
    session, screen = press("12su")
    assert session.counts == {"labelled": 2, "skipped": 1, "unsure": 1}
    found = replies()
    assert [reply["status"] for reply in found] == ["labelled", "labelled", "skipped", "unsure"]
    labels = [reply["label"] for reply in found[:2]]
    assert set(labels) == {"left", "right"}
    assert len({reply["ticket"] for reply in found}) == 4
    assert all(reply["annotator_id"] == "me" and reply["started_at"] for reply in found)
    assert " 1  " in screen


def test_the_answers_are_learned(queue: Path, run: Run) -> None:
    press("1212")
    decide()
    assert len(run("labels", "export").out.splitlines()) == 4


def test_the_most_urgent_comes_first_and_none_twice(queue: Path) -> None:
    with closing(SqliteLog("stream-al.db")) as log:
        requests = OpenRequests(log, TicketOffice("stream-al.events"), DAY)
        requests.refresh()
        best = [json.loads(record.value) for record in requests.best(5)]
        before = len(requests)
        assert [r["priority"] for r in best] == sorted((r["priority"] for r in best), reverse=True)
    press("111")
    assert [reply["ticket"] for reply in replies()] == [r["ticket"] for r in best[:3]]
    with closing(SqliteLog("stream-al.db")) as log:
        requests = OpenRequests(log, TicketOffice("stream-al.events"), DAY)
        requests.refresh()
        assert len(requests) == before - 3


def test_undo_takes_the_last_answer_back(queue: Path) -> None:
    session, screen = press("1z2z2")
    found = replies()
    assert len(found) == 1
    assert session.counts["labelled"] == 1
    assert "taken back" in screen
    assert "nothing to undo" in press("z")[1]


def test_the_last_answer_is_held_until_the_next(queue: Path) -> None:
    with closing(SqliteLog("stream-al.db")) as log:
        requests = OpenRequests(log, TicketOffice("stream-al.events"), DAY)
        session = Session(log, requests, "me", ("left", "right"), False)
        assert session.advance()
        session.answer("left")
        assert session.advance()
        assert replies() == []
        session.answer("right")
        assert len(replies()) == 1
        session.flush()
    assert len(replies()) == 2


def test_labels_by_name(queue: Path) -> None:
    assert "none of the labels" in press([*"nup", "\n"])[1]
    assert replies() == []
    press([*"nupx", "\x7f", "\n"], open_labels=True)
    press([*"nright", "\n"])
    assert [reply["label"] for reply in replies()] == ["up", "right"]
    assert press([*"nup", "\x1b"])[0].counts["labelled"] == 0


def test_other_keys_do_nothing_but_say_so(queue: Path) -> None:
    session, screen = press("9?x\x1b")
    assert "no label has the key '9'" in screen
    assert "Press any key" in screen
    assert sum(session.counts.values()) == 0


def test_expired_requests_are_left_out(queue: Path) -> None:
    with closing(SqliteLog("stream-al.db")) as log:
        office = TicketOffice("stream-al.events")
        now = log.tail("label-requests", 0, 0, 1)[0].timestamp_ms
        later = OpenRequests(log, office, 30 * DAY, lambda: now + 8 * DAY * 1000)
        later.refresh()
        assert len(later) == 0


def test_a_forged_reply_closes_nothing(queue: Path) -> None:
    with closing(SqliteLog("stream-al.db")) as log:
        requests = OpenRequests(log, TicketOffice("stream-al.events"), DAY)
        requests.refresh()
        before = len(requests)
        ticket = json.loads(requests.best(1)[0].value)["ticket"]
        for value in (
            {"ticket": ticket[:-3] + "abc", "annotator_id": "me"},
            {"ticket": 3, "annotator_id": "me"},
            {"ticket": ticket, "annotator_id": [1]},
            ["reply"],
        ):
            log.append(LABEL_REPLIES, None, json.dumps(value).encode())
        log.append(LABEL_REPLIES, None, b"\xff")
        requests.refresh()
        assert len(requests) == before


def test_no_record_stops_the_queue(queue: Path) -> None:
    with closing(SqliteLog("stream-al.db")) as log:
        office = TicketOffice("stream-al.events")
        requests = OpenRequests(log, office, DAY, labels=("left", "right"))
        requests.refresh()
        before, best = len(requests), json.loads(requests.best(1)[0].value)
        body = json.loads(urlsafe_b64decode(best["ticket"].split(".")[1]))
        hostile = [_signed(office, body | {"request_id": bad}) for bad in ([], {}, 3, None, "no uuid")]
        hostile += [_signed(office, body | {"overlap": "2", "asked_at": []}), _signed(office, [])]
        for value in (b"", b"[]", b"null", b"\xff", b'{"request_id": []}', b"[" * 100_000):
            log.append(LABEL_REPLIES, None, value)
            log.append(LABEL_REQUESTS, None, value)
        for ticket in hostile:
            log.append(LABEL_REPLIES, None, _reply(ticket))
            log.append(LABEL_REQUESTS, None, json.dumps(best | {"ticket": ticket}).encode())
        for wrong in ({"request_id": []}, {"priority": "high"}, {"asked_at": 1e400}, {"event": 3}):
            log.append(LABEL_REQUESTS, None, json.dumps(best | wrong).encode())
        log.append(LABEL_REPLIES, None, _reply(best["ticket"], label="up"))
        future = _signed(office, body | {"asked_at": body["asked_at"] + DAY * 1000})
        log.append(LABEL_REPLIES, None, _reply(future))
        requests.refresh()
        assert len(requests) == before
        assert requests.skipped == 2 * (6 + len(hostile)) + 4 + 2
        log.append(LABEL_REPLIES, None, _reply(best["ticket"]))
        requests.refresh()
        assert len(requests) == before - 1


def test_what_the_fold_learns_closes_the_question(queue: Path) -> None:
    with closing(SqliteLog("stream-al.db")) as log:
        requests = OpenRequests(log, TicketOffice("stream-al.events"), DAY, labels=("left", "right"))
        requests.refresh()
        before = len(requests)
        first, second = (json.loads(record.value)["ticket"] for record in requests.best(2))
        log.append(LABEL_REPLIES, None, _reply(first)[:-1] + b', "seconds": 1e999}')
        log.append(LABEL_REPLIES, None, b'{"kind": "control", "add_labels": ["up"]}')
        log.append(LABEL_REPLIES, None, _reply(second, label="up"))
        requests.refresh()
        assert len(requests) == before - 2


def test_time_begins_when_the_request_was_written(queue: Path) -> None:
    """The log time of a slow stream may be days behind the clock."""
    with closing(SqliteLog("stream-al.db")) as log:
        office = TicketOffice("stream-al.events")
        best = json.loads(log.tail(LABEL_REQUESTS, 0, 0, 1)[0].value)
        body = json.loads(urlsafe_b64decode(best["ticket"].split(".")[1]))
        late = body["asked_at"] - 8 * DAY * 1000
        body |= {"asked_at": late, "request_id": str(uuid5(NAMESPACE_URL, "late"))}
        request = best | {k: body[k] for k in ("asked_at", "request_id")} | {"ticket": _signed(office, body)}
        requests = OpenRequests(log, office, 7 * DAY)
        requests.refresh()
        before = len(requests)
        log.append(LABEL_REQUESTS, None, json.dumps(request).encode())
        requests.refresh()
        assert len(requests) == before + 1


def _signed(office: TicketOffice, body: object) -> str:
    """Return a ticket of any contents, as somebody could make it who knows how."""
    text = urlsafe_b64encode(json.dumps(body).encode())
    return f"0.{text.decode()}.{office._mac('0', text)}"


def _reply(ticket: str, label: str = "left") -> bytes:
    return json.dumps({"reply_id": "r", "ticket": ticket, "label": label, "annotator_id": "me"}).encode()


def test_in_a_terminal(queue: Path) -> None:
    leader, follower = pty.openpty()
    command = [sys.executable, "-c", "from stream_al_consumers.cli import main; main()"]
    process = subprocess.Popen(
        [*command, "label", "--annotator-id", "me"],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"},
    )
    os.close(follower)
    screen = b""
    try:
        for key, awaited in (
            (b"1", b"open;"),
            (b"\x1b[A", b"held:"),
            (b"2", b"held:"),
            (b"q", b"2 labelled"),
        ):
            screen = _until(leader, awaited)
            os.write(leader, key)
        screen = _until(leader, b"0 unsure")
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
        os.close(leader)
    assert b"2 labelled" in screen
    assert len(replies()) == 2


def _until(leader: int, awaited: bytes) -> bytes:
    """Read the screen until it shows something."""
    screen = b""
    while awaited not in screen:
        assert select.select([leader], [], [], 20.0)[0], f"no {awaited!r} after {screen!r}"
        screen += os.read(leader, 4096)
    return screen
