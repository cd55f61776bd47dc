"""Where systems are built, who logs in and how a host is reached: two deploys of each combination."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.kinds import Shape
from switchproof.deploy.providers.lab.lab import Lab
from tests.commits import push
from tests.daemons import nix_daemon
from tests.deploys.parity import outcome
from tests.deploys.sessions import HEALTH, Ended, session, target_file
from tests.labs import own
from tests.logins import COMMAND, PASSWORD, allow, login_user
from tests.runners import Runner, runner_with_nix

Login: TypeAlias = Literal["root", "sudo", "sudo with a password", "forced command"]
Build: TypeAlias = Literal["host", "runner", "builder"]

LOGINS: tuple[Login, ...] = ("root", "sudo", "sudo with a password", "forced command")
BUILDS: tuple[Build, ...] = ("host", "runner", "builder")
BROKEN = "broken/hypervisor-not-starting"
GOOD, BAD = "exit 0, all five passed, converged", "exit 1, hypervisor failed, rolled-back"
"""What has to come of the two deploys of each combination."""

_FORCED = "sudo -n -H -u root -- /bin/sh -c 'echo switchproof-is-root; exec /bin/sh -s'"
_CONFIGURATION = "/etc/nix/nix.conf"


@dataclass(frozen=True)
class Combination:
    """One way to build, to log in and to reach a host.

    Attributes:
        shape: The shape of the host: `ovh` is reached over SSH, `aws` through SSM.
        build: The machine that builds.
        login: The login user's way to root.
    """

    shape: Shape
    build: Build
    login: Login

    def __str__(self) -> str:
        return f"{self.shape} | {self.build} | {self.login}"


COMBINATIONS: tuple[Combination, ...] = (
    *(Combination("ovh", build, login) for build in BUILDS for login in LOGINS),
    *(Combination("aws", build, login) for build in BUILDS[:2] for login in LOGINS[:2]),
)


class Ground:
    """The machines of all combinations, whose hosts have a Nix daemon and require signatures.

    Args:
        folder: Where files of the sessions go.
        over_ssh: A host `a` of the shape `ovh`, and the builder `big`.
        through_ssm: A host `a` of the shape `aws`; None if no combination needs it.
        runner: This machine with nix.
    """

    def __init__(self, folder: Path, over_ssh: Lab, through_ssm: Lab | None, runner: Runner) -> None:
        self._folder, self._over_ssh, self._through_ssm, self._runner = folder, over_ssh, through_ssm, runner
        self._count = 0

    def deploy(self, combination: Combination) -> tuple[str, str]:
        """Deploy a good commit and then a broken one, neither of which anybody has built; tell what came of them."""
        through_ssm = combination.shape == "aws"
        lab = self._through_ssm if through_ssm else self._over_ssh
        assert lab is not None  # made where it is needed
        self._count += 1
        with _logging_in(lab.hosts["a"], combination.login):
            ended = [self._run(lab, combination, parent) for parent in ("main", BROKEN)]
        good, bad = (outcome(each, "a") for each in ended)
        origin = re.search(r"store paths were copied from (the \w+)", " ".join(ended[0].record.host("a").notes))
        assert bool(origin) is (combination.build != "host"), good.output
        assert all((each.on == "runner") is (combination.build == "runner") for each in ended[0].record.builds)
        return f"{good}" + (f"; copied from {origin[1]}" if origin else ""), str(bad)

    def _run(self, lab: Lab, combination: Combination, parent: str) -> Ended:
        folder = self._folder / f"{self._count}-{parent.replace('/', '-')}"
        folder.mkdir()
        health = HEALTH.replace("soak_s = 2.0", "soak_s = 1.0") + "\n[rollback]\nconfirm_s = 600.0\n"
        options = [f"--sha={push(lab, parent, str(combination))}"]
        if combination.shape == "aws":
            targets = target_file(folder, ["a"], health, shape="aws")
            text = targets.read_text(encoding="utf-8")
            text += "" if combination.login == "root" else '\n[ssm]\nuser = "deploy"\n'
            text += _build(lab, combination.build)
            options += ["--provider=lab", "--shape=aws"]
        else:
            targets = target_file(folder, ["a"], health, provider="fleet")
            text = targets.read_text(encoding="utf-8").replace('provider = "fleet"', 'transport = "ssh"')
            text = text.replace("flake_attr", f"{_way(lab.hosts['a'])}flake_attr", 1)
            text += f'\n[ssh]\nidentity_files = ["{lab.identity_file}"]\n{_SSH[combination.login]}'
            text += _build(lab, combination.build)
            options += ["--provider=fleet"]
        targets.write_text(text, encoding="utf-8")
        path = f"{self._runner.folder}/bin:{os.environ['PATH']}"
        environ = {"PATH": path, "OF_DEPLOY": PASSWORD}
        return session(*options, f"--targets={targets}", runs=folder / "runs", lab=lab, environ=environ)


def _build(lab: Lab, build: Build) -> str:
    if build == "host":
        return ""
    if build == "runner":
        return f'\n[build]\non = "runner"\nrepository = "file://{lab.repository}"\n'
    return f'\n[build]\non = "big"\n[[builders]]\nname = "big"\nuser = "deploy"\n{_way(lab.hosts["big"])}'


_SUDO = 'user = "deploy"\nbecome = "sudo"\n'
_SSH: Mapping[Login, str] = {
    "root": "",
    "sudo": _SUDO,
    "sudo with a password": f'{_SUDO}become_password = "env:OF_DEPLOY"\n',
    "forced command": _SUDO,
}


@contextmanager
def ground(folder: Path, combinations: Iterable[Combination]) -> Iterator[Ground]:
    """Make the machines that combinations need."""
    shapes = {combination.shape for combination in combinations}
    with ExitStack() as stack:
        over_ssh = stack.enter_context(Lab.up(("a", "big"), name=own("combined-ssh"), runtime="netns"))
        through_ssm = None
        if "aws" in shapes:
            through_ssm = stack.enter_context(Lab.up(("a",), name=own("combined-ssm"), shape="aws"))
        for lab in filter(None, (over_ssh, through_ssm)):
            for machine in lab.hosts.values():
                with (machine.root / _CONFIGURATION.lstrip("/")).open("a", encoding="utf-8") as file:
                    file.write("\nrequire-sigs = true\n")
                stack.enter_context(nix_daemon(machine))
        stack.enter_context(login_user(big := over_ssh.hosts["big"]))
        # The sample repository is a folder of another user there, as no repository behind a URL is.
        done = big.run(["git", "config", "--system", "safe.directory", "*"], timeout_s=30)
        assert done.returncode == 0, done.stderr
        runner = stack.enter_context(runner_with_nix(over_ssh))
        yield Ground(folder, over_ssh, through_ssm, runner)


@contextmanager
def _logging_in(machine: LabHost, login: Login) -> Iterator[None]:
    """Let a host be logged into in one way alone, for as long as the block lasts."""
    if login == "root":
        yield
        return
    with login_user(machine):
        allow(machine, f"deploy ALL=(root) {'' if 'password' in login else 'NOPASSWD: '}{COMMAND}")
        if login == "forced command":
            options = f'restrict,command="{shlex.quote(_FORCED)[1:-1]}" '
            script = f"sed -i 's|^|{options}|' ~deploy/.ssh/authorized_keys"
            done = machine.run(["sh", "-c", script], timeout_s=30)
            assert done.returncode == 0, done.stderr
        yield


def _way(machine: LabHost) -> str:
    return f'address = "{machine.address}"\nhost_keys = ["{machine.host_key}"]\n'


def told(page: str) -> dict[str, tuple[str, str]]:
    """Read what the rows of a table came to."""
    rows = [[word.strip() for word in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")]
    return {" | ".join(row[:3]): (row[3], row[4]) for row in rows[1:]}


def table(found: Mapping[str, tuple[str, str]]) -> str:
    """Write what came of combinations as a table in Markdown."""
    lines = ["| host | built on | login | a good commit | a commit that fails |", "|---|---|---|---|---|"]
    for combination in COMBINATIONS:
        good, bad = found.get(str(combination), ("not tried", "not tried"))
        lines.append(f"| {combination} | {good} | {bad} |")
    return "\n".join(lines) + "\n"
