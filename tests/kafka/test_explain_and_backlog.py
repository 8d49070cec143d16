"""Explain and backlog on a real broker: among transactions, markers and a member that comes back."""

from __future__ import annotations

import json
from contextlib import closing
from functools import partial

import orjson

from stream_al.backlog import Backlog
from stream_al.build import build_engine, build_learner, make_writer
from stream_al.engine import Engine
from stream_al.explain import Explainer
from stream_al.log.embedded import wall_clock_ms
from stream_al.log.protocol import EVENTS, LABEL_REPLIES, LABEL_REQUESTS, Log
from stream_al.outputs import is_backlog
from stream_al.query.policy import Decision
from stream_al.replay import fold_to, records_of, replay_decisions
from stream_al.settings import make_settings
from tests.kafka.admin import wait_until
from tests.kafka.under_test import PATIENCE_SECONDS, KafkaUnderTest

EVENTS_SENT = 400
PARTITIONS = 2
PICKED = 90


def event(number: int) -> tuple[bytes, bytes]:
    # four columns, so that few events of a few hundred are near-duplicates of each other
    steps = {"x": (37, 101), "y": (53, 89), "z": (71, 97), "w": (29, 83)}
    features = {name: (number * step % size) / 10 for name, (step, size) in steps.items()}
    key = f"e{number}"
    return key.encode(), json.dumps({"event_id": key, "features": features}).encode()


def replies(requests: list[dict]) -> list[tuple[None, bytes]]:
    return [
        (
            None,
            json.dumps(
                {
                    "reply_id": request["request_id"],
                    "ticket": request["ticket"],
                    "label": "right" if request["event"]["features"]["x"] > 5 else "left",
                    "annotator_id": "ann",
                }
            ).encode(),
        )
        for request in requests
    ]


def requests(log: Log, *, backlog: bool) -> list[dict]:
    values = [record.value for p in range(PARTITIONS) for record in records_of(log, LABEL_REQUESTS, p)]
    return [orjson.loads(value) for value in values if is_backlog(value) == backlog]


def test_explain_and_backlog_beside_a_transactional_service(bootstrap: list[str], prefix: str) -> None:
    settings = make_settings(
        {
            "task": {"labels": ["left", "right"]},
            "query": {"budget": 0.5},
            "engine": {"max_batch": 50},
            "log": {"partitions": PARTITIONS, "prefix": prefix},
        }
    )
    decided: dict[str, tuple[int, int, Decision]] = {}

    def decided_all(engine: Engine, count: int) -> bool:
        tick = engine.tick()
        if tick.committed:
            decided.update({e.event_id: (p, tick.model_version, d) for p, e, d in tick.decided})
        return len(decided) == count

    with closing(KafkaUnderTest(bootstrap, prefix, PARTITIONS)) as log:
        client, engine = log.client(), build_engine(settings, log.member())
        wait_until(lambda: engine.tick().restored, PATIENCE_SECONDS, "the group")
        sent = [event(number) for number in range(EVENTS_SENT)]
        client.append_many(EVENTS, sent[:200])
        wait_until(partial(decided_all, engine, 200), PATIENCE_SECONDS, "the first decisions")
        client.append_many(LABEL_REPLIES, replies(requests(client, backlog=False)[::2]))
        client.append_many(EVENTS, sent[200:])
        wait_until(partial(decided_all, engine, EVENTS_SENT), PATIENCE_SECONDS, "all decisions")

        explain = Explainer(client, partial(build_engine, settings))
        for event_id in [f"e{number}" for number in range(0, EVENTS_SENT, 57)]:
            found, (partition, position, decision) = explain(event_id), decided[event_id]
            assert (found.source, found.equal) == ("log", True)
            assert (found.partition, found.model_version) == (partition, position)
            assert (found.asked, found.probability, found.propensity, found.tokens) == (
                decision.asked,
                decision.probability,
                decision.propensity,
                decision.tokens,
            )

        learner = build_learner(settings)
        fold_to(client, learner, client.bounds(LABEL_REPLIES, 0)[1])
        backlog = Backlog(client, build_engine(settings, client, learner), make_writer(settings, learner))
        assert backlog.ask(backlog.choose(PICKED).picked, wall_clock_ms()) == PICKED
        before = {p: (engine.policy.encode(s), engine._memory[p].novelty) for p, s in engine.states.items()}
        engine = build_engine(settings, log.restart())

        def is_back() -> bool:
            engine.tick()
            return engine.states.keys() == before.keys()

        wait_until(is_back, PATIENCE_SECONDS, "the group once more")
        for p, (state, novelty) in before.items():
            assert engine.policy.encode(engine.states[p]) == state
            assert list(engine._memory[p].novelty.requests) == list(novelty.requests)
            assert novelty.asked > 64
        asked = requests(client, backlog=True)
        assert len({request["request_id"] for request in asked}) == PICKED
        learned = engine.learner.outcomes["learned"]
        client.append_many(LABEL_REPLIES, replies(asked))

        def all_learned() -> bool:
            engine.tick()
            return engine.learner.outcomes["learned"] == learned + PICKED

        wait_until(all_learned, PATIENCE_SECONDS, "the backlog's answers")
        compared = replay_decisions(client, partial(build_engine, settings))
        assert compared.difference is None
        assert compared.outputs > EVENTS_SENT
