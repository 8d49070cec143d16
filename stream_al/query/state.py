"""S: all that a partition's queries depend on, small enough to ride in an offset commit.

``decode(encode(S)) == S`` after every event. A state begins with a format byte and a hash of the
query's configuration. When either is another one, what is a fact survives (ledger, time, counts, ids
asked) and what was tuned to the old configuration restarts (the score windows). A new credit is never
given.
"""

from __future__ import annotations

import math
import struct
from base64 import b64decode, b64encode
from bisect import bisect_right
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain

from stream_al.errors import LogError
from stream_al.query.block import Block
from stream_al.query.ledger import Budget, Ledger
from stream_al.query.window import ScoreWindow

FORMAT = 1
FORMAT_WITH_BLOCK = 2
"""The same with an open block behind it; written only where ``query.window`` is set."""
MAX_ENCODED = 3072
"""Characters; Kafka's default limit for offset metadata is 4,096."""
REMEMBERED_IDS = 64
HOUR_MS = 3_600_000
MARKS, MARKS_BESIDE_BLOCK = 64, 40
"""An open block takes the room of 24 marks; requests come together then, and share theirs."""
WINDOWS = 2
"""Active scores at most: the configured one and, for rare classes, risk."""

_HEAD = struct.Struct("<B8s10q")
_COUNTS = struct.Struct("<qqQQdQQ")
_WINDOW = struct.Struct("<QdH")
_MARK = struct.Struct("<qI")


def advanced(now: int, last_ms: int, record_ms: int) -> int:
    """Return log time after a record: never backwards, and a leap only when two records agree on it.

    One bad clock moves time by an hour at most; behind a quiet week the second record brings it up to date.
    """
    return max(now, min(record_ms, max(now + HOUR_MS, last_ms)))


def id_hash(event_id: str) -> int:
    """Return the four-byte hash under which an asked event is remembered."""
    return int.from_bytes(blake2b(event_id.encode(), digest_size=4).digest(), "little")


@dataclass(slots=True)
class QueryState:
    """The fold of one events partition.

    Attributes
    ----------
    ledger : Ledger
    now : int
        The partition's log time in ms, monotone.
    last_ms : int
        Time of the last record as it stood there.
    events, asked : int
        Events decided and requests made so far.
    inverse_propensity : float
        Sum of 1/propensity over the requests.
    model_version : int
        v of the last tick.
    reply_position : int
        In partition 0: replies before it have their dead letters; else 0.
    windows : list of ScoreWindow
        One a score (configured, risk).
    marks : list of (log time, asked so far)
        From which "asks younger than T" is read; when full, thinned so that gaps grow with age.
    recent : list of int
        Hashes of the last 64 asked ids, oldest first.
    block : Block or None
        The open block, where the policy asks in batches.
    """

    ledger: Ledger
    now: int = 0
    last_ms: int = 0
    events: int = 0
    asked: int = 0
    inverse_propensity: float = 0.0
    model_version: int = 0
    reply_position: int = 0
    windows: list[ScoreWindow] = field(default_factory=lambda: [ScoreWindow() for _ in range(WINDOWS)])
    marks: list[tuple[int, int]] = field(default_factory=list)
    recent: list[int] = field(default_factory=list)
    block: Block | None = None

    def copy(self) -> QueryState:
        """Return an independent copy."""
        return QueryState(
            self.ledger.copy(),
            self.now,
            self.last_ms,
            self.events,
            self.asked,
            self.inverse_propensity,
            self.model_version,
            self.reply_position,
            [window.copy() for window in self.windows],
            self.marks.copy(),
            self.recent.copy(),
            None if self.block is None else self.block.copy(),
        )

    def advance(self, record_ms: int) -> int:
        """Move log time to a record's: see :func:`advanced`."""
        if self.now == 0 and self.events == 0:
            self.now = record_ms
        elif record_ms > self.now:
            self.now = advanced(self.now, self.last_ms, record_ms)
        self.last_ms = record_ms
        return self.now

    def note_ask(self, event_id: str, propensity: float) -> None:
        """Remember one request."""
        self.note(id_hash(event_id), 1.0 / propensity)

    def note(self, identity: int, weight: float) -> None:
        """Remember one request by the hash of its event's id and its weight in the estimates."""
        self.asked += 1
        self.inverse_propensity += weight
        self.recent.append(identity)
        if len(self.recent) > REMEMBERED_IDS:
            del self.recent[0]
        if self.marks and self.marks[-1][0] == self.now:
            self.marks[-1] = (self.now, self.asked)
        else:
            self.marks.append((self.now, self.asked))
            self.thin_marks()

    def thin_marks(self) -> None:
        """Keep as many marks as there is room for."""
        while len(self.marks) > (MARKS if self.block is None else MARKS_BESIDE_BLOCK):
            self._drop_mark()

    def _drop_mark(self) -> None:
        """Drop the mark whose neighbours are closest for their age, so that gaps grow with age."""
        ages = [self.now - moment for moment, _ in self.marks]
        gaps = [(older - newer) / (older + 1) for older, newer in zip(ages, ages[2:], strict=False)]
        place = 1 + gaps.index(min(gaps))
        del self.marks[place]

    def asked_within(self, horizon_ms: float) -> tuple[int, float]:
        """Return how many requests are younger than a horizon, and the log time until which that stays true.

        Marks are exact while there are few; a thinned one rounds the number up by a part of its age.
        """
        leaving = [moment + horizon_ms for moment, _ in self.marks]
        place = bisect_right(leaving, self.now)
        older = self.marks[place - 1][1] if place else 0
        until = leaving[place] if place < len(leaving) else math.inf
        return self.asked - older, until


