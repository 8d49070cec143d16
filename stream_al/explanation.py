"""Why an event was asked about or not: all that the rule looked at, and one sentence in words."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

from stream_al.ticket import BACKLOG, BATCH


class NearestRequest(NamedTuple):
    """The remembered request that an event was nearest to; within ``radius`` it is a near-duplicate."""

    event_id: str
    distance: float
    radius: float


class Answer(NamedTuple):
    """One answer to the event's request; ``answered_at`` is log time in milliseconds."""

    annotator_id: str
    status: str
    label: str | None
    answered_at: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """One decision, made again or read from what is left of it.

    What cannot be told is None and named in ``missing``.

    Attributes
    ----------
    source : {"log", "ticket", "prediction"}
        Decided again from the log; or read from the request's ticket; or from the prediction alone.
    gone : str or None
        Why it could not be decided again.
    difference : str or None
        What was decided otherwise now than it is recorded, at this event or before it.
    occurrence, occurrences : int
        Which of the events with this id that the log holds.
    offset : int or None
    asked : bool
    channel : {"floor", "chosen", "batch", "backlog"} or None
        None where it was not asked.
    score, rank, chance, probability, propensity, tokens
        u, its mid-rank, what the rule gave it, p (the chance, or 0 where it was refused), the probability
        that it was asked at all, and tokens at hand.
    floor_coin, floor_threshold, query_coin : float
        The floor asks where its coin is below the threshold, the rule where the query coin is below the
        chance.
    overlap : int
        Tokens that a request costs.
    scored, asking, floor_asking, capped : bool
        Whether the query score worked, whether an operator let the rule and the floor ask, and whether the
        cap of the day was reached.
    near_duplicate : bool
        Whether it was found to be one; only an event that a coin hit is looked at.
    nearest : NearestRequest or None
    asked_before : bool
        Whether its id was among the last 64 asked.
    refused : bool
        Whether a coin had hit, and it was not asked for being a near-duplicate or asked before.
    model_version, decided_at : int
        Model position v, and the partition's log time.
    predicted, confidence
        The served label, None while nothing was learned, and its probability.
    request_id : str or None
        Of the request for this event, whoever made it.
    answers : tuple of Answer
        To that request, so far.
    batches : bool
        Whether questions are asked at the ends of blocks, and only the floor's on the spot.
    in_backlog : bool
        Whether the backlog has a request for this event.
    """

    event_id: str
    partition: int
    offset: int | None
    asked: bool
    source: Literal["log", "ticket", "prediction"]
    occurrence: int = 1
    occurrences: int = 1
    gone: str | None = None
    difference: str | None = None
    channel: str | None = None
    score: float | None = None
    rank: float | None = None
    chance: float | None = None
    probability: float | None = None
    propensity: float | None = None
    floor_coin: float = 0.0
    floor_threshold: float = 0.0
    query_coin: float = 0.0
    tokens: float | None = None
    overlap: int = 1
    scored: bool = True
    asking: bool = True
    floor_asking: bool = True
    capped: bool = False
    near_duplicate: bool | None = None
    nearest: NearestRequest | None = None
    asked_before: bool | None = None
    refused: bool = False
    model_version: int | None = None
    decided_at: int | None = None
    predicted: str | None = None
    confidence: float | None = None
    request_id: str | None = None
    answers: tuple[Answer, ...] = ()
    batches: bool = False
    in_backlog: bool = False
    missing: tuple[str, ...] = field(default=())

    @property
    def equal(self) -> bool:
        """Whether nothing was decided otherwise than it is recorded."""
        return self.difference is None

    def as_dict(self) -> dict[str, Any]:
        """Return all fields as JSON values, with the sentence."""
        found = asdict(self)
        found["nearest"] = self.nearest and self.nearest._asdict()
        found["answers"] = [answer._asdict() for answer in self.answers]
        return found | {"equal": self.equal, "sentence": self.sentence()}

    def sentence(self) -> str:
        """Return why, in words."""
        if self.channel == BACKLOG:
            return "asked from the backlog, by hand: outside the stream's budget, so it has no propensity"
        reason = self._why_asked() if self.asked else self._why_not()
        return f"{'asked' if self.asked else 'not asked'}: {reason}"

    def _why_asked(self) -> str:
        if self.channel == "floor" or (self.channel is None and self.floor_coin < self.floor_threshold):
            return (
                f"the floor coin fell on {self.floor_coin:.3g}, below {self.floor_threshold:.3g}; "
                "the floor asks whatever the event is"
            )
        if self.channel == BATCH:
            return "it was among the best of its block that differ from each other; the block's end asks"
        chance = self.probability if self.chance is None else self.chance
        return "its chance is no longer known" if chance is None else self._fell(chance)

    def _why_not(self) -> str:
        if self.chance is None or self.tokens is None:
            return "its chance is no longer known"
        if self.refused:
            return f"{self._coin_that_hit()}, but {self._refusal()}"
        if not (self.asking or self.floor_asking):
            return "an operator had paused all asks"
        if self.tokens < self.overlap:
            return (
                f"the budget was spent: {self.tokens:.3g} tokens at hand, and a request costs {self.overlap}"
            )
        if self.capped:
            return "this partition had made the requests that query.daily_cap allows a day"
        if not self.asking:
            return "an operator had paused the chosen asks, and the floor coin did not hit"
        if not self.scored:
            return "the query score failed on it, so it could not be chosen"
        if self.batches:
            return "the floor coin did not hit, and the end of its block has not chosen it"
        if self.chance == 0.0 and self.tokens < self.overlap + 1:
            return f"{self.tokens:.3g} tokens were at hand, and the last one is kept for the floor"
        return self._fell(self.chance)

    def _fell(self, chance: float | None) -> str:
        return f"its chance was {chance:.3g} and the coin fell on {self.query_coin:.3g}"

    def _coin_that_hit(self) -> str:
        if self.floor_coin < self.floor_threshold:
            return f"the floor coin hit ({self.floor_coin:.3g}, below {self.floor_threshold:.3g})"
        return self._fell(self.chance)

    def _refusal(self) -> str:
        if self.asked_before:
            return "its id was among the last 64 that this partition had asked about"
        nearest = self.nearest
        if nearest is None:
            return "it was a near-duplicate of what had been asked"
        return (
            f"it was a near-duplicate of {nearest.event_id!r}, which had been asked: their distance is "
            f"{nearest.distance:.3g}, the radius {nearest.radius:.3g}"
        )
