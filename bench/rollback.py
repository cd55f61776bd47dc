"""Measures how long a rollback takes: `python -m bench.rollback [--write]`.

It measures three times on a lab host of this machine. The first is from a failed check to a rollback that every
clause has verified, by the run's journal. The second is from the end of a switch that failed to the answers of the
earlier system, by the host's journal and the run's. The third is from a runner's death by SIGKILL to the host's
return to its earlier system, by the host's report on the runner's clock, without the time that the host waits for a
confirmation.
"""

from __future__ import annotations

import datetime as dt
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from bench.result import ROOT, Bench, Given, Result, lab_for, machine, when
from bench.switching import answers_aim, back_s
from switchproof.deploy.contract import Verdict
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from switchproof.deploy.record.events import AnyEvent, CheckFinished, HostLeft, PhaseFinished
from switchproof.deploy.record.journal import read_events

CONFIRM_S = 8
"""Seconds that a host waits for the confirmation of a killed runner."""
PATIENT_S = 90
"""Seconds that a host waits for a runner that rolls back itself: more than a busy one takes to find the failure."""
LONGEST_S = 120.0
SWITCHED = "from the end of a failed switch to the earlier system's answers"

_HEALTH = """
[health]
ready_s = 5.0
answers = 3
interval_s = 0.5
soak_s = 2.0
timeout_s = 2.0
"""


BENCH = Bench("rollback", __doc__, rounds=5)


def main(argv: Sequence[str] | None = None) -> int:
    """See `Bench.run`."""
    return BENCH.run(argv, _measure)


def _measure(given: Given) -> Result:
    with (
        lab_for(given, ["a"]) as lab,
        tempfile.TemporaryDirectory(prefix="switchproof-bench-") as below,
    ):
        failed = [failed_check(lab, Path(below) / f"failed-{number}") for number in range(given.rounds)]
        switched = [failed_switch(lab, Path(below) / f"switched-{number}") for number in range(given.rounds)]
        lost = [lost_runner(lab, Path(below) / f"lost-{number}") for number in range(given.rounds)]
    rows = _rows(failed, switched, lost)
    numbers = {what: statistics.median(seconds) for what, seconds in rows.items()}
    return Result(render(rows, given.rounds), numbers)


def failed_check(lab: Lab, folder: Path) -> dict[str, float]:
    """Deploy a broken revision; return the seconds of the rollback, and of its parts."""
    process = _begin(lab, folder, "broken/live-degraded", _limits(PATIENT_S))
    output, _ = process.communicate(timeout=LONGEST_S)
    events = list(_events(folder))
    failed = _first(events, output, _is_failed_check)
    left = _first(events, output, lambda event: isinstance(event, HostLeft) and event.state == "rolled-back")
    parts = {
        event.phase: event.seconds for event in events if isinstance(event, PhaseFinished) and event.leg == "back"
    }
    whole = (left.at - failed.at).total_seconds()
    return {"whole": whole, "restored": parts["rollback"], "verified": parts["observe"]}


def failed_switch(lab: Lab, folder: Path) -> float:
    """Deploy a revision whose switch fails; return the seconds from its end to the earlier system's answers.

    All limits are the defaults.
    """
    began = time.time()
    process = _begin(lab, folder, "broken/new-unit-failing", limits="")
    output, _ = process.communicate(timeout=LONGEST_S)
    events = list(_events(folder))
    _first(events, output, lambda event: isinstance(event, HostLeft) and event.state == "rolled-back")
    return back_s(events, lab.hosts["a"], began)


