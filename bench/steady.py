"""Tests that repeated deploys of good revisions stay canonical on a busy machine: `python -m bench.steady [--write]`.

Four lab hosts, two of each shape, are deployed to side by side. Half of the revisions re-execute systemd, or restart
dbus or journald, in the middle of their switch. Every deploy must be canonical.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.result import ROOT, Bench, Given, Result, lab_for, machine, when
from switchproof.deploy.providers.lab.lab import Lab
from switchproof.deploy.record.record import read_record

REVISIONS = ("v3", "systemd-upgrade", "main", "dbus-restart", "v3", "journald-restart")
"""Good revisions in turn; every second one restarts a service that the switch relies on."""

HOSTS = ("a", "b")
LONGEST_S = 900.0

_HEALTH = """
[health]
ready_s = 60.0
answers = 3
interval_s = 0.5
soak_s = 2.0
timeout_s = 5.0
"""


@dataclass(frozen=True)
class Deployed:
    """One deploy: the shape of its host, its revision, exit code, verdict and, if it failed, its last lines."""

    shape: str
    revision: str
    code: int
    verdict: str
    last_words: str = ""

    @property
    def canonical(self) -> bool:
        """Whether the deploy was judged canonical."""
        return (self.code, self.verdict) == (0, "canonical")


BENCH = Bench("steady", __doc__, rounds=25)


def main(argv: Sequence[str] | None = None) -> int:
    """See `Bench.run`."""
    return BENCH.run(argv, _measure)


def _measure(given: Given) -> Result:
    with contextlib.ExitStack() as stack:
        below = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="switchproof-bench-")))
        labs = [stack.enter_context(lab_for(given, HOSTS))]
        if not given.smallest:
            labs.append(stack.enter_context(Lab.up(HOSTS, name=f"bench-ssm-{os.getpid()}", shape="aws")))
        places = [(lab, host) for lab in labs for host in HOSTS]
        if given.smallest:
            places = places[:1]
        pool = stack.enter_context(ThreadPoolExecutor(len(places)))
        series = pool.map(lambda place: deploy_in_turn(place[0], place[1], given.rounds, below), places)
        deployed = list(itertools.chain.from_iterable(series))
    wrong = [
        f"{result.revision} on {result.shape}: {result.verdict}, exit {result.code}"
        for result in deployed
        if not result.canonical
    ]
    numbers = {"deploys": float(len(deployed)), "canonical": float(sum(result.canonical for result in deployed))}
    return Result(render(deployed, given.rounds), numbers, wrong)


def deploy_in_turn(lab: Lab, host: str, times: int, below: Path) -> list[Deployed]:
    """Deploy the revisions to a host one after the other."""
    revisions = itertools.islice(itertools.cycle(REVISIONS), times)
    return [
        deploy(lab, host, revision, below / f"{lab.name}-{host}-{number}")
        for number, revision in enumerate(revisions)
    ]


def deploy(lab: Lab, host: str, revision: str, folder: Path) -> Deployed:
    """Deploy one revision to one host, as a user does."""
    folder.mkdir()
    shape = lab.state.shape
    targets = folder / "targets.toml"
    name = {"ovh": "lab", "aws": "lab-aws"}[shape]
    targets.write_text((ROOT / "deploy" / "targets" / f"{name}.toml").read_text("utf-8") + _HEALTH, "utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "--provider=lab", f"--shape={shape}", f"--sha={revision}"),
            *(f"--host={host}", f"--targets={targets}", f"--report-dir={folder / 'runs'}"),
        ],
        cwd=ROOT,
        env=os.environ | {"SWITCHPROOF_LAB": lab.name},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    records = sorted((folder / "runs").glob("2*/record.json"))
    verdict = str(read_record(records[-1]).verdict) if records else "no record"
    deployed = Deployed(shape, revision, done.returncode, verdict)
    sys.stderr.write(f"{shape} {host} {revision}: {verdict}, exit {done.returncode}\n")
    return (
        deployed if deployed.canonical else Deployed(shape, revision, done.returncode, verdict, done.stdout[-2000:])
    )


def render(deployed: Sequence[Deployed], rounds: int) -> str:
    """Write the result in Markdown."""
    counts = Counter((result.shape, result.revision, result.canonical) for result in deployed)
    good = sum(result.canonical for result in deployed)
    lines = [
        f"- {when(rounds, 'of one deploy to each host')}",
        f"- {machine()}",
        f"- {good} of {len(deployed)} deploys canonical",
        "",
        "| shape | revision | deploys | canonical |",
        "|---|---|---|---|",
    ]
    for shape, revision in sorted({(result.shape, result.revision) for result in deployed}):
        right, wrong = counts[shape, revision, True], counts[shape, revision, False]
        lines.append(f"| {shape} | `{revision}` | {right + wrong} | {right} |")
    for result in deployed:
        if not result.canonical:
            lines += [
                "",
                f"`{result.revision}` on {result.shape}: {result.verdict}, exit {result.code}",
                "",
                "```",
                result.last_words,
                "```",
            ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
