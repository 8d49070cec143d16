"""The ticket: all that the fold needs to know of a request, carried by the people who answer it.

A request's ticket comes back untouched in its reply, so the reply log is self-contained: no join, no
store of open requests. It is one opaque ASCII string, since tools that parse and print JSON change
numbers on the way: ``key id . base64url(canonical JSON) . base64url(keyed BLAKE2b-128)``. It holds no
payload and no text, only the encoded input. Without a configured key it guards against accidents, not
against people.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, Any, Literal, NamedTuple, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from stream_al.errors import ConfigurationError, InvalidTicket
from stream_al_schemas import EncodedMessage

UNKEYED = "0"
"""Key id of tickets that were signed without a secret."""
BACKLOG = "backlog"
"""Channel of requests that somebody made from old events: outside the stream's budget and its estimates."""
BATCH = "batch"
"""Channel of what the end of a block chose: within the budget, outside the estimates."""
_MAC_BYTES = 16


class Totals(NamedTuple):
    """Running totals of a partition when it asked; their differences describe a window of asks."""

    asked: int
    inverse_propensity: float
    floor_blocked: int


@dataclass(frozen=True, slots=True)
class Ticket:
    """What the fold learns about a request from its reply.

    Attributes
    ----------
    request_id : str
        UUID of the request.
    event_id, topic, partition, offset
        The event and where it stands.
    labels : tuple of str
        Labels that were offered; empty while none was known.
    input : dict
        The encoded input (see `stream_al.encode`), as plain JSON values.
    weight : float
        The event's own weight.
    served : str or None
        Label predicted when the event passed; what the estimates judge.
    confidence : float
        Its recalibrated probability.
    propensity : float or None
        Probability, given all that came before, that this event was asked; None for the backlog's.
    channel : {"floor", "chosen", "batch", "backlog"}
        ``"batch"``: chosen at the end of a block; it has no weight in the estimates.
    overlap, ttl_seconds, resolve_by : int
        Votes wanted; the wish and the log time (ms) at which fewer must do.
    suggestion_shown : bool
    model_version : int
    asked_at : int
        Log time in ms.
    totals : Totals
        Zeros for the backlog's.
    """

    request_id: str
    event_id: str
    topic: str
    partition: int
    offset: int
    labels: tuple[str, ...]
    input: Mapping[str, Any]
    weight: float
    served: str | None
    confidence: float
    propensity: float | None
    channel: str
    overlap: int
    ttl_seconds: int
    resolve_by: int
    suggestion_shown: bool
    model_version: int
    asked_at: int
    totals: Totals


_FIELDS = tuple(Ticket.__slots__)
_Count = Annotated[int, Field(ge=0, le=2**62)]
_Text = Annotated[str, Field(min_length=1, max_length=256)]


