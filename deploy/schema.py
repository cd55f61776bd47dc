"""The JSON Schemas of what other programs read, made from its types and their own words."""

from __future__ import annotations

import inspect
import re
import sys
from typing import Any

import msgspec

from deploy.record import Record

_FIELD = re.compile(r"^    (\w+): ", re.MULTILINE)


def record_schema() -> dict[str, Any]:
    """Return the JSON Schema of `record.json`.

    What a field means is in its description. Fields may be added within a version, so unknown ones are let pass.
    """
    return described(Record, "Switchproof record of a run, version 1")


def described(kind: type, title: str) -> dict[str, Any]:
    """Return the JSON Schema of a type that names its version as `schema`.

    Args:
        kind: The type; its docstring's and its parts' words become descriptions.
        title: What it is.
    """
    schema = msgspec.json.schema(kind)
    for definition in schema["$defs"].values():
        _describe(definition)
    schema["$defs"][kind.__name__]["required"].insert(0, "schema")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **schema}


def _describe(definition: dict[str, Any]) -> None:
    """Give every field what the docstring of its type says of it."""
    text, _, fields = inspect.cleandoc(definition.get("description", "")).partition("\nAttributes:\n")
    if text:
        definition["description"] = " ".join(text.split())
    _, *named = _FIELD.split(fields)
    for name, words in zip(named[::2], named[1::2], strict=True):
        field = definition["properties"][name]
        if "$ref" in field:
            field = definition["properties"][name] = {"allOf": [field]}
        field["description"] = " ".join(words.split())


if __name__ == "__main__":
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(record_schema()), indent=2).decode() + "\n")
