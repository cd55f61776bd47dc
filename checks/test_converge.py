"""Clause `converge`: the host is converged to that commit with nixos-rebuild switch, and really runs it."""

import shlex

import pytest

from switchproof.checks.fixtures import Show
from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.observe.bridge import Installation
from switchproof.deploy.observe.convergence import Convergence, Ending
from switchproof.deploy.observe.observation import Observation
from switchproof.deploy.run.results import Before

pytestmark = pytest.mark.clause("converge")


@pytest.mark.when("deploy", "rollback")
def test_the_switch_ended_well(convergence: Convergence, reboot: str, show: Show) -> None:
    """The switch finished and activated the system.

    An unfinished switch leaves the host with parts of two systems.

    Try: find the first error in the log of the switch, fix it, and deploy again.
    """
    show(
        expected="activated: exit status 0, or 4 if units failed",
        seen=f"exit status {convergence.status}: {convergence.ending.value}",
        evidence=[convergence.log_path],
        command="nixos-rebuild switch",
        took_s=convergence.seconds,
        limit_s=convergence.limit_s,
    )
    assert convergence.finished or not reboot, (
        f"{reboot} before the switch had ended; see the journal of the earlier boot: journalctl -b -1"
    )
    assert convergence.ending is not Ending.TIMED_OUT, (
        f"the {convergence.stage} did not end within {convergence.limit_s or 0:g} s (converge.timeout_s), and the "
        f"host stopped it\nthe last lines of its log:\n{convergence.excerpt}"
    )
    assert convergence.ending is not Ending.NO_SPECIALISATION, (
        f"{convergence.excerpt.removeprefix('error: ')}; the host was not touched"
    )
    if not convergence.finished:
        raise Inconclusive(f"{convergence.ending.value}; systemd reports for its unit: {convergence.unit.strip()}")
    assert convergence.activated, f"{convergence.ending.value}\nthe switch reported:\n{convergence.excerpt}"


@pytest.mark.when("deploy", "rollback")
def test_no_unit_failed_in_the_switch(
    convergence: Convergence, before: Before, unhealthy_units: set[str], show: Show
) -> None:
    """Each unit that the switch reports as failed had failed before, or fails its own clause.

    A failed reload, or a failed user unit, leaves no failed unit behind, but the switch was still incomplete.

    Try: read the journals of the named units in the evidence; on the host, the way back may have removed the units.
    """
    named = convergence.failed_units
    unexplained = sorted(named - set(before.failed) - unhealthy_units)
    failed = convergence.ending is Ending.UNITS_FAILED
    show(
        expected="exit status 0, or only units that had failed before",
        seen=f"exit status {convergence.status}; named as failed: {', '.join(sorted(named)) or 'none'}",
        evidence=[convergence.log_path],
        command="nixos-rebuild switch",
    )
    if not convergence.activated:
        raise Inconclusive("the switch did not get as far as its units")
    assert named or not failed, (
        f"the switch ended with exit status 4, but names no failed unit\nit reported:\n{convergence.excerpt}"
    )
    assert not (failed and unexplained), (
        f"{', '.join(unexplained)} failed in the switch\nthe switch reported:\n{convergence.excerpt}"
    )


@pytest.mark.when("deploy", "rollback")
def test_the_boot_default_could_be_set(convergence: Convergence, show: Show) -> None:
    """The host was able to set its boot default after the switch.

    A host that boots another system loses what was deployed or restored at its next reboot.

    Try: check whether /boot is full or read-only, and whether another switch is running on the host.
    """
    show(
        expected="set",
        seen=convergence.boot_problem or "set",
        evidence=[convergence.log_path],
        command="switch-to-configuration boot",
    )
    assert not convergence.boot_problem, f"the boot default could not be set: {convergence.boot_problem}"


@pytest.mark.when("deploy", "rollback")
def test_the_host_lets_a_new_connection_in(locked_out: str, let_in: str, within_s: float, show: Show) -> None:
    """The host accepts a new connection soon after the switch.

    A connection from before the switch keeps working even if the host accepts no new ones. Once it closes, nobody
    can reach the host.

    Try: check sshd, the firewall and the host's addresses: systemctl status sshd; ss -Hltn.
    """
    expected = f"a new connection within {within_s:g} s (converge.reconnect_s)" if within_s else "nothing"
    show(expected=expected, seen=let_in, command="ssh HOST exit")
    assert not locked_out, f"no new connection was accepted within {within_s:g} s after the switch: {locked_out}"


