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
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench import ground
from bench.contenders import Ended, run_command
from bench.ground import PEERS, ROOT, Ground, Size
from bench.result import Bench, Given, Result, lab_for, machine, say, when
from bench.switching import answers_aim, back_s, switches
from bench.yard import ATTRIBUTE, BASE, Yard, change_unit, commit_of, yard
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from switchproof.deploy.record.journal import read_events

PROFILE = "/nix/var/nix/profiles/system"
CHANGE = "RestartSec=2\n"
"""The line of the unit that differs in the deployed commit."""

LOOP_AIM_S, SWITCH_AIM_S, PUSHED_AIM_S = 1.5, 3.0, 3.0
"""Seconds without the soak, above the loop on one host, the slowest host's own switch, or the fastest when pushed."""
FAULT_ROUNDS = 1
"""Rounds of a failing deploy by other tools."""

BUILD_S = 120.0
PAUSE_S = 1.0
"""Seconds before each run, in which hosts finish the work of the run before."""

Case = Literal[
    "one unit changed",
    "one unit changed, pushed",
    "hypervisor cannot start",
    "answers with 500",
    "cannot start on one of two",
]
OURS, FAST, LOOP = "switchproof", "switchproof, no soak", "loop"
LAST_WITH_PEERS = "## The last result with tools that were not given this time\n"
GOOD: Case = "one unit changed"
PUSHED: Case = "one unit changed, pushed"
ONE_BREAKS: Case = "cannot start on one of two"
BREAKS = "/etc/bench-breaks"
"""The file on a host with which the commit of `ONE_BREAKS` cannot start."""
FAULTS: Mapping[Case, str] = {
    "hypervisor cannot start": "broken/hypervisor-not-starting",
    "answers with 500": "broken/hypervisor-500",
}


_COLUMNS = (
    "hosts",
    "deploy",
    "who",
    "command, median",
    "least to most",
    "times the loop",
    "slowest switch",
    "CPU here",
    "says",
    "leaves",
)


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
    """One run.

    Attributes:
        seconds: Wall time of the whole command.
        cpu_s: Seconds of processor time on this machine.
        problem: The reason why it does not count; None if all is as expected.
        switch_s: Seconds of the slowest host's own switch, by its journal; None if none switched.
        back_s: Seconds from the end of the failed switch to the earlier system's answers; None if not known.
    """

    seconds: float
    cpu_s: float
    problem: str | None = None
    switch_s: float | None = None
    back_s: float | None = None


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

    def median(self, part: Callable[[Sample], float | None]) -> float | None:
        """Return the median of a part of the samples; None if it is not known."""
        parts = [seconds for sample in self.samples if (seconds := part(sample)) is not None]
        return statistics.median(parts) if parts else None

    @property
    def switch_s(self) -> float | None:
        """The median of the slowest host's own switch, in seconds; None if it is not known."""
        return self.median(lambda sample: sample.switch_s)

    @property
    def back_s(self) -> float | None:
        """The median from a failed switch's end to the earlier system's answers, in seconds; None if not known."""
        return self.median(lambda sample: sample.back_s)


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
        broken = hosts[:1] if series.case == ONE_BREAKS else []
        for host in broken:
            host.run(["touch", BREAKS], timeout_s=20)
        ended, cpu_s = _timed(series, series.contender.command(series.ground, new.commit), {})
        for host in broken:
            host.run(["rm", BREAKS], timeout_s=20)
        problem = left_by(broken or hosts, new.system if end.leaves == "new" else base.system)
        if broken and problem is None:
            problem = left_by(hosts[len(broken) :], new.system)
        if (ended.status == 0) != end.good:
            problem = ended.first_error if end.good else "it says success where the deploy failed"
        is_back = not series.contender.words and end.leaves == "old" and problem is None
        return Sample(
            ended.seconds,
            cpu_s,
            problem,
            _switch_s(hosts, ended),
            _back_s(series, broken or hosts, ended) if is_back else None,
        )

    def _push(self, series: Series) -> Sample:
        """Deploy a commit that nobody has built."""
        yard = self._yard
        assert yard is not None  # made where this case is measured
        commit = yard.fresh()
        ended, cpu_s = _timed(series, series.contender.command(series.ground, commit, yard), yard.environ)
        # Evaluated only now, as nix remembers what it has evaluated.
        hosts = [self._hosts[name] for name in series.ground.hosts]
        problem = left_by(hosts, yard.system(commit))
        return Sample(ended.seconds, cpu_s, ended.first_error if ended.status else problem, _switch_s(hosts, ended))

    def _restore(self, host: LabHost) -> None:
        """Bring a host to the base, unless it runs it."""
        system = self._builds[BASE].system
        if left_by([host], system) is None:
            return
        script = f"nix-env --profile {PROFILE} --set {system} && {system}/bin/switch-to-configuration switch"
        host.run(["sh", "-c", script], timeout_s=BUILD_S)
        if problem := left_by([host], system):
            raise RuntimeError(f"the bench could not restore {BASE}: {problem}")


