"""Messages about wrong target files: line, key, found value, allowed values, nearest key and an example."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from msgspec import inspect

_KINDS = {
    "str": "a string in quotes",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "datetime": "a date or a time",
    "date": "a date",
    "null": "nothing",
}

Patterns: TypeAlias = Mapping[str, tuple[str, str]]

PATTERNS: Patterns = {
    r"^(/[A-Za-z0-9_][A-Za-z0-9._-]*)+$(?!\n)": ("an absolute path", "/opt/choiros/bin/sandbox"),
    r"^([0-9]{1,4}(\.[0-9]{1,4}){0,2})?$(?!\n)": ("a version of one to three numbers, or empty", "2.18"),
    r"^(/nix/store/[0-9a-df-np-sv-z]{32}-[A-Za-z0-9+._?=-]{1,200})?$(?!\n)": (
        "a store path, or empty",
        "/nix/store/0c1q2w3x4y5z6a7b8c9d0f1g2h3i4j5k-sandbox-1.0",
    ),
    r"^([A-Za-z0-9_.-]+/)?[A-Za-z0-9:_.\\@-]+\.(service|socket|target|timer|mount)$(?!\n)": (
        "a unit's whole name with its suffix",
        "web.service",
    ),
    r"^(\*|\d{1,3}(\.\d{1,3}){3}(%[A-Za-z0-9._-]+)?|\[[0-9a-f:]+\](%[A-Za-z0-9._-]+)?):(\d{1,5}|\*)$(?!\n)": (
        "ADDRESS:PORT, as ss writes it",
        "0.0.0.0:22",
    ),
    r"^((\d{1,3}(\.\d{1,3}){3}|\[[0-9a-f:]+\]):\d{1,5}|(/[A-Za-z0-9_@][A-Za-z0-9@._-]*)+)$(?!\n)": (
        "ADDRESS:PORT with a numeric address, or a unix socket's absolute path",
        "127.0.0.1:8080",
    ),
    r"^(qmp|cloud-hypervisor):/[A-Za-z0-9@._/-]+$(?!\n)": (
        "qmp: or cloud-hypervisor: and a socket's path",
        "qmp:/run/vm/live.sock",
    ),
    r"^(https?|s3|file)://[^\x00-\x20#]+$(?!\n)": (
        "the URL of a binary cache, with https, http, s3 or file",
        "https://cache.example.org",
    ),
    r"^(true|false)$(?!\n)": ("true or false in quotes", "false"),
    r"^/[A-Za-z0-9._/-]+$(?!\n)": ("an absolute path", "/opt/choiros/workspace"),
    r"^/[^\x00-\x1f]*$(?!\n)": ("an absolute path", "/etc/ssh/ssh_host_ed25519_key"),
    r"^/[^\x00-\x20]*$(?!\n)": ("an absolute path without spaces", "/etc/systemd/system"),
    r"^0?[0-7]{3,4}$(?!\n)": ("permissions in octal digits", "0600"),
    r"^[1-9][0-9]{0,4}[mhdw]$(?!\n)": ("a number and m, h, d or w", "7d"),
    r"^[A-Za-z0-9._-]{1,15}$(?!\n)": ("an interface name of at most 15 characters", "tap-live"),
    r"^[A-Za-z0-9._/-]*#[A-Za-z0-9_][A-Za-z0-9._-]*$(?!\n)": ("FOLDER#NAME", "nix#sandbox"),
    r"^[A-Za-z0-9:_.\\@*?-]+$(?!\n)": ("a unit's name, in which * and ? match any", "podman-*.service"),
    r"^[A-Za-z0-9:_.\\@-]+\.(service|socket|target|timer|mount)$(?!\n)": (
        "a unit's whole name with its suffix",
        "cloud-hypervisor@live.service",
    ),
    r"^[A-Za-z0-9:_.\\@/-]+$(?!\n)": ("a unit's name", "hypervisor.service"),
    r"^[A-Za-z0-9_][A-Za-z0-9._/-]*$(?!\n)": ("a relative path", "etc/version"),
    r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,39}$(?!\n)": (
        "a name of at most 40 letters, digits and _.- that does not begin with . or -",
        "fleet",
    ),
    r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$(?!\n)": ("a specialisation's name", "maintenance"),
    r"^([A-Za-z0-9_][A-Za-z0-9._-]*/)*[A-Za-z0-9_][A-Za-z0-9._-]*\.nix$(?!\n)": (
        "a Nix file's path in the repository",
        "default.nix",
    ),
    r"^[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z0-9_][A-Za-z0-9_-]*)*$(?!\n)": ("names joined by dots", "hosts.a"),
    r"^[A-Za-z0-9_][A-Za-z0-9_.'-]*$(?!\n)": ("a name of the flake's nixosConfigurations", "choiros-a"),
    r"^[A-Za-z_][A-Za-z0-9_.-]*\$?$(?!\n)": ("a user's or group's name", "root"),
    r"^[A-Za-z_][A-Za-z0-9_]*$(?!\n)": ("an environment variable's name", "DEPLOY_REPO_TOKEN"),
    r"^[^\x00-\x1f]+$(?!\n)": ("one line of text, not empty", "some text"),
    r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$(?!\n)": ("lower-case letters, digits and hyphens", "node-a"),
    r"^[a-z]+(/[^/\x00-\x1f]+)+$(?!\n)": ("a check's id as in the report", "runtime/live/healthy"),
}
"""The meaning of each pattern in the types of all target files, with an example; providers add their own."""


def explain(
    message: str, key: str, value: object, kind: inspect.Type, patterns: Patterns, *, is_key: bool = False
) -> str:
    """Describe the problem of a value or a table.

    Args:
        message: msgspec's message without the path.
        key: Its key in the file; empty for the file itself.
        value: The value or table.
        kind: The type that it must have.
        patterns: The meaning of each pattern.
        is_key: Whether the key itself is wrong.
    """
    if unknown := re.match(r"Object contains unknown field `(.*)`$", message, re.DOTALL):
        return _unknown(unknown[1], key, kind)
    if missing := re.match(r"Object missing required field `(.*)`$", message, re.DOTALL):
        example = next(
            (_example(field.type, patterns) for field in _fields(kind) if field.encode_name == missing[1]), None
        )
        return f"{_join(key, missing[1])}: missing{_for_instance(missing[1], example)}"
    shown = "" if isinstance(value, dict | list) else f" (found {value!r})"
    problem = _problem(message, value, kind, patterns)
    name = re.sub(r"\[\d+\]$", "", key.rpartition(".")[2])
    is_item = key.endswith("]")
    example = _example(kind, patterns)
    if is_key:
        return f"{key}: the key {problem}{shown}; for example {example}"
    if is_item and example:
        example = f"[{example}]"
    return f"{key or 'the file'}: {problem}{shown}{_for_instance(name, example)}"


def _problem(message: str, value: object, kind: inspect.Type, patterns: Patterns) -> str:
    parts = [part for part in _parts(kind) if not isinstance(part, inspect.NoneType)]
    if message.startswith("Invalid enum value"):
        values = [str(value) for part in parts if isinstance(part, inspect.LiteralType) for value in part.values]
        near = difflib.get_close_matches(str(value), values, 1)
        listed = [f'"{value}"' for value in values]
        guess = f'; did you mean "{near[0]}"? Allowed' if near else "; allowed"
        return f"not allowed{guess}: {', '.join(listed)}"
    if "matching regex" in message:
        known = [patterns.get(str(part.pattern)) for part in parts if isinstance(part, inspect.StrType)]
        return f"must be {next((meaning[0] for meaning in known if meaning), 'a string of another form')}"
    if limit := re.match(r"Expected `(\w+)` of length (>=|<=) (\d+)", message):
        singular, plural = ("character", "characters") if limit[1] == "str" else ("entry", "entries")
        least_or_most = "at least" if limit[2] == ">=" else "at most"
        return f"must have {least_or_most} {limit[3]} {singular if limit[3] == '1' else plural}"
    if bound := re.match(r"Expected `\w+` (>=|<=|>|<) (\S+)", message):
        relation = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}[bound[1]]
        return f"must be {relation} {float(bound[2]):g}"
    if message.startswith(("Expected `datetime` with a timezone", "Invalid RFC3339")):
        return "must be a date, or a time with its zone"
    if wrong := re.match(r"Expected `([^`]*)`, got `(\w+)`", message):
        kinds = [kind for kind in wrong[1].split(" | ") if kind != "null"]
        return (
            f"must be {' or '.join(_KINDS.get(kind, kind) for kind in kinds)}, not {_KINDS.get(wrong[2], wrong[2])}"
        )
    return f"not valid: {message[0].lower()}{message[1:]}"


def _unknown(name: str, key: str, kind: inspect.Type) -> str:
    allowed = [field.encode_name for field in _fields(kind)]
    near = difflib.get_close_matches(name, allowed, 1)
    guess = f"; did you mean {near[0]}? Allowed" if near else "; allowed"
    return f"{_join(key, name)}: unknown key{guess}: {', '.join(allowed)}"


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _for_instance(name: str, example: str | None) -> str:
    return f"; for example {name} = {example}" if example and name else ""


def _parts(kind: inspect.Type) -> Iterator[inspect.Type]:
    """Yield the alternatives of a type."""
    if isinstance(kind, inspect.Metadata):
        yield from _parts(kind.type)
    elif isinstance(kind, inspect.UnionType):
        for part in kind.types:
            yield from _parts(part)
    else:
        yield kind


def _fields(kind: inspect.Type) -> tuple[inspect.Field, ...]:
    return next((part.fields for part in _parts(kind) if isinstance(part, inspect.StructType)), ())


def step_into(kind: inspect.Type, step: str) -> inspect.Type:
    """Return the type of a table's or list's item under a key or an index."""
    for part in _parts(kind):
        if isinstance(part, inspect.StructType):
            return next((field.type for field in part.fields if field.encode_name == step), inspect.AnyType())
        if isinstance(part, inspect.DictType):
            return part.value_type
        if isinstance(part, inspect.VarTupleType | inspect.ListType):
            return part.item_type
    return inspect.AnyType()


def key_type(kind: inspect.Type) -> inspect.Type:
    """Return the type of a table's keys."""
    return next((part.key_type for part in _parts(kind) if isinstance(part, inspect.DictType)), inspect.AnyType())


