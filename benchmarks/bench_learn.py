"""Time the fold of the reply log: milliseconds a label, live and catching up, and a start from a base.

The same log of answers (30 numeric columns, two classes, tickets as a service issues them) is folded one
record at a time, as while events flow, and at once, as after a restart; all folds must end in the same
state, to the bit. The ceiling is the time of the two factorisations of a refit, in the same run.

    python -m benchmarks.bench_learn [--answers N] [--json]
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before NumPy is imported; a service pins it too

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from uuid import UUID

import numpy as np
import orjson

from benchmarks.bench_pool import COLUMNS, learning_ceiling
from stream_al.checkpoint import identity, load_base, save_base
from stream_al.learner import Learner, LearnerOptions
from stream_al.log.protocol import LABEL_REPLIES, Record
from stream_al.models.pool import Pool
from stream_al.ticket import Ticket, TicketOffice, Totals

TOPIC, LABELS = "stream-al.events", ("no", "yes")
START_MS, MINUTE_MS = 1_700_000_000_000, 60_000
SAMPLES = 200
WARM = 600
"""Records folded before the clock runs: the memory is full."""
TAIL = 10_000
"""So many answers a start may have to fold behind its newest base."""


def make_replies(count: int) -> list[Record]:
    """Return samples for the scale, and then answers to requests, about events of 30 columns."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(SAMPLES + count, COLUMNS)).round(6)
    truth = rows[:, 0] + rows[:, 1] * rows[:, 2] > 0
    office = TicketOffice(TOPIC)
    names = [f"feature_{j}" for j in range(COLUMNS)]
    records = []
    for i, row in enumerate(rows.tolist()):
        now, numbers = START_MS + i * 100, dict(zip(names, row, strict=True))
        if i < SAMPLES:
            place = {"topic": TOPIC, "partition": 0, "offset": i}
            found = {"kind": "sample", "event_id": f"e{i}", "source": place, "q": 0.01}
            message = {"schema_version": 1, **found, "input": {"numbers": numbers}}
        else:
            label = LABELS[int(truth[i])]
            ticket = office.issue(make_ticket(i, numbers, now - MINUTE_MS))
            message = {"schema_version": 1, "kind": "reply", "reply_id": f"r{i}", "ticket": ticket}
            message |= {"annotator_id": "bench", "label": label}
        records.append(Record(LABEL_REPLIES, 0, i, now, None, orjson.dumps(message)))
    return records


def make_ticket(i: int, numbers: dict[str, float], asked_at: int) -> Ticket:
    """Return the ticket of the i-th event."""
    return Ticket(
        request_id=str(UUID(int=i)),
        event_id=f"e{i}",
        topic=TOPIC,
        partition=0,
        offset=i,
        labels=LABELS,
        input={"numbers": numbers, "categories": []},
        weight=1.0,
        served="no",
        confidence=0.7,
        propensity=0.05,
        channel="chosen",
        overlap=1,
        ttl_seconds=3600,
        resolve_by=asked_at + 60 * MINUTE_MS,
        suggestion_shown=False,
        model_version=0,
        asked_at=asked_at,
        totals=Totals(i, 20.0 * i, 0),
    )


def new_learner() -> Learner:
    return Learner(Pool(len(LABELS), seed=0), TicketOffice(TOPIC), LearnerOptions(labels=LABELS))


def milliseconds(records: list[Record], at_once: int) -> tuple[float, Learner]:
    """Return processor milliseconds a label of a fold in such pieces, and the learner."""
    learner = new_learner()
    learner.fold(records[:WARM])
    start = time.process_time()
    for i in range(WARM, len(records), at_once):
        learner.fold(records[i : i + at_once])
    return (time.process_time() - start) * 1e3 / (len(records) - WARM), learner


def start_seconds(records: list[Record], whole: Learner) -> float:
    """Return the seconds that a start takes from a base, with every record here folded behind it."""
    with tempfile.TemporaryDirectory() as directory:
        base, known = new_learner(), identity(whole, "pool", 0)
        base.fold(records[:WARM])
        save_base(Path(directory), base, known)
        start = time.perf_counter()
        learner = new_learner()
        position = load_base(Path(directory), learner, known)
        learner.fold(records[position:])
        seconds = time.perf_counter() - start
    if learner.fingerprint() != whole.fingerprint():
        sys.exit("base and tail differ from the whole fold")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description="time the fold of the reply log")
    parser.add_argument("--answers", type=int, default=WARM - SAMPLES + TAIL)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    records = make_replies(arguments.answers)
    live, one = milliseconds(records, 1)
    catching_up, many = milliseconds(records, len(records))
    if one.fingerprint() != many.fingerprint():
        sys.exit("the fold one by one differs from the fold at once")
    result = {
        "answers": arguments.answers,
        "columns": COLUMNS,
        "live_ms_per_label": round(live, 3),
        "catching_up_ms_per_label": round(catching_up, 3),
        "catching_up_over_ceiling": round(catching_up / (learning_ceiling() * 1e3), 2),
        "start_seconds": round(start_seconds(records, many), 2),
    }
    print(
        json.dumps(result, indent=2)
        if arguments.json
        else "\n".join(f"{k:26} {v}" for k, v in result.items())
    )


if __name__ == "__main__":
    main()