def _switch_s(hosts: Sequence[LabHost], ended: Ended) -> float | None:
    """Return the seconds of the slowest host's first switch in a run."""
    first = [found[0].seconds for host in hosts if (found := switches(host, ended.began))]
    return max(first, default=None)


def _back_s(series: Series, hosts: Sequence[LabHost], ended: Ended) -> float:
    """Return the seconds from the failed switch's end to the earlier system's answers, on the slowest host."""
    (journal,) = (series.ground.folder / "runs").glob("2*/events.jsonl")
    events = list(read_events(journal))
    return max(back_s(events, host, ended.began) for host in hosts)


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
    if ONE_BREAKS in cases:
        line = f'RestartSec=1\n    ExecStartPre=/bin/sh -c "test ! -e {BREAKS}"\n'
        commits[ONE_BREAKS] = change_unit(lab, line, "bench-breaks")
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
    faults: list[Case] = [*FAULTS][:1] if given.smallest else [*FAULTS, ONE_BREAKS]
    cases: list[Case] = [GOOD, PUSHED, *faults]
    needed = sorted({1, 2 if ONE_BREAKS in cases else 1, *counts})
    ours = Contender(OURS, ends=dict.fromkeys(faults, _UNDONE) | ({} if given.smallest else {GOOD: _NEW}))
    fast = Contender(FAST, ends={GOOD: _NEW, PUSHED: _NEW}, options=("--soak=0",))
    loop = Contender(LOOP, ("bash", str(PEERS / "loop.sh")), _ends(_SEEN, _NEW))
    push = Contender(LOOP, ("bash", str(PEERS / "push.sh")), {PUSHED: _NEW})
    contenders = [ours, fast, loop, push, *(peer(text) for text in given.peer)]
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(lab_for(given, [f"h{number}" for number in range(1, max(needed) + 1)]))
        built_here = stack.enter_context(yard(lab))
        below = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="switchproof-bench-")))
        sizes = [Size(count, 0.0) for count in needed]
        grounds = dict(zip(needed, stack.enter_context(ground.grounds(lab, sizes, below)), strict=True))
        for where in grounds.values():
            _equip(where, built_here)
        site = prepare(lab, cases, built_here)
        of_case = {GOOD: counts, PUSHED: counts[-1:], ONE_BREAKS: [2]}
        measured = [
            Series(grounds[count], case, who)
            for case in cases
            for count in of_case.get(case, [1])
            for who in contenders
            if case in who.ends
        ]
        for turn in range(given.rounds):
            for series in measured:
                _take(site, series, turn, given.rounds)
    problems = [f"{series.name}: {series.problem}" for series in measured if series.problem]
    text = render(measured, given.rounds)
    if given.write:
        text += with_peers(BENCH.written(), {who.name for who in contenders})
    return Result(text, numbers(measured), problems)


def _equip(where: Ground, built_here: Yard) -> None:
    """Add to a ground's folder what deploys there need beside the files of an audit."""
    (where.folder / "sample.git").symlink_to(built_here.repository)  # for peers that build here
    (where.folder / "nix").symlink_to(built_here.store)
    build = f'[build]\nrepository = "file://{built_here.repository}"\n'
    (where.folder / "deploy.toml").write_text(ground.target(where, Lab.repository_url, build), "utf-8")


