"""A replica that stands still at an exact place, so that it can be killed there.

    python -m benchmarks.recovery_victim CONFIGURATION outside|inside TRANSACTIONS

The real engine in a plain loop. After so many transactions it stops, either between two of them or inside the
next one, when the offsets have been sent and the commit has not. It says which partitions it has, on one
line, and waits for its end; its heartbeats go on until then, as those of a busy process do.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kafka import KafkaProducer

from stream_al.build import build_engine
from stream_al.log.kafka import KafkaLog
from stream_al.log.kafka_connection import KafkaOptions
from stream_al.log.protocol import Batch, Output, Progress
from stream_al.settings import load_settings
from stream_al_consumers.kafka_options import kafka_options


class Victim(KafkaLog):
    """A member that stands still for ever at its place.

    Parameters
    ----------
    options : KafkaOptions
    inside : bool
        Stand still inside a transaction; else after one.
    transactions : int
        How many to finish before.
    """

    def __init__(self, options: KafkaOptions, *, inside: bool, transactions: int) -> None:
        self._inside = inside
        self._left = transactions
        super().__init__(options, member=True)
        self._wait = self._transactions._wait
        self._transactions._wait = self._wait_and_see  # type: ignore[method-assign]  # stands still in there

    def commit(self, batch: Batch, outputs: Sequence[Output], progress: Mapping[int, Progress]) -> None:
        """Commit; after the last one outside of a transaction, stand still."""
        super().commit(batch, outputs, progress)
        self._left -= 1
        if self._left == 0 and not self._inside:
            self._stand_still()

    def _wait_and_see(self, producer: KafkaProducer, result: Any) -> None:
        """Wait for a step of the transaction; behind the offsets of the last one, stand still."""
        self._wait(producer, result)
        if self._left == 0 and self._inside:
            self._stand_still()

    def _stand_still(self) -> None:
        print(json.dumps({"partitions": sorted(self._owned)}), flush=True)
        while True:
            signal.pause()


def main() -> None:
    """Run until killed."""
    path, place, transactions = sys.argv[1:]
    settings = load_settings(Path(path))
    with Victim(kafka_options(settings), inside=place == "inside", transactions=int(transactions)) as log:
        engine = build_engine(settings, log)
        while True:
            engine.tick()


if __name__ == "__main__":
    main()
