"""Runs the host's script and other commands on a lab host, without a connection of the product."""

from __future__ import annotations

import secrets
import shlex
import time
from collections.abc import Callable
from pathlib import Path

from switchproof.deploy.host.by_hand import by_hand as by_hand_of
from switchproof.deploy.host.by_hand import defaults
from switchproof.deploy.host.frame import Frame, parse
from switchproof.deploy.host.program import question
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.settings import TARGETS
from switchproof.deploy.target.loading import load_contract
from switchproof.deploy.target.types import Contract

REPOSITORY = "file:///srv/sample.git"
CHECKOUT = "/opt/choiros/workspace"
QUICK = {"READY_S": "3", "ANSWERS": "2", "INTERVAL_S": "0.3", "SOAK_S": "0.5", "ANSWER_TIMEOUT_S": "2"}
SOON_S = 120.0


def inside(machine: LabHost, script: str, *, timeout_s: float = 30.0) -> str:
    """Run a shell text in the host; it must succeed."""
    done = machine.run(["bash", "-c", script], timeout_s=timeout_s)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def write(machine: LabHost, path: str, text: str) -> None:
    """Write a file in the host, executable."""
    script = f"mkdir -p {Path(path).parent} && cat >{path} && chmod 755 {path}"
    assert machine.run(["sh", "-c", script], timeout_s=10, input=text).returncode == 0


def contract_of(machine: LabHost) -> Contract:
    """What healthy means on the host, by the lab's own target file for its shape."""
    return load_contract(TARGETS / ("lab-aws.toml" if machine.shape == "aws" else "lab.toml"), {})


def values_of(machine: LabHost) -> dict[str, str]:
    """What is probed on the host and what is installed there, as a session says it."""
    values = defaults(contract_of(machine))
    return {name: values[name] for name in ("SWITCHPROOF_ENDPOINTS", "SWITCHPROOF_BRIDGE")}


def ask(machine: LabHost, verb: str, **values: str) -> Frame:
    """Ask the host one verb, with the values of a run of its own unless others are given."""
    nonce = secrets.token_hex(8)
    given = {
        **values_of(machine),
        "WORKDIR": CHECKOUT,
        "REPO_URL": REPOSITORY,
        "FLAKE_ATTR": "choiros-a",
        "SWITCHPROOF_RUN": nonce,
        **values,
    }
    text = question(verb, nonce, given).text().decode()
    done = machine.run(["sh", "-s"], timeout_s=60, input=text)
    return parse((done.stdout + done.stderr).encode(), nonce=nonce, verb=verb)


def by_hand(machine: LabHost, verb: str, **values: str) -> tuple[int, str]:
    """Run the script as a person on the host does; return its exit status and what it printed."""
    write(machine, "/root/host-switch.sh", by_hand_of(contract_of(machine)))
    given = {"REPO_URL": REPOSITORY, "FLAKE_ATTR": "choiros-a", **QUICK, **values}
    command = [*(f"{name}={value}" for name, value in given.items()), "/root/host-switch.sh", verb]
    done = machine.run(["sh", "-c", f"cd / && env {shlex.join(command)} 2>&1"], timeout_s=90)
    return done.returncode, done.stdout


def commit(machine: LabHost, revision: str, repository: str = "/srv/sample.git") -> str:
    """The commit that git says a revision is."""
    return inside(machine, f"git --git-dir={repository} rev-parse --verify {shlex.quote(revision)}^{{commit}}")


def runs(machine: LabHost) -> str:
    """The commit that the running system says it was built from."""
    return inside(machine, "nixos-version --configuration-revision")


def finish(machine: LabHost, run: str, job: str = "converge") -> Frame:
    """Wait for the end of a job; return its last status."""
    deadline = time.monotonic() + SOON_S
    while True:
        frame = ask(machine, "status", SWITCHPROOF_RUN=run, SWITCHPROOF_JOB=job, SWITCHPROOF_WAIT_S="1")
        if frame.text("state") != "running":
            return frame
        assert time.monotonic() < deadline, frame.sections


def wait_for(condition: Callable[[], bool], what: str, *, within_s: float = SOON_S) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(0.1)


REBOOT = "systemctl --no-block start reboot.target"
"""An orderly reboot, asked of systemd alone: `systemctl reboot` waits for logind, which may be slow to start."""

EDITED = "/root/edited.git"
"""A copy of the sample repository that tests add branches to."""


def add_branch(machine: LabHost, name: str, edits: str, parent: str = "main") -> str:
    """Add a branch to `EDITED`: a shell text edits the parent's files. Return its commit."""
    script = f"""
      set -e; rm -rf /root/edit; [ -e {EDITED} ] || cp -r /srv/sample.git {EDITED}
      git clone --quiet file://{EDITED} /root/edit; cd /root/edit
      git checkout --quiet --detach origin/{parent} 2>/dev/null || git checkout --quiet --detach {parent}
      {edits}
      git add -A
      git -c user.name=Ada -c user.email=ada@example.com commit --quiet -m {shlex.quote(name)}
      git push --quiet --force origin HEAD:refs/heads/{name}
      git rev-parse HEAD
    """
    return inside(machine, script).splitlines()[-1]


def hold(machine: LabHost, run: str, lease_s: int = 900) -> None:
    """Claim the host for a run."""
    values = {"SWITCHPROOF_RUN": run, "SWITCHPROOF_OWNER": "Ada on build-7", "SWITCHPROOF_LEASE_S": str(lease_s)}
    assert ask(machine, "resolve", RELEASE_SHA="main", SWITCHPROOF_CLAIM="1", **values).text("outcome") == "ok"


def claim(machine: LabHost, run: str, **values: str) -> dict[str, bytes]:
    """Try to claim the host for a run; return all that it said."""
    return ask(machine, "resolve", RELEASE_SHA="main", SWITCHPROOF_CLAIM="1", SWITCHPROOF_RUN=run, **values).sections
