"""Bytes of a record to a message: fast for what is usual, exact for everything else.

The models in ``stream_al_schemas`` are the contract. Events come by the thousand, so the common shape is
checked by hand here and everything unusual is left to the model: a test insists that both always agree.
Text that is not JSON is judged in :mod:`stream_al.strict_json`.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from typing import Any, Literal, NamedTuple

import orjson
from pydantic import ValidationError

from stream_al.errors import InvalidMessage
from stream_al.log.protocol import Record
from stream_al.mapping import EventMap
from stream_al.strict_json import decode_json, described, refuse_depth
from stream_al_schemas import (
    MAX_EVENT_BYTES,
    MAX_KEPT_BYTES,
    Control,
    DeadLetter,
    Event,
    Failure,
    LabelReply,
    Sample,
    Source,
)
from stream_al_schemas.event import MAX_FEATURES

__all__ = [
    "MAX_REPLY_BYTES",
    "DecodedEvent",
    "dead_letter",
    "decode_event",
    "decode_event_fields",
    "decode_json",
    "decode_mapped",
    "decode_reply",
]

MAX_REPLY_BYTES = 2 * 1024 * 1024
"""A reply above this is dead-lettered without being parsed; tickets and samples outgrow their events."""

FeatureValue = bool | int | float | str | None
_MAX_NAME = 256
_EVENT_FIELDS = frozenset(Event.model_fields)
_COMMONEST = frozenset({"event_id", "features"})
_last_names: tuple[str, ...] = ()
_FEATURE_TYPES = frozenset({float, int, str, bool, type(None)})
_VECTOR_TYPES = frozenset({float, int, type(None)})
_WHEN_TYPES = _VECTOR_TYPES | {str}


class DecodedEvent(NamedTuple):
    """A valid event, as light as it can be.

    Attributes
    ----------
    event_id : str
    features : dict or None
        Numbers, booleans, strings and nulls by name; shared with ``raw``, not to be changed.
    text : str or None
    vector : list of float or None, or None
    weight : float
        1 where the event says nothing.
    raw : dict
        The event as it came, ``event_id`` filled in and fields that no event has left out: what a label
        request is built from. An unknown field may be the answer, which people must not see.
    """

    event_id: str
    features: dict[str, FeatureValue] | None
    text: str | None
    vector: list[float | None] | None
    weight: float
    raw: dict[str, Any]

    @property
    def payload(self) -> dict[str, Any] | None:
        """What only people see."""
        return self.raw.get("payload")

    @classmethod
    def of(cls, event: Event, raw: dict[str, Any] | None = None) -> DecodedEvent:
        """Return what :func:`decode_event` would have returned for this message."""
        raw = event.model_dump(exclude_none=True) if raw is None else raw
        weight = 1.0 if event.weight is None else event.weight
        return cls(event.event_id, event.features, event.text, event.vector, weight, raw)


# Builds a DecodedEvent in C: a third of the time of DecodedEvent(...), once an event.
_decoded_event: Callable[[tuple[object, ...]], DecodedEvent] = partial(tuple.__new__, DecodedEvent)


def decode_event(value: bytes, fallback_id: str | None = None) -> DecodedEvent:
    """Return the event that these bytes hold.

    Parameters
    ----------
    value : bytes
        UTF-8 JSON.
    fallback_id : str, optional
        The id of an event that has none, such as ``topic/partition/offset``.

    Raises
    ------
    InvalidMessage
        With code ``too_large``, ``not_utf8``, ``not_json``, ``too_deep``, ``not_an_object`` or ``invalid``.
    """
    if len(value) > MAX_EVENT_BYTES:
        return decode_event_fields(decode_json(value, MAX_EVENT_BYTES), fallback_id)
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError:
        return decode_event_fields(decode_json(value), fallback_id)
    if type(found) is dict and found.keys() == _COMMONEST:
        event_id, features = found["event_id"], found["features"]
        if type(event_id) is str and 0 < len(event_id) <= _MAX_NAME and _are_numbers(features):
            return _decoded_event((event_id, features, None, None, 1.0, found))
    refuse_depth(value)  # not before: numbers alone cannot be deep
    return decode_event_fields(found, fallback_id)


def decode_mapped(value: bytes, event_map: EventMap, source: str) -> DecodedEvent:
    """Return the event that a record of another shape holds.

    Parameters
    ----------
    value : bytes
        UTF-8 JSON.
    event_map : EventMap
        Where the record keeps what.
    source : str
        ``topic/partition/offset``: the id of a record without one.

    Raises
    ------
    InvalidMessage
        With the codes of :func:`decode_event`; ``where`` is a place in the record where the map found
        the fault, else in the event that it made.
    """
    return decode_event_fields(event_map.apply(decode_json(value, MAX_EVENT_BYTES), source))


def decode_event_fields(found: object, fallback_id: str | None = None) -> DecodedEvent:
    """Return the event in a JSON value that :func:`decode_json` or an event map returned.

    Raises
    ------
    InvalidMessage
        With code ``not_an_object`` or ``invalid``.
    """
    fields = _object(found)
    if fallback_id is not None and fields.get("event_id") is None:
        fields = {**fields, "event_id": fallback_id}
    if not fields.keys() <= _EVENT_FIELDS:
        fields = {name: field for name, field in fields.items() if name in _EVENT_FIELDS}
    get = fields.get
    features, vector = get("features"), get("vector")
    if _usual_fields(fields) and _usual_features(features) and _usual_vector(vector):
        weight = get("weight")
        if vector is not None and int in set(map(type, vector)):
            vector = [v if v is None else float(v) for v in vector]
        return DecodedEvent(
            fields["event_id"],
            features,
            get("text"),
            vector,
            1.0 if weight is None else float(weight),
            fields,
        )
    try:
        return DecodedEvent.of(Event.model_validate(fields), fields)
    except ValidationError as error:
        raise _invalid(error, fields) from None


def _usual_fields(fields: dict[str, Any]) -> bool:
    """Return whether everything but features and vector is surely valid; False means: ask the model."""
    get = fields.get
    event_id, text, weight, version = get("event_id"), get("text"), get("weight"), get("schema_version", 1)
    return (
        type(event_id) is str
        and 0 < len(event_id) <= _MAX_NAME
        and type(version) is int
        and version == 1
        and (text is None or type(text) is str)
        and (weight is None or ((type(weight) is float or type(weight) is int) and 0 < weight <= 1e6))
        and type(get("timestamp")) in _WHEN_TYPES
        and ("payload" not in fields or type(fields["payload"]) is dict)
        and not (text is None and get("features") is None and get("vector") is None)
    )


def _usual_features(features: object) -> bool:
    if features is None or _are_numbers(features):
        return True
    return (
        type(features) is dict
        and len(features) <= MAX_FEATURES
        and _FEATURE_TYPES.issuperset(map(type, features.values()))
        and _names_are_valid(features)
    )


def _are_numbers(features: object) -> bool:
    """Return whether these are features, and numbers or booleans alone."""
    if type(features) is not dict or len(features) > MAX_FEATURES:
        return False
    try:
        sum(features.values())  # only numbers and booleans have a sum: the fastest proof
    except TypeError:
        return False
    return _names_are_valid(features)


def _names_are_valid(features: dict[str, Any]) -> bool:
    """Return whether all names have 1 to 256 characters; most streams repeat theirs, so those are kept."""
    global _last_names
    names = tuple(features)
    if names == _last_names:
        return True
    if "" in features or max(map(len, names), default=0) > _MAX_NAME:
        return False
    _last_names = names
    return True


def _usual_vector(vector: object) -> bool:
    return vector is None or (
        type(vector) is list and len(vector) <= MAX_FEATURES and _VECTOR_TYPES.issuperset(map(type, vector))
    )


_KINDS: dict[object, type[LabelReply] | type[Sample] | type[Control]] = {
    "reply": LabelReply,
    "sample": Sample,
    "control": Control,
}


def decode_reply(value: bytes) -> LabelReply | Sample | Control:
    """Return the record of the reply log that these bytes hold; without ``kind`` it is a reply.

    Raises
    ------
    InvalidMessage
        With the codes of :func:`decode_event`.
    """
    found = _object(decode_json(value, MAX_REPLY_BYTES))
    kind = found.get("kind", "reply")
    message = _KINDS.get(kind) if type(kind) is str else None
    if message is None:
        raise InvalidMessage(
            "invalid", f'kind: found {described(kind)}; expected "reply", "sample" or "control"', "kind"
        )
    try:
        return message.model_validate(found)
    except ValidationError as error:
        raise _invalid(error, found) from None


def dead_letter(
    record: Record, stage: Literal["event", "reply"], error: InvalidMessage, failed_at: int
) -> DeadLetter:
    """Return the dead letter of a record: bounded, so that it can always be written.

    Parameters
    ----------
    record : Record
    stage : {"event", "reply"}
    error : InvalidMessage
    failed_at : int
        Log time in ms.
    """
    return DeadLetter(
        source=Source(topic=record.topic, partition=record.partition, offset=record.offset),
        stage=stage,
        error=Failure(code=error.code, message=_bounded(str(error), 2000), where=_bounded(error.where, 512)),
        key=None if record.key is None else b64encode(record.key[:MAX_KEPT_BYTES]).decode(),
        value=b64encode(record.value[:MAX_KEPT_BYTES]).decode(),
        length=len(record.value),
        sha256=sha256(record.value).hexdigest(),
        failed_at=failed_at,
    )


def _bounded(text: str, limit: int) -> str:
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _object(found: object) -> dict[str, Any]:
    if type(found) is not dict:
        raise InvalidMessage("not_an_object", f"found {described(found)}; expected a JSON object")
    return found


def _invalid(error: ValidationError, found: Mapping[str, Any]) -> InvalidMessage:
    """Return the first error in words; the branches of a union are one error."""
    errors = error.errors(include_url=False)
    place = _place(errors[0]["loc"], found)
    where = _bounded(".".join(map(str, place)), 512)
    if errors[0]["type"] == "value_error":  # a rule over several fields: its own words are best
        message = errors[0]["msg"].removeprefix("Value error, ")
        return InvalidMessage("invalid", f"{where}: {message}" if where else message, where)
    if errors[0]["type"] == "missing":
        return InvalidMessage("invalid", f"{where}: found nothing; expected a value", where)
    wanted = [_expected(e["msg"]) for e in errors if _place(e["loc"], found) == place]
    expected = " or ".join(dict.fromkeys(wanted))
    return InvalidMessage(
        "invalid", f"{where}: found {described(errors[0]['input'])}; expected {expected}", where
    )


def _place(loc: tuple[int | str, ...], found: object) -> tuple[int | str, ...]:
    """Return the part of pydantic's location that stands in the message.

    A union appends the branch that it tried (``features.a.bool``), a mapping ``[key]`` for a bad name.
    """
    for depth, step in enumerate(loc):
        if isinstance(found, Mapping):
            if step not in found:
                return loc[:depth] if step == "[key]" else loc[: depth + 1]
            found = found[step]
        elif isinstance(found, list) and isinstance(step, int) and step < len(found):
            found = found[step]
        else:
            return loc[:depth]
    return loc


_WORDING = {
    "a valid dictionary or instance of": "an object as",
    "a valid dictionary": "an object",
    "a valid list": "an array",
    "a valid boolean": "a boolean",
    "a valid integer": "an integer",
    "a valid number": "a number",
    "a valid string": "a string",
}


def _expected(message: str) -> str:
    """Return pydantic's sentence as what was expected, in the words of JSON."""
    for prefix in ("Input should be ", "String should ", "Dictionary should ", "List should "):
        if message.startswith(prefix):
            message = message.removeprefix(prefix)
            break
    message = message.removeprefix("have ")
    for ours, theirs in ((theirs, ours) for ours, theirs in _WORDING.items()):
        message = message.replace(theirs, ours)
    return message
