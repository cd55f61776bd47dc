"""Finds all wrong values of a target file, because msgspec reports only the first one (pure)."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec


def find_mistakes(kind: Any, value: object, at: str = "$") -> Iterator[str]:
    """Yield msgspec's message for each wrong value, as `TEXT - at `$.PLACE``.

    Args:
        kind: The type that the value must have.
        value: The value, of TOML's types.
        at: Its place.
    """
    plain = _plain(kind)
    if isinstance(plain, type) and issubclass(plain, msgspec.Struct) and isinstance(value, dict):
        yield from _of_table(plain, value, at)
    elif get_origin(plain) is dict and isinstance(value, dict) and all(map(_is_step, value)):
        of_key, of_value = get_args(plain)
        yield from _convert(dict[of_key, Any], value, at)  # type: ignore[valid-type]
        for name, item in value.items():
            yield from find_mistakes(of_value, item, f"{at}.{name}")
    elif get_origin(plain) is tuple and isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from find_mistakes(get_args(plain)[0], item, f"{at}[{index}]")
    else:
        yield from _convert(kind, value, at)


def _of_table(table: type[msgspec.Struct], value: dict[str, object], at: str) -> Iterator[str]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(table)}
    for name, item in value.items():
        if name in fields:
            yield from find_mistakes(fields[name].type, item, f"{at}.{name}")
        else:
            yield f"Object contains unknown field `{name}` - at `{at}`"
    for name, field in fields.items():
        if field.required and name not in value:
            yield f"Object missing required field `{name}` - at `{at}`"


def _convert(kind: Any, value: object, at: str) -> Iterator[str]:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        text, is_key, where = str(error).partition(" - at `key` in `$")
        if not is_key:
            text, _, where = str(error).partition(" - at `$")
        yield f"{text} - at `{'key` in `' if is_key else ''}{at}{where.rstrip('`')}`"


def _plain(kind: Any) -> Any:
    """Return a type without its annotations, and without None as the only alternative."""
    while get_origin(kind) in {Annotated, Union, types.UnionType}:
        if get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
            continue
        others = [part for part in get_args(kind) if part is not types.NoneType]
        if len(others) != 1:
            return kind
        kind = others[0]
    return kind


def _is_step(name: str) -> bool:
    """Whether a key cannot be confused with the rest of a place."""
    return not set(name) & set(".[]$`")
