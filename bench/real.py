"""Runs real programs of NixOS on lab hosts and writes the outcomes: `python -m bench.real DIR [--write]`.

DIR has single files as in nixpkgs. An entry whose name begins with `nixos-rebuild` or with
`switch-to-configuration` is a program; the rest of its name is its version. The page repeats about.md.
Each nixos-rebuild is tried together with a switch-to-configuration, as long as there are both, and with the lab's
stand-in otherwise. Several runs can share the work: each adds its outcomes to those of the same programs on the page.
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
from pathlib import Path
from typing import Final

from bench.ground import ROOT
from bench.real_cases import CASES, Case, Outcome, restore, run
from bench.real_page import REBUILDS, SWITCHES, Found, Pair, Table, merge, read, render
from switchproof.deploy.errors import SwitchproofError
from switchproof.deploy.providers.lab.kinds import Suite
from switchproof.deploy.providers.lab.lab import Lab
from switchproof.deploy.providers.lab.real import RealPrograms, look

LONGEST_OUTPUT: Final = 8000
"""Characters shown of the end of a session's output, if a case did not end as expected."""
PAGE: Final = ROOT / "docs" / "real-programs.md"


def find(folder: Path) -> list[Found]:
    """Return the programs in a folder, ordered by kind."""
    programs = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("nixos-rebuild"):
            programs.append(Found(REBUILDS[0 if path.is_dir() else 1], path))
        elif path.name.startswith("switch-to-configuration"):
            with path.open("rb") as opened:
                programs.append(Found(SWITCHES[0 if opened.read(2) == b"#!" else 1], path))
    kinds = [*REBUILDS, *SWITCHES]
    return sorted(programs, key=lambda program: kinds.index(program.kind))


def pairs(programs: Sequence[Found]) -> list[Pair]:
    """Return which programs share a lab: the newest versions of both kinds together."""
    rebuilds = [program for program in programs if program.kind in REBUILDS]
    switches = [program for program in programs if program.kind in SWITCHES]
    return [Pair(*both) for both in itertools.zip_longest(rebuilds, reversed(switches))]


def main(argv: Sequence[str] | None = None) -> int:
    """Run cases with programs, print the page, and return 1 if a case did not end as expected."""
    given = _parser().parse_args(argv)
    try:
        programs = find(given.folder)
        before = read(PAGE.read_text("utf-8") if PAGE.is_file() else "", pairs(programs))
        together = [pair for pair in pairs(programs) if given.pair in pair.title]
        chosen = {pair: _chosen(given, before.get(pair.title)) for pair in together}
        now = {pair.title: _try(pair, given.suite, given.hosts, cases) for pair, cases in chosen.items() if cases}
    except (SwitchproofError, subprocess.SubprocessError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    notes = given.folder / "about.md"
    text = render(programs, pairs(programs), merge(before, now), notes.read_text("utf-8") if notes.is_file() else "")
    print(text)
    if given.write:
        PAGE.write_text(text, "utf-8")
    return 0 if all(outcome.as_it_should for table in now.values() for outcome in table.outcomes.values()) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.real", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the programs are")
    parser.add_argument("--write", action="store_true", help=f"write the result to {PAGE.relative_to(ROOT)}")
    parser.add_argument("--suite", choices=("trixie", "forky"), default="trixie", help="of the hosts")
    parser.add_argument("--hosts", type=int, choices=range(1, 5), default=2, help="how many run side by side")
    parser.add_argument("--pair", default="", metavar="TEXT", help="only programs in whose heading TEXT stands")
    parser.add_argument("--case", action="append", default=[], metavar="NAME", help="only this case; repeatable")
    parser.add_argument("--rest", action="store_true", help="only cases that did not end as they should before")
    return parser


def _chosen(given: argparse.Namespace, before: Table | None) -> list[Case]:
    right = (
        {title for title, outcome in before.outcomes.items() if outcome.as_it_should}
        if before and given.rest
        else set()
    )
    return [case for case in CASES if case.title not in right and (not given.case or case.name in given.case)]


def _try(pair: Pair, suite: Suite, hosts: int, chosen: Sequence[Case]) -> Table:
    """Run cases on the hosts of one lab, one at a time on each host."""
    programs: RealPrograms = look(
        *(str(program.path) if program else None for program in (pair.rebuild, pair.switch))
    )
    name = f"real-{os.getpid()}-{hashlib.sha256(pair.title.encode()).hexdigest()[:4]}"
    names = [f"h{number}" for number in range(1, hosts + 1)]
    outcomes: dict[str, Outcome] = {}
    with (
        Lab.up(tuple(names), name=name, runtime="netns", suite=suite, programs=programs) as lab,
        tempfile.TemporaryDirectory(prefix="switchproof-real-") as below,
        ThreadPoolExecutor(hosts) as pool,
    ):
        asked = ["sh", "-c", "systemctl --version | head -n 1; nix --version; python3 --version"]
        around = lab.hosts[names[0]].run(asked, timeout_s=20).stdout.splitlines()
        free: queue.Queue[str] = queue.Queue()
        for host in names:
            free.put(host)

        def run_case(case: Case) -> None:
            host = free.get()
            try:
                outcome = outcomes[case.title] = run(lab, host, case, Path(below) / case.name.replace("/", "-"))
                if not outcome.as_it_should:
                    output = (Path(below) / case.name.replace("/", "-") / "output").read_text("utf-8", "replace")
                    sys.stderr.write(f"{output[-LONGEST_OUTPUT:]}\n")
                    restore(lab.hosts[host])
            finally:
                free.put(host)
            sys.stderr.write(f"{pair.title}: {case.name}: {outcome}\n")

        list(pool.map(run_case, chosen))
    return Table(", ".join(around), outcomes)


if __name__ == "__main__":
    sys.exit(main())
