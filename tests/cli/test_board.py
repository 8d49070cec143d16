"""The board between the loop and everybody else."""

from __future__ import annotations

from contextlib import closing

import pytest

from stream_al.build import build_engine
from stream_al.log.memory import MemoryLog
from stream_al.settings import load_settings
from stream_al_consumers.board import Board, Busy


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
