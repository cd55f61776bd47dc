"""One cell of the table: a fault, met by a session in one mode on one lab host, and how that must end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from switchproof.deploy.contract import Clause, HostState, Verdict
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from switchproof.deploy.record.record import read_record
from tests.deploys.sessions import ROOT, target_file
from tests.deploys.ways_back import Systems, look

Mode = Literal["deploy", "audit", "rollback", "drill"]
Place = Literal["host", "transport", "runner", "repository", "cloud"]
Output = Literal["kept", "closed", "full", "broken"]

MODES: Final[tuple[Mode, ...]] = ("deploy", "audit", "rollback", "drill")
PLACES: Final[tuple[Place, ...]] = ("host", "transport", "runner", "repository", "cloud")
CHANGING: Final[tuple[Mode, ...]] = ("deploy", "rollback", "drill")
LONGEST_S: Final = 900.0
"""Seconds after which a session is given up; ten of them at a time on a busy machine take minutes each."""
RELEASES: Final = ("v1", "main")
"""The good releases of every host; a session goes from one to the other."""

VERDICTS: Final[Mapping[int, frozenset[str]]] = {
    0: frozenset({"canonical"}),
    1: frozenset({"non-canonical"}),
    4: frozenset({"refused", "inconclusive", "non-canonical"}),
    10: frozenset({"non-canonical"}),
    11: frozenset({"inconclusive"}),
    75: frozenset({"inconclusive"}),
}
"""The verdicts that an exit code may go with; `refused` stands for a session that ended before there was a record."""


@dataclass(frozen=True)
class Expected:
    """How a session must end.

    Attributes:
        code: Its exit code.
        states: The states that it may leave the host in.
        clause: The first clause that must not pass; None for any.
    """

    code: int
    states: frozenset[str]
    clause: str | None = None

    def __str__(self) -> str:
        where = f", {self.clause}" if self.clause else ""
        return f"exit {self.code}{where}, {' or '.join(sorted(self.states))}"


def canonical(mode: Mode) -> Expected:
    """Expect that the fault makes no difference."""
    state = HostState.FOUND_HEALTHY if mode == "audit" else HostState.CONVERGED
    return Expected(0, frozenset({state}))


def refused(mode: Mode) -> Expected:
    """Expect that the session touches nothing, and that an audit says nothing of a host that it did not see."""
    states = {"", HostState.UNCHANGED} | ({HostState.UNKNOWN} if mode == "audit" else set())
    return Expected(4, frozenset(states))


def inconclusive(mode: Mode) -> Expected:
    """Expect that nothing is concluded about a host that nothing was done to."""
    states = {HostState.UNCHANGED, HostState.UNKNOWN} if mode == "audit" else {HostState.UNCHANGED}
    return Expected(11, frozenset(states))


def broken(mode: Mode, clause: str | None = None) -> Expected:
    """Expect that a fault stays which neither release can help, so that going back does not heal the host."""
    if mode == "audit":
        return Expected(1, frozenset({HostState.FOUND_UNHEALTHY}), clause)
    return Expected(10, frozenset({HostState.UNSAFE}), clause)


def mended(mode: Mode, clause: str) -> Expected:
    """Expect that an audit finds the fault, and that a switch to the other release mends it."""
    return broken(mode, clause) if mode == "audit" else canonical(mode)


def each(expected: Callable[[Mode], Expected], modes: Sequence[Mode] = MODES) -> dict[Mode, Expected]:
    """Expect the same kind of end in several modes."""
    return {mode: expected(mode) for mode in modes}


@dataclass
class Scene:
    """A host and a session that is about to begin, for a fault to change.

    Attributes:
        mode: The session's mode.
        folder: Where its files go.
        lab: The lab; None for a fault that no host is needed for.
        host: Its host.
        other: The good release that the host does not run.
        provider: The session's provider.
        revision: What the session deploys or goes back to.
        targets: The target file.
        options: Further arguments of the session.
        environ: Variables beside this process's own; None takes one away.
        output: What its standard output is.
        undo: What is called once it has ended.
    """

    mode: Mode
    folder: Path
    lab: Lab | None
    host: LabHost | None
    other: str
    targets: Path
    revision: str = ""
    provider: str = "lab"
    options: list[str] = field(default_factory=list)
    environ: dict[str, str | None] = field(default_factory=dict)
    output: Output = "kept"
    undo: ExitStack = field(default_factory=ExitStack)

    def inside(self, script: str, timeout_s: float = 120) -> str:
        """Run a shell text on the host, which must succeed."""
        assert self.host is not None
        done = self.host.run(["bash", "-c", script], timeout_s=timeout_s)
        assert done.returncode == 0, f"{script}: {done.stderr}"
        return done.stdout.strip()

    def break_with(self, script: str, mend: str) -> None:
        """Break the host with a shell text, and mend it with another one when the session has ended."""
        self.undo.callback(lambda: self.inside(mend))
        self.inside(script)

    def edit(self, old: str, new: str) -> None:
        """Change one place of the target file."""
        text = self.targets.read_text("utf-8")
        assert text.count(old) >= 1, old
        self.targets.write_text(text.replace(old, new, 1), "utf-8")

    def append(self, text: str) -> None:
        """Add tables at the end of the target file."""
        self.targets.write_text(self.targets.read_text("utf-8") + text, "utf-8")

    @property
    def arguments(self) -> list[str]:
        """The session's command line after `pytest`."""
        revision = self.revision or self.other
        mode = {
            "deploy": [f"--sha={revision}"],
            "audit": ["--audit", *([f"--sha={self.revision}"] if self.revision else [])],
            "rollback": [f"--rollback={revision}"],
            "drill": ["--drill", f"--sha={revision}"],
        }[self.mode]
        own = [f"--provider={self.provider}", *mode, f"--targets={self.targets}"]
        named = any(option.startswith("--report-dir") for option in self.options)
        return [*own, *([] if named else [f"--report-dir={self.folder / 'runs'}"]), *self.options]


