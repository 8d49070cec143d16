"""Bodies of HTTP requests: one message, an array of them, or one a line; each checked before any is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import orjson

from stream_al.decode import DecodedEvent, decode_event, decode_json, decode_mapped, decode_reply
from stream_al.errors import InvalidMessage, InvalidTicket
from stream_al.mapping import EventMap, find
from stream_al.settings import Settings
from stream_al.snapshot import Snapshot
from stream_al.strict_json import described
from stream_al.ticket import TicketOffice
from stream_al_schemas import MAX_EVENT_BYTES, Control, LabelReply

MAX_BODY_BYTES = 8 * 2**20
MAX_MESSAGES = 10_000

T = TypeVar("T")


def messages(body: bytes) -> list[bytes]:
    """Return the JSON documents of a body: the elements of an array, the lines of NDJSON, or the one.

    Raises
    ------
    InvalidMessage
        It is none of these, or holds nothing, or too much.
    """
    try:
        whole = decode_json(body, MAX_BODY_BYTES)
    except InvalidMessage:
        found = [line for line in body.split(b"\n") if line.strip()]
        if len(found) < 2:
            raise
    else:
        found = [orjson.dumps(element) for element in whole] if isinstance(whole, list) else [body]
    if not 0 < len(found) <= MAX_MESSAGES:
        raise InvalidMessage("invalid", f"found {len(found):,} messages; expected 1 to {MAX_MESSAGES:,}")
    return found


def each(items: Sequence[bytes], check: Callable[[bytes], T]) -> list[T]:
    """Return what ``check`` makes of every item; an error tells which item it is about.

    Raises
    ------
    InvalidMessage
        Of the first bad item, its place before ``where``.
    """
    checked: list[T] = []
    for i, item in enumerate(items):
        try:
            checked.append(check(item))
        except InvalidTicket as error:
            raise InvalidMessage(error.reason, str(error), _place(i, items, "ticket")) from error
        except InvalidMessage as error:
            raise InvalidMessage(error.code, str(error), _place(i, items, error.where)) from error
    return checked


def _place(i: int, items: Sequence[bytes], where: str) -> str:
    if len(items) == 1:
        return where
    return f"{i}.{where}" if where else str(i)


def event_key(event_map: EventMap | None) -> Callable[[bytes], bytes | None]:
    """Return the function that checks an event to be appended and returns its key, the event's id.

    With ``[events.map]`` the engine applies the map, and anything that is a JSON object may pass here.
    """

    def plain(value: bytes) -> bytes | None:
        return decode_event(value).event_id.encode()

    def mapped(value: bytes) -> bytes | None:
        record = decode_json(value, MAX_EVENT_BYTES)
        if not isinstance(record, dict):
            raise InvalidMessage("not_an_object", f"found {described(record)}; expected a JSON object")
        found = None if event_map is None or event_map.id is None else find(record, event_map.id)
        return None if found is None else str(found).encode()

    return plain if event_map is None else mapped


def event_to_score(event_map: EventMap | None) -> Callable[[bytes], DecodedEvent]:
    """Return the function that decodes an event which is only to be scored."""
    if event_map is None:
        return decode_event
    return lambda value: decode_mapped(value, event_map, "score")


def reply_check(
    settings: Settings, office: TicketOffice, current: Callable[[], Snapshot]
) -> Callable[[bytes], bytes]:
    """Return the function that checks a reply as the fold will, and returns its key.

    The fold has the last word (it alone knows who has voted); this one tells a client at once.
    """
    task = settings.task

    def check(value: bytes) -> bytes:
        reply = decode_reply(value)
        if not isinstance(reply, LabelReply):
            raise InvalidMessage(
                "invalid",
                f'kind: found {described(reply.kind)}; expected "reply": others cannot be posted',
                "kind",
            )
        offered: tuple[str, ...] = ()
        if reply.ticket is not None:
            offered = office.verify(reply.ticket).labels
        elif not settings.labels.organic:
            raise InvalidMessage(
                "organic_refused",
                "the reply has no ticket and labels.organic is false; answer a request, or allow organic "
                "labels",
                "ticket",
            )
        known = (*offered, *current().labels, *task.labels)
        if reply.label is not None and reply.label not in known and not task.open_labels:
            expected = list(dict.fromkeys(known))
            raise InvalidMessage(
                "unknown_label", f"label {described(reply.label)} found; expected one of {expected}", "label"
            )
        return reply.reply_id.encode()

    return check


def asking_control(body: bytes) -> Control:
    """Return the control message of ``{"chosen": bool, "floor": bool}``; at least one of them.

    Raises
    ------
    InvalidMessage
        It is something else.
    """
    found = decode_json(body, MAX_BODY_BYTES)
    known = {"chosen", "floor"}
    if not isinstance(found, dict) or not found or not found.keys() <= known:
        shown = described(found) if not isinstance(found, dict) else f"the keys {sorted(found)}"
        raise InvalidMessage("invalid", f'found {shown}; expected {{"chosen": true or false, "floor": …}}')
    for name, value in found.items():
        if not isinstance(value, bool):
            raise InvalidMessage("invalid", f"found {described(value)}; expected true or false", name)
    return Control(chosen_asks=found.get("chosen"), floor_asks=found.get("floor"))
