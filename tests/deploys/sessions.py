"""Deploy sessions as a user starts them: a process, its exit code, its output and its files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from switchproof.deploy.contract import Clause
from switchproof.deploy.providers.lab.kinds import Shape
from switchproof.deploy.providers.lab.lab import Lab
from switchproof.deploy.record.record import Check, ClauseResult, Record, read_record
from tests.schema import validate

ROOT = Path(__file__).parents[2]
LONGEST_S = 300.0

HEALTH = """
[health]
ready_s = 5.0
answers = 3
interval_s = 0.5
soak_s = 2.0
timeout_s = 2.0
"""
"""Healthy sooner than in production: what the tests break stays broken, however long one waits."""


@dataclass(frozen=True)
class Ended:
    """A session that has ended."""

    status: int
    output: str
    folder: Path

    @property
    def record(self) -> Record:
        """Its record, read back from its file, which is as published."""
        validate((self.folder / "record.json").read_bytes())
        return read_record(self.folder / "record.json")

    def clause(self, host: str, clause: Clause) -> ClauseResult:
        """A clause of a host, on the way forward."""
        return next(result for result in self.record.host(host).clauses if result.id is clause)

    def verdicts(self, host: str) -> str:
        """The five verdicts of a host, on the way forward."""
        return " ".join(str(result.verdict) for result in self.record.host(host).clauses)

    def failed(self, host: str) -> list[Check]:
        """The checks of a host that failed, on the way forward."""
        return [
            check for result in self.record.host(host).clauses for check in result.checks if check.verdict == "failed"
        ]

    def evidence(self, host: str) -> dict[str, str]:
        """The evidence files of a host, by their path below its folder."""
        folder = self.folder / "evidence" / host
        return {
            str(path.relative_to(folder)): path.read_text(encoding="utf-8")
            for path in folder.rglob("*")
            if path.is_file()
        }


def target_file(
    folder: Path, hosts: list[str], health: str = HEALTH, provider: str = "lab", shape: Shape = "ovh"
) -> Path:
    """Write a target file like the lab's own of a shape, with other hosts and limits."""
    name, attr = {"ovh": ("lab", "choiros-a"), "aws": ("lab-aws", "choiros-aws-a")}[shape]
    text = (ROOT / "deploy" / "targets" / f"{name}.toml").read_text(encoding="utf-8")
    tables = "".join(f'[[hosts]]\nname = "{host}"\nflake_attr = "{attr}"\n' for host in hosts)
    text = re.sub(r"(\[\[hosts\]\]\n(?:.+\n)+\n?)+", lambda _: tables + "\n", text, count=1)
    text = text.replace('provider = "lab"', f'provider = "{provider}"') + health
    tomllib.loads(text)
    path = folder / f"{provider}-{shape}-{'-'.join(hosts)}-{abs(hash(health)) % 10_000}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def session(*arguments: str, runs: Path, lab: Lab | None = None, environ: dict[str, str] | None = None) -> Ended:
    """Run pytest as a user does and wait for its end.

    Args:
        arguments: The command line after `pytest`.
        runs: The folder that the run's folder is made in; of this session alone.
        lab: The lab that `--provider=lab` uses.
        environ: Variables beside this process's own.
    """
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, f"--report-dir={runs}"],
        cwd=ROOT,
        env=os.environ | ({"SWITCHPROOF_LAB": lab.name} if lab else {}) | (environ or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    folders = sorted(runs.glob("2*")) if runs.exists() else []
    return Ended(done.returncode, done.stdout, folders[-1] if folders else runs)