def lost_runner(lab: Lab, folder: Path) -> dict[str, float]:
    """Kill the runner after the switch; return the seconds until the host is back, without its waiting time."""
    host = lab.hosts["a"]
    host.run(["rm", "-f", "/var/lib/switchproof/returned"], timeout_s=10)
    process = _begin(lab, folder, "main", _limits(CONFIRM_S))
    _wait(lambda: any(isinstance(e, PhaseFinished) and e.phase == "converge" for e in _events(folder)))
    switched = next(e.at for e in _events(folder) if isinstance(e, PhaseFinished) and e.phase == "converge")
    process.kill()
    process.communicate(timeout=LONGEST_S)
    _wait(lambda: bool(_report(host)))
    report = dict(line.split(" ", 1) for line in _report(host).splitlines())
    if report["rc"] != "0":
        raise TimeoutError(f"the host did not go back well: {report}")
    decided, ended = (dt.datetime.fromisoformat(report[name]) for name in ("at", "ended"))
    _wait(lambda: host.run(["sh", "-c", "test -e /var/lib/switchproof/pending"], timeout_s=10).returncode != 0)
    host.run(["rm", "-rf", "/run/switchproof/lock"], timeout_s=10)  # or the next run would wait for it
    whole = (ended - switched).total_seconds() - CONFIRM_S
    return {"whole": max(whole, 0.0), "restored": (ended - decided).total_seconds()}


def _rows(
    failed: list[dict[str, float]], switched: list[float], lost: list[dict[str, float]]
) -> dict[str, list[float]]:
    """Return the seconds of every round, by part."""
    return {
        "from a failed check to the verified earlier system": [run["whole"] for run in failed],
        "from a failed check: restoring the earlier system": [run["restored"] for run in failed],
        "from a failed check: watching whether it is healthy": [run["verified"] for run in failed],
        SWITCHED: switched,
        "from a lost runner to the host back, beyond the time to confirm": [run["whole"] for run in lost],
        "from a lost runner: restoring the earlier system": [run["restored"] for run in lost],
    }


def render(rows: Mapping[str, Sequence[float]], rounds: int) -> str:
    """Write the result in Markdown."""
    lines = [
        f"- {when(rounds, 'of each')}",
        f"- {machine()}",
        "",
        "| what | median | least to most |",
        "|---|---|---|",
    ]
    lines += [
        f"| {what} | {statistics.median(seconds):.1f} s | {min(seconds):.1f} to {max(seconds):.1f} s |"
        for what, seconds in rows.items()
    ]
    lines += ["", f"- {answers_aim('a switch that fails', statistics.median(rows[SWITCHED]))}"]
    return "\n".join(lines) + "\n"


def _limits(confirm_s: int) -> str:
    return f"{_HEALTH}\n[rollback]\nconfirm_s = {confirm_s}\n"


def _begin(lab: Lab, folder: Path, revision: str, limits: str) -> subprocess.Popen[str]:
    folder.mkdir()
    text = (ROOT / "deploy" / "targets" / "lab.toml").read_text("utf-8")
    (folder / "lab.toml").write_text(f"{text}{limits}", "utf-8")
    options = [f"--sha={revision}", "--host=a", f"--targets={folder / 'lab.toml'}", f"--report-dir={folder / 'runs'}"]
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "--provider=lab", *options],
        cwd=ROOT,
        env=os.environ | {"SWITCHPROOF_LAB": lab.name},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _events(folder: Path) -> Iterator[AnyEvent]:
    for path in (folder / "runs").glob("2*/events.jsonl"):
        yield from read_events(path)


def _is_failed_check(event: AnyEvent) -> bool:
    return isinstance(event, CheckFinished) and event.verdict is Verdict.FAILED


def _first(events: list[AnyEvent], output: str, is_it: Callable[[AnyEvent], bool]) -> AnyEvent:
    for event in events:
        if is_it(event):
            return event
    raise TimeoutError(
        f"the run did not go as it should: it never failed, or the host was not brought back. Its output:\n{output}"
    )


def _report(host: LabHost) -> str:
    return host.run(["sh", "-c", "cat /var/lib/switchproof/returned 2>/dev/null"], timeout_s=10).stdout


def _wait(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONGEST_S
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {LONGEST_S:g} s; the run or the host did not go as it should")
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
