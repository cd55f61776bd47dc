"""The JSON Schemas of what other programs read, made from its types and their own words."""

from __future__ import annotations

import inspect
import re
from typing import Any

import msgspec

from switchproof.deploy.record.record import Record

_FIELD = re.compile(r"^    (\w+): ", re.MULTILINE)


def record_schema() -> dict[str, Any]:
    """Return the JSON Schema of `record.json`."""
    return schema_of(Record, "Switchproof record of a run, version 1", "urn:switchproof:record:v1")


def schema_of(kind: type[msgspec.Struct], title: str, name: str) -> dict[str, Any]:
    """Return the JSON Schema of what a type writes, which has a field `schema` that names it.

    What a field means is in its description. Fields may be added within a version, so unknown ones are let pass.

    Args:
        kind: The type.
        title: What it is, for people.
        name: The name of this schema and version, for programs: an URI.
    """
    schema = msgspec.json.schema(kind)
    for definition in schema["$defs"].values():
        _describe(definition)
    schema["$defs"][kind.__name__].setdefault("required", []).insert(0, "schema")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": name, "title": title, **schema}


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
