"""The lab's nixos-rebuild and switch-to-configuration keep the real ones' order, words, lock and exit codes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from switchproof.deploy.providers.lab import real
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from switchproof.deploy.providers.lab.sample import REVISIONS, Revision
from switchproof.deploy.providers.lab.trial.witness import LIMITS, Host

pytestmark = [pytest.mark.lab, pytest.mark.long]

PROFILE = "/nix/var/nix/profiles/system"
CURRENT = "/run/current-system"
BOOT_LOADER = "/usr/local/lib/switchproof-lab/boot-loader"
UNIT = "nixos-rebuild-switch-to-configuration"
ENDPOINTS = ("http://127.0.0.1:9090/login", "http://127.0.0.1:8080/health", "http://127.0.0.1:8081/health")
SERVED_AMISS = [
    revision
    for revision in REVISIONS
    if revision.clause in {"hypervisor", "runtime"}
    and revision.name not in {"broken/hypervisor-not-starting", "broken/check-on-the-way-back"}
]


def broken(slug: str) -> Revision:
    return next(revision for revision in REVISIONS if revision.name == f"broken/{slug}")


@dataclass(frozen=True)
class Result:
    code: int
    output: str


@dataclass(frozen=True)
class Pointers:
    """What a host would roll back to, what it runs, and what it would boot: store paths."""

    profile: str
    current: str
    boot: str


class Machine:
    """One lab host, driven the way an operator's shell would."""

    def __init__(self, host: LabHost, programs: Path) -> None:
        self.host = host
        self.programs = programs

    def sh(self, script: str, timeout_s: float = 60) -> Result:
        """Run a script; standard error is part of the output."""
        done = self.host.run(["bash", "-c", f"exec 2>&1; cd /; {script}"], timeout_s=timeout_s)
        return Result(done.returncode, done.stdout)

    def value(self, script: str) -> str:
        result = self.sh(script)
        assert result.code == 0, result.output
        return result.output.strip()

    def rebuild(self, action: str, ref: str) -> Result:
        reference = f"git+file:///srv/sample.git?rev=$(git -C /srv/sample.git rev-parse '{ref}^{{commit}}')"
        return self.sh(f'nixos-rebuild {action} --flake "{reference}#choiros-a"')

    def put_on(self, ref: str) -> None:
        """Bring the host to a good revision, at once when it is there already."""
        sha = self.value(f"git -C /srv/sample.git rev-parse '{ref}^{{commit}}'")
        pointers = self.pointers()
        if {pointers.current} == {pointers.profile, pointers.boot} and sha == self.value(
            f"cat {CURRENT}/configuration-revision"
        ):
            return
        result = self.rebuild("switch", ref)
        assert result.code == 0, result.output

    def pointers(self) -> Pointers:
        return Pointers(*self.value(f"readlink -e {PROFILE} {CURRENT}; {BOOT_LOADER}").splitlines())

    def main_pid(self, unit: str) -> int:
        return int(self.value(f"systemctl show -P MainPID {unit}"))

    def served(self) -> str:
        return self.sh("; ".join(f"curl -s -i -m 2 {endpoint}; echo" for endpoint in ENDPOINTS)).output

    def versions(self) -> list[str]:
        page, *healths = [self.value(f"curl -s -f -m 2 {endpoint}") for endpoint in ENDPOINTS]
        return [page.split(" runs ")[1].split(".</p>")[0], *(json.loads(health)["version"] for health in healths)]


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with Lab.up(("a",), name="test-system", runtime="netns") as lab:
        yield Machine(lab.hosts["a"], lab.folder / real.FOLDER)


def test_a_new_host_runs_the_seeded_system_as_generation_1(machine: Machine) -> None:
    """Before any deploy v1 is generation 1, runs, is served and is the boot default."""
    pointers = machine.pointers()
    assert machine.value(f"readlink {PROFILE}") == "system-1-link"
    assert pointers.profile == pointers.current == pointers.boot
    assert machine.versions() == ["v1", "v1", "v1"]


