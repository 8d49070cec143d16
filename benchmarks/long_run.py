"""Two million events through the engine on a bounded SQLite log: memory and disk stay flat.

    python -m benchmarks.long_run [--events 2000000] [--max-bytes 200000000] [--json]

Prints resident memory after a tenth of the events and at the end, and the size of the file without its
replies (which are never deleted) against its limit.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import tempfile
import time
from pathlib import Path

import numpy as np
import orjson

from benchmarks.bench_engine import drain, make_reply
from stream_al.build import build_engine
from stream_al.log.protocol import EVENTS, LABEL_REPLIES, LABEL_REQUESTS
from stream_al.log.sqlite import SqliteLog
from stream_al.settings import load_settings

COLUMNS, CHUNK = 8, 5_000
NAMES = [f"feature_{j}" for j in range(COLUMNS)]


def resident_bytes() -> int:
    """Return this process's resident memory (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def feed(log: SqliteLog, rng: np.random.Generator, first: int) -> None:
    """Append one chunk of events."""
    rows = rng.normal(size=(CHUNK, COLUMNS)).round(5).tolist()
    log.append_many(
        EVENTS,
        [
            (
                None,
                orjson.dumps({"event_id": f"e{first + i}", "features": dict(zip(NAMES, row, strict=True))}),
            )
            for i, row in enumerate(rows)
        ],
    )


def answer(log: SqliteLog, shown: int) -> int:
    """Answer all new requests; return where the next ones begin."""
    while records := log.tail(LABEL_REQUESTS, 0, shown, 500):
        shown = records[-1].offset + 1
        replies = []
        for record in records:
            request = orjson.loads(record.value)
            features = request["event"]["features"]
            truth = features["feature_0"] + features["feature_1"] * features["feature_2"] > 0.5
            replies.append((None, make_reply(request, right=truth)))
        log.append_many(LABEL_REPLIES, replies)
    return shown


def reply_bytes(path: Path) -> int:
    """Return the bytes of the pages that the reply log takes."""
    with sqlite3.connect(path) as connection:
        tables = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if "replies" in name
        ]
        size = 0
        for table in tables:
            try:
                query = "SELECT sum(pgsize) FROM dbstat WHERE name = ?"
                size += connection.execute(query, (table,)).fetchone()[0] or 0
            except sqlite3.OperationalError:  # built without dbstat: payload bytes, a little less
                size += connection.execute(f'SELECT sum(length(value)) FROM "{table}"').fetchone()[0] or 0
    return size


def measure(events: int, max_bytes: int) -> dict[str, float]:
    """Return the figures of one run."""
    rng = np.random.default_rng(1)
    early, shown = 0, 0
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "long.db"
        log = SqliteLog(path, partitions=1, owner=True, max_bytes=max_bytes)
        settings = load_settings(None, {"query": {"budget": 0.01}, "task": {"labels": ["no", "yes"]}})
        engine = build_engine(settings, log)
        for first in range(0, events, CHUNK):
            feed(log, rng, first)
            drain(engine)
            shown = answer(log, shown)
            if first + CHUNK == events // 10:
                early = resident_bytes()
        late = resident_bytes()
        learned = engine.learner.outcomes["learned"]
        log.close()
        size = sum(file.stat().st_size for file in Path(directory).iterdir() if file.name.startswith("long"))
        replies = reply_bytes(path)
    return {
        "events": events,
        "learned": learned,
        "resident_early_bytes": early,
        "resident_late_bytes": late,
        "resident_ratio": late / early,
        "file_bytes": size,
        "reply_bytes": replies,
        "file_without_replies_ratio": (size - replies) / max_bytes,
        "events_per_second": events / (time.monotonic() - started),
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--max-bytes", type=int, default=200_000_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = measure(arguments.events, arguments.max_bytes)
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    for name, value in figures.items():
        print(f"{name}: {value:,.3f}" if isinstance(value, float) else f"{name}: {value:,}")


if __name__ == "__main__":
    main()