@pytest.mark.when("deploy", "rollback")
def test_the_running_system_is_the_expected_one(  # noqa: PLR0917 - fixtures, which pytest gives by name
    observation: Observation,
    expected_system: str,
    specialisation: str | None,
    reboot: str,
    went_back: str,
    convergence: Convergence,
    show: Show,
) -> None:
    """The running system is the one built from the commit; after a rollback, exactly the one from before.

    A switch may succeed and still leave another system running, for example if somebody else switches as well.

    Try: check in the log of the switch what it activated, and find out who else changes this host.
    """
    show(expected=expected_system, seen=observation.system.running, command="readlink -e /run/current-system")
    running = observation.system.running
    if went_back and convergence.ending is not Ending.DONE:
        raise Inconclusive(f"{went_back} Look first at how the switch ended: {convergence.ending.value}")
    assert running == expected_system or not went_back, went_back
    of_the_build = running == convergence.profile or observation.system.specialisation
    problem = observation.system.wrong_specialisation(specialisation) if specialisation and of_the_build else ""
    assert running == expected_system, (
        f"{reboot}, and runs {running}; expected {expected_system}"
        if reboot
        else f"expected {expected_system}, running {running}{f': {problem}' if problem else ''}"
    )


@pytest.mark.when("evaluation")
def test_the_running_system_is_what_the_commit_evaluates_to(
    observation: Observation, evaluated_system: str, show: Show
) -> None:
    """The running system is the one that a new evaluation of the commit gives, store path for store path.

    A system names its commit itself, so one with another content can name the same commit.

    Try: deploy the commit again, and find out where this system was built, and from what.
    """
    system = observation.system
    running = system.profile if system.specialisation else system.running
    show(expected=evaluated_system, seen=running, command="readlink -e /run/current-system")
    assert running == evaluated_system, f"the commit evaluates to {evaluated_system}, running {running}"


def test_the_system_profile_is_the_running_system(
    observation: Observation, expected_profile: str, specialisation: str | None, show: Show
) -> None:
    """The system profile points to the running system; after going back, to what it pointed to before.

    If the target file names a specialisation, the profile's system has it, and it runs.

    If the profile points elsewhere, the host may boot a system that nobody verified.

    Try: switch again; `nixos-rebuild test`, or an interrupted switch, leaves the two different.
    """
    system = observation.system
    show(
        expected=expected_profile + (f", whose specialisation {specialisation!r} runs" if specialisation else ""),
        seen=f"{system.profile} (generation {system.generation})"
        + (f", which only links to {system.wrapped}" if system.wrapped else "")
        + (f", whose specialisation {system.specialisation!r} runs" if system.specialisation else ""),
        command="readlink -e /nix/var/nix/profiles/system",
    )
    assert system.profile, "the host did not report where its system profile points"
    assert expected_profile in {system.profile, system.wrapped}, (
        f"the profile points to {system.profile}, not to {expected_profile}, and {system.running} is running; "
        "an earlier switch did not finish, or somebody activated another system by hand"
    )
    problem = "" if specialisation is None else system.wrong_specialisation(specialisation)
    assert not problem, problem


@pytest.mark.when("deploy", "audit")
def test_the_system_is_of_the_commit(
    observation: Observation, commit: str | None, earlier_problem: str, show: Show
) -> None:
    """The running system comes from the requested commit, by its own report where it gives one.

    A build may come from another commit than the requested one; the system records which.

    Try: set system.configurationRevision in the flake, and make sure that only this deploy switches the host.
    """
    system = observation.system
    reported = system.named_commit
    show(
        expected=commit or "any commit",
        seen=reported or "not reported",
        command="nixos-version --configuration-revision",
    )
    assert system.has_consistent_commit, (
        f"the running system {system.running} reports revision {system.revision}, but this host built it from "
        f"{system.built_from}; check what sets system.configurationRevision in the flake"
    )
    if commit is None:
        return
    if reported is None:
        raise Inconclusive("the running system does not name the commit it was built from")
    agrees = reported.startswith(commit) or commit.startswith(reported)
    if not agrees and earlier_problem:
        raise Inconclusive(
            f"the host runs {reported}, but that only follows from an earlier problem: {earlier_problem}"
        )
    assert agrees, f"the running system {system.running} comes from {reported}, not from {commit}"


def test_unit_definitions_are_those_of_the_running_system(
    observation: Observation, unhealthy_units: set[str], unit_files: tuple[str, ...], show: Show
) -> None:
    """The running system defines the contract's units, and systemd has loaded their current files.

    A drop-in that somebody left on the host survives every deploy, and changes what really runs.

    Try: remove the file and restart the unit, or list the file under `unit_files` in the target file.
    """
    problems = []
    for unit in observation.units.values():
        if unit.active != "active" or unit.name in unhealthy_units:
            continue  # its own clause reports that
        if unit.load != "loaded":
            problems.append(f"{unit.name} runs, but its load state is {unit.load or 'unknown'}")
        if unit.needs_reload:
            problems.append(f"systemd has not loaded the current files of {unit.name} (NeedDaemonReload)")
        strange = [path for path in unit.strange_files if not is_below(path, unit_files)]
        if strange:
            problems.append(f"{unit.name} is defined by {', '.join(strange)}, outside the running system")
    show(
        expected="only files of the running system" + (f", or of {', '.join(unit_files)}" if unit_files else ""),
        seen="; ".join(problems) or f"{len(observation.units)} units",
        command="systemctl show -p LoadState,FragmentPath,DropInPaths,NeedDaemonReload",
    )
    assert not problems, "; ".join(problems)


