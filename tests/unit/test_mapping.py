"""Event maps: other people's records as events, by dotted paths and globs."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from stream_al.decode import decode_event_fields
from stream_al.errors import InvalidMessage
from stream_al.mapping import EventMap, find

LAW = settings(derandomize=True, deadline=None, database=None, max_examples=200)
SOURCE = "events/2/41"
RECORD: dict[str, Any] = {
    "id": 7421,
    "meta": {"at": "2026-01-01T00:00:00Z", "trust": 2},
    "order": {
        "amount": 129.9,
        "gift": True,
        "ship": {"country": "NZ", "days": None},
        "items": [{"price": 3.5, "name": "pen"}, {"price": 8, "name": "ink"}],
    },
    "note": "leave it at the door",
    "embedding": [0.5, None, 1],
    "photo": "https://example.org/7421.png",
    "label": "fraud",
}


def test_a_nested_record_becomes_an_event() -> None:
    event_map = EventMap(
        id="id",
        timestamp="meta.at",
        text="note",
        vector="embedding",
        weight="meta.trust",
        payload=("photo", "order.items.0.name"),
        exclude=("label",),
    )
    assert event_map.apply(RECORD, SOURCE) == {
        "event_id": "7421",
        "timestamp": "2026-01-01T00:00:00Z",
        "text": "leave it at the door",
        "vector": [0.5, None, 1],
        "weight": 2,
        "features": {
            "order.amount": 129.9,
            "order.gift": True,
            "order.ship.country": "NZ",
            "order.ship.days": None,
        },
        "payload": {"photo": "https://example.org/7421.png", "order.items.0.name": "pen"},
    }


def test_features_may_be_an_object_of_the_record() -> None:
    assert EventMap(features="order.ship").apply(RECORD, SOURCE)["features"] == {
        "country": "NZ",
        "days": None,
    }
    assert EventMap(features="order.items.1").apply(RECORD, SOURCE)["features"] == {"price": 8, "name": "ink"}
    # what the map uses elsewhere is no feature, by its path in the record
    found = EventMap(features="order", payload=("order.ship",)).apply(RECORD, SOURCE)
    assert found["features"] == {"amount": 129.9, "gift": True}
    assert found["payload"] == {"order.ship": {"country": "NZ", "days": None}}


@pytest.mark.parametrize(
    ("include", "exclude", "names"),
    [
        ((), ("*",), set()),
        ((), ("order.*", "photo", "note", "meta.*", "label"), {"id"}),
        (
            ("order.*",),
            (),
            {"amount", "gift", "ship.country", "ship.days"}
            | {f"items.{i}.{k}" for i in (0, 1) for k in ("price", "name")},
        ),
        (("order.items.*.price",), (), {"items.0.price", "items.1.price"}),
        (("order.items.0.*", "order.gift"), ("*.name",), {"items.0.price", "gift"}),
        (("order.ship.*",), ("*.d?ys",), {"ship.country"}),
    ],
)
def test_globs_choose_features(include: tuple[str, ...], exclude: tuple[str, ...], names: set[str]) -> None:
    found = EventMap(include=include, exclude=exclude).apply(RECORD, SOURCE)
    expected = {name if name == "id" else f"order.{name}" for name in names}
    assert set(found.get("features", {})) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a-1", "a-1"),
        (7, "7"),
        (-3, "-3"),
        (1.5, "1.5"),
        (2**63, str(2**63)),
        (None, SOURCE),
    ],
)
def test_ids_become_strings_and_a_missing_one_the_place(value: object, expected: str) -> None:
    assert EventMap(id="key").apply({"key": value, "a": 1}, SOURCE)["event_id"] == expected
    assert EventMap(id="other").apply({"key": value, "a": 1}, SOURCE)["event_id"] == SOURCE


@pytest.mark.parametrize(
    ("event_map", "record", "code", "where"),
    [
        (EventMap(), [1], "not_an_object", ""),
        (EventMap(id="a.b"), {"a": {"b": True}}, "invalid", "a.b"),
        (EventMap(id="a.b"), {"a": {"b": {}}}, "invalid", "a.b"),
        (EventMap(id="a"), {"a": 1.2345678901234568e22}, "invalid", "a"),
        (EventMap(text="a"), {"a": 3}, "invalid", "a"),
        (EventMap(timestamp="a"), {"a": True}, "invalid", "a"),
        (EventMap(vector="a"), {"a": {"0": 1}}, "invalid", "a"),
        (EventMap(weight="a"), {"a": "2"}, "invalid", "a"),
        (EventMap(features="a.0"), {"a": [3]}, "invalid", "a.0"),
    ],
)
def test_errors_name_the_path_in_the_record(event_map: EventMap, record: Any, code: str, where: str) -> None:
    with pytest.raises(InvalidMessage, match="expected") as caught:
        event_map.apply(record, SOURCE)
    assert (caught.value.code, caught.value.where) == (code, where)


def test_a_record_without_content_is_not_an_event() -> None:
    for record in ({"id": 1}, {}, {"id": 1, "empty": {}, "list": [1, 2]}):
        with pytest.raises(InvalidMessage, match="at least one of"):
            decode_event_fields(EventMap(id="id").apply(record, SOURCE))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("order.items.0.price", 3.5),
        ("order.items.2.price", None),
        ("order.items.x", None),
        ("order.items.-1", None),
        ("order.amount.more", None),
        ("order..amount", None),
        ("nothing", None),
    ],
)
def test_paths(path: str, expected: object) -> None:
    assert find(RECORD, path) == expected


def test_keys_that_hold_dots_are_found() -> None:
    assert find({"a.b": 1, "a": {"b": 2}}, "a.b") == 1
    assert find({"a": {"b.c": 3}}, "a.b.c") == 3
    assert EventMap(text="a.b").apply({"a.b": "hi", "n": 1}, SOURCE) == {
        "event_id": SOURCE,
        "text": "hi",
        "features": {"n": 1},
    }


def test_a_map_is_frozen_hashable_and_strict() -> None:
    event_map = EventMap.model_validate({"id": "id", "include": ["a*"], "payload": ["b"]})
    event_map.apply({"a": 1}, SOURCE)  # what it remembers does not change what it is
    assert event_map == EventMap(id="id", include=("a*",), payload=("b",))
    assert hash(event_map) == hash(EventMap(id="id", include=("a*",), payload=("b",)))
    assert event_map.model_dump(exclude_defaults=True) == {"id": "id", "include": ("a*",), "payload": ("b",)}
    with pytest.raises(ValidationError, match="frozen"):
        event_map.id = "other"
    with pytest.raises(ValidationError, match="Extra inputs"):
        EventMap.model_validate({"ids": "id"})
    with pytest.raises(ValidationError):
        EventMap(id="")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
)


@LAW
@given(json_values, st.sampled_from(["a", "a.b", "a.0", "b.c.0"]), st.booleans())
def test_any_record_is_an_event_or_an_invalid_message(record: object, path: str, arrays: bool) -> None:
    event_map = EventMap(
        id=path, text="c", features=None, vector="b", payload=("a.c",), include=("*",) if arrays else ()
    )
    try:
        found = decode_event_fields(event_map.apply(record, SOURCE))
    except InvalidMessage:
        return
    orjson.dumps(found.raw)
    assert found.event_id
