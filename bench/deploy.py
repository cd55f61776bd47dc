"""Measures deploys, good and failing, beside a shell loop and peers: `python -m bench.deploy [--write]`.

Lab hosts on this machine are reached over SSH. Everybody deploys the same commits to the same hosts in turn. What is
deployed is already built on every host; only in the case `PUSHED` each run gets a commit that nobody has built, which
nix here builds. After each run the hosts are asked what runs, what the system profile is and what boots; a contender
that leaves anything but its own known end counts as failed.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench import ground
from bench.contenders import Ended, run_command
from bench.ground import PEERS, ROOT, Ground, Size
from bench.result import Bench, Given, Result, lab_for, machine, say, when
from bench.yard import ATTRIBUTE, BASE, Yard, change_unit, commit_of, yard
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab

PROFILE = "/nix/var/nix/profiles/system"
CHANGE = "RestartSec=2\n"
"""The line of the unit that differs in the deployed commit."""

FAULT_ROUNDS = 1
"""Rounds of a failing deploy, whose time consists of limits and hardly varies."""

BUILD_S = 120.0
PAUSE_S = 1.0
"""Seconds before each run, in which hosts finish the work of the run before."""

Case = Literal["one unit changed", "one unit changed, pushed", "hypervisor cannot start", "answers with 500"]
GOOD: Case = "one unit changed"
PUSHED: Case = "one unit changed, pushed"
FAULTS: Mapping[Case, str] = {
    "hypervisor cannot start": "broken/hypervisor-not-starting",
    "answers with 500": "broken/hypervisor-500",
}


@dataclass(frozen=True)
class End:
    """A known end of a contender: whether it reports success, and which system it leaves."""

    good: bool
    leaves: Literal["new", "old"]


_NEW, _SEEN, _UNDONE = End(good=True, leaves="new"), End(good=False, leaves="new"), End(good=False, leaves="old")


def _ends(cannot_start: End, answers_500: End) -> Mapping[Case, End]:
    return {GOOD: _NEW, "hypervisor cannot start": cannot_start, "answers with 500": answers_500}


PEER_ENDS = {
    "deploy-rs": _ends(_UNDONE, _NEW),
    "colmena": _ends(_SEEN, _NEW),
    "morph": _ends(_SEEN, _SEEN),
    "nixos-rebuild-ng": _ends(_SEEN, _NEW),
}
"""The known ends of each peer: deploy-rs with its magic rollback, morph with health checks of the endpoints."""


@dataclass(frozen=True)
class Contender:
    """A tool that deploys, with its command and its known end in each case.

    Attributes:
        name: Its name in the table.
        words: Its command, to which the flake reference and the hosts are added; empty for Switchproof.
        ends: Its ends by case; a missing case is not measured.
        options: Options of Switchproof.
    """

    name: str
    words: tuple[str, ...] = ()
    ends: Mapping[Case, End] = field(default_factory=lambda: _ends(_UNDONE, _UNDONE))
    options: tuple[str, ...] = ()

    def command(self, where: Ground, commit: str, yard: Yard | None = None) -> list[str]:
        """Return the command that deploys a commit to all hosts of a ground, built in a yard if there is one."""
        if self.words:
            return [*self.words, yard.flake(commit) if yard else _flake(commit), *where.hosts]
        files = [f"--targets={where.folder / 'deploy.toml'}", f"--report-dir={where.folder / 'runs'}"]
        built = ["--build=runner"] if yard else []
        return [sys.executable, "-m", "pytest", "--provider=ovh", f"--sha={commit}", *files, *built, *self.options]


@dataclass(frozen=True)
class Sample:
    """One run: seconds of the whole command, seconds of processor time on this machine, and the problem if any."""

    seconds: float
    cpu_s: float
    problem: str | None = None


@dataclass
class Series:
    """The runs of one contender in one case on one ground."""

    ground: Ground
    case: Case
    contender: Contender
    samples: list[Sample] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name of the series among the numbers."""
        count = len(self.ground.hosts)
        return f"{count} host{'s' if count > 1 else ''}, {self.case}: {self.contender.name}"

    @property
    def problem(self) -> str | None:
        """The reason why the series does not count; None if it does."""
        return next((sample.problem for sample in self.samples if sample.problem), None)

    @property
    def seconds(self) -> float:
        """The median wall time, in seconds."""
        return statistics.median(sample.seconds for sample in self.samples)

    @property
    def cpu_s(self) -> float:
        """The median processor time on this machine, in seconds."""
        return statistics.median(sample.cpu_s for sample in self.samples)


@dataclass(frozen=True)
class Build:
    """A commit, and the system that every host built from it."""

    commit: str
    system: str


