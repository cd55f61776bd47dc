"""Makes the JSON Schemas of published data from its types and their docstrings."""

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
    """Return the JSON Schema of a type that has a field `schema`.

    The docstring describes each field. Fields may be added within a version, so unknown ones are accepted.

    Args:
        kind: The type.
        title: The title, for people.
        name: The URI of this schema and version.
    """
    schema = msgspec.json.schema(kind)
    for definition in schema["$defs"].values():
        _describe(definition)
    schema["$defs"][kind.__name__].setdefault("required", []).insert(0, "schema")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": name, "title": title, **schema}


def _describe(definition: dict[str, Any]) -> None:
    """Add the docstring's description to every field."""
    text, _, fields = inspect.cleandoc(definition.get("description", "")).partition("\nAttributes:\n")
    if text:
        definition["description"] = " ".join(text.split())
    _, *named = _FIELD.split(fields)
    for name, description in zip(named[::2], named[1::2], strict=True):
        field = definition["properties"][name]
        if "$ref" in field:
            field = definition["properties"][name] = {"allOf": [field]}
        field["description"] = " ".join(description.split())