@dataclass(frozen=True)
class Fault:
    """Something that can be wrong.

    Attributes:
        place: Where.
        name: What it is called in the table.
        arrange: Makes it so.
        expected: How a session of each mode must end; a mode that is missing does not apply.
        needs_host: Whether a lab host is needed.
        health: Values of the target file's table `health` that differ.
    """

    place: Place
    name: str
    arrange: Callable[[Scene], None]
    expected: Mapping[Mode, Expected]
    needs_host: bool = True
    health: Mapping[str, float] = field(default_factory=dict)


def cost(fault: Fault, mode: Mode) -> int:
    """Return about how many processes a cell costs: 0 without a switch or a soak, more with each switch."""
    if fault.expected[mode].code in {4, 11}:
        return 0
    return {"audit": 1, "deploy": 2, "rollback": 2, "drill": 4}[mode]


@dataclass(frozen=True)
class Outcome:
    """How a session ended, as it says and as the host was seen to be.

    Attributes:
        verdict: The run's verdict; `refused` if there was no record.
        code: Its exit code; None if it did not end in time.
        clause: The first clause that did not pass, empty for none.
        state: The state that it says the host was left in.
        problem: What is wrong with this end, empty for nothing.
        output: What it printed, if something is wrong.
    """

    verdict: str
    code: int | None
    clause: str
    state: str
    problem: str = ""
    output: str = ""

    def __str__(self) -> str:
        return ", ".join(word for word in (self.verdict, f"exit {self.code}", self.state) if word)


def health(expected: Expected, differing: Mapping[str, float]) -> str:
    """Write limits that give a good host all the time that a busy machine takes, and a broken one little."""
    stays = expected.states <= {HostState.UNSAFE, HostState.FOUND_UNHEALTHY}
    values = {
        "ready_s": 5.0 if stays else 20.0 if expected.code else 90.0,
        "answers": 2,
        "interval_s": 0.5,
        "soak_s": 1.0,
        "timeout_s": 2.0 if stays else 5.0,
        **differing,
    }
    lines = "".join(f"{name} = {value}\n" for name, value in values.items())
    return f"\n[health]\n{lines}\n[rollback]\nconfirm_s = 600.0\n"


def meet(fault: Fault, mode: Mode, folder: Path, lab: Lab | None = None, name: str = "a") -> Outcome:
    """Let a session meet a fault, and say how that ended.

    Args:
        fault: What is wrong.
        mode: The session's mode.
        folder: Where its files go; is made.
        lab: The lab, for faults that need a host.
        name: The host, which is good and stays so, the fault apart.
    """
    folder.mkdir(parents=True)
    expected = fault.expected[mode]
    targets = target_file(folder, [name], health(expected, fault.health))
    host = lab.hosts[name] if lab else None
    before = look(host) if host else None
    tops = releases(host) if host else {}
    running = next((release for release, top in tops.items() if before and top == before.running), "v1")
    other = next(release for release in RELEASES if release != running)
    scene = Scene(mode, folder, lab, host, other, targets)
    with scene.undo:
        fault.arrange(scene)
        code, output = _run(scene)
        after = look(host) if host else None
    outcome = _outcome(scene, code, output, name)
    problem = _problem(outcome, expected)
    if not problem and before and after:
        problem = _untrue(outcome, before, after, tops.get(scene.revision or other, ""))
    if not problem:
        return outcome
    return Outcome(outcome.verdict, code, outcome.clause, outcome.state, problem, output)


