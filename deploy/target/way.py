"""Combines the target file's types with the keys that each provider adds for its way to hosts (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, cast

import msgspec
from msgspec import Meta

from switchproof.deploy.target.messages import PATTERNS, Patterns
from switchproof.deploy.target.types import Builder, Host, Target

_T = TypeVar("_T", bound=msgspec.Struct)
_W = TypeVar("_W", bound="Way")
_Key: TypeAlias = "tuple[str, Any] | tuple[str, Any, Any]"
"""A key's name, its type and its default."""


class Way(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A way to reach hosts, as its provider describes it for target files.

    Attributes:
        name: Its name, as a transport and as the key of its table.
        providers: The providers whose hosts are always reached in this way.
        is_transport: Whether any other provider may choose it as its transport.
        table: The type of its table, whose keys all have defaults; None without one.
        host: The type of its keys of hosts, which all have defaults; None without any.
        find_problems: Yields each problem of a target file, the key first; its second argument is whether the file's
            hosts are reached in this way.
        patterns: The meaning of each pattern of its types, with an example.
        stand_ins: Texts that replace environment values of unselected hosts, by the key of the host.
    """

    name: str
    providers: tuple[str, ...] = ()
    is_transport: bool = False
    table: type[msgspec.Struct] | None = None
    host: type[msgspec.Struct] | None = None
    find_problems: Callable[[Target, bool], Iterator[str]] = lambda *_: iter(())
    patterns: Patterns = msgspec.field(default_factory=dict)
    stand_ins: Mapping[str, str] = msgspec.field(default_factory=dict)


def way_of(target: Target, ways: Sequence[_W]) -> _W | None:
    """Return the way in which a target's hosts are reached; None if neither provider nor transport names one."""
    by_provider = (way for way in ways if target.provider in way.providers)
    by_transport = (way for way in ways if way.is_transport and target.transport == way.name)
    return next(by_provider, next(by_transport, None))


def patterns_of(ways: Sequence[Way]) -> Patterns:
    """Return the meaning of each pattern of a whole target file, with an example."""
    return {**PATTERNS, **{pattern: meaning for way in ways for pattern, meaning in way.patterns.items()}}


@cache
def whole_target(ways: tuple[Way, ...]) -> type[Target]:
    """Return the type of a target file with any of some ways to hosts."""
    parts = [way.host for way in ways if way.host]
    transports: Any = Literal[tuple(way.name for way in ways if way.is_transport)]
    host: Any = _extended(Host, [key for part in parts for key in _keys(part)], parts)
    chosen = [way.host for way in ways if way.host and way.is_transport]
    builder: Any = _extended(Builder, [key for part in chosen for key in _keys(part)], chosen)
    return _extended(
        Target,
        [
            ("transport", transports | None, None),
            ("hosts", Annotated[tuple[host, ...], Meta(min_length=1)]),
            ("builders", tuple[builder, ...], ()),
            *((way.name, way.table, way.table()) for way in ways if way.table),
        ],
    )


def _keys(part: type[msgspec.Struct]) -> Iterator[_Key]:
    """Yield the keys of a table with their types and defaults."""
    for key in msgspec.structs.fields(part):
        is_made = key.default is msgspec.NODEFAULT
        yield (
            key.name,
            key.type,
            msgspec.field(default_factory=key.default_factory) if is_made else msgspec.field(default=key.default),
        )


def _extended(whole: type[_T], keys: Iterable[_Key], documented: Iterable[type[msgspec.Struct]] = ()) -> type[_T]:
    """Return a table with further keys, described in its docstring."""
    lines = [(part.__doc__ or "").partition("Attributes:\n")[2].rstrip() for part in documented]
    text = "\n".join([(whole.__doc__ or "").rstrip(), *lines])
    made: Any = msgspec.defstruct(
        whole.__name__,
        keys,
        bases=(whole,),
        namespace={"__doc__": text},
        module=whole.__module__,
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )
    return cast("type[_T]", made)
