"""Measures an audit beside its peers and a minimal shell loop: `python -m bench.verify [--write]`.

Lab hosts on this machine are reached over SSH through a proxy that simulates a distance. All contenders get the same
hosts in turn in every round, so that noise affects all of them. Nothing leaves loopback and the lab.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import ground
from bench.contenders import Contender, Floor, Pyinfra, Sample, Switchproof, Testinfra
from bench.cost import hosts_processor_s
from bench.ground import Ground, Size
from bench.result import Bench, Given, Result, lab_for, machine, say, when
from switchproof.deploy.cache import cache_folder
from switchproof.deploy.providers.lab.lab import Lab

PYINFRA = "pyinfra>=3.10,<4"
GROUNDS = "1@0,8@0,40@0,1@40,8@40,40@40,1@150,8@150"
"""The default grounds, as hosts and milliseconds of a round trip."""
SLOW_GROUNDS = "1@0,8@0,1@150"
"""The grounds of slow contenders, which run there once."""
FLOOR_AIM, FLEET_AIM, FIRST_PACKET_AIM_S, EXIT_AIM_S = 1.0, 2.0, 0.45, 0.15
FEW = 8
"""The most hosts whose own work on this machine's shared processors is left aside."""
PAUSE_S = 0.5
"""Seconds before each run, in which hosts finish the work of the run before."""

_COLUMNS = (
    "hosts",
    "round trip",
    "who",
    "command, median",
    "least to most",
    "times ours",
    "network part",
    "times the floor",
    "processor",
    "hosts' processor",
)


@dataclass
class Series:
    """The runs of one contender on one ground."""

    ground: Ground
    contender: Contender
    samples: list[Sample] = field(default_factory=list)

    @property
    def problem(self) -> str | None:
        """The reason why the series does not count; None if it does."""
        return next((sample.problem for sample in self.samples if sample.problem), None)

    @property
    def command_s(self) -> float:
        """The median wall time, in seconds."""
        return statistics.median(sample.seconds for sample in self.samples)

    @property
    def network_s(self) -> float | None:
        """The median of the network part, in seconds; None if it is not known."""
        return self.median(lambda sample: sample.network_s)

    @property
    def processor_s(self) -> float | None:
        """The median of the contender's own processor time, in seconds; None if it is not known."""
        return self.median(lambda sample: sample.cost.processor_s if sample.cost else None)

    @property
    def hosts_s(self) -> float | None:
        """The median of the processor time of all hosts together, in seconds; None if it is not known."""
        return self.median(lambda sample: sample.hosts_s)

    def median(self, part: Callable[[Sample], float | None]) -> float | None:
        """Return the median of a part of the samples; None if it is not known."""
        parts = [seconds for sample in self.samples if (seconds := part(sample)) is not None]
        return statistics.median(parts) if parts else None


BENCH = Bench("verify", __doc__, rounds=3)
BENCH.add(
    "--grounds",
    default=GROUNDS,
    metavar="HOSTS@MS,…",
    help=f"hosts and their round trip in milliseconds (default: {GROUNDS}; testinfra only on {SLOW_GROUNDS})",
)
BENCH.add("--only", default="", metavar="TEXT", help="only contenders whose name has TEXT, and ourselves")
BENCH.add("--pyinfra", metavar="PROGRAM", help="a pyinfra that is installed (default: one of its own)")


def main(argv: Sequence[str] | None = None) -> int:
    """See `Bench.run`."""
    return BENCH.run(argv, _measure)


def _measure(given: Given) -> Result:
    sizes = _sizes("1@0" if given.smallest else given.grounds)
    slow = _sizes(SLOW_GROUNDS)
    pyinfra = given.pyinfra or str(own_pyinfra())
    contenders = [Switchproof(), Floor(), Testinfra("ssh"), Testinfra("paramiko"), Pyinfra(pyinfra)]
    contenders = [
        contender for contender in contenders if isinstance(contender, Switchproof) or given.only in contender.name
    ]
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(lab_for(given, [f"h{number}" for number in range(1, max(sizes).hosts + 1)]))
        below = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="switchproof-bench-")))
        everybody = [
            Series(where, who)
            for where in stack.enter_context(ground.grounds(lab, sizes, below))
            for who in contenders
            if where.size in slow or not who.slow
        ]
        measured = measure(lab, everybody, given.rounds, warm_up=not given.smallest)
    return Result(render(measured, facts(pyinfra, given.rounds)), numbers(measured), problems(measured))


