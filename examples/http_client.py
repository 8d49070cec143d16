"""A client of the service that needs nothing but Python: send events, read predictions, answer requests.

Start ``stream-al serve`` and run ``python examples/http_client.py``. The events are points of a plane; the
"person" who answers knows that the label is ``inside`` in the unit circle and ``outside`` elsewhere.
"""

from __future__ import annotations

import json
import random
import sys
import urllib.request
from typing import Any

BATCH = 100
BATCHES = 10


def call(url: str, body: Any = None) -> Any:
    """Return what the service answers; a body makes it a POST."""
    data = None if body is None else json.dumps(body, allow_nan=False).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def answer(features: dict[str, float]) -> str:
    """Return what a person would say."""
    return "inside" if features["x"] ** 2 + features["y"] ** 2 < 1 else "outside"


def main(base: str) -> dict[str, float]:
    """Run some batches against a service and return what came of them."""
    chance = random.Random(0)
    run = call(f"{base}/status")["events"]  # ids must be new when the example is run twice
    asked = right = 0
    after: dict[int, int] = {}  # how far the predictions of each partition were read
    for batch in range(BATCHES):
        events: list[dict[str, Any]] = [
            {
                "event_id": f"point-{run + batch * BATCH + i}",
                "features": {"x": chance.uniform(-1.5, 1.5), "y": chance.uniform(-1.5, 1.5)},
            }
            for i in range(BATCH)
        ]
        truth = {event["event_id"]: answer(event["features"]) for event in events}
        positions = call(f"{base}/v1/events", events)["positions"]
        # a prediction stands in the partition of its event: 0 on a file, one of several on Kafka
        place = {event["event_id"]: at["partition"] for event, at in zip(events, positions, strict=True)}

        found: dict[str, str | None] = {}
        while missing := truth.keys() - found.keys():
            partition = place[min(missing)]
            start = after.get(partition, -1)
            page = call(f"{base}/v1/predictions?partition={partition}&after={start}&max=5000&wait=10")
            after[partition] = page["after"]
            found |= {p["prediction"]["event_id"]: p["prediction"]["label"] for p in page["predictions"]}
        right += sum(found[event_id] == label for event_id, label in truth.items())

        requests = call(f"{base}/v1/requests?max=1000&annotator=me")["requests"]
        replies = [
            {
                "reply_id": request["request_id"],
                "ticket": request["ticket"],
                "label": answer(request["event"]["features"]),
                "annotator_id": "me",
            }
            for request in requests
        ]
        if replies:
            call(f"{base}/v1/replies", replies)
        asked += len(replies)
    return {"events": BATCH * BATCHES, "answered": asked, "accuracy": right / (BATCH * BATCHES)}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8420"), indent=2))
