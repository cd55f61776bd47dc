"""Systems that the runner builds and copies to real hosts, and each way in which a copy ends without a switch."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from switchproof.deploy.contract import Clause, HostState, Verdict
from switchproof.deploy.providers.lab.lab import Lab
from tests.commits import push
from tests.deploys.sessions import Ended, session, target_file
from tests.labs import own
from tests.runners import HALF, Runner, runner_with_nix

pytestmark = [pytest.mark.lab, pytest.mark.long]

LONGEST_S = 60.0
CONFIGURATION = "etc/nix/nix.conf"
SYSTEM = "nixosConfigurations.choiros-a.config.system.build.toplevel"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Two hosts of two configurations."""
    with Lab.up(("a", "b"), name=own("runner"), runtime="netns") as lab:
        yield lab


@pytest.fixture(scope="module")
def nix(lab: Lab) -> Iterator[Runner]:
    """Programs that run the image's nix here."""
    with runner_with_nix(lab) as runner:
        yield runner


@pytest.fixture
def runner(nix: Runner) -> Runner:
    """The runner, whose exports are whole."""
    nix.exports()
    nix.go.unlink(missing_ok=True)
    return nix


@dataclass(frozen=True)
class Deploys:
    """Deploys of the sample with a system from the runner."""

    lab: Lab
    runner: Runner
    folder: Path

    def run(
        self,
        revision: str,
        *options: str,
        stall_s: float = 3 * LONGEST_S,  # a copy that a test holds back is not given up before the test has seen it
        substituter: str = "",
        specialisation: str = "",
        reserve_mib: int = 0,
        file: str = "",
    ) -> Ended:
        """Deploy to both hosts, and wait for the end."""
        targets = target_file(self.folder, ["a", "b"])
        hosts = targets.read_text(encoding="utf-8").replace('"b"\nflake_attr = "choiros-a"', _B, 1)
        assert _B in hosts
        if file:
            hosts = re.sub(r'flake_attr = "choiros-(.)"', r'attr = "hosts.\1"', hosts)
            hosts = hosts.replace("[repository]\n", f'[repository]\nfile = "{file}"\n', 1)
        if specialisation:
            hosts = hosts.replace("[[hosts]]\n", f'[[hosts]]\nspecialisation = "{specialisation}"\n')
        build = f'[build]\non = "runner"\nrepository = "{self.runner.repository}"\nstall_s = {stall_s}\n'
        build += f'substituter = "{substituter}"\n' if substituter else ""
        build += f"[preflight]\nstore_mib = {reserve_mib}\n" if reserve_mib else ""
        targets.write_text(hosts + build, encoding="utf-8")
        path = f"{self.runner.folder}/bin:{os.environ['PATH']}"
        asked = ("--provider=lab", f"--targets={targets}", f"--sha={revision}", *options)
        return session(*asked, runs=self.folder / "runs", lab=self.lab, environ={"PATH": path})


_B = '"b"\nflake_attr = "choiros-b"'


@pytest.fixture
def deploys(lab: Lab, runner: Runner, tmp_path: Path) -> Deploys:
    """Deploys of one test."""
    return Deploys(lab, runner, tmp_path)


@pytest.fixture
def cache(lab: Lab, runner: Runner, tmp_path: Path) -> Iterator[Callable[[str, str], None]]:
    """Give both hosts a binary cache with the system of host `a` at a revision, signed by a key of some name.

    They trust the key `trusted`.
    """
    environ = {**os.environ, "PATH": f"{runner.folder}/bin:{os.environ['PATH']}"}
    kept = {name: (host.root / CONFIGURATION).read_text(encoding="utf-8") for name, host in lab.hosts.items()}

    def fill(key: str, revision: str) -> None:
        for command in (
            f"git clone --quiet --branch={revision} {lab.repository} {tmp_path}/source",
            f"nix-store --generate-binary-cache-key {key} {tmp_path}/secret {tmp_path}/public",
            f"nix copy --to file://{tmp_path}/cache?compression=none&secret-key={tmp_path}/secret git+file://{tmp_path}/source#{SYSTEM}",
        ):
            subprocess.run(command.split(), env=environ, check=True, timeout=3 * LONGEST_S)
        public = (tmp_path / "public").read_text(encoding="utf-8")
        for name, host in lab.hosts.items():
            shutil.copytree(tmp_path / "cache", host.root / "srv/cache")
            trusting = f"{kept[name]}\ntrusted-public-keys = {public}\n" if key == "trusted" else kept[name]
            (host.root / CONFIGURATION).write_text(trusting, encoding="utf-8")

    yield fill
    for name, host in lab.hosts.items():
        (host.root / CONFIGURATION).write_text(kept[name], encoding="utf-8")
        shutil.rmtree(host.root / "srv/cache", ignore_errors=True)