def _sizes(text: str) -> list[Size]:
    """Read grounds as given on the command line.

    Raises:
        RuntimeError: They are no numbers.
    """
    try:
        return [Size.from_arg(part) for part in text.split(",")]
    except ValueError as error:
        raise RuntimeError(f"--grounds={text}: expected HOSTS@MS,…, such as {GROUNDS}") from error


def measure(lab: Lab, all_series: list[Series], rounds: int, *, warm_up: bool = True) -> list[Series]:
    """Run every contender on its grounds, once to warm up and `rounds` times, each round in another order."""
    for series in all_series if warm_up else ():
        if series.ground is all_series[0].ground:
            series.contender.run(series.ground)
    for turn in range(rounds):
        start = turn % len(all_series)
        for series in all_series[start:] + all_series[:start]:
            if series.problem or (turn and series.contender.slow):
                continue  # a failure is shown as such; nothing is gained by failing again
            time.sleep(PAUSE_S)
            used_s = hosts_processor_s(lab, series.ground.hosts)
            sample = series.contender.run(series.ground)
            sample = replace(sample, hosts_s=hosts_processor_s(lab, series.ground.hosts) - used_s)
            series.samples.append(sample)
            outcome = sample.problem or f"{sample.seconds:.2f} s"
            say(f"{turn + 1}/{rounds}  {series.ground.folder.name}  {series.contender.name}: {outcome}")
    return all_series


def own_pyinfra() -> Path:
    """Return a pyinfra in an environment of its own, made once, because it requires an older paramiko than ours."""
    folder = cache_folder() / "bench" / "pyinfra"
    program = folder / "bin" / "pyinfra"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "pyinfra.lock").open("w", encoding="utf-8") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # two benchmarks may begin at the same time
        if not program.exists():
            say(f"Installing {PYINFRA} into {folder}…")
            venv.create(folder, with_pip=True, clear=True)
            # A constraint on our environment, such as CI's, would rule out pyinfra's older paramiko.
            free = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
            subprocess.run([folder / "bin" / "pip", "install", "--quiet", PYINFRA], check=True, timeout=300, env=free)
    return program


def problems(measured: Sequence[Series]) -> list[str]:
    """Return a line for every contender that did not get every answer right, with its output."""
    return [
        f"{series.contender.name}, {series.ground.size}: failed: {series.problem}"
        for series in measured
        if series.problem
    ]


def numbers(measured: Sequence[Series]) -> dict[str, float]:
    """Return the medians in seconds, by ground and contender."""
    medians = {}
    for series in measured:
        if series.samples and not series.problem:
            name = f"{series.ground.size}: {series.contender.name}"
            medians[name] = series.command_s
            parts = {
                "network part": None if isinstance(series.contender, Floor) else series.network_s,
                "processor": series.processor_s,
                "hosts' processor": series.hosts_s,
                "to the first packet": series.median(lambda sample: sample.first_packet_s),
                "from the last answer": series.median(lambda sample: sample.exit_s),
            }
            medians |= {f"{name}, {part}": seconds for part, seconds in parts.items() if seconds is not None}
    return medians


def render(measured: Sequence[Series], notes: Sequence[str]) -> str:
    """Write the result as Markdown: facts, table, failures, and which aims were reached."""
    head = (f"| {' | '.join(_COLUMNS)} |", f"|{'---|' * len(_COLUMNS)}")
    parts = ["\n".join(notes), "\n".join([*head, *(_row(series, measured) for series in measured)])]
    parts += ["\n".join(f"- {line}" for line in failures)] if (failures := problems(measured)) else []
    parts += ["\n".join(f"- {line}" for line in aims(measured))]
    return "\n\n".join(parts) + "\n"


def _row(series: Series, result: Sequence[Series]) -> str:
    where = series.ground
    cells = [str(len(where.hosts)), f"{where.round_trip_s * 1000:.0f} ms", series.contender.name]
    if series.problem:
        return f"| {' | '.join([*cells, 'failed', '', '', '', '', '', ''])} |"
    seconds = sorted(sample.seconds for sample in series.samples)
    ours, floor = _of(result, where, Switchproof), _of(result, where, Floor)
    part, least = series.network_s, floor.network_s if floor else None
    cells += [
        f"{series.command_s:.2f} s",
        f"{seconds[0]:.2f} to {seconds[-1]:.2f} s",
        f"{series.command_s / ours.command_s:.2f}" if ours else "",
        _seconds(part),
        f"{part / least:.2f}" if part is not None and least else "",
        _seconds(series.processor_s),
        _seconds(series.hosts_s),
    ]
    return f"| {' | '.join(cells)} |"


