"""Questions in batches on a real broker: who comes back amid a block asks what one that stayed would ask."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from functools import partial

import orjson

from stream_al.build import build_engine
from stream_al.engine import Engine
from stream_al.log.protocol import EVENTS, LABEL_REPLIES, LABEL_REQUESTS
from stream_al.replay import records_of, replay_decisions
from stream_al.settings import make_settings
from stream_al.ticket import claimed
from tests.kafka.admin import wait_until
from tests.kafka.under_test import PATIENCE_SECONDS, KafkaUnderTest

BLOCK = 50
STOPS = (2 * BLOCK + 30, 3 * BLOCK + 1, 5 * BLOCK)
LABELS = 30


def features(number: int) -> dict[str, float]:
    return {"x": number * 37 % 101 / 10, "y": number * 53 % 89 / 10, "z": number * 71 % 97 / 10}


def event(number: int) -> tuple[None, bytes]:
    return None, json.dumps({"event_id": f"e{number}", "features": features(number)}).encode()


def organic(number: int) -> tuple[None, bytes]:
    """Return a label that nobody asked for, so that the model has something to say from the start."""
    known = features(1000 + number)
    reply = {
        "reply_id": f"r{number}",
        "label": "right" if known["x"] > 5 else "left",
        "annotator_id": "ann",
        "event": {"event_id": f"old{number}", "features": known},
    }
    return None, json.dumps(reply).encode()


def passed(engine: Engine, count: int) -> bool:
    """Tick once; return whether so many events are behind the engine."""
    engine.tick()
    return 0 in engine.states and engine.states[0].events == count


def test_restarts_amid_blocks_change_nothing(bootstrap: list[str], prefix: str) -> None:
    settings = make_settings(
        {
            "task": {"labels": ["left", "right"]},
            "labels": {"organic": True},
            "query": {"budget": 0.2, "window": BLOCK},
            "engine": {"max_batch": 7},
            "log": {"partitions": 1, "prefix": prefix},
        }
    )
    with closing(KafkaUnderTest(bootstrap, prefix)) as log:
        client = log.client()
        client.append_many(LABEL_REPLIES, [organic(number) for number in range(LABELS)])
        sent = 0
        for stop in STOPS:
            engine = build_engine(settings, log.restart())
            client.append_many(EVENTS, [event(number) for number in range(sent, stop)])
            wait_until(partial(passed, engine, stop), PATIENCE_SECONDS, f"event {stop}")
            sent = stop
        requests = [orjson.loads(record.value) for record in records_of(client, LABEL_REQUESTS, 0)]
        compared = replay_decisions(client, partial(build_engine, settings))

    channels = Counter(claimed(request["ticket"])["channel"] for request in requests)
    assert channels["batch"] > 20
    assert len({request["event"]["event_id"] for request in requests}) == len(requests)
    assert compared.difference is None
    assert compared.outputs == STOPS[-1] + len(requests)