class _Contents(BaseModel):
    """What a ticket must hold: without a configured key anybody can sign one, so nothing is believed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    request_id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
    event_id: _Text
    topic: _Text
    partition: _Count
    offset: _Count
    labels: Annotated[tuple[_Text, ...], Field(max_length=10_000, strict=False)]
    input: EncodedMessage
    weight: Annotated[float, Field(gt=0, le=1e6)]
    served: _Text | None
    confidence: Annotated[float, Field(ge=0, le=1)]
    propensity: Annotated[float, Field(gt=0, le=1)] | None
    channel: Literal["floor", "chosen", "batch", "backlog"]
    overlap: Annotated[int, Field(ge=1, le=16)]
    ttl_seconds: Annotated[int, Field(gt=0, le=2**40)]
    resolve_by: _Count
    suggestion_shown: bool
    model_version: _Count
    asked_at: _Count
    totals: Annotated[tuple[_Count, Annotated[float, Field(ge=0)], _Count], Field(strict=False)]

    @model_validator(mode="after")
    def _has_a_propensity_unless_backlog(self) -> Self:
        if (self.propensity is None) != (self.channel == BACKLOG):
            raise ValueError("a request of the stream has a propensity, one of the backlog has none")
        return self


def claimed(text: str) -> Mapping[str, Any]:
    """Return what a ticket claims, not verified; nothing where it is no ticket.

    For passing over what is the backlog's, or asked already: who lies about that gains nothing else.
    """
    try:
        fields = orjson.loads(urlsafe_b64decode(text.split(".")[1]))
    except (ValueError, IndexError):
        return {}
    return fields if isinstance(fields, dict) else {}


class TicketOffice:
    """Signs tickets with the first key and verifies them with any.

    Parameters
    ----------
    topic : str
        Full name of the events topic; tickets of another one are foreign.
    keys : mapping of key id to secret
        In order of preference; a retired key stays in the list while its tickets are out. Empty:
        tickets are only guarded against accidents.

    Raises
    ------
    ConfigurationError
        A key id is not alphanumeric, or a secret is shorter than 16 bytes.
    """

    def __init__(self, topic: str, keys: Mapping[str, bytes] | None = None) -> None:
        self.topic = topic
        self.keyed = bool(keys)
        for key_id, secret in (keys or {}).items():
            if not key_id.isalnum() or key_id == UNKEYED:
                raise ConfigurationError(
                    f"ticket key id {key_id!r} found; expected letters and digits, not '0'; rename the key"
                )
            if not 16 <= len(secret) <= 64:
                raise ConfigurationError(
                    f"ticket key {key_id!r} has {len(secret)} bytes; expected 16 to 64; "
                    "make one with `openssl rand -hex 32`"
                )
        self._keys = dict(keys) if keys else {UNKEYED: b""}
        self._signer = next(iter(self._keys))

    @property
    def key_ids(self) -> list[str]:
        """Ids of the keys that tickets may be signed with, sorted."""
        return sorted(self._keys)

    def issue(self, ticket: Ticket) -> str:
        """Return the string that stands for this ticket."""
        fields = {name: getattr(ticket, name) for name in _FIELDS}
        fields["totals"] = list(ticket.totals)
        body = urlsafe_b64encode(orjson.dumps(fields))
        return f"{self._signer}.{body.decode()}.{self._mac(self._signer, body)}"

    def verify(self, text: str) -> Ticket:
        """Return the ticket that the string stands for.

        Raises
        ------
        InvalidTicket
            ``malformed``: not a ticket; ``foreign``: another topic's, or an unknown key id;
            ``forged``: the signature does not match.
        """
        key_id, _, rest = text.partition(".")
        body, _, mac = rest.partition(".")
        if not body or not mac:
            raise InvalidTicket("malformed", "the ticket is not of the form id.body.signature; copy it whole")
        if key_id not in self._keys:
            raise InvalidTicket(
                "foreign", f"the ticket is signed with key {key_id[:32]!r}; known are {list(self._keys)}"
            )
        if not hmac.compare_digest(mac.encode(), self._mac(key_id, body.encode()).encode()):
            raise InvalidTicket("forged", "the ticket's signature does not match its contents")
        try:
            fields = orjson.loads(urlsafe_b64decode(body))
            _Contents.model_validate(fields)
        except ValueError as error:  # also pydantic's and base64's
            raise InvalidTicket("malformed", "the ticket's contents are not those of a ticket") from error
        labels, totals = tuple(fields.pop("labels")), Totals(*fields.pop("totals"))
        ticket = Ticket(**fields, labels=labels, totals=totals)
        if ticket.topic != self.topic:
            raise InvalidTicket("foreign", f"the ticket is of topic {ticket.topic!r}, not {self.topic!r}")
        return ticket

    def _mac(self, key_id: str, body: bytes) -> str:
        digest = blake2b(body, digest_size=_MAC_BYTES, key=self._keys[key_id], person=b"stream-al-ticket")
        digest.update(b"." + key_id.encode())
        return urlsafe_b64encode(digest.digest()).decode().rstrip("=")
