"""Encoding: stateless, finite, bounded, and the same in every process."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_al.decode import DecodedEvent
from stream_al.encode import (
    MAX_CLEAR,
    MAX_WORD_IDS,
    EncodedInput,
    EncodingOptions,
    encode,
    from_message,
    hashed_words,
)
from stream_al.errors import ConfigurationError
from stream_al_schemas import EncodedMessage

LAW = settings(derandomize=True, deadline=None, database=None, max_examples=300)
OPTIONS = EncodingOptions()
WORDS_ONLY = EncodingOptions(bits=13, char_ngrams=None)


def event(
    features: dict[str, Any] | None = None, text: str | None = None, vector: list[float | None] | None = None
) -> DecodedEvent:
    return DecodedEvent("e", features, text, vector, 1.0, {})


scalars = st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.floats() | st.text(max_size=90)
events = st.builds(
    event,
    st.none()
    | st.dictionaries(st.text(min_size=1, max_size=4), scalars, max_size=6)
    | st.dictionaries(st.text(min_size=1, max_size=4), st.floats() | st.integers(), max_size=6),
    st.none() | st.text(max_size=80),
    st.none() | st.lists(st.none() | st.floats(), max_size=5),
)


@LAW
@given(events)
def test_numbers_are_finite_and_messages_carry_all(found: DecodedEvent) -> None:
    encoded = encode(found, OPTIONS)
    row = np.fromiter(encoded.numbers.values(), np.float64, len(encoded.numbers))
    assert np.isfinite(row).all()
    assert encoded.plain == (not encoded.categories)
    text = orjson.dumps(encoded.to_message())
    again = from_message(orjson.loads(text))
    assert again.numbers == {name: float(value) for name, value in encoded.numbers.items()}
    assert again[1:] == encoded[1:]
    assert orjson.dumps(again.to_message()) == text
    assert from_message(EncodedMessage.model_validate_json(text)) == again
    assert again == encode(found, OPTIONS) or any(abs(v) > 2**53 for v in encoded.numbers.values())


def test_plain_numbers_are_not_copied() -> None:
    features = {"a": 1.5, "b": 2, "c": True}
    encoded = encode(event(features), OPTIONS)
    assert encoded.numbers is features
    assert encoded == EncodedInput({"a": 1.5, "b": 2.0, "c": 1.0})
    assert encoded.plain


@pytest.mark.parametrize("missing", [None, math.nan, math.inf, -math.inf, 10**400])
def test_what_is_missing_is_left_out(missing: Any) -> None:
    assert encode(event({"a": 1.0, "b": missing}), OPTIONS).numbers == {"a": 1.0}
    assert encode(event(None, None, [0.5, missing, 2.0]), OPTIONS).numbers == {
        "vector[0]": 0.5,
        "vector[2]": 2.0,
    }


def test_huge_numbers_stay_whatever_their_sum() -> None:
    huge = {"a": 1.7e308, "b": 1.7e308}
    assert encode(event(huge), OPTIONS).numbers == huge
    assert encode(event({"a": 10**309, "b": -(10**309), "c": 1}), OPTIONS).numbers == {"c": 1.0}


def test_strings_are_categories() -> None:
    encoded = encode(event({"country": "NZ", "amount": 2, "empty": ""}), OPTIONS)
    assert encoded == EncodedInput({"amount": 2.0}, ("country=NZ", "empty="))
    assert not encoded.plain


def test_long_values_are_hashed_so_no_ticket_holds_them() -> None:
    short, long = "s" * MAX_CLEAR, "s" * (MAX_CLEAR + 1)
    assert encode(event({"a": short}), OPTIONS).categories == (f"a={short}",)
    assert encode(event({"a": long}), OPTIONS).categories == ("a=#cf00898851ce5fe2",)


def test_features_and_vector_stand_side_by_side() -> None:
    features = {"a": 1.0}
    encoded = encode(event(features, None, [1, None, -0.5]), OPTIONS)
    assert encoded.numbers == {"a": 1.0, "vector[0]": 1.0, "vector[2]": -0.5}
    assert features == {"a": 1.0}


def test_hashes_are_the_same_for_ever() -> None:
    assert hashed_words("Free entry! FREE", WORDS_ONLY) == {4380: 2, 5398: 1}
    assert hashed_words("ok", OPTIONS) == {326: 1, 26653: 1, 30996: 1, 17980: 1}


def test_case_and_form_of_letters_do_not_matter() -> None:
    assert hashed_words("STRASSE Café", OPTIONS) == hashed_words("straße cafe\u0301", OPTIONS)
    assert hashed_words("ｆｒｅｅ", OPTIONS) == hashed_words("free", OPTIONS)


def test_words_and_their_parts_have_ids_of_their_own() -> None:
    pairs = EncodingOptions(word_ngrams=(1, 2), char_ngrams=None)
    assert len(hashed_words("one two three", pairs)) == 5
    assert len(hashed_words("abc", EncodingOptions(char_ngrams=(3, 4)))) == 1 + 3 + 2
    assert hashed_words("one two", WORDS_ONLY) == hashed_words("two, one", WORDS_ONLY)


def test_kept_and_new_words_have_the_same_ids() -> None:
    ids = hashed_words("kept kept", OPTIONS)
    assert ids == hashed_words("kept kept", OPTIONS)
    assert set(ids.values()) == {2}
    assert max(hashed_words("x" * 40, OPTIONS).values()) == 38  # longer than any word that is kept


def test_text_is_bounded() -> None:
    text = " ".join(f"w{i}" for i in range(30_000))
    ids = hashed_words(text, OPTIONS)
    assert len(ids) == MAX_WORD_IDS
    assert ids == hashed_words(text[:20_000], OPTIONS)
    assert hashed_words("one two", EncodingOptions(max_text=3)) == hashed_words("one", OPTIONS)
    assert len(hashed_words("\ufdfa" * 20_000, OPTIONS)) < MAX_WORD_IDS  # each becomes 18 characters


@pytest.mark.parametrize("bits", [8, 13, 22])
def test_ids_are_below_two_to_the_bits(bits: int) -> None:
    ids = hashed_words(" ".join(map(str, range(2_000))), EncodingOptions(bits=bits))
    assert 0 <= min(ids) <= max(ids) < 2**bits
    assert max(ids) > 2 ** (bits - 1)


def test_no_text_and_no_words_are_two_things() -> None:
    assert encode(event({"a": 1.0}), OPTIONS).words is None
    assert encode(event(None, ""), OPTIONS).words == {}
    assert "words" not in encode(event({"a": 1.0}), OPTIONS).to_message()


def test_nulls_of_a_message_are_missing() -> None:
    assert from_message({"numbers": {"a": None, "b": 1}}) == EncodedInput({"b": 1.0})
    assert from_message(EncodedMessage(numbers={"a": None, "b": 1.0})) == EncodedInput({"b": 1.0})


@pytest.mark.parametrize(
    "options",
    [
        {"bits": 7},
        {"bits": 23},
        {"word_ngrams": (0, 1)},
        {"word_ngrams": (2, 1)},
        {"char_ngrams": (3, 11)},
        {"max_text": 0},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="expected"):
        EncodingOptions(**options)
