"""Measures audits of fleets, beside pyinfra: `python -m bench.fleet [--write]`.

The hosts are SSH servers of the benchmark's own, in other processes, that answer what one lab host answered
(`bench/answering.py`). So the benchmark measures the runner; a thousand lab hosts would measure this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import itertools
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
import msgspec

from bench import answering, ground
from bench.answering import ANSWERS, USER_KEY, Recorder, listen, make_keys, serving
from bench.contenders import Contender, Pyinfra, Sample, Switchproof
from bench.cost import Cost
from bench.ground import Ground, Way
from bench.result import Bench, Given, Result, lab_for, machine, say, when
from bench.verify import own_pyinfra, version_of
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab

AIM_HOSTS, AIM_S, AIM_BYTES = 1000, 60.0, 2**30
EVEN = 0.2
"""The fraction by which the cost per host may change from few to many hosts."""
DESCRIPTORS = 1024
"""The most open files and sockets of a contender: the default limit of a system."""
PAUSE_S = 1.0
_MB = 1_000_000

_HEAD = (
    "| hosts | who | wall, median | least to most | processor | memory | descriptors | threads |",
    "|---|---|---|---|---|---|---|---|",
)


@dataclass(frozen=True)
class Sizes:
    """Bytes of the files that an audit leaves."""

    record: int
    report: int
    junit: int
    events: int
    everything: int


@dataclass
class Series:
    """The runs of one contender against one number of hosts."""

    ground: Ground
    contender: Contender
    samples: list[Sample] = field(default_factory=list)
    sizes: Sizes | None = None

    @property
    def hosts(self) -> int:
        """The number of hosts."""
        return len(self.ground.ways)

    @property
    def problem(self) -> str | None:
        """The reason why the series does not count; None if it does."""
        return next((sample.problem for sample in self.samples if sample.problem), None)

    @property
    def wall_s(self) -> float:
        """The median wall time, in seconds."""
        return statistics.median(sample.seconds for sample in self.samples)

    @property
    def cost(self) -> Cost:
        """The medians of the resources that it used."""
        costs = [sample.cost or Cost() for sample in self.samples]
        return Cost(
            statistics.median(cost.processor_s for cost in costs),
            *(
                int(statistics.median(getattr(cost, name) for cost in costs))
                for name in ("memory", "descriptors", "threads")
            ),
        )


BENCH = Bench("fleet", __doc__, rounds=3)
BENCH.add("--hosts", default="10,100,1000", metavar="N,…", help="how many hosts (default: 10,100,1000)")
BENCH.add("--only", default="", metavar="TEXT", help="only contenders whose name has TEXT, and ourselves")
BENCH.add("--pyinfra", metavar="PROGRAM", help="a pyinfra that is installed (default: one of its own)")


def main(argv: Sequence[str] | None = None) -> int:
    """See `Bench.run`."""
    return BENCH.run(argv, _measure)


def _measure(given: Given) -> Result:
    counts = [2] if given.smallest else [int(text) for text in given.hosts.split(",")]
    pyinfra = given.pyinfra or str(own_pyinfra())
    contenders = [Switchproof(), Pyinfra(pyinfra)]
    contenders = [
        contender for contender in contenders if isinstance(contender, Switchproof) or given.only in contender.name
    ]
    with contextlib.ExitStack() as stack:
        below = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="switchproof-bench-")))
        host_key = make_keys(below)
        with lab_for(given, ["h1"]) as lab:
            _record(lab, contenders, below, host_key)
        servers = stack.enter_context(serving(below, max(counts)))
        stack.enter_context(_few_descriptors())
        ways = tuple(Way(f"h{number}", port, host_key) for number, port in enumerate(servers.ports, 1))
        grounds = [_lay_out(ways[:count], below) for count in counts]
        measured = [Series(where, who) for where in grounds for who in contenders]
        _run(measured, given.rounds)
    return Result(_render(measured, pyinfra, given.rounds), _numbers(measured), _problems(measured))


def _record(lab: Lab, contenders: Sequence[Contender], below: Path, host_key: str) -> None:
    """Record the answers of one lab host to every contender.

    Raises:
        RuntimeError: A contender did not get every answer right.
    """
    with _recording(next(iter(lab.hosts.values())), lab.identity_file, below) as (recorder, port):
        where = _lay_out((Way("h1", port, host_key),), below, "recorded")
        for contender in contenders:
            if problem := contender.run(where).problem:
                raise RuntimeError(f"{contender.name}, on the lab host whose answers are recorded: {problem}")
    (below / ANSWERS).write_bytes(msgspec.json.encode(recorder.answers))


@contextlib.contextmanager
def _recording(host: LabHost, identity_file: Path, below: Path) -> Iterator[tuple[Recorder, int]]:
    """Run a server that passes questions to the lab host; yield its recorder and its port."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def begin() -> tuple[asyncssh.SSHClientConnection, Recorder, int]:
        to_host = await asyncssh.connect(
            host.address,
            host.port,
            username="root",
            client_keys=[str(identity_file)],
            known_hosts=([asyncssh.import_public_key(host.host_key)], [], []),
            config=None,
            agent_path=None,
        )
        recorder = Recorder(to_host)
        (server,) = await listen(below, recorder.answer, 1)
        return to_host, recorder, server.get_port()

    async def end(to_host: asyncssh.SSHClientConnection) -> None:
        to_host.close()
        await to_host.wait_closed()

    try:
        to_host, recorder, port = asyncio.run_coroutine_threadsafe(begin(), loop).result(answering.READY_S)
        yield recorder, port
        asyncio.run_coroutine_threadsafe(end(to_host), loop).result(answering.READY_S)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


