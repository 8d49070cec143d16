"""Blocks of a stream: where they begin, and what is held of the open one until it ends.

A block is a fixed stretch of a partition: so many offsets, or so much log time. Its number is read off an
event alone, so no cut of the stream into polls moves its ends.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Self

from stream_al.duration import parse_duration
from stream_al.errors import ConfigurationError

MOST = 16
"""Candidates that are held, and so requests that a block's end can make."""
NO_LABEL = 65_535
"""In place of a class where nothing was learned yet."""
MILLION = 1_000_000
"""Confidences are held in millionths: as a request shows them."""
SHORTEST_MS = 1_000

_HEAD = struct.Struct("<qdB")
_CANDIDATE = struct.Struct("<qIHHI")
_NONE = -(2**63)


@dataclass(frozen=True, slots=True)
class Window:
    """The length of a block.

    Attributes
    ----------
    size : int
        Offsets, or milliseconds of log time.
    unit : {"events", "ms"}

    Examples
    --------
    >>> Window.parse(50).number(offset=149, now=0)
    2
    >>> Window.parse("5m").number(offset=149, now=600_000)
    2
    """

    size: int
    unit: Literal["events", "ms"]

    @classmethod
    def parse(cls, value: int | str) -> Self:
        """Return the window that a number of events or a duration describes.

        Raises
        ------
        ConfigurationError
            It is neither, or too short for a choice.
        """
        text = str(value).strip()
        try:
            if text.isascii() and text.isdigit():
                size, unit, least = int(text), "events", 2
            else:
                size, unit, least = round(parse_duration(text)), "ms", SHORTEST_MS
        except ConfigurationError:
            size, unit, least = -1, "", 0
        if not least <= size <= 2**53:
            raise ConfigurationError(
                f"query.window is {value!r}; expected a number of events, at least 2, or a duration of at "
                'least a second, for example 50 or "5m"; leave it out to ask at once'
            )
        return cls(size, "events" if unit == "events" else "ms")

    def number(self, offset: int, now: int) -> int:
        """Return the number of the block that an event belongs to, by its offset or by log time."""
        return (offset if self.unit == "events" else now) // self.size


class Candidate(NamedTuple):
    """An event that may be asked about at the block's end.

    Attributes
    ----------
    offset : int
        Where it stands; its contents are read again from the log when they are not at hand.
    identity : int
        Hash of its id.
    score : int
        u when it passed, as a 16-bit integer.
    label : int
        Class that was served, or ``NO_LABEL``.
    confidence : int
        Its probability in millionths.
    """

    offset: int
    identity: int
    score: int
    label: int
    confidence: int


@dataclass(slots=True)
class Block:
    """What S holds of the open block.

    Attributes
    ----------
    number : int or None
        None before the first event.
    expected : float
        Requests that the rule would have made by now, event by event: the sum of its chances, and what was
        left of the block before, less than one.
    candidates : list of Candidate
        At most 16, by falling score, the earlier one first.
    """

    number: int | None = None
    expected: float = 0.0
    candidates: list[Candidate] = field(default_factory=list)

    def copy(self) -> Block:
        """Return an independent copy."""
        return Block(self.number, self.expected, self.candidates.copy())

    def pack(self) -> bytes:
        """Return the block as at most 337 bytes."""
        number = _NONE if self.number is None else self.number
        head = _HEAD.pack(number, self.expected, len(self.candidates))
        return head + b"".join(_CANDIDATE.pack(*candidate) for candidate in self.candidates)

    @classmethod
    def unpack(cls, data: bytes, at: int) -> Block:
        """Return the block that stands at a place of encoded data."""
        number, expected, length = _HEAD.unpack_from(data, at)
        places = range(at + _HEAD.size, at + _HEAD.size + length * _CANDIDATE.size, _CANDIDATE.size)
        candidates = [Candidate(*_CANDIDATE.unpack_from(data, place)) for place in places]
        return cls(None if number == _NONE else number, expected, candidates)
