"""The shipped target files load, and loading agrees with the JSON Schema."""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from switchproof.deploy.errors import UsageError
from switchproof.deploy.providers import json_schema, load
from switchproof.deploy.settings import TARGETS
from tests.answers import HOST_KEY
from tests.target.texts import ENVIRON, TEXT, loaded

SHIPPED = sorted(TARGETS.glob("*.toml"))


def needed(raw: object) -> set[str]:
    match raw:
        case {"env": str(name), **rest} if not rest:
            return {name}
        case {"env": [str(name), *_], **rest} if not rest:
            return {name}
        case dict():
            return set().union(*map(needed, raw.values()))
        case list():
            return set().union(*map(needed, raw))
    return set()


def values(names: set[str]) -> dict[str, str]:
    given = {"FLAKE_ATTR": "x", "DEPLOY_INSTANCE_ID": "i-0123456789abcdef0"}
    shaped = {"KEY": HOST_KEY, "HOST": "host.example.org"}
    return {name: shaped.get(name.rpartition("_")[2]) or given.get(name, "https://example.org/x") for name in names}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_file_loads(path: Path) -> None:
    """Every target file that we ship loads once its variables are set, and says so when one is not."""
    names = needed(tomllib.loads(path.read_text()))
    target = load(path, values(names))
    assert target.provider == path.stem.partition("-")[0]
    assert {"live", "dev"} <= target.runtime.keys()
    for name in names:
        with pytest.raises(UsageError, match=rf"the environment variables? {name} .*not set"):
            load(path, values(names - {name}))


def problems(text: str) -> list[str]:
    """Hold a target file against the schema that editors use."""
    wire = msgspec.json.decode(msgspec.json.encode(tomllib.loads(text)))
    schema = msgspec.json.decode(msgspec.json.encode(json_schema()))
    return [error.message for error in Draft202012Validator(schema).iter_errors(wire)]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_file_is_as_the_schema_says(path: Path) -> None:
    """Every target file that we ship is valid by the schema that editors use, variables included."""
    assert problems(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('provider = "ovh"', 'provider = "azure"'),
        ('provider = "ovh"', ""),
        ('name = "b"', 'name = "B"'),
        ('name = "b"', 'name = "b"\nport = 65536'),
        ('name = "b"', 'name = "b"\nadress = "x"'),
        ('{ env = "B_HOST" }', '{ env = "B_HOST", other = "x" }'),
        ('"hypervisor.service"', '"hypervisor"'),
        ("[runtime.live]", "[runtime.LIVE]"),
        ('status = "healthy"', "status = [1]"),
    ],
)
def test_schema_refuses_what_loading_refuses(old: str, new: str, tmp_path: Path) -> None:
    """What the schema forbids is what loading forbids."""
    assert problems(TEXT) == []
    assert problems(TEXT.replace(old, new)) != []
    with pytest.raises(UsageError):
        loaded(tmp_path, TEXT.replace(old, new))


def test_schema_can_be_written() -> None:
    """The schema is plain JSON, and its patterns are such that JavaScript reads them as Python does."""
    text = msgspec.json.encode(json_schema()).decode()
    patterns = re.findall(r'"pattern":"((?:[^"\\]|\\.)*)"', text)
    assert patterns
    assert all(not re.search(r"\\\\[AZz]|\(\?P|\(\?<|\(\?[a-z]", pattern) for pattern in patterns)


toml_values = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = ["provider", "repository", "ssh", "hosts", "hypervisor", "runtime", "health", "converge", "secrets", "x"]
INNER = ["name", "units", "listen", "url", "json", "address", "host_keys", "jump", "env", "live", "answers"]


@given(st.sampled_from(KEYS), st.none() | st.sampled_from(INNER), toml_values)
def test_any_value_anywhere_is_taken_or_refused(key: str, inner: str | None, value: object) -> None:
    """Whatever stands under whatever key, the file is taken or refused with a message, and nothing else happens."""
    raw = tomllib.loads(TEXT)
    spot = raw
    if inner is not None and isinstance(raw.get(key), dict | list):
        spot, key = (raw[key][0] if isinstance(raw[key], list) else raw[key]), inner
    spot[key] = value
    path = _Raw(raw)
    with suppress(UsageError):
        load(path, ENVIRON)  # type: ignore[arg-type]


class _Raw:
    """A file whose content is known already."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self._raw = raw

    def __str__(self) -> str:
        return "raw.toml"

    def read_text(self, encoding: str) -> str:
        assert encoding == "utf-8"
        return _toml(self._raw)


def _toml(raw: dict[str, Any]) -> str:
    return "\n".join(f"{_value(key)} = {_value(item)}" for key, item in raw.items())


def _value(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return '"' + "".join(f"\\U{ord(char):08x}" for char in value) + '"'
        case dict():
            return "{" + ", ".join(f"{_value(key)} = {_value(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_value, value)) + "]"
        case _:
            return str(value)
