"""Frames → typed observations: what was seen on a host at one time."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from switchproof.deploy.host.frame import Frame, FrameError
from switchproof.deploy.observe.answers import Answer, read_answer, seconds
from switchproof.deploy.observe.boot.facts import BootFacts, read_boot_facts
from switchproof.deploy.observe.bridge import Installed, read_installed
from switchproof.deploy.observe.causes.container import Container, read_container
from switchproof.deploy.observe.causes.machine import Machine, read_machine
from switchproof.deploy.observe.pending import Pending, read_pending
from switchproof.deploy.record.events import SystemIdentity

_DEVICE = re.compile(r"%[^:\]]+(?=:\d+$)")
_MAPPED = re.compile(r"^\[::ffff:([0-9.]+)\]")


START_S = 5.0
"""Seconds by which systemd may note the start of a unit later than its first process began: it forks first."""


@dataclass(frozen=True)
class System:
    """Which system a host runs, has set, and booted.

    Attributes:
        running: Store path behind `/run/current-system`.
        profile: Store path of the system profile's current generation.
        booted: Store path behind `/run/booted-system`.
        generation: Number of the profile's current generation.
        revision: What the system itself says it was built from (`configurationRevision`).
        built_from: The commit that this host once built the running system from.
        boot_id: The kernel's id of this boot.
        wrapped: The running system, if the profile is nothing but links to all that it holds; else empty.
        nar_hash: `sha256:` and, in Nix's base 32, the hash of the running system as an archive; empty if unknown.
        installed: What stands where the store path bridge installs programs, by program.
        reboot_parts: The parts, such as `kernel`, in which the booted system is another than the running one.
        kernels: The versions of the booted kernel and of the running system's.
    """

    running: str
    profile: str
    booted: str
    generation: int | None
    revision: str
    built_from: str
    boot_id: str
    nar_hash: str = ""
    wrapped: str = ""
    installed: Mapping[str, Installed] = field(default_factory=dict)
    reboot_parts: tuple[str, ...] = ()
    kernels: tuple[str, str] = ("", "")

    @property
    def awaits_reboot(self) -> str:
        """What of the running system waits for a reboot, as a sentence; empty if nothing does."""
        if not self.reboot_parts:
            return ""
        was, now = self.kernels
        versions = f" (booted: {was}, configured: {now})" if was != now else ""
        return f"A reboot is needed before this system's {', '.join(self.reboot_parts)} is in use{versions}."

    @property
    def commit(self) -> str | None:
        """The full commit that the running system comes from, where that is known."""
        for said in (self.revision, self.built_from):
            if re.fullmatch(r"[0-9a-f]{40}", said):
                return said
        return None

    @property
    def said(self) -> str | None:
        """The commit that the system itself names, perhaps abbreviated or marked dirty; else the one known here."""
        return self.revision if re.fullmatch(r"[0-9a-f]{7,40}(-dirty)?", self.revision) else self.commit

    @property
    def agrees(self) -> bool:
        """Whether the commit that the system names is the one that the host noted when it built it."""
        named = re.fullmatch(r"([0-9a-f]{7,40})(-dirty)?", self.revision)
        noted = re.fullmatch(r"[0-9a-f]{40}", self.built_from)
        return named is None or noted is None or self.built_from.startswith(named[1])

    @property
    def identity(self) -> SystemIdentity:
        """The same, as the record keeps it."""
        return SystemIdentity(
            toplevel=self.running or None,
            generation=self.generation,
            revision=self.commit,
            boot_id=self.boot_id or None,
            nar_hash=self.nar_hash or None,
        )


@dataclass(frozen=True)
class Unit:
    """A systemd unit of the contract."""

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
    """SHA-256 of the unit file and its drop-ins."""
    strange_files: tuple[str, ...] = ()
    """Unit files and drop-ins that systemd has read and that are not those of the running system."""
    needs_reload: bool = False
    """Whether systemd has read another definition than the files hold now."""
    failed_command: str = ""
    """Which of its commands failed and how, in words; empty if that is not known."""
    began_s: float | None = None
    """When it was started, in seconds since the boot; None if that is not known."""

    @property
    def state(self) -> str:
        """Load state where that is the trouble, else active and sub state, with the result if it is no success."""
        if self.load not in {"loaded", ""}:
            return self.load
        state = f"{self.active} ({self.sub})"
        if self.result in {"success", ""}:
            return state
        return f"{state}, result {self.result}{self.failed_command or f' {self.exit_status}'}"


@dataclass(frozen=True)
class Presence:
    """What a unit was at a moment of the watch; a change of pid, invocation or restarts is another process."""

    active: str
    sub: str
    pid: str
    invocation: str
    restarts: str

    @property
    def identity(self) -> tuple[str, str, str]:
        """What must last over the soak."""
        return (self.pid, self.invocation, self.restarts)


@dataclass(frozen=True)
class Streak:
    """The good answers in a row with which a watch of an endpoint ended.

    `identity_kept` says whether its units are active and the same processes since the first good answer of all.
    """

    answers: int
    seconds: float
    identity_kept: bool


@dataclass(frozen=True)
class Process:
    """A process of a unit.

    `strays` are the store paths it runs from that the running system does not hold, and the bridge did not install;
    `installed` those that the bridge did.
    """

    unit: str
    pid: int
    executable: str
    strays: tuple[str, ...]
    installed: tuple[str, ...] = ()
    began_s: float | None = None
    """When it began, in seconds since the boot; None if it ended while it was looked at."""

    @property
    def is_deleted(self) -> bool:
        """Whether the file that it runs is there no more, whatever may stand in its place."""
        return self.executable.endswith("_(deleted)")


@dataclass(frozen=True)
class Program:
    """The file that a probe runs.

    Attributes:
        file: Where its path leads; empty if it leads nowhere.
        origin: `system` if it is of the running system, `installed` if the bridge has installed it, else `other`.
    """

    file: str
    origin: str


@dataclass(frozen=True)
class Listener:
    """Somebody who listens on a TCP address or a unix socket: the process, and its unit of the contract.

    `unit` is the process's control group where that belongs to no such unit. `container` is the unit of the container
    in whose network it listens; empty in the host's own.
    """

    address: str
    pid: int
    unit: str
    container: str = ""

    @property
    def is_loopback(self) -> bool:
        """Whether only the host itself, or whoever shares that network with it, reaches the socket."""
        host = self._bare.rpartition(":")[0]
        if host.endswith("%lo"):
            return True
        try:
            return ipaddress.ip_address(host.partition("%")[0].strip("[]")).is_loopback
        except ValueError:
            return False

    def hears(self, listen: str) -> bool:
        """Whether a connection to `listen` (`address:port`, or a socket's path) reaches it.

        `[::]` alone does not count for an IPv4 address: ss writes `*` for a socket that takes both. A socket that is
        bound to a device (`127.0.0.1%lo:80`) hears what comes to its address there; one for every address of
        another device than `lo` hears nothing of the host itself.
        """
        port = listen.rpartition(":")[2]
        everywhere = {f"*:{port}", f"[::]:{port}" if listen.startswith("[") else f"0.0.0.0:{port}"}
        return _DEVICE.sub("", self._bare) == listen or self._bare.replace("%lo:", ":") in everywhere

    @property
    def _bare(self) -> str:
        """The address, an IPv4 address that an IPv6 socket is bound to (`[::ffff:127.0.0.1]:80`) as IPv4."""
        return _MAPPED.sub(r"\1", self.address)


@dataclass(frozen=True)
class Observation:
    """Everything that one `observe` saw.

    Attributes:
        system: Which system.
        units: The contract's units, by name.
        failed: Names of all units of the host that are failed, or wait to be started again after a failure.
        settled: How the watch of every endpoint ended: healthy, unhealthy, restarted; unit-failed, failing-alike or
            same-answer where waiting could not mend it; cut-short where another was given up so; or unknown.
        reasons: What showed that waiting could not mend it, by endpoint.
        watched_s: Seconds of the watch.
        answers: Every answer of every endpoint with its body, by endpoint, in order.
        backends: What the workload behind an endpoint answered when the endpoint did not, body first.
        due: What the running system says that bodies must hold, by endpoint and the system's file.
        machines: The virtual machines behind the endpoints that were not healthy, where there are any.
        containers: The containers of the endpoints that were not healthy, where there are any.
        presences: What every unit was whenever that changed, by seconds since the watch began.
        processes: Processes of the contract's units; None if the closure could not be read.
        processes_problem: What nix said where the closure could not be read.
        programs: The files that probes run, by endpoint.
        listeners: Who listens.
        listeners_problem: Why nobody could say who listens; empty if somebody could.
        activated_s: When the running system was activated, in seconds since the boot; None if that is not known.
        diagnosable: Sources of diagnostics and how many characters each gave.
        clock: The host's clock, seconds since 1970.
        boot: What the host's boot loader reads.
        pending: A return of the host to its earlier system that waits for a confirmation; None if none does.
    """

    system: System
    units: Mapping[str, Unit]
    failed: tuple[str, ...]
    settled: Mapping[str, str]
    watched_s: float
    answers: Mapping[str, tuple[Answer, ...]]
    backends: Mapping[str, str]
    due: Mapping[str, Mapping[str, str]]
    machines: Mapping[str, Machine]
    containers: Mapping[str, Container]
    presences: tuple[tuple[float, Mapping[str, Presence]], ...]
    processes: tuple[Process, ...] | None
    listeners: tuple[Listener, ...]
    diagnosable: Mapping[str, int]
    clock: float
    boot: BootFacts
    pending: Pending | None = None
    listeners_problem: str = ""
    activated_s: float | None = None
    processes_problem: str = ""
    programs: Mapping[str, Program] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def survivors(self) -> list[Process]:
        """Processes that outlived a restart of their unit, and began before the running system was activated.

        They are of an earlier release, also where the program is part of both.
        """
        told = []
        for process in self.processes or ():
            unit = self.units.get(process.unit)
            if process.began_s is None or unit is None or unit.began_s is None or process.pid == unit.main_pid:
                continue
            before = self.activated_s is None or process.began_s < self.activated_s
            if before and process.began_s + START_S < unit.began_s:
                told.append(process)
        return told

    @property
    def healthy(self) -> bool:
        """Whether every endpoint was healthy, as the host judged it."""
        return bool(self.settled) and set(self.settled.values()) == {"healthy"}

    def streak(self, answers: tuple[Answer, ...], units: tuple[str, ...]) -> Streak:
        """Count the good answers with which the watch ended, and see whether `units` stayed the same processes.

        They must have been the same from the first good answer of the whole watch on: what restarts after it was
        healthy is not healthy, however long it then holds.

        Args:
            answers: Those of one endpoint, judged.
            units: The units behind it, which must be active all along.
        """
        good: list[Answer] = []
        for answer in reversed(answers):
            if not answer.good:
                break
            good.append(answer)
        if not good:
            return Streak(0, 0.0, identity_kept=False)
        since = good[-1].at
        first = next(answer.at for answer in answers if answer.good)
        # Whoever answered the very first question was there before it; later it may be who replaced a bad one.
        since_then = [at for at, _ in self.presences if (at < first if answers[0].good else at <= first)][-1:]
        during = [seen for at, seen in self.presences if at >= (since_then[0] if since_then else first)]
        while len(during) > 1 and not all(unit in during[0] and during[0][unit].active == "active" for unit in units):
            during.pop(0)
        kept = bool(during) and all(
            unit in seen and seen[unit].identity == during[0].get(unit, seen[unit]).identity
            for seen in during
            for unit in units
        )
        kept = kept and all(during[-1][unit].active == "active" for unit in units)
        return Streak(len(good), round(self.watched_s - since, 3), kept)

    def lives(self, unit: str) -> int:
        """Count the invocations that a unit had during the watch."""
        return len({seen[unit].invocation for _, seen in self.presences if unit in seen} - {"-"})

    def restarts(self, units: tuple[str, ...]) -> list[str]:
        """Tell every time that one of `units` became another process or stopped being active during the watch."""
        return [
            f"+{at:.1f} s {unit}: {_presence(was[unit])} → {_presence(now[unit])}"
            for (_, was), (at, now) in zip(self.presences, self.presences[1:], strict=False)
            for unit in units
            if unit in was and unit in now and was[unit] != now[unit]
        ]


def _presence(presence: Presence) -> str:
    return f"{presence.active} ({presence.sub}), pid {presence.pid}, {presence.restarts} restarts"


@contextmanager
def _understood() -> Iterator[None]:
    try:
        yield
    except (ValueError, IndexError) as error:
        raise FrameError(f"the host's observation cannot be understood: {error}") from error


def _lines(text: str) -> list[str]:
    """Split at line feeds alone: an endpoint's own words may hold what Unicode calls a line break."""
    return [line for line in text.split("\n") if line]


def read_system(frame: Frame) -> System:
    """Read which system a host has from any frame that says it.

    Raises:
        FrameError: A part is missing.
    """
    generation = frame.text("system.generation")
    return System(
        running=frame.text("system.running"),
        profile=frame.text("system.profile"),
        booted=frame.text("system.booted"),
        generation=int(generation) if generation.isdecimal() else None,
        revision=frame.text("system.revision").strip(),
        built_from=frame.text("system.built_from").strip(),
        boot_id=frame.text("system.boot_id"),
        nar_hash=frame.text("system.nar_hash").strip(),
        wrapped=frame.get("system.wrapped").strip(),
        installed=_installed(frame),
        reboot_parts=tuple(frame.text("system.reboot").split()),
        kernels=_kernels(frame),
    )


def read_units(frame: Frame) -> dict[str, Unit]:
    """Read the contract's units from any frame that says them.

    Raises:
        FrameError: A part is missing or cannot be understood.
    """
    if problem := frame.get("units.problem").strip():
        raise FrameError(f"nothing is known about the host's units: {problem}")
    strange: dict[str, list[str]] = {}
    with _understood():
        definitions = dict(_pair(line) for line in _lines(frame.text("units.definition")))
        for line in _lines(frame.text("units.origins")):
            unit, path, file, of_system = line.split(" ")
            if file != of_system:
                strange.setdefault(unit, []).append(path)
    commands = dict(_failed_commands(frame.get("units.commands")))
    units = {}
    for block in frame.text("units.show").split("\n\n"):
        values = dict(line.split("=", 1) for line in _lines(block) if "=" in line)
        if "Id" not in values:
            continue
        units[values["Id"]] = Unit(
            name=values["Id"],
            load=values.get("LoadState", ""),
            active=values.get("ActiveState", ""),
            sub=values.get("SubState", ""),
            result=values.get("Result", ""),
            main_pid=_number(values.get("MainPID")),
            invocation=values.get("InvocationID", ""),
            restarts=_number(values.get("NRestarts")),
            exit_status=_number(values.get("ExecMainStatus")),
            definition=definitions.get(values["Id"], ""),
            strange_files=(*strange.get(values["Id"], ()), *_control_files(values)),
            needs_reload=values.get("NeedDaemonReload") == "yes",
            failed_command=commands.get(values["Id"], ""),
            began_s=_number(values.get("InactiveExitTimestampMonotonic")) / 1e6 or None,
        )
    return units


def read_failed(frame: Frame) -> tuple[str, ...]:
    """Read the names of failed units from any frame that says them."""
    return tuple(frame.text("units.failed").split())


def read_observation(frame: Frame) -> Observation:
    """Read what an `observe` saw.

    Raises:
        FrameError: A part is missing or cannot be understood; nothing may be concluded from the rest.
    """
    with _understood():
        began = seconds(frame.text("watch.began"))
        return Observation(
            system=read_system(frame),
            units=read_units(frame),
            failed=read_failed(frame),
            settled=dict(_pair(line) for line in _lines(frame.text("watch.settled"))),
            reasons=dict(_pair(line) for line in _lines(frame.get("watch.reasons"))),
            watched_s=seconds(frame.text("watch.ended")) - began,
            answers=_answers(frame.text("watch.series"), began, _bodies(frame)),
            backends=_named(frame, "backend."),
            due={name: dict(_pair(line) for line in _lines(text)) for name, text in _named(frame, "due.").items()},
            machines={
                name: read_machine(text, frame.text(f"systemd.{name}"), frame.text(f"console.{name}"))
                for name, text in _named(frame, "machine.").items()
            },
            containers={
                name: read_container(text, frame.text(f"outside.{name}"), frame.text(f"inside.{name}"))
                for name, text in _named(frame, "container.").items()
            },
            presences=_presences(frame.text("watch.units"), began),
            processes=_processes(frame),
            processes_problem=frame.get("processes.problem").strip(),
            activated_s=_activated(frame),
            programs={
                name: Program(file, origin)
                for name, origin, file in (line.split(" ", 2) for line in _lines(frame.get("programs")))
            },
            listeners_problem=frame.get("sockets.problem").strip(),
            listeners=(
                *_listeners(frame.text("listeners"), ""),
                *(one for name, text in _named(frame, "listeners.").items() for one in _listeners(text, name)),
            ),
            diagnosable={
                f"{tool} {what}": int(size)
                for tool, what, size in (line.split(" ") for line in _lines(frame.text("diagnosable")))
            },
            clock=seconds(frame.text("system.clock")),
            boot=read_boot_facts(frame),
            pending=read_pending(frame),
        )


def _listeners(text: str, container: str) -> Iterator[Listener]:
    for line in _lines(text):
        address, pid, unit = line.split(" ")
        yield Listener(address, int(pid), unit, container)


def _pair(line: str) -> tuple[str, str]:
    name, value = line.split(" ", 1)
    return name, value


def _named(frame: Frame, prefix: str) -> dict[str, str]:
    return {name.removeprefix(prefix): frame.text(name) for name in frame.sections if name.startswith(prefix)}


def _bodies(frame: Frame) -> dict[tuple[str, str], bytes]:
    """Read the bodies that answers name, by endpoint and number."""
    try:
        rest = base64.b64decode(frame.text("watch.body-bytes"), validate=True)
    except binascii.Error as error:
        raise ValueError(f"the bodies are damaged: {error}") from error
    bodies = {}
    for line in _lines(frame.text("watch.bodies")):
        name, number, size = line.split(" ")
        if not size.isdecimal() or int(size) > len(rest):
            raise ValueError(f"body {number} of {name} is not there")
        bodies[name, number], rest = rest[: int(size)], rest[int(size) :]
    if rest:
        raise ValueError(f"{len(rest)} bytes of bodies belong to no answer")
    return bodies


def _answers(series: str, began: float, bodies: Mapping[tuple[str, str], bytes]) -> dict[str, tuple[Answer, ...]]:
    answers: dict[str, list[Answer]] = {}
    for line in _lines(series):
        name = line.split(" ", 2)[1]
        answer, number = read_answer(line)
        answer = replace(answer, at=answer.at - began, body=bodies.get((name, number)))
        answers.setdefault(name, []).append(answer)
    return {name: tuple(row) for name, row in answers.items()}


def _presences(changes: str, began: float) -> tuple[tuple[float, dict[str, Presence]], ...]:
    seen: list[tuple[float, dict[str, Presence]]] = []
    for line in _lines(changes):
        head, *rest = line.split(" ")
        if head == "at":
            seen.append((seconds(rest[0]) - began, {}))
        else:
            active, *words, pid, invocation, restarts = rest
            sub = " ".join(words)
            seen[-1][1][head] = Presence(active, sub, pid, invocation, restarts)
    return tuple(seen)


def _processes(frame: Frame) -> tuple[Process, ...] | None:
    if "processes" not in frame.sections:
        return None
    processes = []
    began = {int(pid): int(ticks) / 100 for pid, ticks in map(_pair, _lines(frame.get("processes.began")))}
    for line in _lines(frame.text("processes")):
        unit, pid, executable, *found = line.split(" ")
        strays = tuple(path for path in found if path.startswith("/nix/store/"))
        installed = tuple(path.removeprefix("=") for path in found if path.startswith("=/nix/store/"))
        processes.append(Process(unit, int(pid), executable, strays, installed, began.get(int(pid))))
    return tuple(processes)


def _activated(frame: Frame) -> float | None:
    """When the running system was activated, in seconds since the boot; the host says it by the clock."""
    words = frame.get("system.activated").split()
    if len(words) < 2:  # noqa: PLR2004 - by the clock, and the uptime
        return None
    return seconds(words[1]) - (seconds(frame.text("system.clock")) - seconds(words[0]))


_COMMAND = re.compile(
    r"^(Exec\w+)=\{ path=(.*?) ; argv\[\]=.*; ignore_errors=no ;.*"
    r"; code=(exited|killed|dumped) ; status=(\d+)(?:/(\w+))? \}$"
)


def _failed_commands(text: str) -> Iterator[tuple[str, str]]:
    """Find in what systemctl shows of units the command of each that failed first."""
    for block in text.split("\n\n"):
        lines = _lines(block)
        name = next((line.removeprefix("Id=") for line in lines if line.startswith("Id=")), "")
        for key, path, code, status, signal in (found.groups() for line in lines if (found := _COMMAND.match(line))):
            if name and (code != "exited" or status != "0"):
                how = f"ended with status {status}" if code == "exited" else f"was killed by {signal or status}"
                yield name, f": {key}={path} {how}"
                break


_CONTROL = ("/etc/systemd/system.control/", "/run/systemd/")


def _control_files(values: Mapping[str, str]) -> Iterator[str]:
    """Files of a unit inside a container that are no part of any system: those that are made while it runs."""
    if "/" in values["Id"]:
        paths = f"{values.get('FragmentPath', '')} {values.get('DropInPaths', '')}".split()
        yield from (path for path in paths if path.startswith(_CONTROL))


def _installed(frame: Frame) -> dict[str, Installed]:
    with _understood():
        return read_installed(frame.text("system.installed"))


def _kernels(frame: Frame) -> tuple[str, str]:
    was, _, now = frame.text("system.kernels").partition(" ")
    return was.strip(), now.strip()


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
