"""The result of a switch job: how it ended, and whether it changed the host (pure)."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping

import msgspec


class Ending(enum.Enum):
    """The ways in which a switch can end, each with its text for readers."""

    DONE = "the switch ended well"
    UNITS_FAILED = "the system was activated, but units failed"
    EVALUATION_FAILED = "the system could not be evaluated; the host was not touched"
    DISK_FULL = "the host's disk is full, so the system could not be built; the host was not touched"
    BUILD_FAILED = "the system could not be built; the host was not touched"
    NO_SPECIALISATION = "the system has no such specialisation; the host was not touched"
    SECRETS_LOCKED = "the host cannot decrypt secrets of the system; it was not touched"
    NOT_REALISED = "a store path of the bridge could not be had; the host was not touched"
    NOT_INSTALLED = "a program of the bridge could not be installed; nothing was switched"
    NOT_ARMED = "the dead man's switch could not be armed; the host was not touched"
    ACTIVATION_FAILED = "the activation script failed; the profile has moved and the system may be half active"
    LOCK_HELD = (
        "another switch held the lock of switch-to-configuration; the profile has moved, nothing was activated"
    )
    REBOOT_NEEDED = "the system needs a reboot: it refuses to be switched to while the host runs"
    REFUSED = "nixos-rebuild failed; the profile may have moved"
    NOT_RESTORED = "switch-to-configuration of the system to go back to failed"
    STOPPED = "the switch was stopped by a signal"
    TIMED_OUT = "the job did not end within its time limit, and the host stopped it"
    UNKNOWN = "how the switch ended is unknown"


_BY_STATUS = {
    0: Ending.DONE,
    2: Ending.ACTIVATION_FAILED,
    4: Ending.UNITS_FAILED,
    11: Ending.LOCK_HELD,
    100: Ending.REBOOT_NEEDED,
    125: Ending.UNKNOWN,  # RESULT_UNKNOWN of host-switch.sh: the job recorded no result
}

_BEFORE_THE_SWITCH = {
    "specialisation": Ending.NO_SPECIALISATION,
    "secrets": Ending.SECRETS_LOCKED,
    "realise": Ending.NOT_REALISED,
    "arm": Ending.NOT_ARMED,
    "install": Ending.NOT_INSTALLED,
}

_STAGE = re.compile(r"^--- (\w+)$", re.MULTILINE)
_STATUS = re.compile(r"switching to system configuration \S+ failed \(status (\d+)\)")
_BUILD = re.compile(
    r"builder for '[^\n']*+' failed|Cannot build '|build of '[^\n']*+' failed|build of [^\n']{1,400}? failed"
    r"|Failed to build|hash mismatch"
)
_FULL = re.compile(r"No space left on device|database or disk is full|Disk quota exceeded")
_LINES_BEFORE, _LINES, _LAST_LINES = 5, 15, 12
_RESULT = re.compile(r"^--- the switch ended with .*$", re.MULTILINE)
_ERROR = re.compile(r"\berror\b|\bfailed\b|Failed|Could not")
_LEFT_ALONE = re.compile(r"^(?:journal: )?(NOT restarting .*)$", re.MULTILINE)
_INHIBITED = re.compile(r"changes to critical components|switch inhibitor", re.IGNORECASE)
_FAILED_UNITS = re.compile(r"^(?:journal: )?warning: the following (?:user )?units failed: (.+)$", re.MULTILINE)
_FAILED_JOB = re.compile(
    r"^(?:journal: )?(?:Failed to (?:start|stop|restart|reload) (\S+?)[.:]?$|Job for (\S+) (?:failed|timed out))",
    re.MULTILINE,
)


class Convergence(msgspec.Struct, frozen=True):
    """The end of a job that changes a host.

    Attributes:
        finished: Whether the job recorded its own result.
        status: The exit status that it recorded; None without one.
        stage: Its last stage: build, specialisation, secrets, realise, arm, install, switch or rollback.
        expected: The toplevel that the host should run.
        profile: The toplevel that the system profile should point to; another one if a specialisation should run.
        unit: The state of the job's unit, as systemd shows it.
        journal: The messages of switch-to-configuration in the journal.
        log: The whole log.
        log_path: The path of the log in the evidence.
        closure: The difference of the closures as Nix prints it; None if they were not compared.
        seconds: Seconds until it ended; None if unknown.
        limit_s: Seconds after which the host itself stops it.
        installed: The store paths that the bridge installed, by program.
        boot_problem: Why the boot default could not be set after the switch; empty if it was set.
        failing: The units that were failing right before the switch.
        secrets: The files of the new system that the host cannot decrypt, each with the reason.
        restored: Whether profile and boot default were set back at once, because the switch was refused.
    """

    finished: bool
    status: int | None
    stage: str
    expected: str
    unit: str
    journal: str
    log: str
    log_path: str
    closure: str | None = None
    seconds: float | None = None
    limit_s: float | None = None
    installed: Mapping[str, str] = msgspec.field(default_factory=dict)
    boot_problem: str = ""
    failing: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    restored: bool = False
    profile: str = ""

    @property
    def ending(self) -> Ending:
        """The meaning of the result. The old nixos-rebuild exits with 1 for every failure; the journal says more."""
        if not self.finished or self.status is None:
            if "Result=timeout" in self.unit:
                return Ending.TIMED_OUT
            return Ending.STOPPED if "Result=signal" in self.unit else Ending.UNKNOWN
        if self.stage == "build":
            if self.status == 0:
                return Ending.UNKNOWN
            if _FULL.search(self.excerpt):
                return Ending.DISK_FULL
            return Ending.BUILD_FAILED if _BUILD.search(self.excerpt) else Ending.EVALUATION_FAILED
        if self.stage in _BEFORE_THE_SWITCH:
            return _BEFORE_THE_SWITCH[self.stage] if self.status else Ending.UNKNOWN
        status = self.status
        reported = _STATUS.findall(self.journal)
        if status == 1 and reported:
            status = int(reported[-1])
        if status == 1 and _INHIBITED.search(self.log[self._last_stage :]):
            return Ending.REBOOT_NEEDED
        failed = Ending.NOT_RESTORED if self.stage == "rollback" else Ending.REFUSED
        return _BY_STATUS.get(status, Ending.STOPPED if status > 128 else failed)  # noqa: PLR2004 - signals

    @property
    def boots(self) -> tuple[str, ...]:
        """The systems that the host may boot from then on: a boot loader starts a specialisation only if told to."""
        return (self.profile, self.expected) if self.profile not in {"", self.expected} else (self.expected,)

    @property
    def activated(self) -> bool:
        """Whether the activation completed, even if units failed afterwards."""
        return self.ending in {Ending.DONE, Ending.UNITS_FAILED}

    @property
    def touched(self) -> bool:
        """Whether the host may have changed; the stages up to `arm` change nothing that runs or boots."""
        return self.stage not in {"", "build", "specialisation", "secrets", "realise", "arm"} and not self.restored

    @property
    def failed_units(self) -> frozenset[str]:
        """Units that the switch reported as failed, or whose start, stop, restart or reload failed."""
        text = self.log[self._last_stage :]
        listed = {unit.strip() for line in _FAILED_UNITS.findall(text) for unit in line.split(",")}
        jobs = {unit for names in _FAILED_JOB.findall(text) for unit in names}
        return frozenset((listed | jobs) - {""})

    @property
    def excerpt(self) -> str:
        """The lines of the log around the last stage's first error, and the last lines of the switch.

        The job marks the end of the switch in its log. The lines before that mark give the reason, however worded.
        """
        text = self.log[self._last_stage :]
        if result := _RESULT.search(text):
            text = text[: result.end()]
        lines = [line for line in text.splitlines() if line.strip()]
        first = next((number for number, line in enumerate(lines) if _ERROR.search(line)), None)
        if first is None:
            return "\n".join(lines[-_LINES:])
        begin, end = max(0, first - _LINES_BEFORE), first + _LINES
        if result is None:
            return "\n".join(lines[begin:end])
        last = max(end, len(lines) - _LAST_LINES)
        begin = min(begin, max(0, len(lines) - _LAST_LINES))
        gap = ["[…]"] if last > end else []
        return "\n".join([*lines[begin:end], *gap, *lines[last:]])

    @property
    def _last_stage(self) -> int:
        """The offset in the log at which the last stage begins."""
        return max((match.end() for match in _STAGE.finditer(self.log)), default=0)

    @property
    def left_alone(self) -> str:
        """Messages of switch-to-configuration about changed units that it did not restart."""
        return "\n".join(_LEFT_ALONE.findall(self.log))
