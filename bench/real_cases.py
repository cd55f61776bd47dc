"""Lists the cases for real programs on a lab host, with their expected outcomes, and runs them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.ground import ROOT
from switchproof.deploy.contract import Verdict
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from switchproof.deploy.providers.lab.revisions import REVISIONS
from switchproof.deploy.record.events import PhaseFinished
from switchproof.deploy.record.journal import read_events
from switchproof.deploy.record.record import read_record

LONGEST_S: Final = 900.0
"""Seconds for a session, far above its own limits."""
_HEALTH: Final = """
[health]
ready_s = 8.0
answers = 3
interval_s = 0.5
soak_s = {soak_s}
timeout_s = 2.0

[converge]
timeout_s = 120.0

[rollback]
confirm_s = {confirm_s}
"""
_KILLED_AFTER_S: Final = 15
_WITHOUT_CHECKS: Final = "canonical where the switch begins without checks"
_CANONICAL: Final = (0, "", "converged")
_OTHERWISE: Final = {
    "broken/inhibitor": (_WITHOUT_CHECKS, _CANONICAL),
    "broken/pre-switch-check": (_WITHOUT_CHECKS, _CANONICAL),
    "broken/user-unit-failing": ("canonical where the switch does not look at users' units", _CANONICAL),
    "dbus-restart": (
        "rolled back where the switch waits without end for a bus that it lost",
        (1, "converge", "rolled-back"),
    ),
}
"""Outcomes that differ with some versions of switch-to-configuration: in words; as exit code, clause and state."""
SAFE: Final = frozenset({"unchanged", "rolled-back"})


@dataclass(frozen=True)
class Case:
    """A case to run.

    Attributes:
        name: The name on the command line.
        title: The title on the page.
        options: The options of the session beside the host.
        clause: The clause that fails; None if none does.
        states: The allowed states of the host at the end.
        killed: Whether to kill the runner after the switch.
    """

    name: str
    title: str
    options: tuple[str, ...]
    clause: str | None = None
    states: frozenset[str] = frozenset({"converged"})
    killed: bool = False

    @property
    def expected(self) -> str:
        """Return the expected outcome in words."""
        if self.killed:
            return "the host goes back by itself"
        what = "canonical" if self.clause is None else f"fails at `{self.clause}`"
        return f"{what}, {' or '.join(sorted(self.states))}"


@dataclass(frozen=True)
class Outcome:
    """The outcome of a case, in words for the page."""

    verdict: str
    clause: str
    code: str
    state: str
    as_it_should: bool

    def __str__(self) -> str:
        return f"{self.verdict}, {self.clause}, {self.code}, {self.state}{'' if self.as_it_should else '  <-- WRONG'}"


def _title(name: str) -> str:
    return f"`{name}`" + (f" ({_OTHERWISE[name][0]})" if name in _OTHERWISE else "")


_GOOD = ("main", "systemd-upgrade", "dbus-restart", "journald-restart", "v3")
CASES: Final = (
    *(Case(name, f"good: {_title(name)}", (f"--sha={name}",)) for name in _GOOD),
    Case("again", "good: what may run already", ("--sha=v3",)),
    *(
        Case(one.name, _title(one.name), (f"--sha={one.name}",), one.clause, SAFE)
        for one in REVISIONS
        if one.ref.startswith("refs/heads/broken/")
    ),
    Case("audit", "audit", ("--audit",), states=frozenset({"found-healthy"})),
    Case("plan", "plan", ("--plan", "--sha=systemd-upgrade"), states=frozenset({"unchanged"})),
    Case("rollback", "rollback", ("--rollback=v1",)),
    Case("drill", "drill", ("--drill", "--sha=systemd-upgrade")),
    Case("runner killed", "runner killed after the switch", ("--sha=main",), killed=True),
)


def run(lab: Lab, host: str, case: Case, folder: Path) -> Outcome:
    """Run a case on one host and return its outcome."""
    process = _begin(lab, host, case, folder)
    if case.killed:
        return _kill(lab.hosts[host], process, folder)
    try:
        process.wait(timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return Outcome("none", "", f"none within {LONGEST_S:g} s", "", as_it_should=False)
    records = list((folder / "runs").glob("2*/record.json"))
    if not records:
        return Outcome("none", "", str(process.returncode), "", as_it_should=False)
    record = read_record(records[0])
    seen = record.host(host)
    # A plan asks nothing of the clauses after the first.
    asked = () if "--plan" in case.options else seen.clauses
    clause = next((str(result.id) for result in asked if result.verdict not in {Verdict.PASSED, Verdict.BLOCKED}), "")
    state = str(seen.state or "unchanged")
    ended = (process.returncode, clause, state)
    right = ended[:2] == (0 if case.clause is None else 1, case.clause or "") and state in case.states
    otherwise = case.name in _OTHERWISE and ended == _OTHERWISE[case.name][1]
    return Outcome(str(record.verdict), clause, str(process.returncode), state, right or otherwise)


def restore(host: LabHost) -> None:
    """Bring a host from any state back to its first system, without pending tasks."""
    script = """
        systemctl stop 'switchproof-*' 'nixos-rebuild-switch-to-configuration*' 2>/dev/null
        rm -rf /run/switchproof/lock /var/lib/switchproof/pending /etc/systemd/system.control
        top=$(readlink -e /nix/var/nix/gcroots/switchproof-lab/"$(cat /etc/switchproof-lab/attr)")
        systemctl daemon-reload
        nix-env --profile /nix/var/nix/profiles/system --set "$top"
        NIXOS_NO_CHECK=1 "$top/bin/switch-to-configuration" switch
    """
    host.run(["sh", "-c", script], timeout_s=LONGEST_S)


def _begin(lab: Lab, host: str, case: Case, folder: Path) -> subprocess.Popen[bytes]:
    folder.mkdir()
    text = (ROOT / "deploy" / "targets" / "lab.toml").read_text("utf-8")
    before, _, _ = text.partition("[[hosts]]")
    # Only a soak longer than its healthy stretches tells a crash loop from health.
    soak_s = 15.0 if "crash-loop" in case.name else 2.0
    health = _HEALTH.format(soak_s=soak_s, confirm_s=_KILLED_AFTER_S if case.killed else 120)
    rest = text[text.rindex("[[hosts]]") :].partition("\n\n")[2]
    (folder / "lab.toml").write_text(
        f'{before}[[hosts]]\nname = "{host}"\nflake_attr = "choiros-a"\n\n{rest}{health}', "utf-8"
    )
    options = [*case.options, f"--targets={folder / 'lab.toml'}", f"--report-dir={folder / 'runs'}"]
    with (folder / "output").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--provider=lab", *options],
            cwd=ROOT,
            env=os.environ | {"SWITCHPROOF_LAB": lab.name},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def _kill(host: LabHost, process: subprocess.Popen[bytes], folder: Path) -> Outcome:
    """Kill a runner after its switch, so that the host goes back to its earlier system."""
    current = ["readlink", "--canonicalize", "/run/current-system"]
    host.run(["rm", "-f", "/var/lib/switchproof/returned"], timeout_s=10)
    before = host.run(current, timeout_s=10).stdout
    _wait(lambda: process.poll() is not None or _switched(folder))
    process.kill()
    if (status := process.wait()) >= 0:
        return Outcome("none", "", str(status), "ended before it was killed", as_it_should=False)
    noted = ["sh", "-c", "sed -n 's/^rc //p' /var/lib/switchproof/returned 2>/dev/null"]
    came = _wait(lambda: host.run(noted, timeout_s=10).stdout != "")
    _wait(lambda: host.run(["test", "-e", "/var/lib/switchproof/pending"], timeout_s=10).returncode != 0)
    ended = host.run(noted, timeout_s=10).stdout.strip()
    host.run(["rm", "-rf", "/run/switchproof/lock"], timeout_s=10)  # or the next run would wait for it
    right = came and ended == "0" and host.run(current, timeout_s=10).stdout == before
    state = f"went back by itself, exit status {ended}" if came else "did not go back"
    return Outcome("none", "", "killed", state, right)


def _switched(folder: Path) -> bool:
    return any(
        isinstance(event, PhaseFinished) and event.phase == "converge"
        for path in (folder / "runs").glob("2*/events.jsonl")
        for event in read_events(path)
    )


def _wait(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + LONGEST_S
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True
