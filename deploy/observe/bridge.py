"""The store path bridge: what stands where it installs programs, and whether units run that (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, get_args

from switchproof.deploy.target.types import BridgedProgram

State: TypeAlias = Literal["absent", "store", "gone", "other"]


@dataclass(frozen=True)
class Installed:
    """What stands on a host where the bridge installs a program.

    Attributes:
        state: `store`, a link into the Nix store; `gone`, one that leads nowhere any more; `other`, a file or a link
            of which no store path is known; `absent`, nothing.
        target: Where the link leads, if it is one.
        belongs: The store path that was installed with the system that runs, empty if that is not known.
    """

    state: State
    target: str
    belongs: str

    @property
    def root(self) -> str:
        """The store path that is installed, empty if none is."""
        return "/".join(self.target.split("/")[:4]) if self.state == "store" else ""

    def __str__(self) -> str:
        told = {"absent": "nothing", "gone": f"{self.target}, which is not there", "other": "no link into the store"}
        return told.get(self.state, self.target)


class Running(Protocol):
    """A process of a unit, and the store paths that it runs from and that the bridge installed."""

    @property
    def unit(self) -> str:
        """The unit."""
        ...

    @property
    def installed(self) -> tuple[str, ...]:
        """The store paths."""
        ...


def read_installed(text: str) -> dict[str, Installed]:
    """Read what a host says of its installed programs, one a line.

    Raises:
        ValueError: It is no such text.
    """
    found = {}
    for line in filter(None, text.split("\n")):
        name, state, target, belongs = line.split("\x1f")
        if state not in get_args(State):
            raise ValueError(f"{state!r} is not a state of an installed program")
        found[name] = Installed(state, target, belongs.strip())  # type: ignore[arg-type] # it is one of them
    return found


def read_realised(text: str) -> dict[str, str]:
    """Read which store paths a deploy installed, by program."""
    return dict(line.split("\x1f", 1) for line in text.split("\n") if "\x1f" in line)


@dataclass(frozen=True)
class Installation:
    """The programs of the bridge on one host, as they should be and as they are.

    Attributes:
        programs: What the target file says of each.
        wanted: The store paths that must be installed, by program.
        before: What stood there before, where exactly that must stand there again.
        seen: What stands there.
    """

    programs: Mapping[str, BridgedProgram]
    wanted: Mapping[str, str]
    before: Mapping[str, Installed] | None
    seen: Mapping[str, Installed]

    @property
    def told(self) -> str:
        """What is installed, in words."""
        return "; ".join(f"{name}: {seen}" for name, seen in self.seen.items()) or "the target file has no bridge"

    @property
    def asked(self) -> str:
        """What should be, in words."""
        if self.before is not None:
            return "what was there before"
        return "; ".join(f"{name}: {path}" for name, path in self.wanted.items()) or "nothing that is in doubt"

    def problems(self, processes: Sequence[Running], units: AbstractSet[str]) -> list[str]:
        """Say what is wrong.

        Args:
            processes: The processes of the contract's units.
            units: The units that are up, so that one can tell what they run.
        """
        return [
            problem
            for name, program in self.programs.items()
            for problem in self._problems(name, program, processes, units)
        ]

    def doubts(self, processes: Sequence[Running]) -> list[str]:
        """Say of what is installed and run that it may belong to another release than the system."""
        if self.before is not None:
            return []
        return [
            f"{name}: units run {seen.root}, but it is unknown whether it belongs to this system; "
            f"deploy with the store path that does"
            for name, seen in self.seen.items()
            if name not in self.wanted and seen.root and not seen.belongs and _run(processes, seen.root)
        ]

    def _problems(
        self, name: str, program: BridgedProgram, processes: Sequence[Running], units: AbstractSet[str]
    ) -> list[str]:
        seen = self.seen.get(name)
        if seen is None:
            return [f"{name}: the host did not report what is installed as {program.at}"]
        if self.before is not None:
            was = self.before.get(name)
            if was is None or (was.state, was.target) != (seen.state, seen.target):
                return [f"{name}: {program.at} is {seen}, but before the deploy it was {was or 'not seen'}"]
            return []
        if name not in self.wanted:
            if seen.belongs and seen.root not in {"", seen.belongs} and _run(processes, seen.root):
                return [f"{name}: units run {seen.root}, but {seen.belongs} was installed with this system"]
            return []
        path = self.wanted[name]
        if seen.target != f"{path}/{program.file}" or seen.state != "store":
            return [f"{name}: {program.at} leads to {seen} instead of {path}/{program.file}"]
        running = {one.unit for one in processes if path in one.installed}
        return [
            f"{name}: {unit} does not run {path}, which is installed as {program.at}; check its ExecStart, restart it"
            for unit in program.units
            if unit in units and unit not in running
        ]


def _run(processes: Sequence[Running], path: str) -> bool:
    return any(path in process.installed for process in processes)