def test_a_switch_changes_what_is_served(machine: Machine) -> None:
    """After a switch profile, running system and boot default are the new system, and its programs answer."""
    machine.put_on("v1")
    result = machine.rebuild("switch", "main")
    pointers = machine.pointers()
    assert result.code == 0
    assert result.output.splitlines()[-1] == f"Done. The new configuration is {pointers.current}"
    assert pointers.profile == pointers.current == pointers.boot
    assert machine.versions() == ["v2", "v2", "v2"]
    assert machine.value("nixos-version --configuration-revision") == machine.value(
        "git -C /srv/sample.git rev-parse main"
    )


@pytest.mark.parametrize(
    "unit", ["hypervisor", "cloud-hypervisor@live", "cloud-hypervisor@dev", "socat-sandbox@live"]
)
def test_units_run_from_the_current_system(machine: Machine, unit: str) -> None:
    """A unit's definition and its process's executable belong to the closure of the current system."""
    machine.put_on("main")
    closure = machine.value(f"nix-store --query --requisites {CURRENT}").splitlines()
    paths = machine.value(
        f"readlink -e /proc/{machine.main_pid(unit)}/exe $(systemctl show -P FragmentPath {unit}) "
        f"$(systemctl show -P DropInPaths {unit})"
    ).splitlines()
    assert len(paths) >= 2
    assert {"/".join(path.split("/")[:4]) for path in paths} <= set(closure)


def test_a_switch_to_the_same_system_restarts_nothing(machine: Machine) -> None:
    """Deploying what already runs keeps the generation and every process."""
    machine.put_on("main")
    before = machine.main_pid("hypervisor"), machine.value(f"readlink {PROFILE}")
    assert machine.rebuild("switch", "main").code == 0
    assert (machine.main_pid("hypervisor"), machine.value(f"readlink {PROFILE}")) == before


def test_dry_activate_tells_and_changes_nothing(machine: Machine) -> None:
    """dry-activate names the units that a switch would stop and start, and leaves all as it was."""
    machine.put_on("main")
    before = machine.pointers(), machine.main_pid("hypervisor")
    result = machine.rebuild("dry-activate", "v3")
    assert result.code == 0
    assert (
        "would stop the following units: cloud-hypervisor@dev.service, cloud-hypervisor@live.service, "
        in result.output
    )
    assert (machine.pointers(), machine.main_pid("hypervisor")) == before


def test_test_leaves_profile_and_boot_default(machine: Machine) -> None:
    """The action test activates a system that the next boot forgets."""
    machine.put_on("main")
    before = machine.pointers()
    assert machine.rebuild("test", "v3").code == 0
    after = machine.pointers()
    assert (after.profile, after.boot) == (before.profile, before.boot)
    assert after.current != before.current
    assert machine.versions() == ["v3", "v3", "v3"]


@pytest.mark.parametrize("slug", ["evaluation-error", "build-failure"])
def test_what_does_not_build_leaves_the_profile(machine: Machine, slug: str) -> None:
    """An evaluation or build that fails exits 1 before the profile moves."""
    machine.put_on("main")
    before = machine.pointers()
    result = machine.rebuild("switch", f"broken/{slug}")
    assert result.code == 1
    assert broken(slug).says in result.output
    assert machine.pointers() == before


def test_the_profile_moves_before_a_refusal(machine: Machine) -> None:
    """A pre-switch check that says no exits 1 too, but the profile has moved; the boot default has not."""
    machine.put_on("main")
    before = machine.pointers()
    result = machine.rebuild("switch", "broken/pre-switch-check")
    after = machine.pointers()
    assert result.code == 1
    assert broken("pre-switch-check").says in result.output
    assert after.profile != before.profile
    assert (after.current, after.boot) == (before.current, before.boot)


