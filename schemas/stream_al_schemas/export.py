"""JSON Schema files of the messages, for programs that are not written in Python.

``python -m stream_al_schemas.export schemas`` renews the committed ``schemas/json`` and
``schemas/examples``; a test compares both with the models.
"""

from __future__ import annotations

import json
import re
import sys
from inspect import cleandoc
from pathlib import Path
from typing import Any

from stream_al_schemas import MESSAGES
from stream_al_schemas.base import Message
from stream_al_schemas.examples import FULL, MINIMAL

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def kebab_name(message: type[Message]) -> str:
    """Return the file name of a message, without its ending.

    >>> from stream_al_schemas import LabelRequest
    >>> kebab_name(LabelRequest)
    'label-request'
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", message.__name__).lower()


def json_schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema (2020-12) of every message by kebab-case name."""
    return {kebab_name(message): _schema(message) for message in MESSAGES}


def _schema(message: type[Message]) -> dict[str, Any]:
    body = message.model_json_schema()
    head = {
        "$schema": DIALECT,
        "$id": f"urn:stream-al:schema:1:{kebab_name(message)}",
        "title": message.__name__,
        "description": cleandoc(message.__doc__ or ""),
    }
    return head | {key: value for key, value in body.items() if key not in head}


def examples() -> dict[str, bytes]:
    """Return the example messages as bytes by ``<kebab-name>.<full|minimal>``."""
    found: dict[str, bytes] = {}
    for size, messages in (("full", FULL), ("minimal", MINIMAL)):
        for message in messages:
            found[f"{kebab_name(type(message))}.{size}"] = message.to_json()
    return found


def write(directory: Path) -> list[Path]:
    """Write every schema to ``<directory>/<kebab-name>.json`` and return the paths."""
    texts = {
        name: json.dumps(schema, indent=2, ensure_ascii=False).encode()
        for name, schema in json_schemas().items()
    }
    return _write(directory, texts)


def write_examples(directory: Path) -> list[Path]:
    """Write every example to ``<directory>/<kebab-name>.<full|minimal>.json`` and return the paths."""
    return _write(directory, examples())


def _write(directory: Path, texts: dict[str, bytes]) -> list[Path]:
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / f"{name}.json" for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        path.write_bytes(text + b"\n")
    return paths


if __name__ == "__main__":
    root = Path(sys.argv[1] if len(sys.argv) > 1 else "schemas")
    write(root / "json")
    write_examples(root / "examples")
