"""Run real programs of NixOS on lab hosts and write what came of it: `python -m bench.real DIR [--write]`.

DIR holds single files as nixpkgs has them. An entry whose name begins with `nixos-rebuild` or with
`switch-to-configuration` is a program; the rest of its name is its version. The page repeats about.md.
Each nixos-rebuild is tried together with a switch-to-configuration, as long as there are both, and with the lab's
stand-in otherwise.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import queue
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.ground import ROOT
from bench.real_cases import CASES, Case, Outcome, restore, run
from deploy.errors import SwitchproofError
from deploy.providers.lab.lab import Lab
from deploy.providers.lab.real import RealPrograms, look
from deploy.providers.lab.state import Suite

PAGE: Final = ROOT / "docs" / "real-programs.md"
HOSTS: Final = ("h1", "h2")
REBUILDS: Final = ("nixos-rebuild-ng", "nixos-rebuild as a shell script")
_BINARY: Final = "switch-to-configuration as a binary"
SWITCHES: Final = ("switch-to-configuration as a script", _BINARY)
ABOUT: Final = """\
# Real programs

Every case below was run on lab hosts by `just real DIR`, which wrote this page. nixos-rebuild and
switch-to-configuration were the real programs that lay in DIR; [lab.md](lab.md) says what they must look like. A
program that was not there is a row that says so. *as it should* compares with what the case is: a good revision is
canonical, a broken one fails at its clause and leaves the host unchanged or rolled back, and a host whose runner is
killed goes back by itself.

`dbus-restart` is not tried with the binary: when it was, the switch waited without end for signals of the bus that it
had lost. NixOS itself never restarts dbus in a switch.
"""
NOT_TRIED: Final = Outcome("not tried", "", "", "", as_it_should=True)


@dataclass(frozen=True)
class Found:
    """A program in DIR: what it is, which file or folder, and its version as its name says."""

    kind: str
    path: Path

    @property
    def version(self) -> str:
        """Return the rest of its name."""
        name = self.path.name
        for prefix in ("nixos-rebuild-ng", "nixos-rebuild", "switch-to-configuration-ng", "switch-to-configuration"):
            name = name.removeprefix(prefix)
        return name.lstrip("-").removesuffix(".sh").removesuffix(".pl") or "unknown"


@dataclass(frozen=True)
class Together:
    """The programs of one lab, what their hosts run besides, and what came of each case."""

    programs: tuple[Found | None, Found | None]
    around: str
    outcomes: tuple[tuple[Case, Outcome], ...]


def find(folder: Path) -> list[Found]:
    """Return the programs in a folder, those of the first kinds first."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("nixos-rebuild"):
            found.append(Found(REBUILDS[0 if path.is_dir() else 1], path))
        elif path.name.startswith("switch-to-configuration"):
            with path.open("rb") as opened:
                found.append(Found(SWITCHES[0 if opened.read(2) == b"#!" else 1], path))
    kinds = [*REBUILDS, *SWITCHES]
    return sorted(found, key=lambda program: kinds.index(program.kind))


def pairs(found: Sequence[Found]) -> list[tuple[Found | None, Found | None]]:
    """Return which programs share a lab: the newest ways of both together."""
    rebuilds = [program for program in found if program.kind in REBUILDS]
    switches = [program for program in found if program.kind in SWITCHES]
    return list(itertools.zip_longest(rebuilds, reversed(switches)))


