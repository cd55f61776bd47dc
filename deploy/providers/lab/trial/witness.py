"""Reads a deploy path's effects on a lab host, without a connection to it."""

from __future__ import annotations

import datetime as dt
import json
import re
import shlex
import time
from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from switchproof.deploy.providers.lab.errors import LabError
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.kinds import Shape
from switchproof.deploy.providers.lab.trial.seen import Activation, Process, Request, System

CHECKOUT = "/opt/choiros/workspace"
REST_S = 30.0
"""Seconds for a running switch to end after the path has ended."""
LEFT_S = 3.0
"""Seconds for the processes of a closed connection to end."""
POLL_S = 0.2
SWITCH = "nixos-rebuild-switch-to-configuration.service"
_STEP_S = 120.0

_REQUEST = re.compile(r"([A-Z]+) (\S+) (\d{3}|no answer)\b")
_SWITCHING = re.compile(
    r"(switching to|finished switching to) system configuration (/nix/store/\S+)(?: failed \(status (\d+)\))?"
)

LIMITS = "/run/switchproof-lab/limits"
"""The file in which stand-ins note requests that they cannot serve although the real programs can."""

_SYSTEM = r"""
# inner PATH: the toplevel there, also where PATH is a folder of links to one, as deploy-rs makes it its profile
inner() {
  local top version
  top=$(readlink -e "$1") || return 0
  version=$(readlink -e "$top/nixos-version" || true)
  case $version in '' | "$top"/*) printf %s "$top" ;; *) printf %s "${version%/nixos-version}" ;; esac
}
entry=$(/usr/local/lib/switchproof-lab/boot-loader 2>/dev/null || true)
profile=/nix/var/nix/profiles/system
for top in "$(inner /run/current-system)" "$(inner "$profile")" "$(inner "$entry")"; do
  printf '%s\n' "$top" "$([ -z "$top" ] || cat "$top/configuration-revision" 2>/dev/null || true)"
done
printf '%s\n' "$(readlink -e "$profile" || true)" "$(readlink "$profile" || true)"
"""


