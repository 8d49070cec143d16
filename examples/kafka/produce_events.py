"""Send events to the service: a stream of made-up comments that somebody has to moderate.

    python examples/kafka/produce_events.py --count 1000 --truth truth.jsonl

Nothing is imported from stream-al: an event is a JSON object (``schemas/json/event.json``) on the topic
``stream-al.events``. ``--truth`` keeps what a person would say of each one, for ``annotator_queue.py``.
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kafka import KafkaProducer

FINE = ["thanks", "lovely", "agree", "photo", "garden", "recipe", "question", "weekend", "train"]
HARMFUL = ["free", "winner", "click", "casino", "pills", "loser", "hate", "crypto", "prize"]


def comments(count: int, run: str, seed: int | None) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield events, each with what a person would say of it."""
    chance = random.Random(seed)
    for i in range(count):
        label = "harmful" if chance.random() < 0.3 else "fine"
        event = {
            "schema_version": 1,
            # unique, also over restarts: predictions are found by it, and all chance is drawn from it
            "event_id": f"comment-{run}-{i}",
            "text": " ".join(chance.choices(FINE + HARMFUL if label == "harmful" else FINE, k=8)),
            "features": {
                "links": chance.randint(0, 4) if label == "harmful" else chance.randint(0, 1),
                "account_days": chance.lognormvariate(2 if label == "harmful" else 5, 1),
                "country": chance.choice(["NZ", "PT", "KE"]),
            },
            "payload": {"page": f"https://example.org/comments/{i}"},  # for people; the model never sees it
        }
        yield event, label


def main() -> None:
    """Send the events, and wait until the broker has all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bootstrap", default="localhost:9092", help="host:port[,host:port]")
    parser.add_argument("--prefix", default="stream-al.", help="of the topics: log.prefix of the service")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=100.0, help="events a second")
    parser.add_argument("--run", default=secrets.token_hex(4), help="part of the ids; default: a new one")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--truth", type=Path, help="append {event_id, label} of each event to this file")
    options = parser.parse_args()

    producer = KafkaProducer(
        bootstrap_servers=options.bootstrap,
        acks="all",  # on all replicas in sync before it counts; retries double nothing (idempotence)
        linger_ms=20,
    )
    sent = []
    began = time.monotonic()
    for i, (event, label) in enumerate(comments(options.count, options.run, options.seed)):
        time.sleep(max(0.0, began + i / options.rate - time.monotonic()))
        if options.truth:
            with options.truth.open("a") as truth:
                truth.write(json.dumps({"event_id": event["event_id"], "label": label}) + "\n")
        # the key chooses the partition: what has one key stays in order
        key, value = (
            event["event_id"].encode(),
            json.dumps(event, allow_nan=False).encode(),
        )  # NaN is not JSON
        sent.append(producer.send(f"{options.prefix}events", value, key))
    for future in sent:
        future.get(timeout=60)  # raises what went wrong
    producer.close()
    print(json.dumps({"sent": len(sent), "run": options.run}))


if __name__ == "__main__":
    main()
