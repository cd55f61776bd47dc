"""A way to hosts: what a provider adds to target files, and the type of a whole file that comes of it (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, cast

import msgspec
from msgspec import Meta

from switchproof.deploy.target.messages import PATTERNS, Patterns
from switchproof.deploy.target.types import Host, Target

_T = TypeVar("_T", bound=msgspec.Struct)
_W = TypeVar("_W", bound="Way")
_Key: TypeAlias = "tuple[str, Any] | tuple[str, Any, Any]"
"""A key's name, its type and what stands for it if it is left out."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Way:
    """A way to hosts, as its provider describes it for target files.

    Attributes:
        name: What it is called, as a transport and as the key of its table.
        providers: The names of providers whose hosts are always reached in this way.
        is_transport: Whether providers of any other name may say that their hosts are reached in this way.
        table: The type of its table, all of whose keys have defaults; None if it has none.
        host: The type of the keys that hosts have for it, all of which have defaults; None if they have none.
        find_problems: Yields each problem of a target file, the key first, told whether its hosts are reached in this
            way.
        patterns: What each pattern of its types means, and a text that fits it.
        stand_ins: Texts for values of the environment that are not looked up, by the key of the host.
    """

    name: str
    providers: tuple[str, ...] = ()
    is_transport: bool = False
    table: type[msgspec.Struct] | None = None
    host: type[msgspec.Struct] | None = None
    find_problems: Callable[[Target, bool], Iterator[str]] = lambda *_: iter(())
    patterns: Patterns = field(default_factory=dict)
    stand_ins: Mapping[str, str] = field(default_factory=dict)


def way_of(target: Target, ways: Sequence[_W]) -> _W | None:
    """Find the way in which the hosts of a target are reached; None where neither provider nor transport says it."""
    by_provider = (way for way in ways if target.provider in way.providers)
    by_transport = (way for way in ways if way.is_transport and target.transport == way.name)
    return next(by_provider, next(by_transport, None))


def patterns_of(ways: Sequence[Way]) -> Patterns:
    """Return what each pattern of a whole target file means, and a text that fits it."""
    return {**PATTERNS, **{pattern: words for way in ways for pattern, words in way.patterns.items()}}


@cache
def whole_target(ways: tuple[Way, ...]) -> type[Target]:
    """Put together the type of a target file whose hosts may be reached in any of some ways."""
    parts = [way.host for way in ways if way.host]
    transports: Any = Literal[tuple(way.name for way in ways if way.is_transport)]
    host: Any = _extended(Host, [key for part in parts for key in _keys(part)], parts)
    return _extended(
        Target,
        [
            ("transport", transports | None, None),
            ("hosts", Annotated[tuple[host, ...], Meta(min_length=1)]),
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
    """Return a table with further keys, and the lines about them in its docstring."""
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
