"""Each check of the switch passes where all is well, and fails or is inconclusive on the very thing it is for."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from switchproof.checks import test_boots, test_confirmation, test_converge
from switchproof.checks.fixtures import Shown
from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.observe.bridge import Installation, Installed
from switchproof.deploy.observe.convergence import Convergence
from switchproof.deploy.observe.observation import Observation, read_observation
from switchproof.deploy.observe.parts.system import read_system
from switchproof.deploy.observe.parts.units import read_units
from switchproof.deploy.run.results import Before, Confirmation
from switchproof.deploy.target.types import BridgedProgram
from tests.answers import HYPERVISOR, LIVE, SHA, TOPLEVEL, frame, unit_show

OLD = f"/nix/store/{'0' * 32}-old"
UNITS = (HYPERVISOR, *LIVE)
DONE = Convergence(
    finished=True,
    status=0,
    stage="switch",
    expected=TOPLEVEL,
    unit="Result=success",
    journal="",
    log="--- switch\n",
    log_path="evidence/a/converge.log",
    limit_s=60.0,
)
KILLED = replace(DONE, finished=False, status=None, unit=" Result=signal\n")


def observed(**changes: str | None) -> Observation:
    return read_observation(frame({name.replace("__", "."): text for name, text in changes.items()}))


def before(*failed: str) -> Before:
    return Before(read_system(frame({})), read_units(frame({})), failed)


def message(raised: pytest.ExceptionInfo[AssertionError]) -> list[str]:
    """The lines that a check failed with, without what pytest adds to them where it compares for itself."""
    return [line.strip() for line in str(raised.value).split("\nassert ")[0].splitlines()]


# The end of the switch.


def test_switch_that_ended_well_passes_whatever_rebooted_later() -> None:
    """A result that the job wrote down counts, also where units failed or the host rebooted after it."""
    for ended in (DONE, replace(DONE, status=4)):
        for reboot in ("", "the host rebooted"):
            test_converge.test_the_switch_ended_well(ended, reboot, Shown())


def test_switch_that_did_not_end_fails_or_is_inconclusive_by_its_reason() -> None:
    """A reboot and a time limit are failures; a job of which nothing more is known is inconclusive."""
    with pytest.raises(AssertionError, match=r"the host rebooted before the switch had ended; .*journalctl -b -1"):
        test_converge.test_the_switch_ended_well(KILLED, "the host rebooted", Shown())
    with pytest.raises(Inconclusive, match="was stopped by a signal; systemd reports for its unit: Result=signal"):
        test_converge.test_the_switch_ended_well(KILLED, "", Shown())
    late = replace(KILLED, unit="Result=timeout", log="--- switch\nerror: waiting\n")
    with pytest.raises(AssertionError) as raised:
        test_converge.test_the_switch_ended_well(late, "", Shown())
    assert message(raised) == [
        "the switch did not end within 60 s (converge.timeout_s), and the host stopped it",
        "the last lines of its log:",
        "error: waiting",
    ]
    with pytest.raises(AssertionError, match="did not end within 0 s"):
        test_converge.test_the_switch_ended_well(replace(late, limit_s=None), "", Shown())
    failed = replace(DONE, status=2, log="--- switch\nerror: x\n")
    with pytest.raises(AssertionError) as raised:
        test_converge.test_the_switch_ended_well(failed, "", Shown())
    assert message(raised) == [failed.ending.value, "the switch reported:", "error: x"]


NAMED = "--- switch\nwarning: the following units failed: b.service, a.service\n"


def test_units_that_a_switch_names_are_shown() -> None:
    """Without any, the report says none; a switch that was not activated says nothing of its units."""
    show = Shown()
    test_converge.test_no_unit_failed_in_the_switch(DONE, before(), set(), show)
    assert show.seen == "exit status 0; named as failed: none"
    ended = replace(DONE, status=4, log=NAMED)
    test_converge.test_no_unit_failed_in_the_switch(ended, before("a.service"), {"b.service"}, show)
    assert show.seen == "exit status 4; named as failed: a.service, b.service"
    with pytest.raises(Inconclusive, match="did not get as far as its units"):
        test_converge.test_no_unit_failed_in_the_switch(replace(ended, status=2), before(), set(), Shown())


def test_unit_that_is_named_by_a_switch_without_failures_is_no_failure() -> None:
    """The exit status says whether units failed; a name in the log alone does not."""
    ended = replace(DONE, log=NAMED)
    test_converge.test_no_unit_failed_in_the_switch(ended, before(), set(), Shown())


def test_boot_default_is_shown() -> None:
    """What kept it from being set stands in the report, or that it was set."""
    show = Shown()
    test_converge.test_the_boot_default_could_be_set(DONE, show)
    assert show.seen == "set"
    with pytest.raises(AssertionError, match="could not be set: /boot is full"):
        test_converge.test_the_boot_default_could_be_set(replace(DONE, boot_problem="/boot is full"), show)
    assert show.seen == "/boot is full"


# The connection.


def test_host_that_lets_nobody_in_fails() -> None:
    """The reason is told with the time; where nothing was tried, nothing is expected."""
    show = Shown()
    test_converge.test_the_host_lets_a_new_connection_in("", "accepted", 30.0, show)
    assert (show.expected, show.seen) == (
        "a new connection within 30 s (converge.reconnect_s)",
        "accepted",
    )
    test_converge.test_the_host_lets_a_new_connection_in("", "not tried", 0.0, show)
    assert show.expected == "nothing"
    with pytest.raises(AssertionError, match="accepted within 30 s after the switch: connection refused"):
        test_converge.test_the_host_lets_a_new_connection_in("connection refused", "x", 30.0, Shown())


# The running system.


def running(
    expected: str, reboot: str = "", went_back: str = "", ended: Convergence = DONE, system: str = TOPLEVEL
) -> None:
    seen = observed(system__running=system)
    test_converge.test_the_running_system_is_the_expected_one(seen, expected, "", reboot, went_back, ended, Shown())


def test_running_system_is_held_against_the_expected_one() -> None:
    """The very path must run; what explains another one is told first."""
    running(TOPLEVEL)
    running(TOPLEVEL, ended=KILLED)
    running(TOPLEVEL, went_back="It went back.")
    with pytest.raises(AssertionError) as plain:
        running(OLD)
    assert message(plain) == [f"expected {OLD}, running {TOPLEVEL}"]
    with pytest.raises(AssertionError) as rebooted:
        running(OLD, reboot="the host rebooted")
    assert message(rebooted) == [f"the host rebooted, and runs {TOPLEVEL}; expected {OLD}"]
    with pytest.raises(AssertionError) as returned:
        running(OLD, reboot="the host rebooted", went_back="It went back.")
    assert message(returned) == ["It went back."]


def test_the_system_itself_in_place_of_its_specialisation_is_named() -> None:
    """Of what was built the wrong part runs: the sentence says which."""
    ended = replace(DONE, profile=TOPLEVEL)
    check = test_converge.test_the_running_system_is_the_expected_one
    with pytest.raises(AssertionError, match=f"running {TOPLEVEL}: the host runs the system itself, "):
        check(observed(), OLD, "quiet", "", "", ended, Shown())
    with pytest.raises(AssertionError, match=f"^expected {OLD}, running {TOPLEVEL}\n"):
        check(observed(), OLD, "quiet", "", "", DONE, Shown())


def test_specialisation_that_the_system_does_not_have_is_one_sentence() -> None:
    """The host's words name those that it has."""
    log = "--- specialisation\nerror: /nix/store/x has no specialisation 'quiet'; it has: loud\n"
    none = replace(DONE, status=1, stage="specialisation", log=log)
    with pytest.raises(AssertionError) as failed:
        test_converge.test_the_switch_ended_well(none, "", Shown())
    assert message(failed) == ["/nix/store/x has no specialisation 'quiet'; it has: loud; the host was not touched"]


