"""Says with which nix hosts built their systems, and which hosts of one configuration built different ones (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from switchproof.deploy.record.events import Noted, Warned

_NAMED = 8
"""Hosts that are named; more are counted."""


class OwnBuild(msgspec.Struct, frozen=True):
    """A system that a host built for itself.

    Attributes:
        host: The host.
        configuration: The name of its configuration.
        specialisation: The specialisation that runs; empty if it is the system itself.
        toplevel: The store path that the host was switched to.
        nix: The nix there as it names itself; empty if unknown.
    """

    host: str
    configuration: str
    specialisation: str
    toplevel: str
    nix: str


def compare(builds: Iterable[OwnBuild]) -> Iterator[Noted | Warned]:
    """Yield a note that names nix, and a warning for each host that differs from the first one of its configuration.

    Args:
        builds: The systems that hosts built from one commit.
    """
    of_nix: dict[str, list[str]] = {}
    firsts: dict[tuple[str, str], OwnBuild] = {}
    differing: list[tuple[OwnBuild, OwnBuild]] = []
    for build in builds:
        of_nix.setdefault(build.nix or "a nix of unknown version", []).append(build.host)
        first = firsts.setdefault((build.configuration, build.specialisation), build)
        if first.toplevel != build.toplevel:
            differing.append((build, first))
    if not of_nix:
        return
    count = sum(map(len, of_nix.values()))
    same = "" if differing or count == len(firsts) else " Hosts of one configuration built one system."
    by = "; ".join(f"{_list(hosts)} with {nix}" for nix, hosts in of_nix.items())
    yield Noted(host=None, text=f"Hosts built their own systems: {by}.{same}")
    for build, first in differing:
        yield Warned(
            host=build.host,
            text=f"The host built {build.toplevel}, but {first.host} built {first.toplevel} from the same commit and "
            f"configuration ({build.configuration}): something outside the commit changes the build. Pin it in the "
            "commit, or build once for all hosts (--build=runner).",
        )


def _list(hosts: list[str]) -> str:
    return ", ".join(hosts) if len(hosts) <= _NAMED else f"{len(hosts)} hosts"
