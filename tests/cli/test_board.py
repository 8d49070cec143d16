"""The board between the loop and everybody else."""

from __future__ import annotations

from collections import Counter
from contextlib import closing

import pytest

from stream_al.build import build_engine
from stream_al.engine import Tick
from stream_al.errors import LogError, LogUnreachable
from stream_al.log.memory import MemoryLog
from stream_al.settings import load_settings
from stream_al_consumers import board as board_module
from stream_al_consumers import service
from stream_al_consumers.board import Board, Busy
from stream_al_consumers.service import Silence


def test_errands_are_refused_when_the_service_stops() -> None:
    with closing(MemoryLog()) as log:
        engine = build_engine(load_settings(None, {"task": {"labels": ["no", "yes"]}}), log)
        board = Board(engine, log)
        waiting = board.ask(lambda: "done too late")
        board.closing()
        with pytest.raises(Busy):
            waiting.result(timeout=0)
        with pytest.raises(Busy):
            board.ask(lambda: "never done")
        assert board.current.problems == ("stopping",)


class GroupLog(MemoryLog):
    """A log whose partitions a group shares; these two are ours."""

    def __init__(self) -> None:
        super().__init__(partitions=2)
        self.outcomes: Counter[str] = Counter(committed=3, fenced=1, failed=0)
        self.rebalances = 1
        self.behind: dict[int, tuple[int, float]] = {0: (5, 0.5), 1: (0, 0.0)}

    def lag(self) -> dict[int, tuple[int, float]]:
        return self.behind


def test_what_is_no_longer_assigned_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(GroupLog()) as log:
        engine = build_engine(
            load_settings(None, {"task": {"labels": ["no", "yes"]}, "log": {"partitions": 2}}), log
        )
        board = Board(engine, log)
        board.publish(engine.tick())
        assert set(board.current.partitions) == {0, 1}
        assert board.current.event_lag == {0: (5, 0.5), 1: (0, 0.0)}
        assert board.current.commit_outcomes == {"committed": 3, "fenced": 1, "failed": 0}
        assert board.current.problems == ()
        log.behind = {1: (0, 0.0)}
        board.publish(Tick())
        assert set(board.current.partitions) == set(board.current.event_lag) == {1}
        assert board.current.problems == ()  # most rebalances are short
        monkeypatch.setattr(board_module, "UNSETTLED_SECONDS", 0.0)
        board.publish(Tick())
        assert "given out no partitions" in board.current.problems[0]
        log.behind = {0: (5_000, 70.0), 1: (0, 0.0)}
        board.publish(Tick(), 2_000)
        assert len(board.current.problems) == 2
        assert "2,000 records of the reply log are not folded yet" in board.current.problems[0]
        assert "5,000 events wait in partitions 0, up to 70 s behind" in board.current.problems[1]


def test_a_silent_log_is_told_once_and_given_up_after_a_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(service.time, "monotonic", lambda: now)
    silence = Silence()
    for now in (0.0, 20.0, 59.0):  # noqa: B007 - the clock reads it
        silence.note(LogUnreachable("reading: no answer"))
    silence.over()
    said = capsys.readouterr().err
    assert said.count("reading: no answer") == 1
    assert "answers again, after 59 s" in said
    now = 100.0
    silence.note(LogUnreachable("reading: no answer"))
    now = 161.0
    with pytest.raises(LogError, match="no answer for 60 s"):
        silence.note(LogUnreachable("reading: no answer"))
