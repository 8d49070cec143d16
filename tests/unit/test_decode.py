"""Decoding: as fast as the common event allows, as exact as the model, and nothing ever breaks it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from stream_al.decode import (
    DecodedEvent,
    dead_letter,
    decode_event,
    decode_event_fields,
    decode_json,
    decode_mapped,
    decode_reply,
)
from stream_al.errors import InvalidMessage
from stream_al.log.protocol import Record
from stream_al.mapping import EventMap
from stream_al.strict_json import MAX_DEPTH
from stream_al_schemas import MAX_EVENT_BYTES, MAX_KEPT_BYTES, Control, DeadLetter, Event, LabelReply, Sample
from stream_al_schemas.export import examples

LAW = settings(derandomize=True, deadline=None, database=None, max_examples=400)

floats = st.floats(allow_nan=False, allow_infinity=False)
integers = st.integers(-(2**63), 2**64 - 1)
scalars = st.none() | st.booleans() | integers | floats | st.text(max_size=8)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
names = st.text(max_size=6) | st.sampled_from(["a" * 256, "a" * 257, "é" * 256])
near_events = st.fixed_dictionaries(
    {},
    optional={
        "event_id": st.text(max_size=3) | st.sampled_from(["a" * 256, "a" * 257, 3, None]),
        "schema_version": st.sampled_from([1, 1, 1, 2, True, 1.0, "1", None]),
        "timestamp": scalars | values,
        "features": st.dictionaries(names, scalars, max_size=5)
        | st.dictionaries(names, floats, max_size=5)
        | st.dictionaries(names, values, max_size=3)
        | values,
        "text": st.text(max_size=5) | values,
        "vector": st.lists(floats | st.none() | integers, max_size=4)
        | st.lists(scalars, max_size=3)
        | values,
        "weight": floats | st.sampled_from([0, 1, 1e6, 1e6 + 1, -1, True, "1"]) | values,
        "payload": values | st.dictionaries(st.text(max_size=3), values, max_size=2),
        "unknown": values,
    },
)
usual_events = st.fixed_dictionaries(
    {"event_id": st.text(min_size=1, max_size=5)},
    optional={
        "timestamp": st.none() | integers | floats | st.text(),
        "text": st.text(),
        "features": st.dictionaries(st.text(min_size=1, max_size=5), scalars, max_size=5),
        "vector": st.lists(floats | st.none() | integers, max_size=4),
        "weight": st.floats(1e-3, 1e6),
    },
)


def error_of(decode: Callable[[bytes], object], value: bytes) -> InvalidMessage | None:
    try:
        decode(value)
    except InvalidMessage as error:
        return error
    return None


def code_of(value: bytes) -> str:
    with pytest.raises(InvalidMessage) as caught:
        decode_event(value)
    return caught.value.code


@LAW
@given(near_events | usual_events)
def test_the_fast_path_accepts_what_the_model_accepts_and_gives_the_same(fields: dict[str, Any]) -> None:
    fields = orjson.loads(orjson.dumps(fields))
    try:
        event = Event.model_validate(fields)
    except ValidationError:
        with pytest.raises(InvalidMessage):
            decode_event_fields(fields)
        return
    found = decode_event_fields(fields)
    expected = (event.event_id, event.features, event.text, event.vector, event.weight or 1.0)
    assert repr(found[:5]) == repr(expected)  # repr tells 1 from 1.0 and True
    assert Event.model_validate(found.raw) == event
    assert found.raw.keys() <= Event.model_fields.keys()


@pytest.mark.parametrize(
    "fields",
    [
        {"event_id": "e", "features": {"a": 1.0, "b": 2}},
        {"event_id": "e", "schema_version": 1, "features": {"a": None, "b": "x", "c": True}, "weight": 2},
        {"event_id": "e", "timestamp": 1, "text": "x", "vector": [0.5, None, 1], "payload": {"a": [1]}},
    ],
)
def test_usual_events_do_not_need_the_model(fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the model was asked")

    expected = DecodedEvent.of(Event.model_validate(fields), fields)
    monkeypatch.setattr(Event, "model_validate", refuse)
    assert decode_event(orjson.dumps(fields)) == expected


@LAW
@given(st.binary(max_size=40) | values.map(orjson.dumps) | near_events.map(orjson.dumps))
def test_no_bytes_raise_anything_but_invalid_message(value: bytes) -> None:
    for decode in (decode_event, decode_reply, decode_json):
        error = error_of(decode, value)
        if error is not None:
            assert error.code in {"not_utf8", "not_json", "not_an_object", "invalid"}
            assert str(error)
            assert len(error.where) <= 512


@LAW
@given(values)
def test_json_is_read_as_the_parser_reads_it(value: object) -> None:
    text = orjson.dumps(value)
    assert decode_json(text) == orjson.loads(text)
    beside_overflow = decode_json(b"[1e999," + text + b"]")  # takes the slow way
    assert repr(beside_overflow) == repr([None, orjson.loads(text)])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"1e400", None),
        (b"[-1e400, 1e-400]", [None, 0.0]),
        (b"9" * 400, None),
        (b"9" * 5000, None),
        (b"[1e400, 18446744073709551615, 18446744073709551616]", [None, 2**64 - 1, float(2**64)]),
        (b"[1e400, -9223372036854775808, -9223372036854775809]", [None, -(2**63), -float(2**63)]),
        (b'{"a": {"b": [1E+999, "1e999", true]}}', {"a": {"b": [None, "1e999", True]}}),
    ],
)
def test_a_number_that_overflows_is_null(text: bytes, expected: object) -> None:
    assert repr(decode_json(text)) == repr(expected)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"", "not_json"),
        (b" \n", "not_json"),
        (b"{", "not_json"),
        (b'{"event_id":"e","text":"x"}{}', "not_json"),
        (b'{"event_id":"e","features":{"a":NaN}}', "not_json"),
        (b'{"event_id":"e","features":{"a":Infinity}}', "not_json"),
        (b'{"event_id":"e","features":{"a":1e999,"b":-Infinity}}', "not_json"),
        (b'{"event_id":"e","text":"\\ud800"}', "not_json"),
        (b'{"event_id":"e","features":{"a":1e999},"text":"\\ud800"}', "not_json"),
        (b'{"event_id":"e","features":{"a":1e999},"text":"\x01"}', "not_json"),
        (b'{"event_id":"e","text":"\xff"}', "not_utf8"),
        (b'\xef\xbb\xbf{"event_id":"e","text":"x"}', "not_json"),
        (b"[]", "not_an_object"),
        (b"3", "not_an_object"),
        (b"[" * 1_000 + b"]" * 1_000, "too_deep"),
        (b"[" * 200_000, "too_deep"),
        (b'{"a":' * 40_000, "too_deep"),
        (b'{"event_id":"e","features":{"a":1e999},"payload":' + b"[" * 90 + b"]" * 90 + b"}", "too_deep"),
        (b'{"event_id":"e"}', "invalid"),
        (b" " * (MAX_EVENT_BYTES + 1), "too_large"),
    ],
)
def test_codes(value: bytes, code: str) -> None:
    assert code_of(value) == code


def test_depth_is_bounded_and_brackets_in_strings_do_not_count() -> None:
    def nested(levels: int) -> bytes:
        return b"[" * levels + b"]" * levels

    decode_json(nested(MAX_DEPTH))
    with pytest.raises(InvalidMessage, match="64"):
        decode_json(nested(MAX_DEPTH + 1))
    text = "[" * 500 + '"\\[{' * 20
    assert decode_json(orjson.dumps({"a": text, "b": [{}] * 100})) == {"a": text, "b": [{}] * 100}
    with pytest.raises(InvalidMessage) as caught:
        decode_json(b'"' + b'\\"' * 120_000 + b"[" * 100)  # an open string full of quotes: linear time
    assert caught.value.code == "not_json"


def test_an_event_of_the_largest_size_is_read() -> None:
    head = b'{"event_id":"e","text":"'
    value = head + b"x" * (MAX_EVENT_BYTES - len(head) - 2) + b'"}'
    assert decode_event(value).event_id == "e"
    assert code_of(value + b" ") == "too_large"


@pytest.mark.parametrize(
    ("value", "where", "message"),
    [
        (
            {"event_id": "e", "features": {"a": [1]}},
            "features.a",
            "features.a: found an array of 1; expected a boolean or an integer or a number or a string",
        ),
        ({"event_id": "e", "vector": [1, "x"]}, "vector.1", 'vector.1: found "x"; expected a number'),
        ({"text": "x"}, "event_id", "event_id: found nothing; expected a value"),
        ({"event_id": None, "text": "x"}, "event_id", "event_id: found null; expected a string"),
        ({"event_id": "e"}, "", "an event needs at least one of features, text, vector"),
        (
            {"event_id": "e", "timestamp": True, "text": ""},
            "timestamp",
            "timestamp: found true; expected a string or an integer or a number",
        ),
        ({"event_id": "e", "text": "", "payload": 3}, "payload", "payload: found 3; expected an object"),
        (
            {"event_id": "e", "text": "", "schema_version": 2},
            "schema_version",
            "schema_version: found 2; expected 1",
        ),
        ({"event_id": "e", "text": {"a": 1}}, "text", "text: found an object of 1; expected a string"),
        (
            {"event_id": "x" * 300, "text": ""},
            "event_id",
            f'event_id: found "{"x" * 40}…" of 300 characters; expected at most 256 characters',
        ),
    ],
)
def test_errors_say_where_what_was_found_and_what_was_expected(
    value: dict[str, Any], where: str, message: str
) -> None:
    with pytest.raises(InvalidMessage) as caught:
        decode_event(orjson.dumps(value))
    assert (caught.value.code, caught.value.where, str(caught.value)) == ("invalid", where, message)


def test_the_place_of_an_error_is_bounded() -> None:
    with pytest.raises(InvalidMessage) as caught:
        decode_event(orjson.dumps({"event_id": "e", "features": {"n" * 9_000: 1}}))
    assert len(caught.value.where) == 512
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize("fields", [{"text": "x"}, {"text": "x", "event_id": None}])
def test_an_event_without_an_id_takes_the_fallback(fields: dict[str, Any]) -> None:
    found = decode_event(orjson.dumps(fields), "events/0/7")
    assert found.event_id == found.raw["event_id"] == "events/0/7"
    assert decode_event(b'{"event_id":"e","text":"x"}', "events/0/7").event_id == "e"


def test_unknown_fields_never_reach_people() -> None:
    found = decode_event(b'{"event_id":"e","text":"x","answer":"spam","payload":{"url":"u"}}')
    assert found.raw == {"event_id": "e", "text": "x", "payload": {"url": "u"}}
    assert found.payload == {"url": "u"}


def test_a_mapped_record_is_judged_as_an_event() -> None:
    event_map = EventMap(id="id", text="body")
    found = decode_mapped(b'{"id": 7, "body": "hi", "n": 1e999, "m": 2}', event_map, "t/0/1")
    assert found[:3] == ("7", {"n": None, "m": 2}, "hi")
    with pytest.raises(InvalidMessage) as caught:
        decode_mapped(b'{"id": ""}', event_map, "t/0/1")
    assert caught.value.where == "event_id"


@pytest.mark.parametrize("size", ["full", "minimal"])
@pytest.mark.parametrize(
    ("name", "kind"), [("label-reply", LabelReply), ("sample", Sample), ("control", Control)]
)
def test_replies_are_told_apart_by_kind(name: str, kind: type, size: str) -> None:
    value = examples()[f"{name}.{size}"]
    found = decode_reply(value)
    assert type(found) is kind
    assert found.to_json() == value


def test_without_kind_it_is_a_reply() -> None:
    value = json.loads(examples()["label-reply.full"])
    del value["kind"]
    assert isinstance(decode_reply(orjson.dumps(value)), LabelReply)


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"kind": "vote"}, "kind"),
        ({"kind": ["reply"]}, "kind"),
        ({"kind": None}, "kind"),
        ({"kind": "sample"}, "event_id"),
        ({"reply_id": "r", "annotator_id": "a", "label": "x", "event": {"text": "x"}}, "event.event_id"),
    ],
)
def test_bad_replies_say_where(value: dict[str, Any], where: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        decode_reply(orjson.dumps(value))
    assert (caught.value.code, caught.value.where) == ("invalid", where)


def test_a_dead_letter_keeps_a_bounded_part_and_describes_the_whole() -> None:
    value = bytes(range(256)) * 4_000
    record = Record("events", 3, 9, 1_000, b"k" * 100_000, value)
    error = InvalidMessage("invalid", "m" * 5_000 + "\ud800", "w" * 5_000)
    letter = dead_letter(record, "event", error, failed_at=2_000)
    assert base64.b64decode(letter.value) == value[:MAX_KEPT_BYTES]
    assert base64.b64decode(letter.key or "") == b"k" * MAX_KEPT_BYTES
    assert (letter.length, letter.sha256) == (len(value), hashlib.sha256(value).hexdigest())
    assert (len(letter.error.message), len(letter.error.where)) == (2_000, 512)
    assert len(letter.to_json()) < 200_000
    assert DeadLetter.model_validate_json(letter.to_json()) == letter


def test_a_dead_letter_of_a_small_record_holds_all_of_it() -> None:
    golden = json.loads(examples()["dead-letter.full"])
    value = base64.b64decode(golden["value"])
    with pytest.raises(InvalidMessage) as caught:
        decode_event(value)
    record = Record("stream-al.events", 0, 9, 0, base64.b64decode(golden["key"]), value)
    letter = dead_letter(record, "event", caught.value, golden["failed_at"])
    assert letter.to_json() == examples()["dead-letter.full"]
