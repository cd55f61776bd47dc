"""Loads a target file: TOML, values from the environment, types, and the selected hosts."""

from __future__ import annotations

import fnmatch
import re
import threading
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from switchproof.deploy.errors import UsageError
from switchproof.deploy.record.waivers import with_whole_days
from switchproof.deploy.target.messages import PATTERNS, Patterns, explain, key_type, step_into, with_line
from switchproof.deploy.target.mistakes import find_mistakes
from switchproof.deploy.target.rules import endpoint_problems, problems
from switchproof.deploy.target.types import (
    OWN,
    BridgedProgram,
    Builder,
    Contract,
    Endpoint,
    Host,
    JsonValue,
    Line,
    Name,
    Target,
)
from switchproof.deploy.target.way import Way, patterns_of, whole_target

_T = TypeVar("_T", bound=msgspec.Struct)

_NO_HYPERVISOR = 'hypervisor: missing; describe it, or write [hypervisor] and absent = "why there is none"'
"""The problem of a file without a hypervisor."""

_CONVERTING = threading.Lock()
"""Held while msgspec converts: it crashes if several threads have it convert to a type that it does not know yet."""

_LACKS_HYPERVISOR = "Object missing required field `hypervisor`"
"""The beginning of msgspec's message about such a file."""


def load_contract(path: Path, environ: Mapping[str, str]) -> Contract:
    """Load the part of a target file that defines health, without its hosts.

    Raises:
        UsageError: The file is wrong; the message names file, line, key, found value and allowed values.
    """
    raw = {key: item for key, item in _read(path).items() if key in Contract.__struct_fields__}
    with _lines_named(path):
        contract = _convert(path, _Environment(path, environ).put_into(raw), Contract)
        _refuse(path, endpoint_problems(contract))
    return contract


@contextmanager
def _lines_named(path: Path) -> Iterator[None]:
    """Add line numbers to messages about keys of the file."""
    try:
        yield
    except UsageError as error:
        raise UsageError("\n".join(with_line(line, path) for line in str(error).splitlines())) from error


def _refuse(path: Path, problems: Iterable[str]) -> None:
    """Refuse a file because of all its problems, one line each."""
    if listed := list(dict.fromkeys(problems)):
        raise UsageError("\n".join(f"{path}: {problem}" for problem in listed))


def roster(path: Path) -> dict[str, tuple[str, ...]]:
    """Return the groups of every host of a target file that `load` has read, selected or not."""
    return {str(host["name"]): tuple(host.get("groups", ())) for host in _read(path)["hosts"]}


def load(
    path: Path, environ: Mapping[str, str], select: Sequence[str], ways: tuple[Way, ...], build: str | None = None
) -> Target:
    """Read a target file.

    Args:
        path: The TOML file.
        environ: The environment, for values like `{ env = "NAME" }`.
        select: Host names, globs or `@group`s; empty for every host. Only values of selected hosts are looked up.
        ways: All ways to hosts.
        build: Where systems are built, instead of `build.on` of the file.

    Returns:
        The target with the selected hosts, in the order of the file, and the builder.

    Raises:
        UsageError: The file is wrong; the message names file, line, key, found value and allowed values.
    """
    raw = _read(path)
    kind = whole_target(ways)
    patterns = patterns_of(ways)
    values = _Environment(path, environ, {key: text for way in ways for key, text in way.stand_ins.items()})
    with _lines_named(path):
        whole = _convert(path, _put_first(values, raw, select), kind, patterns)
        _refuse(path, problems(whole, ways))
        chosen = _select(path, whole.hosts, select)
        builder = _builder(path, whole, build)
        target = _convert(path, values.put_into(raw, chosen | {builder}), kind, patterns)
        _refuse(path, problems(target, ways))
    machines: Iterable[Builder] = (*target.hosts, *target.builders)
    return replace(
        target,
        hosts=tuple(host for host in target.hosts if host.name in chosen),
        builders=tuple(machine for machine in machines if machine.name == builder),
        build=replace(target.build, on=build or target.build.on),
    )


def _builder(path: Path, whole: Target, build: str | None) -> str:
    """Return the name of the host or builder that builds; empty if the hosts or the runner do."""
    names = [machine.name for machine in (*whole.hosts, *whole.builders)]
    if build is not None and build not in {*OWN, *names}:
        raise UsageError(f"{path}: --build={build}: no such builder; allowed: {', '.join([*OWN, *names])}")
    on = build or whole.build.on
    return "" if on in OWN else on


def _put_first(values: _Environment, raw: dict[str, Any], select: Sequence[str]) -> dict[str, Any]:
    """Insert the values that every run needs; if one is missing, report those of the selected hosts as well."""
    try:
        return values.put_into(raw)
    except UsageError:
        hosts = raw["hosts"] if isinstance(raw.get("hosts"), list) else []
        values.put_into(raw, {str(_name(host)) for host in hosts if _is_selected(host, select)})
        raise


def _is_selected(host: Any, select: Sequence[str]) -> bool:
    groups = host.get("groups", ()) if isinstance(host, dict) else ()
    groups = groups if isinstance(groups, list) else ()
    return not select or any(_matches(pattern, str(_name(host)), groups) for pattern in select)