@contextlib.contextmanager
def _few_descriptors() -> Iterator[None]:
    """Limit the open files of processes started from here on to a system's default."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, before[1]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _lay_out(ways: tuple[Way, ...], below: Path, name: str = "") -> Ground:
    where = Ground(ways, 0.0, below / USER_KEY, below / (name or f"{len(ways)}-hosts"))
    ground.write(where, Lab.repository_url)
    return where


def _run(measured: Sequence[Series], rounds: int) -> None:
    """Run every contender on every ground, in turn."""
    for turn in range(rounds):
        for series in measured:
            if series.problem:
                continue  # it is shown as failed; nothing is gained by failing again
            time.sleep(PAUSE_S)
            sample = series.contender.run(series.ground)
            series.samples.append(sample)
            if isinstance(series.contender, Switchproof) and not sample.problem:
                series.sizes = _sizes(next((series.ground.folder / "runs").glob("2*")))
            outcome = sample.problem or f"{sample.seconds:.2f} s, {sample.cost}"
            say(f"{turn + 1}/{rounds}  {series.hosts} hosts  {series.contender.name}: {outcome}")


def _sizes(run: Path) -> Sizes:
    files = {str(path.relative_to(run)): path.stat().st_size for path in run.rglob("*") if path.is_file()}
    return Sizes(
        files["record.json"], files["report.html"], files["junit.xml"], files["events.jsonl"], sum(files.values())
    )


def _problems(measured: Sequence[Series]) -> list[str]:
    return [
        f"{series.contender.name}, {series.hosts} hosts: failed: {series.problem}"
        for series in measured
        if series.problem
    ]


def _good(measured: Sequence[Series]) -> list[Series]:
    return [series for series in measured if series.samples and not series.problem]


def _numbers(measured: Sequence[Series]) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for series in _good(measured):
        name, cost = f"{series.hosts} hosts: {series.contender.name}", series.cost
        numbers |= {f"{name}, wall": series.wall_s, f"{name}, processor": cost.processor_s}
        numbers |= {f"{name}, memory, MB": cost.memory / _MB, f"{name}, descriptors": float(cost.descriptors)}
        if series.sizes:
            sizes = msgspec.to_builtins(series.sizes)
            numbers |= {f"{name}, {what}, MB": size / _MB for what, size in sizes.items()}
    return numbers


def _render(measured: Sequence[Series], pyinfra: str, rounds: int) -> str:
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("switchproof", "paramiko", "asyncssh")]
    facts = [
        f"- {when(rounds, 'of each, in turn')}",
        f"- {machine()}",
        f"- {', '.join([*versions, version_of(pyinfra)])}",
    ]
    parts = ["\n".join(facts), "\n".join([*_HEAD, *(_row(series) for series in measured)])]
    parts += ["\n".join(_left(measured)), "\n".join(f"- {line}" for line in aims(measured))]
    return "\n\n".join(parts) + "\n"


def _row(series: Series) -> str:
    cells = [str(series.hosts), series.contender.name]
    if series.problem or not series.samples:
        return f"| {' | '.join([*cells, 'failed', '', '', '', '', ''])} |"
    seconds, cost = sorted(sample.seconds for sample in series.samples), series.cost
    cells += [f"{series.wall_s:.2f} s", f"{seconds[0]:.2f} to {seconds[-1]:.2f} s", f"{cost.processor_s:.2f} s"]
    cells += [f"{cost.memory / _MB:.0f} MB", str(cost.descriptors), str(cost.threads)]
    return f"| {' | '.join(cells)} |"


def _left(measured: Sequence[Series]) -> list[str]:
    """Write a table with the sizes of an audit's files, in total and per host."""
    lines = [
        "| hosts | record | report | JUnit | events | all files | all files, per host |",
        "|---|---|---|---|---|---|---|",
    ]
    for series in _good(measured):
        if (sizes := series.sizes) is not None:
            parts = (sizes.record, sizes.report, sizes.junit, sizes.events, sizes.everything)
            cells = [str(series.hosts), *(f"{part / _MB:.2f} MB" for part in parts)]
            lines.append(f"| {' | '.join(cells)} | {sizes.everything / series.hosts / 1000:.1f} kB |")
    return lines


