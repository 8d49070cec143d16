"""The message schemas: committed files are what the models say, and readers are tolerant but strict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from stream_al_schemas import MESSAGES, Control, Event, LabelReply, Message, Prediction, Sample
from stream_al_schemas.examples import FULL, MINIMAL
from stream_al_schemas.export import examples, json_schemas, kebab_name, write, write_examples

ROOT = Path(__file__).parents[2] / "schemas"
MEND = "run `python -m stream_al_schemas.export schemas` and look at the difference"
SCHEMAS = json_schemas()
BY_NAME = {kebab_name(message): message for message in MESSAGES}
LAW = settings(derandomize=True, deadline=None, database=None, max_examples=150)

scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


def near(message: type[Message]) -> st.SearchStrategy[dict[str, Any]]:
    """Return objects that resemble the message: right names, values right or arbitrary."""
    name = kebab_name(message)
    known = [json.loads(examples()[f"{name}.{size}"]) for size in ("full", "minimal")]
    fields = {
        field: st.sampled_from([k[field] for k in known if field in k] or [None]) | values
        for field in message.model_fields
        if field != "schema_version"
    }
    return st.fixed_dictionaries({}, optional=fields)


def is_valid(message: type[Message], value: object) -> bool:
    try:
        message.model_validate_json(json.dumps(value))
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(("folder", "writer"), [("json", write), ("examples", write_examples)])
def test_committed_files_are_what_the_models_say(folder: str, writer: Any, tmp_path: Path) -> None:
    generated = {path.name: path.read_bytes() for path in writer(tmp_path)}
    committed = {path.name: path.read_bytes() for path in (ROOT / folder).iterdir()}
    assert generated == committed, MEND


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_are_valid_and_say_who_they_are(name: str) -> None:
    schema = SCHEMAS[name]
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:stream-al:schema:1:{name}"
    assert schema["title"] == BY_NAME[name].__name__
    assert schema["description"]
    assert schema.get("additionalProperties", True) is True, "readers ignore unknown fields"


def test_every_message_has_a_full_and_a_minimal_example() -> None:
    assert [type(message) for message in FULL] == list(MESSAGES)
    assert [type(message) for message in MINIMAL] == list(MESSAGES)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.json")), ids=lambda p: p.stem)
def test_golden_files_are_valid_and_are_written_back_byte_by_byte(path: Path) -> None:
    name = path.name.split(".")[0]
    golden = path.read_bytes()
    Draft202012Validator(SCHEMAS[name]).validate(json.loads(golden))
    assert BY_NAME[name].model_validate_json(golden).to_json() + b"\n" == golden
    assert BY_NAME[name].model_validate(json.loads(golden)).to_json() + b"\n" == golden


@pytest.mark.parametrize("message", MESSAGES)
def test_unknown_fields_are_ignored(message: type[Message]) -> None:
    golden = examples()[f"{kebab_name(message)}.full"]
    more = json.loads(golden) | {"added_in_version_9": {"deep": [1]}}
    assert message.model_validate(more).to_json() == golden


@pytest.mark.parametrize("message", MESSAGES)
@LAW
@given(data=st.data())
def test_arbitrary_json_is_a_validation_error_or_valid_for_the_schema_too(
    message: type[Message], data: st.DataObject
) -> None:
    value = data.draw(near(message) | values)
    if is_valid(message, value):
        Draft202012Validator(SCHEMAS[kebab_name(message)]).validate(value)


TICKET = "0.eyJyZXF1ZXN0X2lkIjoiZXhhbXBsZSJ9.c2lnbmF0dXJl"
REPLY = {"reply_id": "r", "annotator_id": "a"}
EVENT = {"event_id": "e", "text": "x"}


@pytest.mark.parametrize(
    ("message", "value"),
    [
        (Event, {"event_id": "e"}),
        (Event, {"event_id": "e", "features": None, "text": None}),
        (Event, {"event_id": "", "text": "x"}),
        (Event, {"event_id": 1, "text": "x"}),
        (Event, {"event_id": "e", "features": {"": 1}}),
        (Event, {"event_id": "e", "features": {"a": [1]}}),
        (Event, {"event_id": "e", "vector": [True]}),
        (Event, {"event_id": "e", "text": "x", "weight": 0}),
        (Event, {"event_id": "e", "text": "x", "schema_version": 2}),
        (LabelReply, REPLY | {"label": "a"}),
        (LabelReply, REPLY | {"label": "a", "ticket": TICKET, "event": EVENT}),
        (LabelReply, REPLY | {"label": "a", "ticket": "short"}),
        (LabelReply, REPLY | {"ticket": TICKET}),
        (LabelReply, REPLY | {"ticket": TICKET, "label": "a", "status": "skipped"}),
        (LabelReply, REPLY | {"ticket": TICKET, "status": "maybe"}),
        (Control, {}),
        (Control, {"chosen_asks": None}),
        (
            Sample,
            {"event_id": "e", "source": {"topic": "t", "partition": 0, "offset": 0}, "input": {}, "q": 0},
        ),
    ],
)
def test_model_and_schema_refuse_alike(message: type[Message], value: dict[str, Any]) -> None:
    assert not is_valid(message, value)
    assert not Draft202012Validator(SCHEMAS[kebab_name(message)]).is_valid(value)


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize(
    ("message", "field"),
    [("prediction", "uncertainty"), ("sample", "q"), ("label-reply", "confidence"), ("event", "weight")],
)
def test_numbers_that_mean_something_are_finite(message: str, field: str, token: str) -> None:
    value = json.loads(examples()[f"{message}.full"])
    value[field] = "TOKEN"
    with pytest.raises(ValidationError):
        BY_NAME[message].model_validate_json(json.dumps(value).replace('"TOKEN"', token))


@pytest.mark.parametrize("word", ["a", "-1", "01", "12345678", ""])
def test_hashed_words_are_numbers(word: str) -> None:
    value = json.loads(examples()["sample.full"])
    value["input"]["words"] = {word: 1}
    assert not is_valid(Sample, value)


def test_a_feature_that_overflows_is_missing() -> None:
    event = Event.model_validate_json(b'{"event_id":"e","features":{"a":1e999,"b":1},"vector":[-1e999,2]}')
    assert event.features == {"a": None, "b": 1}
    assert event.vector == [None, 2.0]


def test_a_prediction_without_a_label_is_read_back() -> None:
    prediction = MINIMAL[1]
    assert isinstance(prediction, Prediction)
    assert Prediction.model_validate_json(prediction.to_json()) == prediction
    assert prediction.label is None
    assert Prediction.model_validate(json.loads(prediction.to_json()) | {"label": None}) == prediction


def test_messages_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        MINIMAL[0].schema_version = 1
