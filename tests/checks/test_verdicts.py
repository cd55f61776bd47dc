"""Each check of what boots, how the switch ended and what diagnostics there are fails on the very thing it is for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec
import pytest
from msgspec.structs import replace

from switchproof.checks import test_boots, test_confirmation, test_converge, test_diagnostics
from switchproof.checks.fixtures import Booting, Diagnosis, Shown
from switchproof.deploy.contract import Verdict
from switchproof.deploy.errors import Inconclusive, UsageError
from switchproof.deploy.observe.boot.chosen import Boot, Entry
from switchproof.deploy.observe.bridge import Installed
from switchproof.deploy.observe.convergence import Convergence
from switchproof.deploy.observe.observation import Observation, read_observation
from switchproof.deploy.observe.parts.system import read_system
from switchproof.deploy.observe.parts.units import read_units
from switchproof.deploy.providers import load
from switchproof.deploy.run.results import Before, Confirmation, is_same
from switchproof.deploy.settings import TARGETS
from switchproof.deploy.target.types import Endpoint, Machine
from switchproof.session.verdicts import emittable, emitted, judge_call
from tests.answers import HYPERVISOR, LIVE, TOPLEVEL, frame

OLD = "/nix/store/0000000000000000000000000000000a-old"
UNITS = (HYPERVISOR, *LIVE)
PENDING = f"run r1\nowner Ada on build-7\narmed 2026-11-26T20:00:00Z\nexpected {TOPLEVEL}\nto {OLD}\nseconds 60\n"


def observed(parts: Mapping[str, str] | None = None) -> Observation:
    return read_observation(frame(dict(parts or {})))


def boots(system: str, later: str = "", doubt: str = "", missing: tuple[str, ...] = ()) -> Boot:
    return Boot("systemd-boot", Entry("next", system, missing), Entry("later", later or system), doubt)


# H-7, A-4.


@pytest.mark.parametrize(
    ("tail", "when"),
    [
        ("left 42\nguard active", "in 42 s"),
        ("left 0\nguard active", "now"),
        ("left \nguard active", "60 s after its switch has ended"),
        ("left 42\nguard inactive", "at its next boot"),
    ],
)
def test_a_return_that_is_pending_fails_an_audit(tail: str, when: str) -> None:
    """An audit of a host that is about to go back says when, to what, in which run and of whom."""
    with pytest.raises(AssertionError) as error:
        test_boots.test_no_return_is_pending(observed({"pending": PENDING + tail}), Shown())
    for word in (f"the host returns to {OLD} by itself {when}", "run r1 of Ada on build-7", "2026-11-26T20:00:00Z"):
        assert word in str(error.value)


def test_no_return_that_is_pending_passes() -> None:
    """A host that nothing waits on stays as it is."""
    test_boots.test_no_return_is_pending(observed(), Shown())


#

WRONG = [
    (boots(OLD), f"the next boot starts {OLD}"),
    (boots(TOPLEVEL, later=OLD), f"the boot after the next one starts {OLD}"),
    (boots(TOPLEVEL, missing=("/boot/kernel",)), "/boot/kernel is missing or empty"),
]


@pytest.mark.parametrize(("boot", "says"), WRONG)
def test_another_boot_default_fails(boot: Boot, says: str) -> None:
    """Whatever else boots than the run says fails, before the confirmation and after it."""
    with pytest.raises(AssertionError, match=says):
        test_boots.test_the_host_boots_what_the_run_says(Booting(boot, TOPLEVEL, "why"), Shown())
    with pytest.raises(AssertionError, match=says):
        test_confirmation.test_the_host_boots_the_system_that_it_keeps(
            Confirmation("ok", "", TOPLEVEL, boot), Shown()
        )


def test_the_right_boot_default_passes() -> None:
    """The system itself passes, and a host of which the target file says that nothing on it decides."""
    for boot in (boots(TOPLEVEL), Boot("none")):
        test_boots.test_the_host_boots_what_the_run_says(Booting(boot, TOPLEVEL, "why"), Shown())
        confirmation = Confirmation("ok", "", TOPLEVEL, boot)
        test_confirmation.test_the_host_boots_the_system_that_it_keeps(confirmation, Shown())
        assert confirmation.is_lasting


def test_host_that_boots_another_system_does_not_keep_this_one() -> None:
    """Its answer is not enough."""
    assert not Confirmation("ok", "", TOPLEVEL, boots(OLD)).is_lasting


@pytest.mark.parametrize("boot", [Boot("grub", doubt="grub.cfg cannot be read"), None])
def test_a_boot_default_that_is_not_known_is_inconclusive(boot: Boot | None) -> None:
    """What cannot be read proves nothing, and the system is not kept for it."""
    if boot:
        with pytest.raises(Inconclusive, match=r"grub\.cfg cannot be read"):
            test_boots.test_the_host_boots_what_the_run_says(Booting(boot, TOPLEVEL, "why"), Shown())
    confirmation = Confirmation("ok", "", TOPLEVEL, boot)
    with pytest.raises(Inconclusive):
        test_confirmation.test_the_host_boots_the_system_that_it_keeps(confirmation, Shown())
    assert not confirmation.is_lasting


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        ("late", AssertionError),
        ("booted", AssertionError),
        ("foreign", AssertionError),
        ("unbootable", AssertionError),
        ("", AssertionError),
        ("busy", Inconclusive),
    ],
)
def test_only_a_confirmation_that_the_host_takes_passes(outcome: str, kind: type[Exception]) -> None:
    """Every other answer than ok fails with the host's words, or is inconclusive where the host still switches."""
    confirmation = Confirmation(outcome, "the host's words", TOPLEVEL, boots(TOPLEVEL))
    with pytest.raises(kind, match="the host's words"):
        test_confirmation.test_the_host_keeps_the_system(confirmation, Shown())
    assert not confirmation.is_lasting


