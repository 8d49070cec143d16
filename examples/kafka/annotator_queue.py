"""Answer label requests, the most urgent first: at the terminal, or from a file that knows the answers.

    python examples/kafka/annotator_queue.py --name ann
    python examples/kafka/annotator_queue.py --name ann --answers truth.jsonl --idle 10

Nothing is imported from stream-al: ``schemas/json`` says what requests and replies are. The request's
ticket is copied into the reply as it is, never parsed.
At most ``--room`` requests are held; the others wait in the topic. Only what is dealt with, and all before
it, is committed: after a crash some are answered again, which the service counts as ``duplicate``.
A line of ``--answers`` is ``{"event_id": ..., "label": ...}``; what it does not know is skipped.
"""

from __future__ import annotations

import argparse
import heapq
import json
import time
import uuid
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata


class Queue:
    """The requests that are open here, the most urgent first."""

    def __init__(self, bootstrap: str, topic: str, name: str, room: int) -> None:
        self.room, self.topic = room, topic
        self.waiting: list[tuple[int, int, int, int, dict[str, Any]]] = []
        self.open: dict[int, set[int]] = defaultdict(set)
        self.consumer = KafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=f"annotator-{name}",  # everybody sees every request; `overlap` says how many are wanted
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        # assigned, not subscribed: a group throws out a member who thinks for more than five minutes
        partitions = self.consumer.partitions_for_topic(topic) or ()
        self.consumer.assign([TopicPartition(topic, partition) for partition in partitions])

    def take(self) -> tuple[int, int, dict[str, Any]] | None:
        """Take up what is new, as far as there is room; return the most urgent request with its place."""
        if free := self.room - len(self.waiting):
            patience_ms = 0 if self.waiting else 200
            for place, records in self.consumer.poll(timeout_ms=patience_ms, max_records=free).items():
                for record in records:
                    request = json.loads(record.value)
                    order = -request["priority"], request["asked_at"]
                    heapq.heappush(self.waiting, (*order, place.partition, record.offset, request))
                    self.open[place.partition].add(record.offset)
        return heapq.heappop(self.waiting)[2:] if self.waiting else None

    def done(self, partition: int, offset: int) -> None:
        """Commit everything before the first request of this partition that is still open."""
        place = TopicPartition(self.topic, partition)
        self.open[partition].discard(offset)
        following = min(self.open[partition], default=self.consumer.position(place))
        self.consumer.commit({place: OffsetAndMetadata(following, "", -1)})


def ask(request: dict[str, Any], answers: Path | None) -> dict[str, str]:
    """Return status and label: from the file, or from the person who looks at the question."""
    event, labels = request["event"], request["labels"]
    if answers is not None:
        lines = map(json.loads, answers.read_text().splitlines())
        label = {line["event_id"]: line["label"] for line in lines}.get(event["event_id"])
        return {"status": "labelled", "label": label} if label else {"status": "skipped"}
    print(json.dumps({key: event.get(key) for key in ("text", "features", "payload")}, indent=2))
    print(*(f"[{i}] {label}  " for i, label in enumerate(labels, 1)), "[s] skip   [u] unsure   or a label")
    while not (typed := input(f"priority {request['priority']}> ").strip()):
        pass
    if status := {"s": "skipped", "u": "unsure"}.get(typed):
        return {"status": status}
    by_number = typed.isdecimal() and 0 < int(typed) <= len(labels)
    return {"status": "labelled", "label": labels[int(typed) - 1] if by_number else typed}


def main() -> None:
    """Answer until Ctrl-C, the end of the input, or so many seconds without a request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bootstrap", default="localhost:9092", help="host:port[,host:port]")
    parser.add_argument("--prefix", default="stream-al.", help="of the topics: log.prefix of the service")
    parser.add_argument("--name", required=True, help="who answers: one person has one vote a request")
    parser.add_argument("--answers", type=Path, help="JSON lines; without it you are asked")
    parser.add_argument("--room", type=int, default=100, help="requests held at once")
    parser.add_argument("--idle", type=float, default=float("inf"), help="end after so many quiet seconds")
    options = parser.parse_args()
    queue = Queue(options.bootstrap, f"{options.prefix}label-requests", options.name, options.room)
    producer = KafkaProducer(bootstrap_servers=options.bootstrap)
    counts, quiet_since = Counter[str](), time.monotonic()
    try:
        while time.monotonic() - quiet_since < options.idle:
            if not (taken := queue.take()):
                continue
            partition, offset, request = taken
            if time.time() * 1000 > request["asked_at"] + 1000 * request["ttl_seconds"]:
                counts["expired"] += 1  # nobody waits for it; an answer would still be learned
            else:
                reply = {"schema_version": 1, "kind": "reply", "ticket": request["ticket"]}
                reply |= ask(request, options.answers) | {"annotator_id": options.name}
                # made of question and person: the same again where the same answer is given again
                reply["reply_id"] = str(uuid.uuid5(uuid.UUID(request["request_id"]), options.name))
                producer.send(f"{options.prefix}label-replies", json.dumps(reply).encode()).get(timeout=60)
                counts[reply["status"]] += 1
            queue.done(partition, offset)  # after the answer stands in the log
            quiet_since = time.monotonic()
    except (KeyboardInterrupt, EOFError):
        pass  # what was shown and not answered stays open
    queue.consumer.close(autocommit=False)
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