def test_a_failing_activation_exits_2_with_everything_moved(machine: Machine) -> None:
    """A failing activation script exits 2, after profile, boot default and running system have moved."""
    machine.put_on("v3")
    before = machine.pointers()
    result = machine.rebuild("switch", "broken/activation-failure")
    after = machine.pointers()
    assert result.code == 2
    assert broken("activation-failure").says in result.output
    assert "Failed to run activate script" in result.output
    assert before.profile != after.profile == after.current == after.boot
    assert machine.versions() == ["v2", "v2", "v2"]


def test_an_incompatible_init_exits_100_and_waits_for_a_reboot(machine: Machine) -> None:
    """Profile and boot default move; the running system does not."""
    machine.put_on("main")
    before = machine.pointers()
    result = machine.rebuild("switch", "broken/incompatible-init")
    after = machine.pointers()
    assert result.code == 100
    assert broken("incompatible-init").says in result.output
    assert after.current == before.current
    assert before.boot != after.boot == after.profile


@pytest.mark.parametrize("slug", ["new-unit-failing", "hypervisor-not-starting"])
def test_a_unit_that_fails_exits_4(machine: Machine, slug: str) -> None:
    """A unit that failed, or is restarted after failing, makes the switch exit 4 and is named."""
    machine.put_on("main")
    result = machine.rebuild("switch", f"broken/{slug}")
    assert result.code == 4
    assert "warning: the following units failed: " in result.output
    assert broken(slug).says in result.output + machine.value("journalctl -b --no-pager -n 60")


def test_an_old_failure_is_forgotten(machine: Machine) -> None:
    """A unit that failed before the switch and is not started again does not count: the switch resets it."""
    machine.put_on("main")
    machine.sh("systemd-run --unit=old-failure --service-type=oneshot false")
    assert machine.sh("systemctl is-failed old-failure").output == "failed\n"
    machine.put_on("v3")
    assert machine.sh("systemctl is-failed old-failure").output == "inactive\n"


def test_a_unit_left_alone_keeps_its_process(machine: Machine) -> None:
    """With X-RestartIfChanged=false the switch exits 0 and says so, and the old process goes on serving."""
    machine.put_on("main")
    before = machine.main_pid("hypervisor")
    result = machine.rebuild("switch", "broken/stale-process")
    assert result.code == 0
    assert broken("stale-process").says in result.output
    assert machine.main_pid("hypervisor") == before
    assert machine.versions() == ["v2", "v2-stale", "v2-stale"]


def test_a_second_switch_finds_the_lock_held(machine: Machine) -> None:
    """While the lock is held a switch exits 11 and activates nothing, though the profile has moved."""
    machine.put_on("main")
    before = machine.pointers()
    machine.sh("systemd-run --unit=holder flock /run/nixos/switch-to-configuration.lock sleep 60; sleep 0.1")
    result = machine.rebuild("switch", "v3")
    machine.sh("systemctl stop holder")
    after = machine.pointers()
    assert result.code == 11
    assert "Could not acquire lock" in result.output
    assert (after.current, after.boot) == (before.current, before.boot)
    assert after.profile != before.profile


def test_a_taken_unit_name_exits_1(machine: Machine) -> None:
    """A leftover unit of nixos-rebuild's name stops the switch after the profile has moved."""
    machine.put_on("main")
    before = machine.pointers()
    machine.sh(f"systemd-run --unit={UNIT} sleep 60")
    result = machine.rebuild("switch", "v3")
    machine.sh(f"systemctl stop {UNIT}")
    assert result.code == 1
    assert "was already loaded" in result.output
    assert machine.pointers().current == before.current
    assert machine.pointers().profile != before.profile


def test_a_killed_switch_exits_255_and_the_next_one_finishes_it(machine: Machine) -> None:
    """What an interrupted switch had stopped is started by the next one, from the lists it left behind."""
    machine.put_on("main")
    killer = f"(until [ -e /run/nixos/start-list ]; do sleep 0.01; done; systemctl kill -s KILL {UNIT}) & "
    reference = "git+file:///srv/sample.git?ref=refs/tags/v3#choiros-a"
    assert machine.sh(f"{killer} nixos-rebuild switch --flake '{reference}'").code == 255
    machine.put_on("v3")
    assert machine.versions() == ["v3", "v3", "v3"]
    assert machine.sh("cat /run/nixos/start-list").code != 0


