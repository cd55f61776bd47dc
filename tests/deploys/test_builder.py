"""Systems that a builder over SSH builds and hosts get through the runner, and each way in which it fails."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from switchproof.deploy.contract import Clause, HostState, Verdict
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from tests.daemons import nix_daemon
from tests.deploys.sessions import Ended, session, target_file
from tests.labs import own
from tests.logins import login_user

pytestmark = [pytest.mark.lab, pytest.mark.long]

LONGEST_S = 60.0
HOLD = "/run/hold"
WRAPPED = "/usr/local/bin"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Two hosts of two configurations, and a machine that builds."""
    with Lab.up(("a", "b", "big"), name=own("builder"), runtime="netns") as lab:
        yield lab


def inside(machine: LabHost, script: str) -> str:
    done = machine.run(["sh", "-c", script], timeout_s=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def systems(lab: Lab) -> list[str]:
    return [inside(lab.hosts[name], "readlink -f /run/current-system") for name in ("a", "b")]


def words(text: str) -> str:
    return " ".join(text.split())


@dataclass(frozen=True)
class Deploys:
    """Deploys of one test to both hosts.

    Attributes:
        lab: The lab.
        folder: Contains the target file and the runs.
    """

    lab: Lab
    folder: Path

    def run(self, *options: str, user: str = "", key_of: str = "big") -> Ended:
        """Deploy with systems from `big`, or with another option `--build`; perhaps as another user there.

        Args:
            options: More options.
            user: The login user there; all machines are reached as any fleet then.
            key_of: The machine whose key is pinned for it.
        """
        targets = target_file(self.folder, ["a", "b"])
        text = targets.read_text(encoding="utf-8").replace('"b"\nflake_attr = "choiros-a"', _B, 1)
        assert _B in text
        text += "\n[ssh]\nkeepalive_s = 1.0\nconnect_timeout_s = 5.0\n"
        builder = '[[builders]]\nname = "big"\n'
        if user:
            text = text.replace('provider = "lab"', 'provider = "fleet"\ntransport = "ssh"')
            text += f'identity_files = ["{self.lab.identity_file}"]\n'
            for name in ("a", "b"):
                text = text.replace(f'[[hosts]]\nname = "{name}"\n', f'[[hosts]]\nname = "{name}"\n{self.way(name)}')
            builder += f'{self.way("big", key_of)}user = "{user}"\n'
        text += f'[build]\non = "big"\nrepository = "{self.lab.repository_url}"\nstall_s = 20.0\n{builder}'
        targets.write_text(text, encoding="utf-8")
        provider = "fleet" if user else "lab"
        return session(
            f"--provider={provider}", f"--targets={targets}", *options, runs=self.folder / "runs", lab=self.lab
        )

    def way(self, name: str, key_of: str = "") -> str:
        """The keys of a machine over SSH."""
        key = self.lab.hosts[key_of or name].host_key
        return f'address = "{self.lab.hosts[name].address}"\nhost_keys = ["{key}"]\n'

    def left(self) -> str:
        """What the builder keeps of runs."""
        return inside(self.lab.hosts["big"], "ls -A ~/.cache/switchproof/builds 2>/dev/null || true")


_B = '"b"\nflake_attr = "choiros-b"'


@pytest.fixture
def deploys(lab: Lab, tmp_path: Path) -> Deploys:
    """Deploys of one test."""
    return Deploys(lab, tmp_path)


@pytest.fixture
def big(lab: Lab) -> Iterator[LabHost]:
    """The builder, which a test may hold up or cut the power of."""
    machine = lab.hosts["big"]
    yield machine
    if not machine.running():
        machine.power_on()
    inside(machine, f"rm -f {HOLD} {WRAPPED}/nix {WRAPPED}/nix-store")


def hold(machine: LabHost, program: str, first: str, held: str) -> None:
    """Make a program of a machine do something else, if this is its first argument, once it has said so in a file."""
    text = (
        f'#!/bin/bash\ncase $* in\n{first}) set -o pipefail; real() {{ /usr/bin/{program} "$@"; }}; {held} ;;\n'
        f'*) exec /usr/bin/{program} "$@" ;;\nesac\n'
    )
    script = f"printf %s {shlex.quote(text)} >{WRAPPED}/{program}; chmod +x {WRAPPED}/{program}"
    inside(machine, script)


def await_hold(machine: LabHost) -> None:
    deadline = time.monotonic() + LONGEST_S
    while machine.run(["test", "-e", HOLD], timeout_s=10).returncode != 0:
        assert time.monotonic() < deadline, "the builder was not held up"
        time.sleep(0.1)


@pytest.fixture
def beside() -> Iterator[Callable[[Callable[[], Ended]], Future[Ended]]]:
    """Run a deploy beside the test."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit


def assert_unchanged(ended: Ended, lab: Lab, were: list[str]) -> None:
    assert [ended.record.host(name).state for name in ("a", "b")] == [HostState.UNCHANGED] * 2
    assert systems(lab) == were


def test_a_builder_builds_each_configuration_once_for_its_hosts(lab: Lab, deploys: Deploys) -> None:
    """Hosts run what it built, the record says who built it, and nothing of the run stays there."""
    ended = deploys.run("--sha=main")
    assert ended.status == 0, ended.output
    record = ended.record
    assert [(build.on, build.toplevel) for build in record.builds] == [("big", system) for system in systems(lab)]
    assert f"root@{lab.hosts['big'].address}:22, with the pinned key ssh-ed25519" in str(record.notes)
    assert "store paths were copied from the builder big" in str(record.host("b").notes)
    assert deploys.left() == ""


def test_a_host_that_builds_for_others_is_copied_nothing(lab: Lab, deploys: Deploys) -> None:
    """It is deployed to as the others are, and has its system already."""
    ended = deploys.run("--sha=v3", "--build=b")
    assert ended.status == 0, ended.output
    assert [build.toplevel for build in ended.record.builds] == systems(lab)
    assert "store paths were copied from the builder b" in str(ended.record.host("a").notes)
    assert "store paths of the system were on the host already" in str(ended.record.host("b").notes)


def test_a_greeting_of_hosts_and_of_the_builder_changes_nothing(lab: Lab, deploys: Deploys) -> None:
    """What root's start-up file prints there is no part of an answer."""
    greeting = "{ echo 'echo hello'; cat /root/.bashrc.kept; } >/root/.bashrc"
    for machine in lab.hosts.values():
        inside(machine, f"cp -a /root/.bashrc /root/.bashrc.kept; {greeting}")
    try:
        ended = deploys.run("--sha=specialised")
    finally:
        for machine in lab.hosts.values():
            inside(machine, "mv /root/.bashrc.kept /root/.bashrc")
    assert ended.status == 0, ended.output
    assert [build.toplevel for build in ended.record.builds] == systems(lab)
    assert "store paths were copied from the builder big" in str(ended.record.host("a").notes)


def test_a_builder_needs_no_root(lab: Lab, deploys: Deploys, big: LabHost) -> None:
    """A user of its Nix daemon builds a commit that only the runner has, and hosts get it."""
    clone = deploys.folder / "clone"
    script = (
        f"git clone -q --branch=systemd-upgrade {lab.repository} clone && cd clone && git checkout -qb mine && "
        "git -c user.name=x -c user.email=x commit -q --allow-empty -m Mine"
    )
    subprocess.run(["sh", "-ec", script], cwd=deploys.folder, check=True)
    with login_user(big), nix_daemon(big):
        ended = deploys.run("--sha=mine", f"--source={clone}", user="deploy")
    assert ended.status == 0, ended.output
    assert [build.toplevel for build in ended.record.builds] == systems(lab)
    assert f"deploy@{big.address}:22" in str(ended.record.notes)


def test_a_machine_in_the_place_of_the_builder_builds_nothing(lab: Lab, deploys: Deploys) -> None:
    """Its host key is not the pinned one, so the run is refused before anything is asked of a host."""
    were = systems(lab)
    ended = deploys.run("--sha=main", user="root", key_of="a")
    assert ended.status == 4, ended.output
    assert "nothing was touched: the key of a host is not the pinned one" in words(ended.output)
    assert "replace the key in builders.host_keys of builder 'big' in the target file" in words(ended.output)
    assert systems(lab) == were


def test_a_system_that_fails_goes_back(lab: Lab, deploys: Deploys) -> None:
    """Each host runs again what it ran."""
    were = systems(lab)
    ended = deploys.run("--sha=broken/hypervisor-not-starting")
    assert ended.status == 1, ended.output
    assert [ended.record.host(name).state for name in ("a", "b")] == [HostState.ROLLED_BACK] * 2
    assert systems(lab) == were


def test_a_build_that_fails_is_a_failed_clause(lab: Lab, deploys: Deploys) -> None:
    """The words of nix are kept, and no host was touched."""
    were = systems(lab)
    ended = deploys.run("--sha=broken/build-failure")
    assert ended.status == 1, ended.output
    assert ended.clause("a", Clause.CONVERGE).verdict is Verdict.FAILED
    assert_unchanged(ended, lab, were)


def test_a_system_for_other_machines_is_one_sentence(lab: Lab, deploys: Deploys) -> None:
    """It names both kinds, and what to do."""
    were, clone = systems(lab), deploys.folder / "clone"
    script = f"git clone -q {lab.repository} clone && sed -i s/x86_64-linux/aarch64-linux/ clone/lib.nix"
    subprocess.run(["sh", "-ec", script], cwd=deploys.folder, env=os.environ, check=True)
    commit = "git -C clone -c user.name=x -c user.email=x commit -qam Foreign && git -C clone rev-parse HEAD"
    sha = subprocess.run(["sh", "-ec", commit], cwd=deploys.folder, check=True, capture_output=True, text=True).stdout
    ended = deploys.run(f"--sha={sha.strip()}", f"--source={clone}")
    assert ended.status == 11, ended.output
    said = "choiros-a is built on aarch64-linux, and the builder big is x86_64-linux; choose a builder of that kind"
    assert said in words(ended.output)
    assert_unchanged(ended, lab, were)


def test_a_builder_that_dies_in_mid_build_was_lost(
    lab: Lab, deploys: Deploys, big: LabHost, beside: Callable[[Callable[[], Ended]], Future[Ended]]
) -> None:
    """That is no failed build, and one sentence says which."""
    were = systems(lab)
    hold(big, "nix", "*' build '*", f"echo building; touch {HOLD}; sleep 600")
    run = beside(lambda: deploys.run("--sha=broken/hypervisor-500"))
    await_hold(big)
    big.kill()
    ended = run.result()
    assert ended.status == 11, ended.output
    said = "nix could not build choiros-a on the builder big, because the builder big was lost; no host was touched"
    assert said in words(ended.output)
    assert_unchanged(ended, lab, were)


def test_a_builder_that_dies_in_mid_copy_was_lost(
    lab: Lab, deploys: Deploys, big: LabHost, beside: Callable[[Callable[[], Ended]], Future[Ended]]
) -> None:
    """What has come is not switched to, and one sentence says why."""
    were = systems(lab)
    hold(big, "nix-store", "--export*", f'real "$@" | {{ head -c 65536; touch {HOLD}; sleep 600; }}')
    run = beside(lambda: deploys.run("--sha=broken/hypervisor-redirect"))
    await_hold(big)
    big.kill()
    ended = run.result()
    assert ended.status == 11, ended.output
    said = "was only partly copied, so nothing was switched, because the builder big was lost"
    assert said in words(ended.output)
    assert_unchanged(ended, lab, were)


def test_a_copy_whose_builder_connection_dies_is_begun_again(
    lab: Lab, deploys: Deploys, big: LabHost, beside: Callable[[Callable[[], Ended]], Future[Ended]]
) -> None:
    """The record has the loss, and each host gets the whole system."""
    once = f'if [ -e {HOLD} ]; then real "$@"; else real "$@" | {{ head -c 65536; touch {HOLD}; sleep 600; }}; fi'
    hold(big, "nix-store", "--export*", once)
    run = beside(lambda: deploys.run("--sha=journald-restart"))
    await_hold(big)
    inside(big, "pkill -KILL -x sshd-session")
    ended = run.result()
    assert ended.status == 0, ended.output
    assert "Sending was interrupted; what is missing is sent again: big: the connection was lost" in words(
        str(ended.record.host("a").notes) + str(ended.record.host("b").notes)
    )
    assert [build.toplevel for build in ended.record.builds] == systems(lab)


def test_a_damaged_path_of_the_builder_is_not_copied(lab: Lab, deploys: Deploys, big: LabHost) -> None:
    """The builder is named, not the host, and no host was switched."""
    were = systems(lab)
    hold(big, "nix-store", "--export*", 'touch "${@: -1}/damaged"; real "$@"')
    ended = deploys.run("--sha=dbus-restart")
    assert ended.status == 11, ended.output
    assert "the builder big's copy of a store path is damaged, so nothing was switched" in words(ended.output)
    assert_unchanged(ended, lab, were)
