"""Bases on Kafka: replicas that share a directory share its bases, and only one writes."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import orjson

from stream_al.build import build_learner
from stream_al.learner import Learner
from stream_al.log.memory import MemoryLog
from stream_al.log.protocol import LABEL_REPLIES
from stream_al.settings import Settings, make_settings
from stream_al_consumers.bases import Bases, base_directory

SETTINGS = make_settings(
    {"task": {"labels": ["no", "yes"]}, "log": {"kind": "kafka"}, "kafka": {"group": "mine"}}
)


def fitted(settings: Settings, log: MemoryLog) -> tuple[Learner, Bases]:
    learner = build_learner(settings)
    bases = Bases(settings, learner)
    bases.load(log)
    learner.fold(log.tail(LABEL_REPLIES, 0, learner.position, 100))
    return learner, bases


def reply(number: int) -> bytes:
    event = {"event_id": f"e{number}", "text": "t"}
    return orjson.dumps({"reply_id": f"r{number}", "event": event, "label": "yes", "annotator_id": "a"})


def test_they_stand_in_the_working_directory(tmp_path: Path) -> None:
    assert base_directory(SETTINGS) == Path("stream-al.bases/mine")
    configured = make_settings({"log": {"kind": "kafka"}, "engine": {"base_directory": str(tmp_path)}})
    assert base_directory(configured) == tmp_path


def test_one_writes_and_the_others_read() -> None:
    with closing(MemoryLog()) as log:
        log.append_many(LABEL_REPLIES, [(None, reply(i)) for i in range(5)])
        first, first_bases = fitted(SETTINGS, log)
        second, second_bases = fitted(SETTINGS, log)
        second_bases.save()
        assert not list(base_directory(SETTINGS).glob("base-*"))
        first_bases.save()
        assert len(list(base_directory(SETTINGS).glob("base-*"))) == 1
        third, third_bases = fitted(SETTINGS, log)
        assert third_bases.position == first.position == second.position == 5
        assert third.fingerprint() == first.fingerprint()
        first_bases.close()
        log.append_many(LABEL_REPLIES, [(None, reply(9))])
        third.fold(log.tail(LABEL_REPLIES, 0, third.position, 100))
        third_bases.save()  # the writer is gone
        assert len(list(base_directory(SETTINGS).glob("base-*"))) == 2
        third_bases.close()