class Site:
    """Hosts on which every system to deploy is built, except those that are pushed.

    Args:
        hosts: The hosts, by name.
        builds: The builds on all of them: the base, and that of each case.
        yard: Where what is pushed is built.
    """

    def __init__(self, hosts: Mapping[str, LabHost], builds: Mapping[str, Build], yard: Yard | None = None) -> None:
        self._hosts, self._builds, self._yard = hosts, builds, yard

    def run(self, series: Series) -> Sample:
        """Deploy with a contender, and verify what it left on the hosts."""
        if series.case == PUSHED:
            return self._push(series)
        hosts = [self._hosts[name] for name in series.ground.hosts]
        base, new = self._builds[BASE], self._builds[series.case]
        end = series.contender.ends[series.case]
        if series.case == GOOD and left_by(hosts, new.system) is None:
            base, new = new, base  # there is one unit between them, whichever is first
        else:
            for host in hosts:
                self._restore(host)
        if series.contender.words and end.leaves == "old":  # a tool goes back only to what it has deployed itself
            _timed(series, series.contender.command(series.ground, base.commit), {})
        ended, cpu_s = _timed(series, series.contender.command(series.ground, new.commit), {})
        problem = left_by(hosts, new.system if end.leaves == "new" else base.system)
        if (ended.status == 0) != end.good:
            problem = ended.first_error if end.good else "it says success where the deploy failed"
        return Sample(ended.seconds, cpu_s, problem)

    def _push(self, series: Series) -> Sample:
        """Deploy a commit that nobody has built."""
        yard = self._yard
        assert yard is not None  # made where this case is measured
        commit = yard.fresh()
        ended, cpu_s = _timed(series, series.contender.command(series.ground, commit, yard), yard.environ)
        # Evaluated only now, as nix remembers what it has evaluated.
        problem = left_by([self._hosts[name] for name in series.ground.hosts], yard.system(commit))
        return Sample(ended.seconds, cpu_s, ended.first_error if ended.status else problem)

    def _restore(self, host: LabHost) -> None:
        """Bring a host to the base, unless it runs it."""
        system = self._builds[BASE].system
        if left_by([host], system) is None:
            return
        script = f"nix-env --profile {PROFILE} --set {system} && {system}/bin/switch-to-configuration switch"
        host.run(["sh", "-c", script], timeout_s=BUILD_S)
        if problem := left_by([host], system):
            raise RuntimeError(f"the bench could not restore {BASE}: {problem}")


def _timed(series: Series, command: list[str], environ: Mapping[str, str]) -> tuple[Ended, float]:
    """Run the command of a contender; return its end and its seconds of processor time on this machine."""
    shutil.rmtree(series.ground.folder / "runs", ignore_errors=True)
    time.sleep(PAUSE_S)
    cpu_s = _cpu_s()
    ended = run_command(command, series.ground.folder if series.contender.words else ROOT, **environ)
    return ended, _cpu_s() - cpu_s


def prepare(lab: Lab, cases: Sequence[Case], yard: Yard) -> Site:
    """Build all systems to deploy on every host of a lab."""
    commits = {BASE: commit_of(lab, BASE), GOOD: change_unit(lab, CHANGE, "bench")}
    commits |= {case: commit_of(lab, FAULTS[case]) for case in cases if case in FAULTS}
    yard.fetch()  # for peers that build here
    hosts = list(lab.hosts.values())
    return Site(lab.hosts, {name: _build(hosts, commit) for name, commit in commits.items()}, yard)


def _build(hosts: Sequence[LabHost], commit: str) -> Build:
    command = ["nix", "build", "--no-link", "--print-out-paths", _flake(commit)]
    systems = {host.run(command, timeout_s=BUILD_S).stdout.strip() for host in hosts}
    if len(systems) != 1 or not next(iter(systems)).startswith("/nix/store/"):
        raise RuntimeError(f"{commit} was not built as one system by all hosts: {systems}")
    return Build(commit, systems.pop())


BENCH = Bench("deploy", __doc__, rounds=3)
BENCH.add("--hosts", default="1,2,8", metavar="N,…", help="how many hosts, for good deploys (default: 1,2,8)")
BENCH.add(
    "--peer",
    action="append",
    default=[],
    metavar="NAME=PROGRAM",
    help=f"{', '.join(PEER_ENDS)}, and a program called as bench/peers/loop.sh is; repeatable",
)


def main(argv: Sequence[str] | None = None) -> int:
    """See `Bench.run`."""
    return BENCH.run(argv, _measure)