def _example(kind: inspect.Type, patterns: Patterns) -> str | None:
    """Return an example of a type as TOML; None if no short one helps."""
    parts = [part for part in _parts(kind) if not isinstance(part, inspect.NoneType)]
    match parts:
        case [inspect.StrType(pattern=str(pattern))] if pattern in patterns:
            return f'"{patterns[pattern][1]}"'
        case [inspect.StrType()]:
            return '"…"'
        case [inspect.LiteralType(values=values)]:
            return f'"{values[-1]}"'
        case [inspect.IntType(ge=least)]:
            return str(5 if least == 1 else 1 if least is None else least)
        case [inspect.FloatType()]:
            return "30"
        case [inspect.BoolType()]:
            return "true"
        case [inspect.DateTimeType() | inspect.DateType()]:
            return "2027-01-31"
        case [inspect.VarTupleType(item_type=item)]:
            return f"[{example}]" if (example := _example(item, patterns)) else None
        case _:
            return None


# Lines.


def with_line(message: str, path: Path) -> str:
    """Add the key's line number to a message `FILE: KEY: …`, if the key is in the file."""
    start = f"{path}: "
    if not message.startswith(start):
        return message
    try:
        lines = dict(_keys(path.read_text(encoding="utf-8").splitlines()))
    except (OSError, ValueError):
        return message
    about = message.removeprefix(start)
    keys = [key for key in lines if about.startswith(key) and about[len(key) :][:1] in {":", ".", "["}]
    return f"{path}:{lines[max(keys, key=len)]}: {about}" if keys else message