def config_hash(*terms: object) -> bytes:
    """Return the eight bytes that tell one query configuration from another."""
    return blake2b(repr(terms).encode(), digest_size=8).digest()


def encode_state(state: QueryState, configuration: bytes) -> str:
    """Return the state as at most 3,072 base64 characters."""
    led = state.ledger
    parts = [
        _HEAD.pack(
            FORMAT if state.block is None else FORMAT_WITH_BLOCK,
            configuration,
            *(getattr(led, name) for name in Ledger.__slots__),
        ),
        _COUNTS.pack(
            state.now,
            state.last_ms,
            state.events,
            state.asked,
            state.inverse_propensity,
            state.model_version,
            state.reply_position,
        ),
    ]
    for window in state.windows:
        scores = window.scores
        parts.append(_WINDOW.pack(window.entered, window.mean, len(scores)))
        parts.append(struct.pack(f"<{len(scores)}H", *scores))
    parts.append(bytes([len(state.marks), len(state.recent)]))
    parts.append(struct.pack("<" + "qI" * len(state.marks), *chain.from_iterable(state.marks)))
    parts.append(struct.pack(f"<{len(state.recent)}I", *state.recent))
    if state.block is not None:
        parts.append(state.block.pack())
    return b64encode(b"".join(parts)).decode()


def decode_state(text: str, configuration: bytes, budget: Budget) -> tuple[QueryState, bool]:
    """Return the state, and whether it was made under this configuration.

    Raises
    ------
    LogError
        The text is no state of a format that this version knows.
    """
    try:
        data = b64decode(text, validate=True)
        form, found, *account = _HEAD.unpack_from(data)
        if form not in (FORMAT, FORMAT_WITH_BLOCK):
            raise LogError(
                f"the committed query state has format {form}; this version reads {FORMAT} and "
                f"{FORMAT_WITH_BLOCK}; run the version that wrote it, or a newer one"
            )
        ledger = Ledger(*account)
        at = _HEAD.size
        now, last_ms, events, asked, inverse_propensity, version, replies = _COUNTS.unpack_from(data, at)
        at += _COUNTS.size
        windows: list[ScoreWindow] = []
        for _ in range(WINDOWS):
            entered, mean, length = _WINDOW.unpack_from(data, at)
            at += _WINDOW.size
            windows.append(ScoreWindow(list(struct.unpack_from(f"<{length}H", data, at)), entered, mean))
            at += 2 * length
        marks, recent = data[at], data[at + 1]
        at += 2
        state = QueryState(
            ledger,
            now,
            last_ms,
            events,
            asked,
            inverse_propensity,
            version,
            replies,
            windows=windows,
            marks=[_MARK.unpack_from(data, at + i * _MARK.size) for i in range(marks)],
            recent=list(struct.unpack_from(f"<{recent}I", data, at + marks * _MARK.size)),
        )
        if form == FORMAT_WITH_BLOCK:
            state.block = Block.unpack(data, at + marks * _MARK.size + 4 * recent)
    except (ValueError, struct.error, IndexError) as error:
        raise LogError(f"the committed query state cannot be read: {error}; the log is damaged") from error
    if found == configuration:
        return state, True
    state.ledger = ledger.under(budget)
    state.windows = [ScoreWindow() for _ in range(WINDOWS)]
    state.block = None
    return state, False
