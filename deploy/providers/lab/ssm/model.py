"""Validates requests against AWS's own model of the service, which botocore ships and checks less (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import botocore.session

from switchproof.deploy.providers.lab.ssm.errors import Refused


@cache
def service(name: str = "ssm") -> Any:
    """Return botocore's model of a service."""
    return botocore.session.get_session().get_service_model(name)


def version() -> str:
    """Return the version of SSM's model."""
    return str(service().api_version)


def check_request(operation: str, given: Any, name: str = "ssm") -> None:
    """Validate a request against the model of a service.

    Raises:
        Refused: A value is not valid (ValidationException); the message names it.
    """
    shape = service(name).operation_model(operation).input_shape
    if problems := list(_problems(given, shape, "", limits=True)):
        raise Refused("ValidationException", f"{len(problems)} validation error detected: {'; '.join(problems)}")


def check_response(operation: str, answer: Any) -> list[str]:
    """Return how an answer differs from the model; patterns are not checked, because real answers violate them."""
    shape = service().operation_model(operation).output_shape
    return list(_problems(answer, shape, "", limits=False))


def _problems(value: Any, shape: Any, where: str, *, limits: bool) -> Iterator[str]:
    match shape.type_name:
        case "structure":
            if not isinstance(value, dict):
                yield f"{where or 'the request'} is no structure"
                return
            for name in shape.required_members:
                if name not in value:
                    yield f"{where}{name} is missing"
            for name, item in value.items():
                if name not in shape.members:
                    yield f"{where}{name} is unknown"
                else:
                    yield from _problems(item, shape.members[name], f"{where}{name}.", limits=limits)
        case "list":
            if not isinstance(value, list):
                yield f"{where} is no list"
                return
            yield from _size(len(value), shape, where)
            for index, item in enumerate(value):
                yield from _problems(item, shape.member, f"{where}{index}.", limits=limits)
        case "map":
            if not isinstance(value, dict):
                yield f"{where} is no map"
                return
            for key, item in value.items():
                yield from _problems(item, shape.value, f"{where}{key}.", limits=limits)
        case "string":
            if not isinstance(value, str):
                yield f"{where} is no string"
                return
            yield from _text(value, shape, where, limits=limits)
        case "integer" | "long":
            if not isinstance(value, int) or isinstance(value, bool):
                yield f"{where} is no whole number"
                return
            yield from _size(value, shape, where)
        case "boolean":
            if not isinstance(value, bool):
                yield f"{where} is neither true nor false"
        case "timestamp":
            if not isinstance(value, int | float):
                yield f"{where} is no time in seconds"


def _text(value: str, shape: Any, where: str, *, limits: bool) -> Iterator[str]:
    if shape.enum and value not in shape.enum:
        yield f"{where} must be one of {', '.join(shape.enum)}"
    if limits or shape.metadata.get("max"):
        low = shape.metadata.get("min") if limits else None
        if low is not None and len(value) < low:
            yield f"{where} must have at least {low} characters"
        if (high := shape.metadata.get("max")) is not None and len(value) > high:
            yield f"{where} must have at most {high} characters"
    pattern = shape.metadata.get("pattern")
    if limits and pattern and not re.search(_python(pattern), value):
        yield f"{where} must match {pattern}"


def _python(pattern: str) -> str:
    """Return a pattern of Java as one of Python; the model's patterns differ only a little."""
    return re.sub(r"\\p\{[^}]*\}", r"\\w", pattern)


def _size(count: int, shape: Any, where: str) -> Iterator[str]:
    if (low := shape.metadata.get("min")) is not None and count < low:
        yield f"{where} must be at least {low}"
    if (high := shape.metadata.get("max")) is not None and count > high:
        yield f"{where} must be at most {high}"