def test_specialisation_of_the_profile_s_system_must_be_the_wanted_one() -> None:
    """Where a way back decides what runs, any will do."""
    show, quiet = Shown(), observed(system__specialisation="quiet")
    profile_check(quiet, TOPLEVEL, "quiet", show)
    assert show.seen.endswith("whose specialisation 'quiet' runs")
    assert show.expected == f"{TOPLEVEL}, whose specialisation 'quiet' runs"
    profile_check(quiet, TOPLEVEL, None, Shown())
    with pytest.raises(AssertionError, match="and the target file names none"):
        profile_check(quiet, TOPLEVEL, "", Shown())
    with pytest.raises(AssertionError, match="runs the system itself, not the specialisation 'quiet'"):
        profile_check(observed(), TOPLEVEL, "quiet", Shown())


def test_host_that_went_back_after_an_unknown_end_is_inconclusive() -> None:
    """Then the end of the switch is what to look at."""
    with pytest.raises(
        Inconclusive, match=r"It went back\. Look first at how the switch ended: the switch was stopped"
    ):
        running(TOPLEVEL, went_back="It went back.", ended=KILLED)


profile_check = test_converge.test_the_system_profile_is_the_running_system


def test_profile_must_point_to_the_expected_system() -> None:
    """A profile of links to the running system will do; another one, or none, will not."""
    show = Shown()
    profile_check(observed(), TOPLEVEL, "", show)
    assert show.seen == f"{TOPLEVEL} (generation 42)"
    wrapped = observed(system__profile=OLD, system__wrapped=TOPLEVEL)
    profile_check(wrapped, TOPLEVEL, "", show)
    assert show.seen == f"{OLD} (generation 42), which only links to {TOPLEVEL}"
    with pytest.raises(AssertionError, match=f"the profile points to {OLD}, not to {TOPLEVEL}"):
        profile_check(observed(system__profile=OLD), TOPLEVEL, "", Shown())
    with pytest.raises(AssertionError, match="did not report where its system profile points"):
        profile_check(observed(system__profile=""), TOPLEVEL, "", Shown())


