"""Runs a benchmark: reads its options, writes its result, and compares that with the last one."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from switchproof.deploy.errors import SwitchproofError
from switchproof.deploy.providers.lab.kinds import Runtime, Shape
from switchproof.deploy.providers.lab.lab import Lab

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MOVED = 0.2
"""The fraction by which a number may differ from the last one before a line reports it."""


@dataclass(frozen=True)
class Result:
    """The result of a benchmark.

    Attributes:
        text: The result in Markdown, for people.
        numbers: The same for programs: the measured values by name.
        problems: The contenders that failed, with the errors; with any, the result does not count.
    """

    text: str
    numbers: Mapping[str, float]
    problems: Sequence[str] = field(default_factory=tuple)


class Kept(msgspec.Struct, frozen=True):
    """The last written result of a benchmark: its time, machine, rounds and numbers."""

    date: str
    machine: str
    rounds: int
    numbers: dict[str, float]


class Given(argparse.Namespace):
    """The options of every benchmark."""

    rounds: int
    smallest: bool
    write: bool
    lab: str | None


class Bench:
    """One benchmark: `python -m bench.NAME`.

    Args:
        name: Its name, also of its page and its numbers below the folder of documents.
        about: A sentence on what it measures.
        rounds: The default number of rounds.
        docs: The folder of documents.
    """

    def __init__(self, name: str, about: str | None, *, rounds: int, docs: Path = DOCS) -> None:
        self.name = name
        self._rounds = rounds
        self._mark = f"<!-- what follows is written by `python -m bench.{name} --write` -->\n"
        self._page = docs / f"bench-{name}.md"
        self._kept = docs / f"bench-{name}.json"
        self.parser = argparse.ArgumentParser(prog=f"python -m bench.{name}", description=about, allow_abbrev=False)
        self.add = self.parser.add_argument
        self.add("--rounds", type=int, metavar="N", help=f"how often (default: {rounds}; with --smallest 1)")
        self.add("--smallest", action="store_true", help="on the smallest ground, in seconds: only whether it works")
        self.add(
            "--write", action="store_true", help=f"write the result to docs/{self._page.name} and {self._kept.name}"
        )
        self.add("--lab", metavar="NAME", help="use a lab that is up instead of making one")

    def run(self, argv: Sequence[str] | None, measure: Callable[[Given], Result]) -> int:
        """Measure, print the result and its changes, and write it with `--write`.

        Returns:
            The exit status: 1 if a contender failed, in which case nothing is written.
        """
        given = self.parser.parse_args(argv, Given())
        if given.write and given.smallest:
            self.parser.error("--write: a result of the smallest ground is none to keep")
        given.rounds = given.rounds or (1 if given.smallest else self._rounds)
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed contender's modules are compiled
        try:
            result = measure(given)
        except (SwitchproofError, subprocess.SubprocessError, OSError, RuntimeError) as error:
            result = Result("", {}, [str(error) or type(error).__name__])
        sys.stdout.write(result.text)
        for problem in result.problems:
            sys.stderr.write(f"error: bench.{self.name}: {problem}\n")
        if result.problems:
            return 1
        now = Kept(f"{dt.datetime.now(dt.UTC):%Y-%m-%d}", machine(), given.rounds, dict(result.numbers))
        if not given.smallest and self._kept.exists():
            last = msgspec.json.decode(self._kept.read_bytes(), type=Kept)
            sys.stdout.write("".join(f"{line}\n" for line in moved(last, now)))
        if given.write:
            above, _, _ = self._page.read_text("utf-8").partition(self._mark)
            self._page.write_text(f"{above}{self._mark}\n{result.text}", "utf-8")
            rounded = msgspec.structs.replace(now, numbers={name: round(n, 3) for name, n in now.numbers.items()})
            self._kept.write_bytes(msgspec.json.format(msgspec.json.encode(rounded)) + b"\n")
        return 0

    def written(self) -> str:
        """Return the result on the page, as it was last written."""
        return self._page.read_text("utf-8").partition(self._mark)[2]


def moved(last: Kept, now: Kept) -> list[str]:
    """Return a line for each number that has moved since the last result, is missing or is new."""
    lines = [] if last.machine == now.machine else [f"The last numbers are of another machine: {last.machine}"]
    for name, number in now.numbers.items():
        before = last.numbers.get(name)
        if before is None:
            lines.append(f"{name}: new, {number:.3g}")
        elif abs(number - before) > MOVED * abs(before):
            ratio = f" ({number / before:.2f} times)" if before else ""
            lines.append(f"{name}: {before:.3g} → {number:.3g}{ratio}")
    lines += [f"{name}: gone, was {last.numbers[name]:.3g}" for name in last.numbers if name not in now.numbers]
    return [f"Since {last.date}: {line}" for line in lines] or [f"Since {last.date} nothing has moved by a fifth."]


def lab_for(
    given: Given, hosts: Sequence[str], *, shape: Shape = "ovh", runtime: Runtime = "netns"
) -> contextlib.AbstractContextManager[Lab]:
    """Yield the lab named on the command line, or a new one that is removed at the end."""
    if given.lab is not None:
        return contextlib.nullcontext(Lab.attach(given.lab))
    return Lab.up(tuple(hosts), name=f"bench-{os.getpid()}", shape=shape, runtime=runtime, progress=say)


def machine() -> str:
    """Return a line about the machine."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
            if line.startswith("model name")
        ),
        "unknown",
    )
    return f"{os.cpu_count()} CPUs ({model}), Linux {platform.release()}, Python {platform.python_version()}"


def when(rounds: int, of: str = "") -> str:
    """Return a line with the time of a result, its rounds and the load of the machine."""
    load = ", ".join(f"{part:.1f}" for part in os.getloadavg())
    what = " ".join(filter(None, ["1 round" if rounds == 1 else f"{rounds} rounds", of]))
    return f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {what}; load average at the end: {load}"


def say(text: str) -> None:
    """Print a line of progress to standard error."""
    sys.stderr.write(f"{text}\n")
