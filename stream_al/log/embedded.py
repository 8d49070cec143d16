"""What the embedded logs decide alike: the log's time, where a record falls, what a commit may hold.

Knows nothing about storage; :mod:`~stream_al.log.memory` and :mod:`~stream_al.log.sqlite` do.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import count
from zlib import crc32

from stream_al.errors import LogError
from stream_al.log.protocol import SINGLE_PARTITION, TOPICS, Output, Progress

Pair = tuple[bytes | None, bytes]
"""A record's key and value."""

Place = tuple[str, int]
"""A topic and a partition."""


def wall_clock_ms() -> int:
    """Return milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def partition_counts(partitions: int) -> dict[str, int]:
    """Return the number of partitions of every topic, for a number of event partitions.

    Raises
    ------
    LogError
        The number is below one.
    """
    if partitions < 1:
        raise LogError(f"a log with {partitions} partitions was asked for; it needs at least 1")
    return {topic: 1 if topic in SINGLE_PARTITION else partitions for topic in TOPICS}


def partitions_of(counts: Mapping[str, int], topic: str) -> int:
    """Return the number of partitions of a topic, or raise ``LogError`` if there is no such topic."""
    try:
        return counts[topic]
    except KeyError:
        raise LogError(f"there is no topic {topic!r}; the topics are {', '.join(counts)}") from None


def partition_of(key: bytes | None, partitions: int, turn: int) -> int:
    """Return the partition of a key: its CRC-32 modulo, or ``turn`` modulo where there is no key."""
    return (turn if key is None else crc32(key)) % partitions


def spread(pairs: Sequence[Pair], partitions: int, turn: int) -> list[int]:
    """Return the partition of each record; those without a key take turns, beginning at ``turn``."""
    if partitions == 1:
        return [0] * len(pairs)
    turns = count(turn)
    return [(next(turns) if key is None else crc32(key)) % partitions for key, _ in pairs]


def by_place(outputs: Sequence[Output], counts: Mapping[str, int]) -> Mapping[Place, list[Pair]]:
    """Group a commit's outputs by topic and partition, in their order.

    Raises
    ------
    LogError
        A topic or partition does not exist.
    """
    places: defaultdict[Place, list[Pair]] = defaultdict(list)
    for output in outputs:
        places[output[:2]].append(output[2:])
    for topic, partition in places:
        if not 0 <= partition < partitions_of(counts, topic):
            raise LogError(
                f"an output goes to partition {partition} of {topic}, which has {counts[topic]} (from 0); "
                "send it to the partition of its event"
            )
    return places


def check_progress(progress: Mapping[int, Progress], owned: Collection[int]) -> None:
    """Raise ``LogError`` if a commit would move a partition that the committer does not own."""
    foreign = sorted(set(progress) - set(owned))
    if foreign:
        raise LogError(
            f"the commit moves partitions {foreign} of events, but this member owns {sorted(owned)}; "
            "commit only what the last `restored` named"
        )
