"""Strict JSON: no NaN, no lone surrogates, no depth bombs; a number beyond a double is null.

The C parser that does the work stops at numbers that overflow a double. Such a number is a missing value
for stream-al, not an error, so those rare documents take a slower way here, with the same strictness.
"""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import NoReturn

import orjson

from stream_al.errors import InvalidMessage

MAX_DEPTH = 64
"""Objects and arrays within each other; deep nesting is an attack or a mistake, and recursion is dear."""

_STRUCTURE = re.compile(rb'"(?:[^"\\]+|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
_UINT64, _INT64 = 2**64, -(2**63)


def decode_json(value: bytes, max_bytes: int | None = None) -> object:
    """Return the JSON value that these bytes hold; numbers that overflow a double are None.

    Integers outside of 64 bits become floats.

    Parameters
    ----------
    value : bytes
        UTF-8 JSON.
    max_bytes : int, optional
        Larger values are refused without being parsed.

    Raises
    ------
    InvalidMessage
        With code ``too_large``, ``not_utf8``, ``not_json`` or ``too_deep``.

    Examples
    --------
    >>> decode_json(b'{"a": [1, 2.5, 1e999]}')
    {'a': [1, 2.5, None]}
    """
    if max_bytes is not None and len(value) > max_bytes:
        raise InvalidMessage(
            "too_large",
            f"found {len(value):,} bytes; expected at most {max_bytes:,}; send an address instead",
        )
    refuse_depth(value)
    try:
        found: object = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        return _decode_slowly(value, error)
    return found


def refuse_depth(value: bytes) -> None:
    """Raise ``InvalidMessage`` with code ``too_deep`` where brackets nest deeper than 64.

    Depth cannot exceed the number of brackets: nearly all documents need no look at their structure.
    """
    if _many_brackets(value) and _depth(value) > MAX_DEPTH:
        raise InvalidMessage(
            "too_deep", f"found more than {MAX_DEPTH} objects or arrays within each other; expected fewer"
        )


def _many_brackets(value: bytes) -> bool:
    """Return whether there are more opening brackets than levels allowed; `find` is the fastest scan."""
    seen, find = 0, value.find
    for bracket in (b"{", b"["):
        place = find(bracket)
        while place >= 0:
            seen += 1
            if seen > MAX_DEPTH:
                return True
            place = find(bracket, place + 1)
    return False


def _depth(value: bytes) -> int:
    """Return how deep brackets nest outside of strings, in linear time."""
    depth = deepest = 0
    for token in _STRUCTURE.finditer(value):
        first = value[token.start()]
        if first in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif first in b"]}":
            depth -= 1
    return deepest


def _decode_slowly(value: bytes, error: orjson.JSONDecodeError) -> object:
    """Return the value of a document whose only fault is a number that overflows."""
    if not value.strip():
        raise InvalidMessage("not_json", "found nothing; expected JSON") from None
    try:
        text = value.decode()
    except UnicodeDecodeError as bad:
        raise InvalidMessage(
            "not_utf8", f"found byte 0x{value[bad.start]:02x} at {bad.start}; expected UTF-8"
        ) from None
    try:
        found = json.loads(text, parse_int=_integer, parse_float=_number, parse_constant=_refuse)
        orjson.dumps(found)  # refuses lone surrogates, which the standard library lets through
    except (ValueError, TypeError, RecursionError):
        raise InvalidMessage("not_json", f"found a value that is not JSON: {error}") from None
    return found


def _integer(digits: str) -> int | float | None:
    if len(digits) > 20:  # also keeps clear of the interpreter's limit on digits
        return _number(digits)
    number = int(digits)
    return number if _INT64 <= number < _UINT64 else float(number)


def _number(digits: str) -> float | None:
    number = float(digits)
    return number if isfinite(number) else None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def described(found: object) -> str:
    """Return what a JSON value is, short enough for an error message.

    >>> described([1, 2]), described("spam"), described(None), described(3.5)
    ('an array of 2', '"spam"', 'null', '3.5')
    """
    if isinstance(found, dict):
        return f"an object of {len(found)}"
    if isinstance(found, list | tuple):
        return f"an array of {len(found)}"
    if isinstance(found, str):
        return f'"{found}"' if len(found) <= 40 else f'"{found[:40]}…" of {len(found)} characters'
    if found is None or isinstance(found, bool):
        return {None: "null", True: "true", False: "false"}[found]
    text = repr(found)
    return text if len(text) <= 40 else f"{text[:40]}…"