OTHER = "f" * 40


@pytest.mark.parametrize(
    ("revision", "commit", "expected", "shown"),
    [
        (SHA, SHA, SHA, SHA),
        (SHA[:8], SHA, SHA, SHA[:8]),
        (SHA, None, "any commit", SHA),
        ("", None, "any commit", "not reported"),
    ],
)
def test_system_of_the_commit_passes(revision: str, commit: str | None, expected: str, shown: str) -> None:
    """A commit that is named in full or abbreviated will do, and any where none was asked for."""
    show = Shown()
    seen = observed(system__revision=revision, system__built_from="")
    test_converge.test_the_system_is_of_the_commit(seen, commit, "", show)
    assert (show.expected, show.seen) == (expected, shown)


def test_system_of_another_commit_fails() -> None:
    """Unless that only follows from an earlier problem; a system that names none is inconclusive."""
    seen = observed(system__built_from="")
    with pytest.raises(AssertionError, match=f"comes from {SHA}, not from {OTHER}"):
        test_converge.test_the_system_is_of_the_commit(seen, OTHER, "", Shown())
    with pytest.raises(Inconclusive, match=f"the host runs {SHA}, but that only follows from .*: it went back"):
        test_converge.test_the_system_is_of_the_commit(seen, OTHER, "it went back", Shown())
    test_converge.test_the_system_is_of_the_commit(seen, SHA, "it went back", Shown())
    nameless = observed(system__revision="", system__built_from="")
    with pytest.raises(Inconclusive, match="does not name the commit"):
        test_converge.test_the_system_is_of_the_commit(nameless, SHA, "", Shown())
    dirty = observed(system__revision=f"{SHA}-dirty", system__built_from="")
    test_converge.test_the_system_is_of_the_commit(dirty, SHA, "", Shown())