def aims(result: Sequence[Series]) -> list[str]:
    """Return a line for each aim, with whether it was reached."""
    grounds = list({id(series.ground): series.ground for series in result}.values())
    lines = []
    for where in grounds:
        ours, floor = _of(result, where, Switchproof), _of(result, where, Floor)
        if ours is None:
            continue
        if floor and ours.network_s and floor.network_s:
            ratio = ours.network_s / floor.network_s
            lines.append(
                f"{where.size}: network part within {FLOOR_AIM} of the floor: "
                f"{_yes(ratio <= FLOOR_AIM)} ({ratio:.2f})"
            )
        peers = [
            series
            for series in result
            if series.ground is where
            and not isinstance(series.contender, Switchproof | Floor)
            and series.samples
            and not series.problem
        ]
        if peers:
            lines.append(f"{where.size}: {_beside(ours, peers)}")
        lines += [f"{where.size}: {line}" for line in _edges(ours) if where.size == Size(1, 0.0)]
    for near in grounds:
        for many in grounds:
            few, all_ = _of(result, near, Switchproof), _of(result, many, Switchproof)
            if (
                len(near.hosts) == 1 < len(many.hosts) <= FEW
                and near.round_trip_s == many.round_trip_s
                and few
                and all_
            ):
                ratio = all_.command_s / few.command_s
                lines.append(
                    f"{many.size}: within twice the time of one host: {_yes(ratio <= FLEET_AIM)} ({ratio:.2f})"
                )
    return lines


def _beside(ours: Series, peers: Sequence[Series]) -> str:
    """Say whether we are faster than every peer that ran there, and if not, what the work of many hosts is of it."""
    first = min(peers, key=lambda series: series.command_s)
    ratio = first.command_s / ours.command_s
    names = ", ".join(series.contender.name for series in peers)
    line = (
        f"faster than {names}: {_yes(ratio > 1)} "
        f"(the fastest, {first.contender.name}, takes {ratio:.2f} times as long)"
    )
    if ratio > 1 or len(ours.ground.hosts) <= FEW or ours.hosts_s is None:
        return line
    cores = os.cpu_count() or 1
    share = ours.hosts_s / cores
    return (
        f"{line}; of our {ours.command_s:.2f} s, {share:.2f} s ({share / ours.command_s:.0%}) are the hosts' own "
        f"{ours.hosts_s:.2f} s of processor time on the {cores} processors that they share with us"
    )


def _edges(ours: Series) -> list[str]:
    """Return a line for each of the runner's own two times that is known."""
    known = [
        ("from the start to the first packet", ours.median(lambda sample: sample.first_packet_s), FIRST_PACKET_AIM_S),
        ("from the last answer to the exit", ours.median(lambda sample: sample.exit_s), EXIT_AIM_S),
    ]
    return [
        f"{what} below {aim_s:.2f} s: {_yes(seconds < aim_s)} ({seconds:.2f} s)"
        for what, seconds, aim_s in known
        if seconds is not None
    ]


def facts(pyinfra: str, rounds: int) -> list[str]:
    """Return lines about the tools, their versions and the machine."""
    versions = [
        f"{name} {importlib.metadata.version(name)}"
        for name in ("switchproof", "pytest", "paramiko", "pytest-testinfra")
    ]
    versions += [version_of(pyinfra), _first_line(["ssh", "-V"]).split(",")[0]]
    return [f"- {when(rounds, 'of each, 1 of testinfra, in turn')}", f"- {machine()}", f"- {', '.join(versions)}"]


def version_of(pyinfra: str) -> str:
    """Return the version of a pyinfra program."""
    return _first_line([pyinfra, "--version"]).replace(": v", " ")


def _of(result: Sequence[Series], where: Ground, kind: type[Contender]) -> Series | None:
    matching = (series for series in result if series.ground is where and isinstance(series.contender, kind))
    return next((series for series in matching if series.samples and not series.problem), None)


def _seconds(part: float | None) -> str:
    return f"{part:.2f} s" if part is not None else ""


def _yes(reached: bool) -> str:
    return "yes" if reached else "no"


def _first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    return ((done.stdout + done.stderr).splitlines() or [""])[0]


if __name__ == "__main__":
    sys.exit(main())
