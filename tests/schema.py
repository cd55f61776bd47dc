"""Validates records that tests make against the published schema."""

from __future__ import annotations

import functools
from pathlib import Path

import msgspec
from jsonschema import Draft202012Validator

SCHEMA = Path(__file__).parents[1] / "docs" / "record.schema.json"


@functools.cache
def _validator() -> Draft202012Validator:
    schema = msgspec.json.decode(SCHEMA.read_bytes())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@functools.lru_cache(maxsize=1000)
def validate(record: bytes) -> None:
    """See that a record is as published; of equal ones, which many tests make, only the first is gone through.

    Args:
        record: What `record.json` holds.

    Raises:
        jsonschema.ValidationError: It is not; the message names the place.
    """
    _validator().validate(msgspec.json.decode(record))