def test_one_system_with_one_set_of_programs_is_the_same() -> None:
    """Another system, profile or program of the bridge is another; when a host boots next is no matter."""
    link = Installed("store", f"{OLD}/bin/x", OLD)
    one = replace(read_system(frame({})), installed={"x": link})
    assert is_same(one, one)
    assert is_same(one, replace(one, boot_id="another", generation=7))
    assert not is_same(one, replace(one, running=OLD))
    assert not is_same(one, replace(one, profile=OLD))
    assert not is_same(one, replace(one, installed={}))
    for other in (Installed("gone", link.target, OLD), Installed("store", f"{OLD}/bin/y", OLD)):
        assert not is_same(one, replace(one, installed={"x": other}))


# H-2, A-15, D-3: how the switch ended.

ENDED = Convergence(
    finished=True,
    status=0,
    stage="switch",
    expected=TOPLEVEL,
    unit="",
    journal="",
    log="--- switch\n",
    log_path="evidence/a/converge.log",
)


def test_a_boot_default_that_could_not_be_set_fails() -> None:
    """What the job said of it is the message."""
    test_converge.test_the_boot_default_could_be_set(ENDED, Shown())
    ended = replace(ENDED, boot_problem="Could not acquire lock")
    with pytest.raises(AssertionError, match="Could not acquire lock"):
        test_converge.test_the_boot_default_could_be_set(ended, Shown())


def before(*failed: str) -> Before:
    seen = frame({})
    return Before(read_system(seen), read_units(seen), failed)


NAMED = "--- switch\nwarning: the following units failed: a.service, b.service\n"


@pytest.mark.parametrize(
    ("log", "failed", "unwell", "says"),
    [
        (NAMED, ("a.service", "b.service"), set(), ""),
        (NAMED, ("a.service",), {"b.service"}, ""),
        (NAMED, ("a.service",), set(), r"\Ab\.service failed in the switch\n"),
        ("--- switch\nFailed to reload x.service\n", (), set(), r"\Ax\.service failed in the switch\n"),
        ("--- switch\n", (), set(), "names no failed unit"),
    ],
)
def test_exit_status_4_must_be_explained(log: str, failed: tuple[str, ...], unwell: set[str], says: str) -> None:
    """Each unit that the switch names failed before, or fails its own clause; nobody named explains nothing."""
    ended = replace(ENDED, status=4, log=log)
    if not says:
        test_converge.test_no_unit_failed_in_the_switch(ended, before(*failed), unwell, Shown())
        return
    with pytest.raises(AssertionError, match=says):
        test_converge.test_no_unit_failed_in_the_switch(ended, before(*failed), unwell, Shown())