def aims(measured: Sequence[Series]) -> list[str]:
    """Return a line for each aim, with whether it was reached."""
    ours = [series for series in _good(measured) if isinstance(series.contender, Switchproof)]
    lines = []
    for series in ours:
        if series.hosts >= AIM_HOSTS:
            memory, seconds = series.cost.memory, series.wall_s
            lines.append(f"{series.hosts} audits below {AIM_S:g} s: {_yes(seconds < AIM_S)} ({seconds:.1f} s)")
            lines.append(
                f"{series.hosts} audits below {AIM_BYTES / _MB:.0f} MB: {_yes(memory < AIM_BYTES)} "
                f"({memory / _MB:.0f} MB)"
            )
    for what in ("wall", "processor", "memory"):
        steps = [
            (few.hosts, many.hosts, (_amount(many, what) - _amount(few, what)) / (many.hosts - few.hosts))
            for few, many in itertools.pairwise(ours)
        ]
        if len(steps) > 1:
            ratio = steps[-1][2] / steps[0][2] if steps[0][2] > 0 else float("inf")
            spans = ", ".join(f"{few} to {many}: {_unit(each, what)}" for few, many, each in steps)
            even = _yes(ratio <= 1 + EVEN)
            lines.append(f"one more host costs no more {what} among many, within {EVEN:.0%}: {even} ({spans})")
    return lines


def _amount(series: Series, what: str) -> float:
    return {"wall": series.wall_s, "processor": series.cost.processor_s, "memory": float(series.cost.memory)}[what]


def _unit(amount: float, what: str) -> str:
    return f"{amount / _MB:.2f} MB" if what == "memory" else f"{1000 * amount:.0f} ms"


def _yes(reached: bool) -> str:
    return "yes" if reached else "no"


if __name__ == "__main__":
    sys.exit(main())
