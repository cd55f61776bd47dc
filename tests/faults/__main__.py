"""Try every fault by every mode and write docs/faults.md: `python -m tests.faults [--write]`.

What came of each cell is kept in the folder of `--results`, and is not tried again there: a run that was cut short
goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import queue
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from bench.real_cases import restore
from switchproof.deploy.errors import SwitchproofError
from switchproof.deploy.providers.lab.lab import Lab
from tests.deploys.sessions import session, target_file
from tests.deploys.ways_back import look
from tests.faults.page import PAGE, Results, render
from tests.faults.scene import MODES, RELEASES, Fault, Mode, Outcome, cost, meet, releases
from tests.faults.table import FAULTS

Cell = tuple[Fault, Mode]
STARTED: Final = time.time()
LIMITS: Final = """
[health]
ready_s = 90.0
answers = 2
interval_s = 0.5
soak_s = 1.0
timeout_s = 5.0
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Try the cells, write what came of them, and return 1 if any of them is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--results", type=Path, metavar="DIR", help="where results are kept and continued")
    parser.add_argument("--only", default="", metavar="PATTERN", help="only cells whose `place: fault, mode` has it")
    parser.add_argument("--again", action="store_true", help="try cells again that were wrong")
    parser.add_argument("--hosts", type=int, default=8, metavar="N", help="hosts side by side (default: 8)")
    parser.add_argument("--beside", type=int, default=4, metavar="N", help="sessions without a host beside them")
    parser.add_argument("--write", action="store_true", help="write docs/faults.md")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="switchproof-faults-") as below:
        results = Results(given.results or Path(below) / "results")
        try:
            _try_all(_asked(given.only, results, again=given.again), results, given, Path(below))
        except KeyboardInterrupt:
            sys.stderr.write("interrupted; what was tried is kept\n")
        except (SwitchproofError, subprocess.SubprocessError, OSError) as error:
            sys.stderr.write(f"{error}\n")
            return 1
        finally:
            if given.write:
                PAGE.write_text(render(FAULTS, results.all()), "utf-8")
        wrong = [name for name, outcome in results.all().items() if outcome.problem]
    return 1 if wrong else 0


def _asked(pattern: str, results: Results, *, again: bool) -> list[Cell]:
    """Return the cells to try, the cheap ones first, so that an end that comes early costs few of them."""
    cells = [
        (fault, mode)
        for fault in FAULTS
        for mode in fault.expected
        if re.search(pattern, f"{fault.place}: {fault.name}, {mode}")
    ]
    cells.sort(key=lambda cell: (0 if cell[1] == "audit" else cost(*cell), MODES.index(cell[1])))
    known = results.all()
    done = {name for name, outcome in known.items() if not (again and outcome.problem)}
    return [cell for cell in cells if results.key(*cell) not in done]


def _try_all(cells: Sequence[Cell], results: Results, given: argparse.Namespace, below: Path) -> None:
    on_hosts = [cell for cell in cells if cell[0].needs_host]
    alone = [cell for cell in cells if not cell[0].needs_host]
    names = tuple(f"f{number}" for number in range(1, min(given.hosts, len(on_hosts)) + 1))
    with ThreadPoolExecutor(given.beside) as beside:
        try:
            pending = [beside.submit(_try, cell, results, below) for cell in alone]
            if names:
                with Lab.up(names, name=f"faults-{os.getpid()}", runtime="netns") as lab:
                    _on_hosts(lab, names, on_hosts, results, below)
            for each in pending:
                each.result()
        finally:
            beside.shutdown(cancel_futures=True)


def _on_hosts(lab: Lab, names: Sequence[str], cells: Sequence[Cell], results: Results, below: Path) -> None:
    waiting: queue.SimpleQueue[Cell] = queue.SimpleQueue()
    for cell in cells:
        waiting.put(cell)

    def serve(name: str) -> None:
        while True:
            try:
                cell = waiting.get_nowait()
            except queue.Empty:
                return
            _try(cell, results, below, lab, name)

    with ThreadPoolExecutor(len(names)) as pool:
        try:
            list(pool.map(serve, names))
        except BaseException:
            while not waiting.empty():  # an interruption lets the sessions under way end, and begins no more
                waiting.get()
            raise


def _try(cell: Cell, results: Results, below: Path, lab: Lab | None = None, name: str = "a") -> None:
    fault, mode = cell
    if results.was_kept_since(fault, mode, STARTED):
        return
    began = time.monotonic()
    folder = below / re.sub(r"[^a-z0-9]+", "-", results.key(fault, mode).lower())
    try:
        if lab and cost(fault, mode):
            make_good(lab, name, to_go_back=mode == "rollback")
        outcome = meet(fault, mode, folder, lab, name)
    except Exception:  # noqa: BLE001 - a cell that cannot be tried is a wrong one, and stops no other
        outcome = Outcome("not tried", None, "", "", "it could not be tried", traceback.format_exc())
    results.keep(fault, mode, outcome)
    done = len(results.all())
    line = f"{done}: {fault.place}: {fault.name}, {mode}: {outcome} ({time.monotonic() - began:.0f} s)"
    words = f"  <-- WRONG: {outcome.problem}\n{outcome.output[-1500:]}" if outcome.problem else ""
    sys.stderr.write(f"{line}{words}\n")


def make_good(lab: Lab, name: str, *, to_go_back: bool) -> None:
    """See that a host is whole and serves, and make it so if it is not.

    Args:
        lab: The lab.
        name: Its host.
        to_go_back: Whether the host must have both releases.
    """
    host = lab.hosts[name]
    script = "rm -rf /run/switchproof/lock; ls /var/lib/switchproof/pending 2>/dev/null || true"
    pending = host.run(["bash", "-c", script], timeout_s=60).stdout.strip()
    seen, tops = look(host), releases(host)
    if pending or not seen.running == seen.profile == seen.boot or seen.running not in tops.values():
        restore(host)
    host.wait_serving(timeout_s=300)
    if not to_go_back or len(tops) == len(RELEASES):
        return
    with tempfile.TemporaryDirectory(prefix="switchproof-faults-") as folder:
        targets = target_file(Path(folder), [name], LIMITS)
        runs = Path(folder) / "runs"
        ended = session("--provider=lab", "--sha=main", f"--targets={targets}", runs=runs, lab=lab)
        assert ended.status == 0, ended.output


if __name__ == "__main__":
    sys.exit(main())