def _measure(given: Given) -> Result:
    counts = [1] if given.smallest else [int(text) for text in given.hosts.split(",")]
    cases: list[Case] = [GOOD, PUSHED] if given.smallest else [GOOD, PUSHED, *FAULTS]
    ours = Contender("switchproof")
    fast = Contender("switchproof, no soak", ends={GOOD: _NEW, PUSHED: _NEW}, options=("--soak=0",))
    loop = Contender("loop", ("bash", str(PEERS / "loop.sh")), _ends(_SEEN, _NEW))
    push = Contender("loop", ("bash", str(PEERS / "push.sh")), {PUSHED: _NEW})
    contenders = [fast, loop, push]
    if not given.smallest:
        contenders = [ours, *contenders, *(peer(text) for text in given.peer)]
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(lab_for(given, [f"h{number}" for number in range(1, max(counts) + 1)]))
        built_here = stack.enter_context(yard(lab))
        below = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="switchproof-bench-")))
        grounds = stack.enter_context(ground.grounds(lab, [Size(count, 0.0) for count in counts], below))
        for where in grounds:
            _equip(where, built_here)
        site = prepare(lab, cases, built_here)
        of_case = {GOOD: grounds, PUSHED: grounds[-1:]}
        measured = [
            Series(where, case, who)
            for case in cases
            for where in of_case.get(case, grounds[:1])
            for who in contenders
            if case in who.ends
        ]
        for turn in range(given.rounds):
            for series in measured:
                _take(site, series, turn, given.rounds)
    problems = [f"{series.name}: {series.problem}" for series in measured if series.problem]
    return Result(render(measured, given.rounds), numbers(measured), problems)


def _equip(where: Ground, built_here: Yard) -> None:
    """Add to a ground's folder what deploys there need beside the files of an audit."""
    (where.folder / "sample.git").symlink_to(built_here.repository)  # for peers that build here
    (where.folder / "nix").symlink_to(built_here.store)
    build = f'[build]\nrepository = "file://{built_here.repository}"\n'
    (where.folder / "deploy.toml").write_text(ground.target(where, Lab.repository_url, build), "utf-8")


def _take(site: Site, series: Series, turn: int, rounds: int) -> None:
    if series.problem or (series.case in FAULTS and turn >= FAULT_ROUNDS):
        return
    sample = site.run(series)
    series.samples.append(sample)
    say(f"{turn + 1}/{rounds}  {series.name}: {sample.problem or f'{sample.seconds:.1f} s'}")


def left_by(hosts: Sequence[LabHost], expected: str) -> str | None:
    """Return which hosts do not run, boot and have as their profile one system; None if all do."""
    for host in hosts:
        # A profile of deploy-rs is a folder of links to the system's parts.
        links = host.run(["readlink", "-e", "/run/current-system/bin", f"{PROFILE}/bin"], timeout_s=20).stdout.split()
        systems = [link.removesuffix("/bin") for link in links]
        seen = dict(zip(("runs", "profile", "boots"), [*systems, host.boots()], strict=False))
        if wrong := [f"{what} {system}" for what, system in seen.items() if system != expected]:
            return f"{host.name}: {', '.join(wrong)}; expected {expected}"
    return None


def numbers(measured: Sequence[Series]) -> dict[str, float]:
    """Return the medians of all series, in seconds."""
    good = [series for series in measured if series.samples and not series.problem]
    return {series.name: series.seconds for series in good} | {f"{each.name}, CPU": each.cpu_s for each in good}


def render(measured: Sequence[Series], rounds: int) -> str:
    """Write the result as Markdown: facts and a table."""
    lines = [
        f"- {when(rounds, f'of each good deploy, {FAULT_ROUNDS} of each failing one, in turn')}",
        f"- {machine()}",
        "",
        "| hosts | deploy | who | command, median | least to most | times the loop | CPU here | says | leaves |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_row(series, measured) for series in measured),
    ]
    return "\n".join(lines) + "\n"


def _row(series: Series, measured: Sequence[Series]) -> str:
    cells = [str(len(series.ground.hosts)), series.case, series.contender.name]
    if series.problem or not series.samples:
        return f"| {' | '.join([*cells, 'failed', '', '', '', '', ''])} |"
    loop = next(
        (
            other.seconds
            for other in measured
            if (other.ground, other.case, other.contender.name) == (series.ground, series.case, "loop")
            and other.samples
            and not other.problem
        ),
        None,
    )
    seconds, end = sorted(sample.seconds for sample in series.samples), series.contender.ends[series.case]
    cells += [
        f"{series.seconds:.1f} s",
        f"{seconds[0]:.1f} to {seconds[-1]:.1f} s",
        f"{series.seconds / loop:.1f}" if loop else "",
        f"{series.cpu_s:.1f} s",
        "success" if end.good else "failure",
        f"the {end.leaves} system",
    ]
    return f"| {' | '.join(cells)} |"


def peer(text: str) -> Contender:
    """Read NAME=PROGRAM.

    Raises:
        RuntimeError: The name is not known, or there is no such program.
    """
    name, _, program = text.partition("=")
    if name not in PEER_ENDS or not os.access(program, os.X_OK):
        raise RuntimeError(f"--peer={text}: expected NAME=PROGRAM, with NAME one of {', '.join(PEER_ENDS)}")
    return Contender(name, (str(Path(program).resolve()),), {**PEER_ENDS[name], PUSHED: _NEW})


def _flake(commit: str) -> str:
    """Return the flake reference of a commit."""
    return f"git+{Lab.repository_url}?rev={commit}#{ATTRIBUTE}"


def _cpu_s() -> float:
    """Return the processor time of all processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