def main(argv: Sequence[str] | None = None) -> int:
    """Run every case with every program, print the page, and return 1 if a case did not end as it should."""
    parser = argparse.ArgumentParser(prog="python -m bench.real", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the programs are")
    parser.add_argument("--write", action="store_true", help=f"write the result to {PAGE.relative_to(ROOT)}")
    parser.add_argument("--suite", choices=("trixie", "forky"), default="trixie", help="of the hosts")
    parser.add_argument("--case", action="append", default=[], metavar="NAME", help="only this case; repeatable")
    given = parser.parse_args(argv)
    chosen = [case for case in CASES if not given.case or case.name in given.case]
    try:
        found = find(given.folder)
        together = pairs(found)
        with ThreadPoolExecutor(max(len(together), 1)) as pool:
            tried = list(pool.map(lambda pair: _try(pair, given.suite, chosen), together))
    except (SwitchproofError, subprocess.SubprocessError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    notes = given.folder / "about.md"
    text = render(found, tried, notes.read_text("utf-8") if notes.is_file() else "")
    print(text)
    if given.write:
        PAGE.write_text(text, "utf-8")
    return 0 if all(outcome.as_it_should for one in tried for _, outcome in one.outcomes) else 1


def render(found: Sequence[Found], tried: Sequence[Together], notes: str = "") -> str:
    """Write the page in Markdown."""
    lines = [ABOUT, "| program | version | SHA-256 | tried |", "|---|---|---|---|"]
    for kind in (*REBUILDS, *SWITCHES):
        there = [program for program in found if program.kind == kind]
        if not there:
            lines.append(f"| {kind} | not there | | no |")
        for program in there:
            given = look(str(program.path), None) if kind in REBUILDS else look(None, str(program.path))
            sha256 = next(one.sha256 for one in (given.nixos_rebuild, given.switch) if one is not None)
            lines.append(f"| {kind} | `{program.version}` | `{sha256[:16]}` | yes |")
    lines += ["", notes.rstrip()] if notes else []
    for one in tried:
        right = sum(outcome.as_it_should for _, outcome in one.outcomes)
        lines += [
            "",
            f"## {_title(one.programs)}",
            "",
            f"{one.around}. {right} of {len(one.outcomes)} cases ended as they should; there are {len(CASES)}.",
            "",
            "| case | verdict | clause | exit code | state | as it should |",
            "|---|---|---|---|---|---|",
        ]
        for case, outcome in one.outcomes:
            should = "yes" if outcome.as_it_should else f"**no**: {case.expected}"
            cells = (case.title, outcome.verdict, outcome.clause, outcome.code, outcome.state, should)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _title(programs: tuple[Found | None, Found | None]) -> str:
    names = ("the stand-in for nixos-rebuild", "the stand-in for switch-to-configuration")
    parts = [
        f"{program.kind} {program.version}" if program else name
        for program, name in zip(programs, names, strict=True)
    ]
    return f"{parts[0]} with {parts[1]}"


def _try(pair: tuple[Found | None, Found | None], suite: Suite, chosen: Sequence[Case]) -> Together:
    """Run the cases on the hosts of one lab, each host one at a time."""
    programs: RealPrograms = look(*(str(program.path) if program else None for program in pair))
    title = _title(pair)
    name = f"real-{os.getpid()}-{hashlib.sha256(title.encode()).hexdigest()[:4]}"
    outcomes: dict[str, Outcome] = {}
    with (
        Lab.up(HOSTS, name=name, runtime="netns", suite=suite, programs=programs) as lab,
        tempfile.TemporaryDirectory(prefix="switchproof-real-") as below,
        ThreadPoolExecutor(len(HOSTS)) as pool,
    ):
        asked = ["sh", "-c", "systemctl --version | head -n 1; nix --version; python3 --version"]
        around = lab.hosts[HOSTS[0]].run(asked, timeout_s=20).stdout.splitlines()
        free: queue.Queue[str] = queue.Queue()
        for host in HOSTS:
            free.put(host)

        def one(case: Case) -> None:
            if case.name == "dbus-restart" and pair[1] is not None and pair[1].kind == _BINARY:
                outcomes[case.name] = NOT_TRIED
                return
            host = free.get()
            try:
                outcomes[case.name] = run(lab, host, case, Path(below) / case.name.replace("/", "-"))
                if not outcomes[case.name].as_it_should:
                    restore(lab.hosts[host])
            finally:
                free.put(host)
            sys.stderr.write(f"{title}: {case.name}: {outcomes[case.name]}\n")

        list(pool.map(one, chosen))
    return Together(pair, ", ".join(around), tuple((case, outcomes[case.name]) for case in chosen))


if __name__ == "__main__":
    sys.exit(main())