def test_a_message_s_first_line_says_something_without_the_others() -> None:
    """The terminal and the report's first screen show it alone; what is quoted follows on lines of its own."""
    ended = replace(ENDED, status=4, log=NAMED)
    with pytest.raises(AssertionError) as raised:
        test_converge.test_no_unit_failed_in_the_switch(ended, before(), set(), Shown())
    first, _, quoted = str(raised.value).partition("\n")
    assert first == "a.service, b.service failed in the switch"
    assert "the switch reported:\n" in quoted


#

TARGET = load(TARGETS / "lab.toml", {})
SIZES = {
    **{f"{tool} {unit}": 10 for tool in ("systemctl", "journalctl") for unit in TARGET.contract_units},
    "ss sockets": 10,
    "journald line": 1,
}
PARTS = {
    **{f"{kind}/{unit}": "file" for kind in ("status", "journal") for unit in TARGET.contract_units},
    "sockets": "file",
    "journald": "file",
}


def test_a_journal_that_takes_no_line_fails() -> None:
    """Entries of old prove nothing, whether diagnostics were needed or only could have been."""
    for diagnosis in (emittable(TARGET, SIZES), emitted(TARGET, PARTS)):
        test_diagnostics.test_logs_are_emitted(diagnosis, Shown())
    silent = {name: size for name, size in SIZES.items() if name != "journald line"}
    stopped = {name: path for name, path in PARTS.items() if name != "journald"}
    for diagnosis in (emittable(TARGET, silent), emitted(TARGET, stopped)):
        with pytest.raises(AssertionError, match="did not come back"):
            test_diagnostics.test_logs_are_emitted(diagnosis, Shown())


def test_diagnostics_that_lack_something_fail() -> None:
    """A unit without a state or a journal, and sockets that nobody lists, fail by name."""
    unit = TARGET.contract_units[0]
    lacking = {
        f"status/{unit}": (test_diagnostics.test_unit_states_are_emitted, f"no state of {unit}"),
        f"journal/{unit}": (test_diagnostics.test_logs_are_emitted, f"no journal of {unit}"),
        "sockets": (test_diagnostics.test_sockets_are_emitted, "socket"),
    }
    for name, (check, says) in lacking.items():
        parts = {part: path for part, path in PARTS.items() if part != name}
        check(emitted(TARGET, PARTS), Shown())
        with pytest.raises(AssertionError, match=says):
            check(emitted(TARGET, parts), Shown())


def test_machines_and_containers_that_were_not_looked_at_fail() -> None:
    """Each endpoint that has one is owed a look; where there is none, the report says so."""
    looks = {
        "machine": (test_diagnostics.test_machines_are_looked_at, "there are no machines", "looked at"),
        "container": (test_diagnostics.test_containers_are_looked_into, "there are none", "looked into"),
    }
    for kind, (check, none, says) in looks.items():
        owed = Diagnosis(
            True,
            (),
            frozenset(),
            frozenset(),
            frozenset(),
            ("x", "y"),
            frozenset(),
            ("x", "y"),
            frozenset(),
            {},
            True,
        )
        show = Shown()
        check(replace(owed, machines=(), containers=()), show)
        assert show.expected == none
        check(replace(owed, seen=frozenset("xy"), entered=frozenset("xy")), show)
        assert show.expected == f"the {kind} of x, y"
        assert show.seen == "emitted: x, y"
        with pytest.raises(AssertionError, match=f"the {kind} of y was not {says}"):
            check(replace(owed, seen=frozenset("x"), entered=frozenset("x")), Shown())


def test_diagnosis_says_whether_it_was_needed() -> None:
    """What was emitted is told from what would have been, and nothing from both."""
    needed, possible = emitted(TARGET, {}), emittable(TARGET, {})
    assert needed.summary(frozenset()) == "emitted: nothing"
    assert possible.summary(frozenset({"b", "a"})) == "nothing failed; would have been emitted: a, b"
    parts = {"status/a.service": "1", "status": "2", "journal/a.service": "3"}
    assert emitted(TARGET, parts).evidence("status") == ["1", "2"]


BOXED = msgspec.structs.replace(
    TARGET,
    runtime={
        "box": Endpoint(units=("box.service",), container="box.service"),
        "vm": Endpoint(units=("vm.service",), machine=Machine(unit="vm.service")),
    },
)