# Units.


def shows(first: dict[str, str], last: dict[str, str]) -> str:
    return "\n".join((unit_show(HYPERVISOR, **first), unit_show(LIVE[0]), unit_show(LIVE[1], **last)))


def test_unit_that_is_not_up_is_left_to_its_own_clause() -> None:
    """An inactive unit, and one behind an endpoint that is unwell, hide no problem of the units after them."""
    bad = {"NeedDaemonReload": "yes"}
    for first, unwell in (({"ActiveState": "failed"}, set[str]()), ({}, {HYPERVISOR})):
        seen = observed(units__show=shows(first | bad, {}))
        show = Shown()
        test_converge.test_unit_definitions_are_those_of_the_running_system(seen, unwell, (), show)
        assert (show.expected, show.seen) == ("only files of the running system", "3 units")
        seen = observed(units__show=shows(first | bad, bad))
        with pytest.raises(AssertionError) as raised:
            test_converge.test_unit_definitions_are_those_of_the_running_system(seen, unwell, ("/etc/x",), show)
        problem = f"systemd has not loaded the current files of {LIVE[1]} (NeedDaemonReload)"
        assert message(raised) == [problem]
        assert (show.expected, show.seen) == ("only files of the running system, or of /etc/x", problem)


def processes(*rows: str, missing: str = "") -> str:
    whole = [f"{unit} 1 {TOPLEVEL}/bin/x " for unit in UNITS if unit != missing]
    return "".join(f"{row}\n" for row in (*whole, *rows))


def test_processes_of_the_running_system_pass() -> None:
    """How many there are is shown."""
    show = Shown()
    test_converge.test_processes_run_from_the_running_system(observed(processes=processes()), set(), show)
    assert show.seen == "3 processes"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (f"{HYPERVISOR} 9 {OLD}/bin/x {OLD}", f"process 9 runs from {OLD}"),
        (f"{HYPERVISOR} 9 /usr/bin/x ", "process 9 runs /usr/bin/x, which is not part of any system"),
        (f"{HYPERVISOR} 9 {TOPLEVEL}/bin/x_(deleted) ", "process 9 runs a file that was deleted"),
    ],
)
def test_process_from_anywhere_else_fails(row: str, says: str) -> None:
    """An earlier system, a program of no system and a file that was deleted are each told by process."""
    show = Shown()
    with pytest.raises(AssertionError) as raised:
        test_converge.test_processes_run_from_the_running_system(observed(processes=processes(row)), set(), show)
    assert says in str(raised.value)
    assert says in show.seen


def test_active_unit_without_a_process_is_inconclusive() -> None:
    """Unless it has no main process, is not active, or is behind an endpoint that is unwell."""
    seen = observed(processes=processes(missing=HYPERVISOR))
    with pytest.raises(Inconclusive, match=f"no process of {HYPERVISOR} was seen"):
        test_converge.test_processes_run_from_the_running_system(seen, set(), Shown())
    test_converge.test_processes_run_from_the_running_system(seen, {HYPERVISOR}, Shown())
    for values in ({"MainPID": "0"}, {"ActiveState": "failed"}):
        seen = observed(processes=processes(missing=HYPERVISOR), units__show=shows(values, {}))
        test_converge.test_processes_run_from_the_running_system(seen, set(), Shown())


# The bridge.

NEW = f"/nix/store/{'a' * 32}-x"
PROGRAM = BridgedProgram(file="bin/x", at="/opt/x", units=(HYPERVISOR,))
LINK = Installed("store", f"{NEW}/bin/x", NEW)


