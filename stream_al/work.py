"""What a tick works on: one partition's share of the batch, and what is remembered of the partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from stream_al.decode import DecodedEvent
from stream_al.encode import EncodedInput
from stream_al.errors import InvalidMessage
from stream_al.log.protocol import Record
from stream_al.novelty import Novelty
from stream_al.query.state import QueryState


class Held(NamedTuple):
    """An event that is a candidate of the open block."""

    record: Record
    event: DecodedEvent
    encoded: EncodedInput


@dataclass(slots=True)
class PartitionMemory:
    """Memory of one owned partition: valid until the log says otherwise.

    ``held`` has the candidates of the open block by their offsets.
    """

    state: QueryState
    next_offset: int
    novelty: Novelty
    held: Mapping[int, Held] = field(default_factory=dict)


@dataclass(slots=True)
class Work:
    """One partition's share of a tick."""

    partition: int
    records: Sequence[Record]
    valid: list[tuple[Record, DecodedEvent]] = field(default_factory=list)
    encoded: list[EncodedInput] = field(default_factory=list)
    invalid: list[tuple[Record, InvalidMessage]] = field(default_factory=list)

    def cut_at(self, events: int) -> tuple[Work, dict[int, list[Record]]]:
        """Return the work up to its first valid events, and the records after them."""
        last = self.valid[events - 1][0].offset
        place = next(i for i, record in enumerate(self.records, 1) if record.offset == last)
        invalid = [pair for pair in self.invalid if pair[0].offset < last]
        first = Work(
            self.partition, self.records[:place], self.valid[:events], self.encoded[:events], invalid
        )
        return first, {self.partition: list(self.records[place:])}