def test_looks_are_counted_by_endpoint() -> None:
    """A part of a machine or a container names its endpoint before the last full stop, a source after its kind."""
    parts = {"machine/vm.x.txt": "1", "container/box.txt": "2"}
    told = emitted(BOXED, parts)
    assert (told.machines, told.seen) == (("vm",), frozenset({"vm.x"}))
    assert (told.containers, told.entered) == (("box",), frozenset({"box"}))
    could = emittable(BOXED, {"machine vm": 5, "container box": 0})
    assert (could.seen, could.entered) == (frozenset({"vm"}), frozenset())


def test_unit_without_a_journal_could_have_been_told_where_another_has_one() -> None:
    """A unit that has been silent for long has none left; where no unit has one, there is no journal."""
    could = emittable(TARGET, {"journalctl a.service": 9, "journalctl b.service": 0, "systemctl a.service": 0})
    assert could.logs == frozenset({"a.service", "b.service"})
    assert could.states == frozenset()
    silent = {"journalctl a.service": 0, "journalctl b.service": 0, "systemctl a.service": 9}
    assert emittable(TARGET, silent).logs == frozenset()
    assert emittable(TARGET, silent).states == frozenset({"a.service"})


def judged(raised: Exception | None, when: Literal["call", "setup"] = "call") -> tuple[Verdict, str]:
    def act() -> None:
        if raised:
            raise raised

    call = pytest.CallInfo.from_call(act, when=when)
    return judge_call(call, pytest.TestReport("x", ("x", 0, "x"), {}, "failed", "broken", when))


@pytest.mark.parametrize(
    ("raised", "verdict", "message"),
    [
        (None, Verdict.PASSED, ""),
        (AssertionError("x\nassert False"), Verdict.FAILED, "x"),
        (UsageError("x"), Verdict.FAILED, "x"),
        (Inconclusive("x"), Verdict.INCONCLUSIVE, "x"),
        (ValueError("x"), Verdict.INCONCLUSIVE, "the check itself broke: broken"),
    ],
)
def test_verdict_is_that_of_the_way_a_check_ended(raised: Exception | None, verdict: Verdict, message: str) -> None:
    """Only an assertion fails; a check that breaks proves nothing."""
    assert judged(raised) == (verdict, message)


def test_assertion_before_the_check_itself_proves_nothing() -> None:
    """A fixture that asserts has broken, and judged no host."""
    assert judged(AssertionError("x"), when="setup") == (Verdict.INCONCLUSIVE, "the check itself broke: broken")


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({}, (Verdict.INCONCLUSIVE, "skipped: x")),
        ({"other": "1"}, (Verdict.INCONCLUSIVE, "skipped: x")),
        ({"blocked_by": "1"}, (Verdict.BLOCKED, "x")),
        ({"other": "1", "blocked_by": "1"}, (Verdict.BLOCKED, "x")),
    ],
)
def test_skipped_check_is_blocked_only_by_another(properties: dict[str, str], expected: tuple[Verdict, str]) -> None:
    """A check that skips itself has found out nothing, and is no reason to trust what it left out."""
    call = pytest.CallInfo.from_call(lambda: pytest.skip("x"), when="call", reraise=None)
    report = pytest.TestReport("x", ("x", 0, "x"), {}, "skipped", None, "call", user_properties=[*properties.items()])
    assert judge_call(call, report) == expected


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (
            "assert False\n +  where False = <file /etc/motd>.exists\n +    where <file /etc/motd> = host.file",
            "assert False, where False = <file /etc/motd>.exists\n +    where <file /etc/motd> = host.file",
        ),
        ("there is no motd\nassert False\n +  where False = <file /etc/motd>.exists", "there is no motd"),
        ("assert 1 == 2", "assert 1 == 2"),
    ],
    ids=["plain", "with-words", "nothing-found-out"],
)
def test_first_line_of_a_plain_assert_says_what_was_compared(raised: str, message: str) -> None:
    """A terminal shows the first line alone, and “assert False” says nothing."""

    def fail() -> None:
        raise AssertionError(raised)

    call = pytest.CallInfo.from_call(fail, when="call")
    report = pytest.TestReport("x", ("x", 0, "x"), {}, "failed", None, "call")
    assert judge_call(call, report) == (Verdict.FAILED, message)