def test_rollback_goes_one_generation_number_down(machine: Machine) -> None:
    """The action switch with --rollback takes the highest number below the current one, and activates it."""
    machine.put_on("main")
    before = machine.pointers()
    machine.put_on("v3")
    result = machine.sh("nixos-rebuild switch --rollback")
    assert result.code == 0
    assert result.output.endswith(f"Done. The new configuration is {PROFILE}\n")
    assert machine.pointers() == before


def test_usage_errors_exit_2(machine: Machine) -> None:
    """An unknown option or action touches nothing."""
    assert machine.sh("nixos-rebuild switch --bogus").code == 2
    assert machine.sh("nixos-rebuild switchh").code == 2


@pytest.mark.parametrize(
    ("arguments", "limit"),
    [
        ("switch", "builds flakes and files only"),
        ("switch --no-flake", "builds flakes and files only"),
        ("switch --file default.nix --build-host root@b", "does not take --build-host"),
        ("switch --flake /srv#x --target-host root@b", "does not take --target-host"),
        ("list-generations", "does not know the action list-generations"),
    ],
)
def test_what_only_the_real_program_can_do_is_noted_as_a_limit(machine: Machine, arguments: str, limit: str) -> None:
    """It fails, touches nothing, and a trial can read what the stand-in could not do; a usage error is no limit."""
    before = machine.pointers()
    machine.sh(f"rm -f {LIMITS}; nixos-rebuild switch --bogus")
    result = machine.sh(f"test ! -e {LIMITS} && nixos-rebuild {arguments}")
    assert result.code != 0
    assert f"the lab's stand-in {limit}" in result.output
    assert f"its stand-in for nixos-rebuild {limit}" in machine.value(f"cat {LIMITS}; rm {LIMITS}")
    assert machine.pointers() == before


def test_a_profile_that_is_a_folder_of_links_boots_its_system(machine: Machine) -> None:
    """As deploy-rs sets it: the boot loader's entry is of the system itself, and so is what a trial sees."""
    machine.put_on("v1")
    before = machine.pointers()
    seen = Host(machine.host, "ovh", "file:///srv/sample.git", "choiros-a", ())
    wrapped = machine.value(
        f"mkdir /tmp/wrapped && ln -s {before.current}/* /tmp/wrapped/ && nix-store --add /tmp/wrapped"
    )
    switch = f"{before.current}/bin/switch-to-configuration switch"
    try:
        assert machine.sh(f"nix-env --profile {PROFILE} --set {wrapped} && {switch}").code == 0
        system = seen.system()
        assert (system.wrapper, system.profile, system.whole) == (wrapped, before.profile, True)
        assert system.revision == system.profile_revision == system.boots_revision != ""
    finally:
        machine.sh(f"rm -r /tmp/wrapped; nix-env --profile {PROFILE} --set {before.profile} && {switch}")
    assert machine.pointers() == before


def test_an_upgrade_of_systemd_executes_it_again_forward_and_back(machine: Machine) -> None:
    """A switch whose system.conf changed re-executes systemd; one without that change does not."""
    machine.put_on("main")
    for ref in ("systemd-upgrade", "main", "v3"):
        result = machine.rebuild("switch", ref)
        assert result.code == 0, result.output
        assert ("restarting systemd..." in result.output) == (ref != "v3")


@pytest.mark.parametrize(
    ("ref", "units"),
    [("dbus-restart", ["dbus", "systemd-logind"]), ("journald-restart", ["systemd-journald", "systemd-logind"])],
)
def test_a_switch_can_restart_services_of_the_host(machine: Machine, ref: str, units: list[str]) -> None:
    """Both the switch to such a revision and the way back from it restart them."""
    machine.put_on("main")
    processes = [[machine.main_pid(unit) for unit in units]]
    for goal in (ref, "main"):
        result = machine.rebuild("switch", goal)
        assert result.code == 0, result.output
        processes.append([machine.main_pid(unit) for unit in units])
    for number in range(len(units)):
        assert len({moment[number] for moment in processes}) == 3


