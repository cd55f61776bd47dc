"""The JSON Schema of target files (pure)."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec

from switchproof.deploy.target.probe_rules import schema_rules
from switchproof.deploy.target.way import Way, whole_target


def json_schema(ways: tuple[Way, ...]) -> dict[str, Any]:
    """Return the JSON Schema of target files with any of some ways to hosts, for editors."""
    schema = msgspec.json.schema(whole_target(ways))
    definitions = schema["$defs"]
    for definition in definitions.values():
        if "description" in definition:  # Python 3.13 and later remove the indentation of docstrings
            definition["description"] = inspect.cleandoc(definition["description"])
    definitions["FromEnvironment"] = {
        "title": "A value from an environment variable",
        "type": "object",
        "properties": {
            "env": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]},
            "default": {"type": "string"},
        },
        "required": ["env"],
        "additionalProperties": False,
    }
    definitions["Endpoint"] |= schema_rules()
    known = {
        "provider": {"anyOf": [{"enum": sorted(name for way in ways for name in way.providers)}, {"type": "object"}]}
    }
    definitions["Target"]["anyOf"] = [{"required": ["provider"], "properties": known}, {"required": ["transport"]}]
    times = [
        {"type": "string", "format": kind} for kind in ("date-time", "date")
    ]  # how a schema describes TOML's dates and times
    definitions["Waiver"]["properties"]["expires"] = {"anyOf": times}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Switchproof target file",
        **_or_environment(schema),
    }


def _or_environment(schema: Any) -> Any:
    match schema:
        case {"type": "string"}:
            return {"anyOf": [schema, {"$ref": "#/$defs/FromEnvironment"}]}
        case {"title": "A value from an environment variable"}:
            return schema
        case dict():
            return {
                key: item if key in {"required", "enum", "default"} else _or_environment(item)
                for key, item in schema.items()
            }
        case list():
            return [_or_environment(item) for item in schema]
        case _:
            return schema
