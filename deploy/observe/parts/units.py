"""The contract's systemd units: their state, their definition, and the command that failed (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec

from switchproof.deploy.host.frame import Frame, FrameError
from switchproof.deploy.observe.parts.text import lines_of, number_of, pairs, refuse_malformed

_COMMAND = re.compile(
    r"^(Exec\w+)=\{ path=(.*?) ; argv\[\]=.*; ignore_errors=no ;.*"
    r"; code=(exited|killed|dumped) ; status=(\d+)(?:/(\w+))? \}$"
)

_CONTROL = ("/etc/systemd/system.control/", "/run/systemd/")


class Unit(msgspec.Struct, frozen=True):
    """A systemd unit of the contract, as systemd shows it.

    Attributes:
        name: Its name, with `CONTAINER/` before it for a unit inside a container.
        load: `LoadState`.
        active: `ActiveState`.
        sub: `SubState`.
        result: `Result`.
        main_pid: `MainPID`; 0 if there is none.
        invocation: `InvocationID`.
        restarts: `NRestarts`.
        exit_status: `ExecMainStatus`.
        definition: SHA-256 of the unit file and its drop-ins.
        strange_files: Unit files and drop-ins that systemd has read, and that the running system does not contain.
        needs_reload: Whether the files have changed since systemd read them.
        failed_command: The command that failed and how, as the end of a sentence; empty if unknown.
        began_s: When it was started, in seconds since the boot; None if unknown.
    """

    name: str
    load: str
    active: str
    sub: str
    result: str
    main_pid: int
    invocation: str
    restarts: int
    exit_status: int
    definition: str
    strange_files: tuple[str, ...] = ()
    needs_reload: bool = False
    failed_command: str = ""
    began_s: float | None = None

    @property
    def state(self) -> str:
        """The load state if the unit is not loaded; else active and sub state, with a result other than success."""
        if self.load not in {"loaded", ""}:
            return self.load
        state = f"{self.active} ({self.sub})"
        if self.result in {"success", ""}:
            return state
        return f"{state}, result {self.result}{self.failed_command or f' {self.exit_status}'}"


def read_units(frame: Frame) -> dict[str, Unit]:
    """Read the contract's units from any frame that contains them.

    Raises:
        FrameError: A part is missing or malformed.
    """
    if problem := frame.get("units.problem").strip():
        raise FrameError(f"nothing is known about the host's units: {problem}")
    strange: dict[str, list[str]] = {}
    with refuse_malformed():
        definitions = pairs(frame.text("units.definition"))
        for line in lines_of(frame.text("units.origins")):
            unit, path, file, of_system = line.split(" ")
            if file != of_system:
                strange.setdefault(unit, []).append(path)
    commands = dict(_failed_commands(frame.get("units.commands")))
    units = {}
    for block in frame.text("units.show").split("\n\n"):
        values = dict(line.split("=", 1) for line in lines_of(block) if "=" in line)
        if "Id" not in values:
            continue
        units[values["Id"]] = Unit(
            name=values["Id"],
            load=values.get("LoadState", ""),
            active=values.get("ActiveState", ""),
            sub=values.get("SubState", ""),
            result=values.get("Result", ""),
            main_pid=number_of(values.get("MainPID")),
            invocation=values.get("InvocationID", ""),
            restarts=number_of(values.get("NRestarts")),
            exit_status=number_of(values.get("ExecMainStatus")),
            definition=definitions.get(values["Id"], ""),
            strange_files=(*strange.get(values["Id"], ()), *_control_files(values)),
            needs_reload=values.get("NeedDaemonReload") == "yes",
            failed_command=commands.get(values["Id"], ""),
            began_s=number_of(values.get("InactiveExitTimestampMonotonic")) / 1e6 or None,
        )
    return units


def read_failed(frame: Frame) -> tuple[str, ...]:
    """Read the names of the host's failed units from any frame that contains them.

    Raises:
        FrameError: The part is missing.
    """
    return tuple(frame.text("units.failed").split())


def _failed_commands(text: str) -> Iterator[tuple[str, str]]:
    """Find each unit's first failed command in the output of `systemctl show`."""
    for block in text.split("\n\n"):
        lines = lines_of(block)
        name = next((line.removeprefix("Id=") for line in lines if line.startswith("Id=")), "")
        for key, path, code, status, signal in (each.groups() for line in lines if (each := _COMMAND.match(line))):
            if name and (code != "exited" or status != "0"):
                how = f"ended with status {status}" if code == "exited" else f"was killed by {signal or status}"
                yield name, f": {key}={path} {how}"
                break


def _control_files(values: Mapping[str, str]) -> Iterator[str]:
    """Find the files of a unit inside a container that were made at run time, and belong to no system."""
    if "/" in values["Id"]:
        paths = f"{values.get('FragmentPath', '')} {values.get('DropInPaths', '')}".split()
        yield from (path for path in paths if path.startswith(_CONTROL))
