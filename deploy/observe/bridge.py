"""The store path bridge: which programs are installed, and whether units run them (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Literal, Protocol, TypeAlias, get_args

import msgspec

from switchproof.deploy.target.types import BridgedProgram

State: TypeAlias = Literal["absent", "store", "gone", "other"]


class Installed(msgspec.Struct, frozen=True):
    """The state of a path where the bridge installs a program.

    Attributes:
        state: `store`, a link into the Nix store; `gone`, a link to nothing; `other`, a file, or a link to another
            place; `absent`, nothing.
        target: The target of the link, if it is one.
        belongs: The store path that was installed with the running system; empty if unknown.
    """

    state: State
    target: str
    belongs: str

    @property
    def root(self) -> str:
        """The store path that is installed, empty if none is."""
        return "/".join(self.target.split("/")[:4]) if self.state == "store" else ""

    def __str__(self) -> str:
        text = {"absent": "nothing", "gone": f"{self.target}, which is not there", "other": "no link into the store"}
        return text.get(self.state, self.target)


class Running(Protocol):
    """A process of a unit, with the installed store paths that it runs from."""

    @property
    def unit(self) -> str:
        """The unit."""
        ...

    @property
    def installed(self) -> tuple[str, ...]:
        """The store paths."""
        ...


def read_installed(text: str) -> dict[str, Installed]:
    """Read a host's installed programs, one per line.

    Raises:
        ValueError: The text is malformed.
    """
    installed = {}
    for line in filter(None, text.split("\n")):
        name, state, target, belongs = line.split("\x1f")
        if state not in get_args(State):
            raise ValueError(f"{state!r} is not a state of an installed program")
        installed[name] = Installed(state, target, belongs.strip())  # type: ignore[arg-type] # it is one of them
    return installed


def read_realised(text: str) -> dict[str, str]:
    """Read the store paths that a deploy installed, by program."""
    return dict(line.split("\x1f", 1) for line in text.split("\n") if "\x1f" in line)


class Installation(msgspec.Struct, frozen=True):
    """The programs of the bridge on one host: the expected and the observed ones.

    Attributes:
        programs: The programs in the target file.
        wanted: The store paths that must be installed, by program.
        before: The state before the deploy, if exactly that must be restored; else None.
        seen: The observed state.
    """

    programs: Mapping[str, BridgedProgram]
    wanted: Mapping[str, str]
    before: Mapping[str, Installed] | None
    seen: Mapping[str, Installed]

    @property
    def seen_text(self) -> str:
        """The installed programs, as text."""
        return "; ".join(f"{name}: {seen}" for name, seen in self.seen.items()) or "the target file has no bridge"

    @property
    def expected_text(self) -> str:
        """The expected programs, as text."""
        if self.before is not None:
            return "what was there before"
        return "; ".join(f"{name}: {path}" for name, path in self.wanted.items()) or "nothing that is in doubt"

    def problems(self, processes: Sequence[Running], units: AbstractSet[str]) -> list[str]:
        """Describe every problem.

        Args:
            processes: The processes of the contract's units.
            units: The active units, whose processes can be judged.
        """
        return [
            problem
            for name, program in self.programs.items()
            for problem in self._problems(name, program, processes, units)
        ]

    def doubts(self, processes: Sequence[Running]) -> list[str]:
        """Describe the installed programs that run and that may belong to another release than the system."""
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
        running = {process.unit for process in processes if path in process.installed}
        return [
            f"{name}: {unit} does not run {path}, which is installed as {program.at}; check its ExecStart, restart it"
            for unit in program.units
            if unit in units and unit not in running
        ]


def _run(processes: Sequence[Running], path: str) -> bool:
    return any(path in process.installed for process in processes)
