"""Act on predictions: block what is surely harmful, pass what is surely not, hold the rest for a person.

    python examples/kafka/moderation_pipeline.py --label harmful --block 0.8 --hold 0.4

Nothing is imported from stream-al: a prediction is a JSON object (``schemas/json/prediction.json``) on the
topic ``stream-al.predictions``. Each action is a line of ``--actions FILE``, whose place in the topic is
written with it. So the file itself says how far it is: killed at any moment and started again, the pipeline
leaves nothing out and does nothing twice. Where the effect cannot hold the place (a call to somebody's
service), or where several pipelines share one group, let it bear repeating: the group's position is committed
behind the action, never before it, so a crash between the two acts again.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from kafka import KafkaConsumer
from kafka.errors import CommitFailedError


def decide(prediction: dict[str, Any], label: str, block: float, hold: float) -> str:
    """Return what is to be done: ``block``, ``hold`` or ``pass``."""
    if prediction["label"] is None:
        return "hold"  # nothing was learned yet
    probability = prediction["probabilities"].get(label, 0.0)
    return "block" if probability >= block else "hold" if probability >= hold else "pass"


def places(actions: Path) -> dict[int, int]:
    """Return the next offset of each partition after the actions done so far; cut a half-written line off."""
    following: dict[int, int] = {}
    if actions.exists():
        with actions.open("rb+") as file:
            complete = file.read()
            complete = complete[: complete.rfind(b"\n") + 1]
            file.truncate(len(complete))
        for line in complete.splitlines():
            action = json.loads(line)
            following[action["partition"]] = action["offset"] + 1
    return following


def act(record: Any, options: argparse.Namespace, out: IO[str]) -> None:
    """Do what one prediction asks for; here an action is a line of a file."""
    prediction = json.loads(record.value)
    action = {
        "action": decide(prediction, options.label, options.block, options.hold),
        "event_id": prediction["event_id"],
        "probability": prediction["probabilities"].get(options.label),
        "model_version": prediction["model_version"],
        "partition": record.partition,
        "offset": record.offset,
    }
    out.write(json.dumps(action) + "\n")


def main() -> None:
    """Follow the predictions until SIGTERM, Ctrl-C, or so many seconds without one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bootstrap", default="localhost:9092", help="host:port[,host:port]")
    parser.add_argument("--prefix", default="stream-al.", help="of the topics: log.prefix of the service")
    parser.add_argument("--group", default="moderation", help="not the service's own")
    parser.add_argument("--instance", default="moderation-1", help="one for each process of the group")
    parser.add_argument("--label", default="harmful", help="whose probability decides")
    parser.add_argument("--block", type=float, default=0.8, help="from this probability on")
    parser.add_argument("--hold", type=float, default=0.4, help="from this probability on")
    parser.add_argument("--actions", type=Path, default=Path("actions.jsonl"))
    parser.add_argument("--idle", type=float, default=float("inf"), help="end after so many quiet seconds")
    options = parser.parse_args()

    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stop.append(number))
    signal.signal(signal.SIGINT, lambda number, frame: stop.append(number))
    consumer = KafkaConsumer(
        f"{options.prefix}predictions",
        bootstrap_servers=options.bootstrap,
        group_id=options.group,
        group_instance_id=options.instance,  # started again, it need not wait for its own time-out
        isolation_level="read_committed",  # else predictions of transactions that failed are acted on, too
        enable_auto_commit=False,  # it would commit what is not done yet
        auto_offset_reset="earliest",
    )
    done, counted, quiet_since = places(options.actions), 0, time.monotonic()
    with options.actions.open("a") as out:
        while not stop and time.monotonic() - quiet_since < options.idle:
            polled = consumer.poll(timeout_ms=200)
            for place, records in polled.items():
                for record in records:
                    if record.offset >= done.get(place.partition, 0):
                        act(record, options, out)
                        done[place.partition] = record.offset + 1
                        counted += 1
                quiet_since = time.monotonic()
            if polled:
                out.flush()
                os.fsync(out.fileno())  # an action is done when it is on the disk
                commit(consumer)
    consumer.close(autocommit=False)
    print(json.dumps({"acted": counted, "next": done}))


def commit(consumer: KafkaConsumer) -> None:
    """Note in the group how far the actions are; after a rebalance others go on, and this is refused."""
    with suppress(CommitFailedError):  # the next poll joins again
        consumer.commit()


if __name__ == "__main__":
    main()