class Host:
    """Observes a lab host.

    Args:
        host: The host.
        shape: Its shape.
        repository: The repository of its deploys.
        attr: The name of its configuration in the flake.
        contract: The contract's units.
    """

    def __init__(self, host: LabHost, shape: Shape, repository: str, attr: str, contract: tuple[str, ...]) -> None:
        self._host = host
        self._contract = contract
        self._shape = shape
        self._repository = repository
        self._attr = attr
        self._since = 0.0
        self._units: frozenset[str] = frozenset()
        self._processes: frozenset[int] = frozenset()
        self._checked_out = 0
        self._invocations: dict[str, str] = {}

    def note_before(self) -> None:
        """Record the present state as the state before."""
        self._shell(f"rm -f {LIMITS}")
        self._processes = frozenset(pid for pid, _, _ in self._running())
        self._units = frozenset(unit for _, unit, _ in self._running())
        self._checked_out = len(self._reflog())
        self._invocations = {unit: self._invocation(unit) for unit in self._contract}
        self._since = time.time()

    def system(self) -> System:
        """Return the present state of the host."""
        running, revision, profile, profile_revision, boots, boots_revision, whole, link = self._shell(
            _SYSTEM
        ).splitlines()
        number = re.fullmatch(r"system-(\d+)-link", link)
        return System(
            running=running,
            profile=profile,
            boots=boots,
            generation=number[1] if number else link,
            revision=revision,
            profile_revision=profile_revision,
            boots_revision=boots_revision,
            wrapper=whole if whole != profile else "",
        )

    def rest(self) -> bool:
        """Wait until no switch is running; return whether there is none."""
        deadline = time.monotonic() + REST_S
        while self._run(["pgrep", "-f", "(nixos-rebuild|switch-to-configuration|/bin/nix|nix-env) "])[0] == 0:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True

    def built(self, commit: str) -> str:
        """Build the system of a commit, and return its toplevel; empty if it cannot be built."""
        flake = f"git+{self._repository}?rev={commit}"
        attr = f'nixosConfigurations."{self._attr}".config.system.build.toplevel'
        nix = ["nix", "--extra-experimental-features", "nix-command flakes"]
        code, out = self._run([*nix, "build", "--no-link", "--print-out-paths", f"{flake}#{attr}"])
        return out.strip() if code == 0 else ""

    def activations(self) -> tuple[Activation, ...]:
        """Return every switch since `note_before`, in order."""
        switches: list[Activation] = []
        for entry in self._journal("SYSLOG_IDENTIFIER=nixos"):
            match = _SWITCHING.search(_message(entry))
            if match is None:
                continue
            if match[1] == "switching to" and match[3] is None:
                revision = self._run(["cat", f"{match[2]}/configuration-revision"])[1].strip()
                at = _time(entry)
                switches.append(Activation(began=at, finished=None, toplevel=match[2], revision=revision))
            elif (index := _unfinished(switches, match[2])) is not None:
                failed = int(match[3]) if match[3] else None
                switches[index] = replace(switches[index], finished=_time(entry), failed=failed)
        return tuple(switches)

    def used_nixos_rebuild(self) -> bool:
        """Whether nixos-rebuild made a switch, which it does in a unit of this name."""
        return any(True for _ in self._journal(f"UNIT={SWITCH}", "+", f"_SYSTEMD_UNIT={SWITCH}"))

    def requests(self) -> tuple[Request, ...]:
        """Return the requests that the host's programs answered since `note_before`, from their logs, in order."""
        requests = list(_requests("hypervisor", self._journal("_SYSTEMD_UNIT=hypervisor.service")))
        for name in ("live", "dev"):
            if self._shape == "ovh":
                entries = self._journal(f"_SYSTEMD_UNIT=cloud-hypervisor@{name}.service")
            else:
                entries = self._journal("_SYSTEMD_UNIT=sandbox.service", container=f"sandbox-{name}")
            requests += _requests(name, entries)
        return tuple(sorted(requests, key=lambda request: request.at))

    def restarted(self) -> tuple[str, ...]:
        """Return the contract's units that stopped or were restarted since `note_before`."""
        return tuple(unit for unit, before in self._invocations.items() if self._invocation(unit) != before)

    def logins(self) -> int:
        """Return the number of successful SSH logins since `note_before`."""
        return sum(_message(entry).startswith("Accepted ") for entry in self._journal("_SYSTEMD_UNIT=ssh.service"))

    def checkouts(self) -> tuple[str, ...]:
        """Return the commits that the host's checkout was set to since `note_before`, in order."""
        return tuple(self._reflog()[self._checked_out :])

    def limits(self) -> tuple[str, ...]:
        """Return the requests since `note_before` that the lab's stand-ins cannot serve, each once."""
        lines = self._shell(f"cat {LIMITS} 2>/dev/null || true").splitlines()
        return tuple(dict.fromkeys(lines))

    def leftovers(self) -> list[Process]:
        """Return new processes that belong to no unit of the system, after a moment to end."""
        deadline = time.monotonic() + LEFT_S
        while (left := self._foreign()) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return left

    def _reflog(self) -> list[str]:
        """Return every commit that the checkout was ever set to, the first one first."""
        return self._run(["git", "-C", CHECKOUT, "reflog", "--format=%H", "HEAD"])[1].split()[::-1]

    def _invocation(self, unit: str) -> str:
        return self._run(["systemctl", "show", "--property=ActiveState,InvocationID,MainPID", unit])[1]

    def _foreign(self) -> list[Process]:
        declared = set(self._shell("ls /run/current-system/etc/systemd/system").split()) | self._units
        foreign = []
        for pid, unit, command in self._running():
            known = unit in declared or re.sub(r"@.*\.", "@.", unit) in declared
            ours = unit in {"ssh.service", "-"} and not command.startswith(("sshd", "/usr/sbin/sshd"))
            if pid not in self._processes and (ours or not known):
                foreign.append(Process(where="host", pid=pid, command=command))
        return foreign

    def _running(self) -> Iterator[tuple[int, str, str]]:
        text = self._shell("exec ps -eo pid=,unit:200=,args=")
        for line in text.splitlines():
            pid, unit, command = line.split(None, 2) if line.count(" ") > 1 else (line, "-", "")
            if not command.startswith(("ps -eo", "[")):
                yield int(pid), unit, command

    def _journal(self, *matches: str, container: str | None = None) -> Iterator[dict[str, Any]]:
        words = ["journalctl", "--quiet", "--no-pager", "--output=json", f"--since=@{self._since:.6f}", *matches]
        if container is None:
            self._run(["journalctl", "--sync"])
        else:
            words = ["nixos-container", "run", container, "--", *words]
        code, out = self._run(words)
        # A container that is down has no log.
        if code not in {0, 1}:
            raise LabError(f"`{shlex.join(words)}` failed on the trial's host with exit status {code}.")
        for line in out.splitlines():
            yield json.loads(line)

    def _run(self, argv: list[str]) -> tuple[int, str]:
        done = self._host.run(argv, timeout_s=_STEP_S)
        return done.returncode, done.stdout

    def _shell(self, script: str) -> str:
        code, out = self._run(["bash", "-c", script])
        if code != 0:
            raise LabError(f"a look at the trial's host failed with exit status {code}: {script.strip()}")
        return out


def _requests(endpoint: str, entries: Iterator[dict[str, Any]]) -> Iterator[Request]:
    for entry in entries:
        if match := _REQUEST.match(_message(entry)):
            yield Request(endpoint=endpoint, at=_time(entry), method=match[1], path=match[2], status=match[3])


def _unfinished(switches: list[Activation], toplevel: str) -> int | None:
    for index in range(len(switches) - 1, -1, -1):
        if switches[index].toplevel == toplevel and switches[index].finished is None:
            return index
    return None


def _message(entry: dict[str, Any]) -> str:
    message = entry.get("MESSAGE") or ""
    return bytes(message).decode("utf-8", "replace") if isinstance(message, list) else str(message)


def _time(entry: dict[str, Any]) -> dt.datetime:
    stamp = entry.get("_SOURCE_REALTIME_TIMESTAMP") or entry["__REALTIME_TIMESTAMP"]
    return dt.datetime.fromtimestamp(int(stamp) / 1e6, dt.UTC)
