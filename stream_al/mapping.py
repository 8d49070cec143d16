"""``[events.map]``: other people's JSON records as events, without a converter.

A place in a record is a dotted path: ``order.items.0.price``. A key that holds dots itself is found too,
since a whole remaining path is tried as one key first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import translate
from functools import cached_property
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from stream_al.errors import InvalidMessage
from stream_al.strict_json import described

Path = Annotated[str, Field(min_length=1, max_length=512)]
Glob = Annotated[str, Field(min_length=1, max_length=512)]
_EXACT = 2**53
"""A float from here on may stand for several integers: no id can be read from it."""


class EventMap(BaseModel):
    """Where a JSON record keeps what an event needs; every value is a dotted path or a glob.

    Attributes
    ----------
    id : str or None
        Numbers become strings. Not set, or null in a record: the id is ``topic/partition/offset``.
    timestamp, text, vector, weight : str or None
        A record without them is an event without them.
    features : str or None
        An object whose leaves are the features; not set: the whole record. Names are dotted paths below
        it. What the map uses elsewhere (id, text, payload, ...) is no feature.
    include : tuple of str
        Shell globs over feature names; ``*`` crosses dots. Empty: everything but elements of arrays, which
        are taken only where a glob is given.
    exclude : tuple of str
        Globs of features to leave out; they win over ``include``. The answer belongs here.
    payload : tuple of str
        What people see of the record, by path; never a feature.

    Examples
    --------
    >>> event_map = EventMap(id="order.id", text="note", exclude=("label",))
    >>> event_map.apply({"order": {"id": 7, "total": 9.5}, "note": "hi", "label": "ok"}, "events/0/12")
    {'event_id': '7', 'text': 'hi', 'features': {'order.total': 9.5}}
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Path | None = None
    timestamp: Path | None = None
    text: Path | None = None
    features: Path | None = None
    include: tuple[Glob, ...] = ()
    exclude: tuple[Glob, ...] = ()
    vector: Path | None = None
    weight: Path | None = None
    payload: tuple[Path, ...] = ()

    def apply(self, record: object, source: str) -> dict[str, Any]:
        """Return the fields of an event, to be judged by `stream_al.decode.decode_event_fields`.

        Parameters
        ----------
        record : object
            A JSON value.
        source : str
            ``topic/partition/offset``: the id of a record without one.

        Raises
        ------
        InvalidMessage
            With code ``not_an_object`` or ``invalid``; ``where`` is the path in the record.
        """
        if not isinstance(record, dict):
            raise InvalidMessage("not_an_object", f"found {described(record)}; expected a JSON object")
        event: dict[str, Any] = {"event_id": self._id(record, source)}
        for field, path, kinds, expected in (
            ("timestamp", self.timestamp, (str, int, float), "a string or a number"),
            ("text", self.text, (str,), "a string"),
            ("vector", self.vector, (list,), "an array of numbers"),
            ("weight", self.weight, (int, float), "a number"),
        ):
            value = None if path is None else find(record, path)
            if value is None:
                continue
            if not isinstance(value, kinds) or isinstance(value, bool):
                raise _misplaced(path or "", value, expected)
            event[field] = value
        features = self._features(record)
        if features:
            event["features"] = features
        payload = {path: found for path in self.payload if (found := find(record, path)) is not None}
        if payload:
            event["payload"] = payload
        return event

    def _id(self, record: dict[str, Any], source: str) -> str:
        found = None if self.id is None else find(record, self.id)
        if found is None:
            return source
        if isinstance(found, str):
            return found
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise _misplaced(self.id or "", found, "a string or a number")
        if isinstance(found, float) and abs(found) >= _EXACT:
            raise _misplaced(self.id or "", found, "a number that JSON readers keep exactly, or a string")
        return str(found)

    def _features(self, record: dict[str, Any]) -> dict[str, Any]:
        root = record if self.features is None else find(record, self.features)
        if root is None:
            return {}
        if not isinstance(root, dict):
            raise _misplaced(self.features or "", root, "an object")
        prefix = "" if self.features is None else f"{self.features}."
        used, verdicts, arrays = self._used, self._verdicts, bool(self.include)
        taken: dict[str, Any] = {}
        for name, value in _leaves(root, "", prefix, used, arrays):
            wanted = verdicts.get(name)
            if wanted is None:
                wanted = self._wanted(name)
                if len(verdicts) < 10_000:  # names repeat; a record that invents new ones cannot fill memory
                    verdicts[name] = wanted
            if wanted:
                taken[name] = value
        return taken

    def _wanted(self, name: str) -> bool:
        include, exclude = self._globs
        return (include is None or bool(include.match(name))) and not (exclude and exclude.match(name))

    @cached_property
    def _used(self) -> frozenset[str]:
        """Paths that are no features since the map uses them otherwise."""
        others = (self.id, self.timestamp, self.text, self.vector, self.weight, *self.payload)
        return frozenset(path for path in others if path is not None)

    @cached_property
    def _globs(self) -> tuple[re.Pattern[str] | None, re.Pattern[str] | None]:
        return _any_of(self.include), _any_of(self.exclude)

    @cached_property
    def _verdicts(self) -> dict[str, bool]:
        return {}


def find(record: object, path: str) -> Any:
    """Return the value at a dotted path, or None where there is none.

    >>> find({"items": [{"price": 3}], "a.b": 1}, "items.0.price"), find({"a.b": 1}, "a.b")
    (3, 1)
    """
    place, rest = record, path
    while rest:
        if isinstance(place, dict):
            if rest in place:
                return place[rest]
            step, _, rest = rest.partition(".")
            place = place.get(step)
        elif isinstance(place, list):
            step, _, rest = rest.partition(".")
            place = place[int(step)] if step.isdecimal() and int(step) < len(place) else None
        else:
            return None
    return place


def _leaves(
    place: Any, name: str, prefix: str, used: frozenset[str], arrays: bool
) -> Iterator[tuple[str, Any]]:
    """Yield features below a place by dotted name; paths in ``used`` and what is below them are none."""
    pairs = place.items() if isinstance(place, dict) else enumerate(place)
    for key, value in pairs:
        below = f"{name}.{key}" if name else str(key)
        if prefix + below in used:
            continue
        if isinstance(value, dict):
            yield from _leaves(value, below, prefix, used, arrays)
        elif not isinstance(value, list):
            yield below, value
        elif arrays:
            yield from _leaves(value, below, prefix, used, arrays)


def _any_of(globs: tuple[str, ...]) -> re.Pattern[str] | None:
    return re.compile("|".join(map(translate, globs))) if globs else None


def _misplaced(path: str, found: object, expected: str) -> InvalidMessage:
    return InvalidMessage("invalid", f"{path}: found {described(found)}; expected {expected}", path)