def _take(site: Site, series: Series, turn: int, rounds: int) -> None:
    if series.problem or (series.case in FAULTS and series.contender.words and turn >= FAULT_ROUNDS):
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
    medians = {series.name: series.seconds for series in good} | {f"{each.name}, CPU": each.cpu_s for each in good}
    for series in good:
        parts = {"slowest switch": series.switch_s, "switch's end to answers": series.back_s}
        medians |= {f"{series.name}, {what}": seconds for what, seconds in parts.items() if seconds is not None}
    return medians


def render(measured: Sequence[Series], rounds: int) -> str:
    """Write the result as Markdown: facts, a table, and which aims were reached."""
    lines = [
        f"- {when(rounds, f'of each, {FAULT_ROUNDS} of failing deploys by other tools, in turn')}",
        f"- {machine()}",
        "",
        f"| {' | '.join(_COLUMNS)} |",
        f"|{'---|' * len(_COLUMNS)}",
        *(_row(series, measured) for series in measured),
        "",
        *(f"- {line}" for line in aims(measured)),
    ]
    return "\n".join(lines) + "\n"


def _row(series: Series, measured: Sequence[Series]) -> str:
    cells = [str(len(series.ground.hosts)), series.case, series.contender.name]
    if series.problem or not series.samples:
        return f"| {' | '.join([*cells, 'failed', '', '', '', '', '', ''])} |"
    loop = next((other.seconds for other in _others(series, measured) if other.contender.name == LOOP), None)
    seconds, end = sorted(sample.seconds for sample in series.samples), series.contender.ends[series.case]
    cells += [
        f"{series.seconds:.1f} s",
        f"{seconds[0]:.1f} to {seconds[-1]:.1f} s",
        f"{series.seconds / loop:.1f}" if loop else "",
        f"{series.switch_s:.1f} s" if series.switch_s is not None else "",
        f"{series.cpu_s:.1f} s",
        "success" if end.good else "failure",
        f"the {end.leaves} system",
    ]
    return f"| {' | '.join(cells)} |"


def _others(series: Series, measured: Sequence[Series]) -> list[Series]:
    """Return the series of the same deploy by other tools than Switchproof that count."""
    return [
        other
        for other in measured
        if (other.ground, other.case) == (series.ground, series.case)
        and other.contender.words
        and other.samples
        and not other.problem
    ]


def aims(measured: Sequence[Series]) -> list[str]:
    """Return a line for each aim, with whether it was reached."""
    lines = []
    for series in measured:
        if series.contender.words or not series.samples or series.problem:
            continue
        what, count = series.name.partition(":")[0], len(series.ground.hosts)
        others = {other.contender.name: other.seconds for other in _others(series, measured)}
        if series.contender.name == FAST and series.case == GOOD and count == 1 and LOOP in others:
            lines.append(_aim(f"{what}: no soak", LOOP_AIM_S, "the loop", series.seconds - others[LOOP]))
        above = series.median(lambda sample: None if sample.switch_s is None else sample.seconds - sample.switch_s)
        if series.contender.name == FAST and series.case == GOOD and count > 1 and above is not None:
            lines.append(_aim(f"{what}: no soak", SWITCH_AIM_S, "the slowest host's own switch", above))
        if series.contender.name == FAST and series.case == PUSHED and others:
            first = min(others, key=lambda name: others[name])
            lines.append(
                _aim(f"{what}: no soak", PUSHED_AIM_S, f"the fastest other, {first}", series.seconds - others[first])
            )
        if series.back_s is not None:
            lines.append(answers_aim(what, series.back_s))
    return lines


def _aim(what: str, aim_s: float, base: str, above_s: float) -> str:
    reached = "yes" if above_s <= aim_s else "no"
    return f"{what} at most {aim_s:.1f} s above {base}: {reached} ({above_s:+.1f} s)"


def with_peers(written: str, measured: Collection[str]) -> str:
    """Return the last result with peers that were not measured now, as a section of the page; empty if there is none.

    Args:
        written: The result on the page.
        measured: The names of everybody who was measured now.
    """
    _, heading, before = written.partition(LAST_WITH_PEERS)
    last = before if heading else written
    missing = [name for name in PEER_ENDS if f" | {name} | " in last and name not in measured]
    if not missing:
        return ""
    say(f"Not measured now: {', '.join(missing)}. The page keeps the last result with them; --peer measures them.")
    return f"\n{LAST_WITH_PEERS}\n{last.strip()}\n"


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