def _matches(pattern: str, name: str, groups: Collection[str]) -> bool:
    """Whether a value of `--host` selects a host."""
    return pattern[1:] in groups if pattern.startswith("@") else fnmatch.fnmatchcase(name, pattern)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such target file; name one with --targets=FILE") from None
    except IsADirectoryError:
        example = next((str(file) for file in sorted(path.glob("*.toml"))), "deploy/targets/ovh.toml")
        raise UsageError(f"{path}: this is a folder; name a target file, such as --targets={example}") from None
    except NotADirectoryError:
        raise UsageError(f"{path}: no such target file, because a part of the path is not a folder") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not a target file: it is not text in UTF-8") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from error


def _convert(path: Path, raw: dict[str, Any], kind: type[_T], patterns: Patterns = PATTERNS) -> _T:
    problems = [] if "hypervisor" in raw else [_NO_HYPERVISOR]
    read = with_whole_days(raw)
    try:
        with _CONVERTING:
            whole = msgspec.convert(read, kind)
    except msgspec.ValidationError as error:
        texts = [text for text in (*find_mistakes(kind, read), str(error)) if not text.startswith(_LACKS_HYPERVISOR)]
        _refuse(path, (*problems, *(_at_key(text, raw, kind, patterns) for text in texts)))
        raise
    _refuse(path, problems)
    return whole


def _at_key(message: str, raw: object, whole: type[msgspec.Struct], patterns: Patterns) -> str:
    """Turn msgspec's `… - at `$.hosts[0].port`` into a message that begins with `hosts[0].port: `."""
    text, _, where = message.partition(" - at `")
    is_key = where.startswith("key` in `")
    steps = re.findall(r"\[\.\.\.\]|[^.\[\]$]+", where.removeprefix("key` in `").rstrip("`"))
    key, name, value = "", "", raw
    kind = table = msgspec.inspect.type_info(whole)
    for step in [*steps, "[...]"] if is_key else steps:
        table = kind
        kind = step_into(kind, step)
        if isinstance(value, list) and step.isdecimal():
            key, value = f"{key}[{step}]", value[int(step)]
        elif isinstance(value, dict):
            name = step if step != "[...]" else _culprit(value, steps[0], text)
            key, value = f"{key}.{name}" if key else name, value[name]
    if is_key:
        return explain(text, key, name, key_type(table), patterns, is_key=True)
    return explain(text, key, value, kind, patterns)


def _culprit(table: dict[str, Any], first: str, text: str) -> str:
    """Find the key that msgspec calls `[...]`: the first whose entry causes the same message."""
    known: dict[str, list[Any]] = {"runtime": [dict[Name, Endpoint]], "bridge": [dict[Name, BridgedProgram]]}
    kinds = known.get(first, [])
    for name, item in table.items():
        for kind in [*kinds, dict[Line, JsonValue]]:
            try:
                msgspec.convert({name: item}, kind)
            except msgspec.ValidationError as error:
                if str(error).startswith(text):
                    return name
    return next(iter(table))


class _Environment(msgspec.Struct, frozen=True):
    """The environment that replaces values like `{ env = "NAME" }` of a target file."""

    path: Path
    variables: Mapping[str, str]
    stand_ins: Mapping[str, str] = msgspec.field(default_factory=dict)

    def put_into(self, raw: dict[str, Any], chosen: Collection[str] = ()) -> dict[str, Any]:
        """Insert the environment's values; hosts and builders that are not chosen get stand-ins.

        Raises:
            UsageError: Variables are not set; the message has one line for each value.
        """
        put = {}
        unset: list[str] = []
        for key, item in raw.items():
            if key in {"hosts", "builders"} and isinstance(item, list):
                put[key] = [
                    self._value(host, f"{key}[{index}]", unset, is_looked_up=_name(host) in chosen)
                    for index, host in enumerate(item)
                ]
            else:
                put[key] = self._value(item, key, unset)
        _refuse(self.path, unset)
        return put

    def _value(self, value: Any, key: str, unset: list[str], *, is_looked_up: bool = True) -> Any:
        """Replace each `{ env = … }` by its value, and note the unset ones."""
        match value:
            case {"env": str() | [str(), *_] as named, **rest} if rest.keys() <= {"default"} and not key.endswith(
                (".json", ".tags")
            ):
                names = [named] if isinstance(named, str) else named
                variables = (self.variables[name] for name in names if self.variables.get(name))
                given = next(variables, rest.get("default")) if is_looked_up else None
                if given is not None:
                    return given
                if is_looked_up:
                    subject = f"variable {names[0]} is" if len(names) == 1 else f"variables {' and '.join(names)} are"
                    unset.append(f"{key}: the environment {subject} not set")
                return self.stand_ins.get(key.rpartition(".")[2].partition("[")[0], f"env-{names[0]}")
            case dict():
                return {
                    name: self._value(item, f"{key}.{name}", unset, is_looked_up=is_looked_up)
                    for name, item in value.items()
                }
            case list():
                return [
                    self._value(item, f"{key}[{index}]", unset, is_looked_up=is_looked_up)
                    for index, item in enumerate(value)
                ]
            case _:
                return value


def _name(host: Any) -> str | None:
    return str(host.get("name")) if isinstance(host, dict) else None


def _select(path: Path, hosts: Sequence[Host], select: Sequence[str]) -> set[str]:
    chosen: set[str] = set()
    for pattern in select:
        matching = {host.name for host in hosts if _matches(pattern, host.name, host.groups)}
        if not matching:
            names = ", ".join(host.name for host in hosts)
            groups = ", ".join(sorted({f"@{group}" for host in hosts for group in host.groups})) or "none"
            raise UsageError(f"{path}: --host={pattern} selects no host; hosts: {names}; groups: {groups}")
        chosen |= matching
    return chosen or {host.name for host in hosts}