def installed(seen: Observation, link: Installed = LINK, unwell: set[str] | None = None, wanted: str = NEW) -> None:
    installation = Installation({"x": PROGRAM}, {"x": wanted} if wanted else {}, None, {"x": link})
    test_converge.test_installed_programs_are_what_runs(installation, seen, unwell or set(), Shown())


def test_installed_program_must_be_the_one_that_runs() -> None:
    """A unit that is up runs it, or fails; one that is down or unwell has its own clause."""
    runs = observed(processes=f"{HYPERVISOR} 1 {NEW}/bin/x ={NEW}\n")
    installed(runs)
    idle = observed(processes="")
    with pytest.raises(AssertionError, match=f"{HYPERVISOR} does not run {NEW}"):
        installed(idle)
    installed(idle, unwell={HYPERVISOR})
    installed(observed(processes="", units__show=shows({"ActiveState": "failed"}, {})))
    with pytest.raises(Inconclusive, match="it is unknown whether it belongs to this system"):
        installed(runs, Installed("store", f"{NEW}/bin/x", ""), wanted="")
    with pytest.raises(Inconclusive, match="nix reported: nothing"):
        installed(observed(processes=None))


# Restarts and failures.


def test_changed_unit_that_was_not_restarted_fails() -> None:
    """Its name is told with what the switch said about units that it leaves alone."""
    show = Shown()
    test_converge.test_changed_units_were_restarted([], DONE, show)
    assert show.seen == "all changed units restarted"
    with pytest.raises(AssertionError, match=r"still the old invocation: a\.service, b\.service"):
        test_converge.test_changed_units_were_restarted(["a.service", "b.service"], DONE, show)
    assert show.seen == "a.service, b.service"


def test_unit_that_failed_since_the_deploy_began_fails() -> None:
    """What failed before is noted beside it; the switch is quoted where it names one of the units."""
    show = Shown()
    check = test_converge.test_no_unit_failed_that_had_not_failed_before
    check(observed(), before(), DONE, [], show)
    assert show.seen == "none"
    check(observed(units__failed="old.service\n"), before("old.service"), DONE, [], show)
    assert show.seen == "none (already failed before: old.service)"
    with pytest.raises(AssertionError) as raised:
        check(observed(), before(), DONE, ["x.service", "y.service"], show)
    assert message(raised) == ["failed since the deploy began: x.service, y.service"]
    assert show.seen == "x.service, y.service"
    ended = replace(DONE, log="--- switch\nFailed to start y.service\n")
    with pytest.raises(AssertionError) as raised:
        check(observed(), before(), ended, ["x.service", "y.service"], show)
    assert message(raised) == [
        "failed since the deploy began: x.service, y.service",
        "the switch reported:",
        "Failed to start y.service",
    ]


# What is shown of boots and confirmations.


def test_what_nobody_waits_for_or_boots_is_shown_as_that() -> None:
    """Neither a return that waits nor a boot that was looked at is told in words."""
    show = Shown()
    test_boots.test_no_return_is_pending(observed(), show)
    assert show.seen == "none is waiting"
    with pytest.raises(Inconclusive):
        test_confirmation.test_the_host_boots_the_system_that_it_keeps(Confirmation("late", "x", TOPLEVEL), show)
    assert show.seen == "not checked, because the host does not keep the system"


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        ("late", "the host has decided to go back by itself: too late; if the checks take longer"),
        ("booted", "the host has decided to go back by itself: too late; if the checks take longer"),
        ("foreign", r"the host refused to keep the system \(foreign\): too late"),
    ],
)
def test_refusal_to_keep_the_system_says_why(outcome: str, says: str) -> None:
    """A host that is going back is told from one that refuses; one that keeps the system passes."""
    with pytest.raises(AssertionError, match=says):
        test_confirmation.test_the_host_keeps_the_system(Confirmation(outcome, "too late", TOPLEVEL), Shown())
    test_confirmation.test_the_host_keeps_the_system(Confirmation("ok", "", TOPLEVEL), Shown())