def releases(host: LabHost) -> dict[str, str]:
    """Return the systems of the good releases that a host has, by their names."""
    script = r"""
      for release in v1 main; do
        commit=$(git --git-dir=/srv/sample.git rev-parse "$release^{commit}")
        for link in /nix/var/nix/profiles/system-*-link; do
          top=$(readlink -e "$link") || continue
          [ "$(cat "$top/configuration-revision")" != "$commit" ] || echo "$release $top"
        done
      done
    """
    lines = host.run(["bash", "-c", script], timeout_s=60).stdout.splitlines()
    return dict(line.split() for line in lines if len(line.split()) == 2)


def _run(scene: Scene) -> tuple[int | None, str]:
    environ = {**os.environ, **({"SWITCHPROOF_LAB": scene.lab.name} if scene.lab else {}), **scene.environ}
    log = scene.folder / "output"
    with ExitStack() as stack:
        writes = stack.enter_context(log.open("wb"))
        if scene.output == "full":
            writes = stack.enter_context(Path("/dev/full").open("wb"))
        if scene.output == "broken":
            reads, descriptor = os.pipe()
            os.close(reads)
            writes = stack.enter_context(os.fdopen(descriptor, "wb"))
        closing = ["bash", "-c", 'exec "$@" >&-', "closed"] if scene.output == "closed" else []
        process = subprocess.Popen(
            [*closing, sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *scene.arguments],
            cwd=ROOT,
            env={name: value for name, value in environ.items() if value is not None},
            stdin=subprocess.DEVNULL,
            stdout=writes,
            stderr=subprocess.STDOUT if scene.output == "kept" else subprocess.DEVNULL,
        )
        try:
            code: int | None = process.wait(LONGEST_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            code = None
    return code, log.read_text("utf-8", errors="replace")


def _outcome(scene: Scene, code: int | None, output: str, name: str) -> Outcome:
    records = sorted(scene.folder.glob("runs/2*/record.json"))
    if not records:
        return Outcome("refused" if code == 4 else "no record", code, "", "", output=output)
    record = read_record(records[-1])
    host = next((one for one in record.hosts if one.name == name), None)
    if host is None:
        return Outcome(str(record.verdict), code, "", "")
    verdicts = {result.id: result.verdict for result in host.clauses}
    first = next((clause for clause in Clause if verdicts.get(clause) is not Verdict.PASSED), None)
    return Outcome(str(record.verdict), code, str(first or ""), str(host.state or ""))


def _problem(outcome: Outcome, expected: Expected) -> str:
    """Say what differs from what was expected, empty for nothing."""
    if outcome.code != expected.code:
        return f"expected {expected}"
    if outcome.verdict not in VERDICTS[expected.code]:
        return f"expected {expected}, not called {outcome.verdict}"
    if outcome.state not in expected.states or (expected.clause and outcome.clause != expected.clause):
        seen = f" and not {outcome.clause or 'no clause'}, {outcome.state or 'no state'}"
        return f"expected {expected}{seen}"
    if "Traceback (most recent call last)" in outcome.output:
        return "a traceback"
    return ""


def _untrue(outcome: Outcome, before: Systems, after: Systems, asked: str) -> str:
    """Say what the run claims of the host and is not the case there, empty for nothing.

    What was asked for is known for the good releases; which commit another system is of, the run checks itself.
    """
    match outcome.state:
        case HostState.CONVERGED if asked and after.running != asked:
            return f"called converged, and runs {after.running}"
        case HostState.UNCHANGED | HostState.ROLLED_BACK | "" if after.running != before.running:
            return f"called {outcome.state or 'untouched'}, and runs {after.running} instead of {before.running}"
        case HostState.CONVERGED | HostState.ROLLED_BACK if not after.running == after.profile == after.boot:
            return f"called {outcome.state}, and is not whole: {after}"
    return ""