def no_closure(observation: Observation) -> Inconclusive:
    """Make the error for a running system whose closure nix could not list, with the message of nix."""
    message = observation.processes_problem
    return Inconclusive(
        f"the closure of the running system could not be read on the host; nix reported: {message or 'nothing'}",
        "Check that nix answers on the host: nix-store -qR /run/current-system; systemctl status nix-daemon.socket.",
    )


def is_below(path: str, folders: tuple[str, ...]) -> bool:
    """Whether a path is one of these files, or inside one of these folders."""
    return any(path == folder or path.startswith(f"{folder.rstrip('/')}/") for folder in folders)


def test_processes_run_from_the_running_system(
    observation: Observation, unhealthy_units: set[str], show: Show
) -> None:
    """All processes of the contract's units run from the running system, not from an earlier one.

    A unit that the switch changed but did not restart still runs the old program, whatever its files say.

    Try: restart the unit, and check whether restartIfChanged keeps the switch from restarting it.
    """
    if observation.processes is None:
        raise no_closure(observation)
    seen = {process.unit for process in observation.processes}
    # A crashing unit has no process at times; its own clause reports that.
    due = [unit.name for unit in observation.units.values() if unit.active == "active" and unit.main_pid]
    if unseen := [name for name in due if name not in seen and name not in unhealthy_units]:
        raise Inconclusive(f"no process of {', '.join(unseen)} was seen, so it is unknown what they run from")
    old = [
        f"{process.unit} process {process.pid} runs from {', '.join(process.strays)}"
        for process in observation.processes
        if process.strays
    ]
    old += [
        f"{process.unit} process {process.pid} runs {process.executable}, which is not part of any system"
        for process in observation.processes
        if process.executable.startswith("/") and not process.executable.startswith("/nix/store/")
    ]
    old += [
        f"{process.unit} process {process.pid} runs a file that was deleted: {process.executable}"
        for process in observation.processes
        if process.is_deleted and process.executable.startswith("/nix/store/")
    ]
    old += [
        f"{process.unit} process {process.pid} is left over from before the unit was last started"
        for process in observation.survivors
    ]
    show(
        expected="no process from anywhere but the running system",
        seen="; ".join(old) or f"{len(observation.processes)} processes",
        command="nix-store -qR /run/current-system",
    )
    assert not old, (
        f"{'; '.join(old)}: not part of the running system. The unit changed and was not restarted; "
        "restart it, or check why the switch did not (restartIfChanged)"
    )


def test_installed_programs_are_what_runs(
    installation: Installation, observation: Observation, unhealthy_units: set[str], show: Show
) -> None:
    """The store path bridge installed the given programs, and their units run them.

    A link may point to the new program while the unit still runs the old one; only its processes are proof.

    Try: check where the link leads and what the unit's ExecStart is, then restart the unit.
    """
    if observation.processes is None:
        raise no_closure(observation)
    up = {unit.name for unit in observation.units.values() if unit.active == "active"} - unhealthy_units
    problems = installation.problems(observation.processes, up)
    show(
        expected=installation.expected_text,
        seen=installation.seen_text,
        command=f"readlink {shlex.join(program.at for program in installation.programs.values())}",
    )
    assert not problems, "; ".join(problems)
    if doubts := installation.doubts(observation.processes):
        raise Inconclusive("; ".join(doubts))


@pytest.mark.when("deploy", "rollback")
def test_changed_units_were_restarted(
    changed_but_not_restarted: list[str], convergence: Convergence, show: Show
) -> None:
    """Every unit of the contract whose definition changed has a new invocation.

    A unit that changed but was not restarted does not run what was deployed.

    Try: restart the unit, and check whether restartIfChanged keeps the switch from restarting it.
    """
    show(
        expected="every changed unit restarted",
        seen=", ".join(changed_but_not_restarted) or "all changed units restarted",
        command="systemctl show -p InvocationID,FragmentPath",
    )
    assert not changed_but_not_restarted, (
        f"changed by the switch, but still the old invocation: {', '.join(changed_but_not_restarted)}; "
        f"what runs is not what was deployed. {convergence.left_alone}"
    )


@pytest.mark.when("deploy", "rollback")
def test_no_unit_failed_that_had_not_failed_before(
    observation: Observation, before: Before, convergence: Convergence, newly_failed: list[str], show: Show
) -> None:
    """No unit outside the contract has newly failed since before the deploy.

    A deploy that breaks something else on the host has gone wrong, even if everything that it targets works.

    Try: read the journals of the failed units in the evidence; on the host, the way back may have removed the units.
    """
    failed_before = sorted(set(observation.failed) & set(before.failed))
    note = f" (already failed before: {', '.join(failed_before)})" if failed_before else ""
    show(
        expected="none",
        seen=(", ".join(newly_failed) or "none") + note,
        evidence=[convergence.log_path],
        command="systemctl list-units --state=failed,auto-restart",
    )
    named = any(unit in convergence.excerpt for unit in newly_failed)
    switch_report = f"\nthe switch reported:\n{convergence.excerpt}" if named else ""
    assert not newly_failed, f"failed since the deploy began: {', '.join(newly_failed)}{switch_report}"
