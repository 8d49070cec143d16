"""The engine as a library: a stream of digits, answered late, in batches, on a log in memory.

Run it with ``python examples/library_loop.py``. What it shows beyond the lines in the README: events come in
batches, every answer arrives some batches after its question, and predictions are read back from the log.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator

from sklearn.datasets import load_digits

from stream_al.build import build_engine
from stream_al.log.memory import MemoryLog
from stream_al.settings import QuerySettings, Settings, TaskSettings
from stream_al_schemas import Event, LabelReply

BATCH = 50
LATE = 3
"""Batches that pass before an answer arrives."""


def requests(log: MemoryLog, group: str) -> Iterator[dict[str, str]]:
    """Yield the label requests that this group has not seen yet, each as its event id and its ticket."""
    records = log.read("label-requests", group, 1_000)
    for record in records:
        request = json.loads(record.value)
        yield {"event_id": request["event"]["event_id"], "ticket": request["ticket"]}
    log.ack(group, records)


def main() -> dict[str, float]:
    """Run the stream and return what came of it."""
    images, digits = load_digits(return_X_y=True)
    truth = {f"digit-{i}": str(digit) for i, digit in enumerate(digits)}
    log = MemoryLog()
    settings = Settings(task=TaskSettings(open_labels=True), query=QuerySettings(budget=0.1))
    engine = build_engine(settings, log)
    engine.tick()  # the first tick joins the log and restores what was committed: nothing yet

    waiting: deque[list[dict[str, str]]] = deque([] for _ in range(LATE))
    for start in range(0, len(images), BATCH):
        for i, image in enumerate(images[start : start + BATCH], start):
            log.append("events", None, Event(event_id=f"digit-{i}", vector=image.tolist()).to_json())
        engine.tick()
        waiting.append(list(requests(log, "people")))
        for request in waiting.popleft():
            reply = LabelReply(
                reply_id=f"reply-{request['event_id']}",
                ticket=request["ticket"],
                label=truth[request["event_id"]],
                annotator_id="me",
            )
            log.append("label-replies", None, reply.to_json())

    predictions = [json.loads(record.value) for record in log.tail("predictions", 0, 0, len(images))]
    right = sum(p["label"] == truth[p["event_id"]] for p in predictions)
    return {
        "events": len(predictions),
        "asked": sum(p["asked"] for p in predictions),
        "learned": engine.learner.outcomes["learned"],
        "accuracy": right / len(predictions),
    }


if __name__ == "__main__":
    print(json.dumps(main(), indent=2))