@pytest.mark.parametrize("slug", ["reload-failing", "user-unit-failing"])
def test_a_switch_can_exit_4_without_a_failed_unit(machine: Machine, slug: str) -> None:
    """A failing reload or a failing unit of a user is told, makes the switch exit 4 and leaves no failed unit."""
    machine.put_on("main")
    result = machine.rebuild("switch", f"broken/{slug}")
    assert result.code == 4
    assert broken(slug).says in result.output
    assert machine.value("systemctl list-units --failed --no-legend") == ""


def test_an_inhibitor_refuses_a_live_switch_and_not_a_boot(machine: Machine) -> None:
    """A changed critical component exits 1 and asks for a reboot; the action boot does not look at it."""
    machine.put_on("main")
    before = machine.pointers()
    result = machine.rebuild("switch", "broken/inhibitor")
    assert result.code == 1
    assert "There are changes to critical components of the system:" in result.output
    assert broken("inhibitor").says in result.output
    assert machine.pointers().current == before.current
    assert machine.pointers().boot == before.boot
    assert machine.rebuild("boot", "broken/inhibitor").code == 0
    assert machine.pointers().current == before.current
    assert machine.pointers().boot != before.boot


def test_an_old_system_can_refuse_the_way_back(machine: Machine) -> None:
    """The earlier system's check refuses state that the newer one wrote, unless NIXOS_NO_CHECK says otherwise."""
    machine.put_on("main")
    before = machine.pointers()
    assert machine.rebuild("switch", "broken/check-on-the-way-back").code == 0
    back = f"{before.current}/bin/switch-to-configuration switch"
    refused = machine.sh(back)
    assert refused.code == 1
    assert "the state is of format 2" in refused.output
    assert machine.sh(f"NIXOS_NO_CHECK=1 {back}").code == 0
    assert machine.pointers().current == before.current


@pytest.mark.parametrize(
    ("behaviour", "ref", "code", "told"),
    [
        ("25.05", "broken/activation-failure", 1, True),
        ("25.11", "broken/activation-failure", 2, True),
        ("26.03", "broken/activation-failure", 2, False),
        ("26.05 reexec", "broken/activation-failure", 2, True),
        ("26.03 reexec", "v3", 0, False),
    ],
)
def test_nixos_rebuild_behaves_as_the_version_that_is_asked_for(
    machine: Machine, behaviour: str, ref: str, code: int, told: bool
) -> None:
    """Exit codes, unit names and where the switch's output goes follow the host's file."""
    machine.put_on("main")
    machine.value(f"echo {behaviour} >/etc/switchproof-lab/nixos-rebuild")
    began = machine.value("journalctl --lines=0 --show-cursor --quiet").removeprefix("-- cursor: ")
    result = machine.rebuild("switch", ref)
    machine.value("rm /etc/switchproof-lab/nixos-rebuild")
    assert result.code == code
    assert ("activating the configuration..." in result.output) == told
    journal = machine.sh(f"journalctl --quiet --output=cat --after-cursor='{began}' -u '{UNIT}-*'").output
    assert ("activating the configuration..." in journal) == (not told)


def test_a_store_path_is_switched_to_as_it_is(machine: Machine) -> None:
    """--store-path builds nothing and refuses a flake beside it, or --rollback."""
    machine.put_on("v3")
    earlier = machine.pointers().current
    machine.put_on("main")
    assert machine.sh(f"NIXOS_NO_SYNC=1 nixos-rebuild switch --store-path {earlier}").code == 0
    assert machine.pointers() == Pointers(earlier, earlier, earlier)
    assert machine.sh(f"nixos-rebuild switch --store-path {earlier} --flake /srv#choiros-a").code == 2
    assert machine.sh(f"nixos-rebuild switch --store-path {earlier} --rollback").code == 2