def _keys(lines: list[str]) -> Iterator[tuple[str, int]]:
    """Yield each key of a TOML file, such as `hosts[1].port`, with its line number."""
    table, tables = "", dict[str, int]()
    at = 0
    while at < len(lines):
        statement, end = _statement(lines, at)
        if header := re.match(r"\s*\[(\[?)([^\]]+)\]", lines[at]):
            table = _table(_names(f"{header[2]} = 0"), tables, is_list=bool(header[1]))
            yield table, at + 1
        else:
            names = _names(statement)
            for count in range(1, len(names) + 1):
                yield _join(table, ".".join(names[:count])), at + 1
        at = end


def _statement(lines: list[str], at: int) -> tuple[str, int]:
    """Return the statement that begins at a line, and the line of the next one."""
    for end in range(at + 1, min(len(lines), at + 200) + 1):
        statement = "\n".join(lines[at:end])
        try:
            tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        return statement, end
    return "", at + 1


def _names(statement: str) -> list[str]:
    """Return the components of a statement's key: `a.b = 1` has a and b."""
    names = []
    value: Any = tomllib.loads(statement) if statement else {}
    plain = statement.partition("=")[0]
    while isinstance(value, dict) and len(value) == 1 and next(iter(value)) in plain:
        name, value = next(iter(value.items()))
        names.append(name)
        plain = plain.partition(name)[2]
    return names


def _table(names: list[str], tables: dict[str, int], *, is_list: bool) -> str:
    """Return the key of the table that a header opens; `tables` counts lists of tables."""
    key = ""
    for count, name in enumerate(names, 1):
        key = _join(key, name)
        if count == len(names) and is_list:
            tables[key] = tables.get(key, -1) + 1
        if key in tables:
            key = f"{key}[{tables[key]}]"
    return key
