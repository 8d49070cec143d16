"""The real engine on a real broker: an answer is learned at once."""

from __future__ import annotations

import json
from contextlib import closing
from functools import partial

import pytest

from stream_al.build import build_engine
from stream_al.log.protocol import EVENTS, LABEL_REPLIES, LABEL_REQUESTS, Log, Position
from stream_al.settings import make_settings
from tests.kafka.admin import wait_until
from tests.kafka.under_test import PATIENCE_SECONDS, KafkaUnderTest

ANSWERS = 20


def event(number: int) -> bytes:
    return json.dumps({"event_id": f"e{number}", "features": {"x": (-1.0) ** number}}).encode()


def reply(request: bytes) -> bytes:
    asked = json.loads(request)
    right = asked["event"]["features"]["x"] > 0
    return json.dumps(
        {
            "reply_id": asked["request_id"],
            "ticket": asked["ticket"],
            "label": "right" if right else "left",
            "annotator_id": "ann",
        }
    ).encode()


def readable(client: Log, written: Position) -> bool:
    return client.bounds(LABEL_REPLIES, 0)[1] > written.offset


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "with events"])
def test_an_answer_is_in_the_model_one_tick_after_it_can_be_read(
    bootstrap: list[str], prefix: str, busy: bool
) -> None:
    settings = make_settings(
        {
            "task": {"labels": ["left", "right"]},
            "query": {"budget": 1.0, "near_duplicates": False},
            "log": {"partitions": 1, "prefix": prefix},
        }
    )
    with closing(KafkaUnderTest(bootstrap, prefix)) as log:
        client, engine = log.client(), build_engine(settings, log.member())
        wait_until(lambda: engine.tick().restored, PATIENCE_SECONDS, "the group")
        client.append_many(EVENTS, [(None, event(number)) for number in range(ANSWERS)])
        asked: list[bytes] = []

        def all_asked() -> bool:
            engine.tick()
            asked[:] = [record.value for record in client.tail(LABEL_REQUESTS, 0, 0, ANSWERS)]
            return len(asked) == ANSWERS

        wait_until(all_asked, PATIENCE_SECONDS, "all requests")
        for number, request in enumerate(asked):
            if busy:
                client.append(EVENTS, None, event(ANSWERS + number))
            written = client.append(LABEL_REPLIES, None, reply(request))
            wait_until(partial(readable, client, written), PATIENCE_SECONDS, "the answer to be committed")
            engine.tick()
            assert engine.learner.position > written.offset
            assert engine.learner.outcomes["learned"] == number + 1
