"""What a deploy would change on a host, read from the host's answer to a plan (pure)."""

from __future__ import annotations

import re

import msgspec

from switchproof.deploy.host.frame import Frame

_BUILT = re.compile(r"^th(?:is|ese) (?:\d+ )?derivations? will be built:\n((?:  /nix/store/\S+\n?)*)", re.MULTILINE)
_FETCHED = re.compile(
    r"^th(?:is|ese) (?:\d+ )?paths? will be fetched(?: \(([^)\n]{1,80})\))?:\n((?:  /nix/store/\S+\n?)*)",
    re.MULTILINE,
)
_NAME = re.compile(r"^  /nix/store/[0-9a-z]{32}-(\S+?)(?:\.drv)?$", re.MULTILINE)
_SIZE = re.compile(r"^(/nix/store/\S+)\s+([0-9]{1,18})$", re.MULTILINE)
_NAMED = 12
"""Derivations that are named; the rest is counted."""
_MIB = 2**20


class Elsewhere(msgspec.Struct, frozen=True):
    """What another machine that builds has to do for the host.

    Attributes:
        on: Its name in sentences.
        forecast: What nix there said before the build that it will build and fetch.
        lacks: The number of store paths of the system that the host lacked, and their bytes.
    """

    on: str
    forecast: str
    lacks: tuple[int, int]


class Differences(msgspec.Struct, frozen=True):
    """The changes that a deploy would make.

    Attributes:
        running: The running system.
        expected: The system that would be switched to; empty if the host did not report it.
        builds: The derivations that nix has to build for it, by name; None if nothing was foreseen.
        fetches: The number of store paths that nix has to fetch for it, and their sizes in its own words.
        elsewhere: The machine that builds in place of the host; None if the host does.
        size: The bytes of its closure, and of that of the running system; None if nix did not report them.
        closure: The packages that differ, as nix prints them.
        units: The units that switch-to-configuration would touch, as it prints them.
        reboot: The parts that only a reboot would bring, such as `kernel`.
    """

    running: str
    expected: str
    builds: tuple[str, ...] | None = None
    fetches: tuple[int, str] = (0, "")
    elsewhere: Elsewhere | None = None
    size: tuple[int, int] | None = None
    closure: str = ""
    units: str = ""
    reboot: tuple[str, ...] = ()

    def describe(self) -> str:
        """Return all changes, for people; the running system comes first."""
        return "\n".join(
            part
            for part in (
                f"runs {self.running}",
                self._work(),
                self._growth(),
                self.closure,
                self.units,
                f"a reboot would be needed for: {', '.join(self.reboot)}"
                if self.reboot
                else "no reboot would be needed",
            )
            if part
        )

    def _work(self) -> str:
        if self.builds is None:
            return ""
        count, sizes = self.fetches
        named = ", ".join(self.builds[:_NAMED]) + (
            f" and {len(self.builds) - _NAMED} more" * (len(self.builds) > _NAMED)
        )
        on, there = (f" on {self.elsewhere.on}", " there") if self.elsewhere else ("", "")
        built = f"{_counted(len(self.builds), 'derivation')} to build{on}: {named}"
        fetched = f"{_counted(count, 'store path')} to fetch{there}{f' ({sizes})' * bool(sizes)}"
        lines = [built if self.builds else f"nothing to build{on}", fetched if count else f"nothing to fetch{there}"]
        if self.elsewhere:
            missing, size = self.elsewhere.lacks
            copied = f"{_counted(missing, 'store path')} to bring to the host ({size / _MIB:.1f} MiB unpacked)"
            lines.append(copied if missing else "nothing to bring to the host")
        return "\n".join(lines)

    def _growth(self) -> str:
        if self.size is None:
            return ""
        new, old = self.size
        return f"its closure has {new / _MIB:.1f} MiB, the running one {old / _MIB:.1f} MiB"


def read_differences(frame: Frame, elsewhere: Elsewhere | None = None) -> Differences:
    """Read a host's answer to a plan.

    Args:
        frame: The answer.
        elsewhere: The machine that built in place of the host; None if the host did.

    Raises:
        FrameError: A part is missing.
    """
    running, expected = frame.text("running"), frame.text("expected")
    sizes = {path: int(size) for path, size in _SIZE.findall(frame.get("sizes"))}
    forecast = elsewhere.forecast if elsewhere else frame.get("forecast")
    fetched = _FETCHED.search(forecast)
    return Differences(
        running=running,
        expected=expected,
        builds=_names(_BUILT.search(forecast), 1) if elsewhere or "forecast" in frame.sections else None,
        fetches=(len(_names(fetched, 2)), (fetched[1] or "") if fetched else ""),
        elsewhere=elsewhere,
        size=(sizes[expected], sizes[running]) if {expected, running} <= sizes.keys() else None,
        closure=frame.text("closure"),
        units=frame.text("units"),
        reboot=tuple(frame.text("system.reboot").split()),
    )


def _names(found: re.Match[str] | None, group: int) -> tuple[str, ...]:
    return tuple(_NAME.findall(found[group])) if found else ()


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"
