"""Measures an audit and a deploy through SSM: `python -m bench.ssm [--write]`.

A lab host of the shape `aws` is reached through the local SSM endpoint, which takes 0.7 s to start a command. The
contender is the old entry point: one command, polled every ten seconds with the AWS CLI.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from bench.ground import PEERS
from bench.result import ROOT, Bench, Given, Result, lab_for, machine, when
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from switchproof.deploy.providers.lab.ssm.commands import Pace
from switchproof.deploy.providers.lab.ssm.endpoint import SsmEndpoint

PACE = Pace(pickup_s=0.7)
LONGEST_S = 300.0
WAIT_AIM_S = 1.0
CHECKOUT = "/opt/choiros/workspace"

_HEALTH = """
[health]
ready_s = 60.0
answers = 1
soak_s = 0.0
"""


@dataclass(frozen=True)
class Sample:
    """One run.

    Attributes:
        seconds: Wall time of the whole command.
        commands: The number of SSM commands sent.
        requests: The number of requests that AWS answered.
        host_s: Seconds that the host worked on the commands.
        aws_s: Seconds that AWS took to start commands and to notice their ends.
        waits_s: For each command, the seconds from AWS's notice of its end to ours.
    """

    seconds: float
    commands: int
    requests: int
    host_s: float
    aws_s: float
    waits_s: tuple[float, ...]


Run = Callable[[Path], Sequence[str]]

_PARTS: Mapping[str, Callable[[Sample], float]] = {
    "command": lambda sample: sample.seconds,
    "SSM commands": lambda sample: sample.commands,
    "requests": lambda sample: sample.requests,
    "waiting": lambda sample: sum(sample.waits_s),
}


BENCH = Bench("ssm", __doc__, rounds=5)


def main(argv: Sequence[str] | None = None) -> int:
    """See `Bench.run`."""
    return BENCH.run(argv, _measure)


def _measure(given: Given) -> Result:
    with (
        lab_for(given, ["a"], shape="aws") as lab,
        tempfile.TemporaryDirectory(prefix="switchproof-bench-") as below,
    ):
        samples = measure(lab, Path(below), given.rounds)
    return Result(render(samples, given.rounds), numbers(samples))


def measure(lab: Lab, below: Path, rounds: int) -> dict[tuple[str, str], list[Sample]]:
    """Run all contenders in turn, `rounds` times; every deploy changes the release of the host."""
    host = lab.hosts["a"]
    host.run(["git", "clone", "--quiet", Lab.repository_url, CHECKOUT], timeout_s=30)
    contenders: dict[tuple[str, str], Run] = {
        ("audit", "switchproof"): _ours("--audit", "--soak=0"),
        ("audit", "10 s polling"): _old(None),
        ("deploy", "switchproof"): _ours(host=host),
        ("deploy", "10 s polling"): _old(host),
    }
    # The host gets the script of questions in a second command, once, and keeps it until its next boot.
    (below / "first").mkdir()
    _sample(lab, below / "first", contenders["audit", "switchproof"])
    samples: dict[tuple[str, str], list[Sample]] = {key: [] for key in contenders}
    for turn in range(rounds):
        for number, (key, command) in enumerate(contenders.items()):
            folder = below / f"{turn}-{number}"
            folder.mkdir()
            samples[key].append(_sample(lab, folder, command))
            sys.stderr.write(f"{turn + 1}/{rounds}  {' '.join(key)}: {samples[key][-1].seconds:.1f} s\n")
    return samples


def _sample(lab: Lab, folder: Path, command: Run) -> Sample:
    """Run one command against an endpoint of its own."""
    with SsmEndpoint.serve(lab, pace=PACE) as endpoint:
        argv = command(folder)
        environment = os.environ | endpoint.environment | {"DEPLOY_INSTANCE_ID": endpoint.instance_ids["a"]}
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        began = time.monotonic()
        done = subprocess.run(
            argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=False
        )
        seconds = time.monotonic() - began
        if done.returncode != 0:
            raise RuntimeError(f"{argv[0]} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
        spent = endpoint.spent
        return Sample(
            seconds,
            len(spent),
            len(endpoint.calls),
            sum(part.host_s for part in spent),
            sum(part.aws_s for part in spent),
            tuple(part.wait_s for part in spent),
        )


def _ours(*options: str, host: LabHost | None = None) -> Run:
    """Run Switchproof: deploy to a host, or another mode with options and no host."""

    def command(folder: Path) -> Sequence[str]:
        text = (ROOT / "deploy" / "targets" / "aws.toml").read_text("utf-8")
        text = re.sub(r"flake_attr = .*", 'flake_attr = "choiros-aws-a"', text)
        (folder / "target.toml").write_text(text + _HEALTH, "utf-8")
        revision = [f"--sha={_next(host)}"] if host else []
        files = [f"--targets={folder / 'target.toml'}", f"--report-dir={folder / 'runs'}"]
        return [sys.executable, "-m", "pytest", "--provider=aws", *options, *revision, *files]

    return command


def _old(host: LabHost | None) -> Run:
    """Run the old entry point: deploy to a host, or without one only check its health."""

    def command(_: Path) -> Sequence[str]:
        revision = _next(host) if host else ""
        values = [f"RELEASE_SHA={revision}", "FLAKE_ATTR=choiros-aws-a", f"WORKDIR={CHECKOUT}"]
        return ["bash", str(PEERS / "ssm_entry.sh"), str(PEERS / "ssm_switch.sh"), *values]

    return command


def _next(host: LabHost) -> str:
    """Return the release that the host does not run."""
    runs = host.run(["cat", "/run/current-system/etc/choiros/version"], timeout_s=10).stdout.strip()
    return "main" if runs == "v3" else "v3"


def numbers(measured: Mapping[tuple[str, str], list[Sample]]) -> dict[str, float]:
    """Return the medians of the seconds, the commands and the requests."""
    return {
        f"{what}, {who}: {part}": statistics.median(value(sample) for sample in samples)
        for (what, who), samples in measured.items()
        for part, value in _PARTS.items()
    }


def render(measured: Mapping[tuple[str, str], list[Sample]], rounds: int) -> str:
    """Write the result in Markdown: facts, table, and which aims were reached."""
    lines = [
        f"- {when(rounds, 'of each, in turn')}",
        f"- {machine()}, boto3 {version('boto3')}, awscli {version('awscli')}",
        "",
        "| what | who | commands | requests | wall, median | least to most | host | AWS | waiting | longest |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (what, who), samples in measured.items():
        wall = sorted(sample.seconds for sample in samples)
        cells = [
            _range([sample.commands for sample in samples]),
            _range([sample.requests for sample in samples]),
            f"{statistics.median(wall):.1f} s",
            f"{wall[0]:.1f} to {wall[-1]:.1f} s",
            *(f"{statistics.median(values):.1f} s" for values in _parts(samples)),
            f"{max(wait for sample in samples for wait in sample.waits_s):.1f} s",
        ]
        lines.append(f"| {what} | {who} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"- {line}" for line in aims(measured))]) + "\n"


def aims(measured: Mapping[tuple[str, str], list[Sample]]) -> list[str]:
    """Return a line for each aim, with whether it was reached."""
    audits = measured["audit", "switchproof"]
    ours = {what: samples for (what, who), samples in measured.items() if who == "switchproof"}
    waits = [wait for samples in ours.values() for sample in samples for wait in sample.waits_s]
    most = max(sample.commands for sample in audits)
    lines = [f"an audit costs one command: {_yes(most == 1)} ({most})"]
    for what, samples in ours.items():
        added = max(sum(sample.waits_s) for sample in samples)
        lines.append(
            f"waiting adds less than {WAIT_AIM_S:g} s to one {what}: {_yes(added < WAIT_AIM_S)} ({added:.2f} s)"
        )
    return [*lines, f"and to any one command: {_yes(max(waits) < WAIT_AIM_S)} ({max(waits):.2f} s)"]


def _parts(samples: Sequence[Sample]) -> tuple[list[float], list[float], list[float]]:
    """Return the seconds of the host, of AWS and of waiting."""
    return (
        [sample.host_s for sample in samples],
        [sample.aws_s for sample in samples],
        [sum(sample.waits_s) for sample in samples],
    )


def _range(counts: Sequence[int]) -> str:
    least, most = min(counts), max(counts)
    return str(least) if least == most else f"{least} to {most}"


def _yes(reached: bool) -> str:
    return "yes" if reached else "no"


if __name__ == "__main__":
    sys.exit(main())