def test_a_specialisation_runs_and_the_system_itself_is_the_profile(machine: Machine) -> None:
    """Its switch leaves the default of systemd-boot alone; one that is missing is seen once the profile has moved."""
    machine.put_on("main")
    before = machine.pointers()
    machine.put_on("specialised")
    base = machine.pointers().profile
    machine.put_on("main")
    to = f"NIXOS_NO_SYNC=1 nixos-rebuild switch --store-path {base}"
    assert machine.sh(f"{to} --specialisation maintenance").code == 0
    special = machine.value(f"readlink -f {base}/specialisation/maintenance")
    assert machine.pointers() == Pointers(base, special, before.boot)
    entries = machine.value("cat /boot/loader/entries/*-specialisation-maintenance.conf")
    assert f"init={special}/init" in entries
    machine.put_on("main")
    missing = machine.sh(f"{to} -c nosuch")
    assert (missing.code, machine.pointers()) == (1, Pointers(base, before.current, before.boot))
    assert "error: specialisation not found: nosuch" in missing.output
    assert (
        "can only be used with 'switch' and 'test'"
        in machine.sh(f"nixos-rebuild boot --store-path {base} -c maintenance").output
    )


@pytest.mark.parametrize(
    ("option", "command", "says"),
    [
        ("nixos_rebuild", "nixos-rebuild switch --flake .", ["really switch --flake ."]),
        (
            "switch",
            f"NIXOS_NO_CHECK=1 {CURRENT}/bin/switch-to-configuration test",
            [
                "really test",
                "DISTRO_ID=nixos",
                "INSTALL_BOOTLOADER=/usr/local/lib/switchproof-lab/install-boot-loader",
                "LOCALE_ARCHIVE=/usr/lib/locale/locale-archive",
                "NIXOS_NO_CHECK=1",
                "OUT={top}",
                "PRE_SWITCH_CHECK={top}/pre-switch-check",
                "SYSTEMD=/usr",
                "TOPLEVEL={top}",
            ],
        ),
    ],
)
def test_a_real_program_takes_the_place_of_a_stand_in(
    machine: Machine, tmp_path: Path, option: str, command: str, says: list[str]
) -> None:
    """It gets the arguments and what NixOS's wrapper sets, and no host can change it."""
    program = tmp_path / "program"
    program.write_text('#! @runtimeShell@\necho "really $*"\nenv\n')
    given = {"nixos_rebuild": None, "switch": None} | {option: str(program)}
    real.install(real.look(**given), machine.programs)
    try:
        lines = machine.value(command).splitlines()
        refused = machine.sh("touch /usr/local/lib/switchproof-lab/real/mine")
    finally:
        for file in machine.programs.iterdir():
            file.unlink()
    assert {line.format(top=machine.pointers().current) for line in says} <= set(lines)
    assert "Read-only file system" in refused.output


@pytest.mark.parametrize("revision", SERVED_AMISS, ids=lambda revision: revision.name)
def test_a_revision_that_is_amiss_only_in_what_it_serves_switches_well(machine: Machine, revision: Revision) -> None:
    """nixos-rebuild is content with it, and the host's words tell what is wrong."""
    assert machine.rebuild("switch", revision.ref).code == 0
    deadline = time.monotonic() + 20
    while revision.says not in (words := machine.served() + machine.value("ss -ltn; journalctl -b --no-pager -n 60")):
        assert time.monotonic() < deadline, words
        time.sleep(0.5)


def test_a_host_boots_its_boot_default(machine: Machine) -> None:
    """The action boot changes nothing that runs; after a power cycle the host runs it."""
    machine.put_on("main")
    before = machine.pointers()
    assert machine.rebuild("boot", "v3").code == 0
    assert machine.pointers().current == before.current
    machine.host.power_off()
    machine.host.power_on()
    after = machine.pointers()
    assert before.boot != after.boot == after.current == machine.value("readlink -e /run/booted-system")
    assert machine.versions() == ["v3", "v3", "v3"]