@pytest.fixture
def beside() -> Iterator[Callable[[Callable[[], Ended]], Future[Ended]]]:
    """Run a deploy beside the test."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit


def inside(lab: Lab, script: str, host: str = "a") -> str:
    return lab.hosts[host].run(["sh", "-c", script], timeout_s=30).stdout.strip()


def systems(lab: Lab) -> list[str]:
    return [inside(lab, "readlink -f /run/current-system", host) for host in lab.hosts]


def await_import(lab: Lab) -> str:
    """Wait until a host imports, and return the process."""
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        if found := inside(lab, "pgrep -xf 'nix-store --import' || true"):
            return found.split()[0]
        time.sleep(0.1)
    raise AssertionError(f"no host began to import; it runs\n{inside(lab, 'ps -eo pid,args')}")


def words(text: str) -> str:
    return " ".join(text.split())


def unchanged(ended: Ended) -> bool:
    return all(ended.record.host(name).state is HostState.UNCHANGED for name in ("a", "b"))


def test_each_configuration_is_built_once_and_proven_on_its_host(lab: Lab, deploys: Deploys) -> None:
    """Hosts of two configurations run what the runner built for them, and got only what they lacked."""
    ended = deploys.run("main")
    assert ended.status == 0, ended.output
    assert [build.toplevel for build in ended.record.builds] == systems(lab)
    assert "store paths were copied from the runner" in str(ended.record.host("b").notes)


def test_an_audit_compares_with_a_new_evaluation(lab: Lab, deploys: Deploys) -> None:
    """Hosts run what the commit evaluates to, store path for store path, and not what another one evaluates to."""
    ended = deploys.run("main")
    assert ended.status == 0, ended.output
    same = deploys.run("main", "--audit", "--build=runner")
    assert same.status == 0, same.output
    other = deploys.run("v3", "--audit", "--build=runner")
    assert other.status == 1, other.output
    for name, running in zip(lab.hosts, systems(lab), strict=True):
        compared = [check for check in same.clause(name, Clause.CONVERGE).checks if "evaluates" in check.id]
        assert [(check.expected, check.seen) for check in compared] == [(running, running)]
        assert "converge/the-running-system-is-what-the-commit-evaluates-to" in {c.id for c in other.failed(name)}


def test_a_plan_builds_on_the_runner_as_the_deploy_would(lab: Lab, deploys: Deploys) -> None:
    """It says what there is to build there and to bring to each host, whose system stays as it is."""
    before = systems(lab)
    ended = deploys.run("broken/live-degraded", "--plan")
    assert ended.status == 0, ended.output
    assert systems(lab) == before
    for name, build in zip(lab.hosts, ended.record.builds, strict=True):
        (check,) = ended.clause(name, Clause.CONVERGE).checks
        assert check.expected == build.toplevel
        assert "would restart the following units" in check.seen or "would stop the following units" in check.seen
        assert re.search(r"(?m)^[1-9]\d* derivations to build on the runner: .*nixos-system-", check.seen)
        assert re.search(r"(?m)^nothing to fetch there$", check.seen)
        (lacked,) = re.findall(r"(?m)^(\d+) store paths to bring to the host \(\d+\.\d MiB unpacked\)$", check.seen)
        assert re.search(
            rf"\b{lacked} of \d+ store paths were copied from the runner", str(ended.record.host(name).notes)
        )
    again = deploys.run("broken/live-degraded", "--plan")
    for name in lab.hosts:
        (check,) = again.clause(name, Clause.CONVERGE).checks
        assert "nothing to build on the runner\nnothing to fetch there\nnothing to bring to the host\n" in check.seen


@pytest.mark.parametrize(
    ("key", "revision", "says"),
    [
        ("trusted", "systemd-upgrade", r"\b([1-9]\d*) of \1 missing store paths came from file:///srv/cache"),
        ("other", "dbus-restart", r"\b0 of [1-9]\d* missing store paths came .*not signed by any of the keys"),
    ],
)
def test_a_host_takes_from_a_cache_what_it_trusts(
    lab: Lab, deploys: Deploys, cache: Callable[[str, str], None], *, key: str, revision: str, says: str
) -> None:
    """What was signed by a key that it trusts comes from there, and everything else from the runner."""
    cache(key, revision)
    ended = deploys.run(revision, substituter="file:///srv/cache")
    assert ended.status == 0, ended.output
    notes = " ".join(ended.record.host("a").notes)
    assert re.search(says, notes), notes
    assert ("were copied from the runner" in notes) is (key == "other")
    assert "were copied from the runner" in str(ended.record.host("b").notes)
    assert [build.toplevel for build in ended.record.builds] == systems(lab)


def test_a_system_that_fails_goes_back(lab: Lab, deploys: Deploys) -> None:
    """Each host runs again what it ran, although it never built that."""
    were = systems(lab)
    ended = deploys.run("broken/hypervisor-not-starting")
    assert ended.status == 1, ended.output
    assert [ended.record.host(name).state for name in ("a", "b")] == [HostState.ROLLED_BACK] * 2
    assert systems(lab) == were


def test_a_specialisation_of_what_the_runner_built_runs(lab: Lab, deploys: Deploys) -> None:
    """nixos-rebuild takes its name beside the store path; the profile is what was built."""
    ended = deploys.run("specialised", specialisation="maintenance")
    assert ended.status == 0, ended.output
    built = [build.toplevel for build in ended.record.builds]
    special = "/nix/var/nix/profiles/system/specialisation/maintenance"
    for host, toplevel in zip(("a", "b"), built, strict=True):
        assert inside(lab, f"readlink -f /nix/var/nix/profiles/system; readlink -f {special}", host).split() == [
            toplevel,
            inside(lab, "readlink -f /run/current-system", host),
        ]
    assert deploys.run("main").status == 0


def test_the_runner_builds_from_a_file_of_the_commit(lab: Lab, deploys: Deploys) -> None:
    """Each attribute is a configuration of its own, built without the flake beside it."""
    ended = deploys.run("from-file", file="default.nix")
    assert ended.status == 0, ended.output
    assert [build.configuration for build in ended.record.builds] == ["hosts.a", "hosts.b"]
    assert [build.toplevel for build in ended.record.builds] == systems(lab)
    assert inside(lab, "cat /run/current-system/configuration-revision") == "none"
    assert deploys.run("main").status == 0


def test_a_build_that_fails_is_a_failed_clause(lab: Lab, deploys: Deploys) -> None:
    """The words of nix are kept, and no host was touched."""
    were = systems(lab)
    ended = deploys.run("broken/build-failure")
    assert ended.status == 1, ended.output
    assert ended.clause("a", Clause.CONVERGE).verdict is Verdict.FAILED
    assert unchanged(ended)
    assert systems(lab) == were


def test_a_copy_whose_connection_dies_is_begun_again(
    lab: Lab, deploys: Deploys, beside: Callable[[Callable[[], Ended]], Future[Ended]]
) -> None:
    """The record has the loss, and the host gets the whole system."""
    deploys.runner.exports(deploys.runner.waiting())
    run = beside(lambda: deploys.run("v3"))
    parent = "$(awk '/^PPid/ {print $2}' /proc/$p/status)"
    walk = f'until [ "$(cat /proc/$p/comm)" = sshd-session ]; do p={parent}; [ "$p" -gt 1 ] || exit 1; done'
    inside(lab, f"p={await_import(lab)}; {walk}; kill -KILL $p")
    deploys.runner.go.touch()
    ended = run.result()
    assert ended.status == 0, ended.output
    assert "Sending was interrupted; what is missing is sent again" in str(ended.record.host("a").notes)


def test_an_import_that_is_killed_leaves_the_host_as_it_was(
    lab: Lab, deploys: Deploys, beside: Callable[[Callable[[], Ended]], Future[Ended]]
) -> None:
    """The sentence says that nothing was switched; the other host waits for nobody, and is not switched either."""
    were = systems(lab)
    deploys.runner.exports(deploys.runner.waiting())
    run = beside(lambda: deploys.run("broken/hypervisor-500"))
    inside(lab, f"kill -KILL {await_import(lab)}")
    deploys.runner.go.touch()
    ended = run.result()
    assert ended.status == 11, ended.output
    assert "the system was only partly copied, so nothing was switched" in words(ended.output)
    assert unchanged(ended)
    assert systems(lab) == were


def test_a_copy_that_stands_still_ends(lab: Lab, deploys: Deploys) -> None:
    """After three tries it is one sentence, and no host was switched."""
    were = systems(lab)
    deploys.runner.exports(f'real "$@" | {{ {HALF}; exec sleep 5; }}')
    ended = deploys.run("broken/hypervisor-redirect", stall_s=1.0)
    assert ended.status == 11, ended.output
    assert "was only partly copied, so nothing was switched" in words(ended.output)
    assert unchanged(ended)
    assert systems(lab) == were


def test_a_damaged_path_of_the_runner_is_not_copied(lab: Lab, deploys: Deploys) -> None:
    """The runner is named, not the host, and no host was switched."""
    were = systems(lab)
    damage = f'touch "{deploys.runner.folder}${{@: -1}}/damaged"'
    deploys.runner.exports(f'{damage}; real "$@"')
    ended = deploys.run("journald-restart")
    assert ended.status == 11, ended.output
    assert "the runner's copy of a store path is damaged, so nothing was switched" in words(ended.output)
    assert unchanged(ended)
    assert systems(lab) == were


def assert_full(printed: str) -> None:
    assert printed.rsplit(maxsplit=1)[-1] == "0"


@pytest.fixture
def small_store(lab: Lab) -> Iterator[Callable[[], None]]:
    """Give host `a` a /nix that has room for a system, and fill what is left of it when that is asked for."""
    size = "$(($(du -sm /nix | cut -f1) + 96))m"
    make = f"set -e; mkdir /small; mount -t tmpfs -o size={size} small /small; cp -a /nix/. /small"
    inside(lab, f"{make}; mount --bind /small /nix")
    assert inside(lab, "stat -f -c %T /nix/store") == "tmpfs"
    yield lambda: assert_full(inside(lab, "cat /dev/zero >/nix/filler 2>/dev/null; df --output=avail /nix/store"))
    inside(lab, "umount -l /nix; umount -l /small; rmdir /small")


@pytest.mark.parametrize("tree", ["main", "refs/heads/both"], ids=["for the root", "for the system"])
def test_a_store_that_fills_during_the_copy_is_one_sentence(
    lab: Lab,
    deploys: Deploys,
    small_store: Callable[[], None],
    beside: Callable[[Callable[[], Ended]], Future[Ended]],
    *,
    tree: str,
) -> None:
    """There was room when the copy began; what is free now is told, and both hosts stay what they were."""
    were = systems(lab)
    deploys.runner.exports(deploys.runner.waiting())
    run = beside(lambda: deploys.run(push(lab, tree, "Full"), reserve_mib=1))
    await_import(lab)
    small_store()
    deploys.runner.go.touch()
    ended = run.result()
    assert ended.status == 11, ended.output
    assert "/nix/store on the host became full during the copy, and has 0 MiB now; nothing was switched" in words(
        ended.output
    )
    assert unchanged(ended)
    assert systems(lab) == were


def roots(lab: Lab) -> set[str]:
    return set(inside(lab, "ls -d /var/lib/switchproof/runs/*/built 2>/dev/null || true").split())


def await_copy(lab: Lab, before: set[str]) -> str:
    """Wait until host `a` has its whole system under a root, and return the root."""
    deadline = time.monotonic() + LONGEST_S
    while not (new := roots(lab) - before):
        assert time.monotonic() < deadline, "the host did not get its system"
        time.sleep(0.1)
    return new.pop()


@pytest.fixture
def for_b_alone(runner: Runner) -> None:
    """Let only the export for host `b` stand still, so that `a` has its system and waits."""
    runner.exports(f'case $* in *choiros-b*) {runner.waiting()} ;; *) real "$@" ;; esac')


@pytest.mark.usefixtures("for_b_alone")
def test_what_was_copied_outlives_the_garbage_collector(
    lab: Lab, deploys: Deploys, beside: Callable[[Callable[[], Ended]], Future[Ended]]
) -> None:
    """A host that waits for others keeps its system for the switch."""
    were, sha = roots(lab), push(lab, "main", "Kept")
    run = beside(lambda: deploys.run(sha))
    root = await_copy(lab, were)
    inside(lab, "nix-collect-garbage --quiet")
    assert inside(lab, f"readlink -e {root}")
    deploys.runner.go.touch()
    ended = run.result()
    assert ended.status == 0, ended.output
    assert [build.toplevel for build in ended.record.builds] == systems(lab)


@pytest.mark.usefixtures("for_b_alone")
def test_a_system_that_is_gone_before_the_switch_is_not_switched_to(
    lab: Lab, deploys: Deploys, beside: Callable[[Callable[[], Ended]], Future[Ended]]
) -> None:
    """The host looks for it again at the switch; one sentence names it, and the host stays what it was."""
    were, sha = roots(lab), push(lab, "main", "Gone")
    was = systems(lab)[0]
    run = beside(lambda: deploys.run(sha))
    root = await_copy(lab, were)
    system = inside(lab, f"readlink {root}")
    inside(lab, f"rm {root}; nix-collect-garbage --quiet; test ! -e {system}")
    deploys.runner.go.touch()
    ended = run.result()
    assert ended.status == 1, ended.output
    assert ended.record.host("a").state is HostState.UNCHANGED
    assert f"error: {system} is missing on this host" in words(ended.output)
    assert systems(lab)[0] == was
