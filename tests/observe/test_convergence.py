"""How a switch ended is told from what it left behind."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from switchproof.deploy.observe.convergence import Convergence, Ending

LOST = "LoadState=loaded\nActiveState=failed\nResult="


def ended(
    *,
    finished: bool = True,
    status: int | None = 0,
    stage: str = "switch",
    unit: str = "",
    journal: str = "",
    log: str = "",
) -> Convergence:
    return Convergence(finished, status, stage, "/nix/store/x", unit, journal, log, "evidence/a/converge.log")


def failed_with(status: int) -> str:
    return f"switching to system configuration /nix/store/x failed (status {status})\n"


@pytest.mark.parametrize(
    ("convergence", "ending"),
    [
        (ended(), Ending.DONE),
        (ended(stage="rollback"), Ending.DONE),
        (ended(status=4), Ending.UNITS_FAILED),
        (ended(status=2), Ending.ACTIVATION_FAILED),
        (ended(status=11), Ending.LOCK_HELD),
        (ended(status=100), Ending.REBOOT_NEEDED),
        (ended(status=1), Ending.REFUSED),
        (ended(status=3), Ending.REFUSED),
        (ended(status=128), Ending.REFUSED),
        (ended(status=129), Ending.STOPPED),
        (ended(status=137), Ending.STOPPED),
        (ended(status=143), Ending.STOPPED),
        (ended(status=1, journal=failed_with(4)), Ending.UNITS_FAILED),
        (ended(status=1, journal=failed_with(4) + failed_with(2)), Ending.ACTIVATION_FAILED),
        (ended(status=1, journal=failed_with(7)), Ending.REFUSED),
        (ended(status=2, journal=failed_with(4)), Ending.ACTIVATION_FAILED),
        (ended(status=0, journal=failed_with(2)), Ending.DONE),
        (ended(status=1, stage="build", log="--- build\nerror: attribute 'x' missing"), Ending.EVALUATION_FAILED),
        (
            ended(status=1, stage="build", log="--- build\nerror: builder for '/nix/store/x.drv' failed"),
            Ending.BUILD_FAILED,
        ),
        (ended(status=100, stage="build", log="error: hash mismatch in fixed-output"), Ending.BUILD_FAILED),
        (ended(status=4, stage="build"), Ending.EVALUATION_FAILED),
        (
            ended(status=1, stage="build", log="--- build\nerror: writing to file: No space left on device"),
            Ending.DISK_FULL,
        ),
        (ended(status=0, stage="build"), Ending.UNKNOWN),
        (ended(status=1, stage="specialisation"), Ending.NO_SPECIALISATION),
        (ended(status=1, stage="secrets"), Ending.SECRETS_LOCKED),
        (ended(status=1, stage="arm"), Ending.NOT_ARMED),
        (ended(status=0, stage="arm"), Ending.UNKNOWN),
        (ended(status=None), Ending.UNKNOWN),
        (ended(finished=False), Ending.UNKNOWN),
        (ended(finished=False, status=None), Ending.UNKNOWN),
        (ended(finished=False, status=None, unit=LOST + "timeout"), Ending.TIMED_OUT),
        (ended(finished=False, status=None, unit=LOST + "signal"), Ending.STOPPED),
        (ended(finished=False, status=None, unit=LOST + "success"), Ending.UNKNOWN),
    ],
)
def test_each_end_has_its_meaning(convergence: Convergence, ending: Ending) -> None:
    """Stage, exit status, journal and systemd's word together say how a switch ended."""
    assert convergence.ending is ending
    assert convergence.activated == (ending in {Ending.DONE, Ending.UNITS_FAILED})


def test_specialisation_that_is_missing_touches_nothing() -> None:
    """It is looked for before anything is switched."""
    assert not ended(status=1, stage="specialisation").touched


@pytest.mark.parametrize(
    ("profile", "boots"),
    [("", ("/nix/store/x",)), ("/nix/store/x", ("/nix/store/x",)), ("/p", ("/p", "/nix/store/x"))],
)
def test_profile_s_system_boots_before_its_specialisation(profile: str, boots: tuple[str, ...]) -> None:
    """Where both are the same, or an older host names no profile, it is what runs."""
    assert replace(ended(), profile=profile).boots == boots


def test_build_never_activates() -> None:
    """A job that got no further than building, or never wrote down a result, has activated nothing."""
    for status in (None, *range(256)):
        assert not ended(status=status, stage="build").activated, status
        assert not ended(status=status, finished=False).activated, status


LONG = "".join(f"line {number}\n" for number in range(40))


@pytest.mark.parametrize(
    ("log", "first", "last", "count"),
    [
        (LONG, "line 25", "line 39", 15),
        (f"--- build\nerror: old\n--- switch\n{LONG}", "line 25", "line 39", 15),
        (f"--- switch\n{LONG}error: it broke\n{LONG}", "line 35", "line 13", 20),
        ("--- switch\nfailed to start\nFailed twice\n", "failed to start", "Failed twice", 2),
        ("Could not stat\n\n\n", "Could not stat", "Could not stat", 1),
        ("terror and unfailedness\n", "terror and unfailedness", "terror and unfailedness", 1),
    ],
)
def test_host_s_own_words_are_around_the_first_error(log: str, first: str, last: str, count: int) -> None:
    """The words are a few lines around the last stage's first error, or the last lines if there is none."""
    words = ended(log=log).excerpt.splitlines()
    assert (words[0], words[-1], len(words)) == (first, last, count)


def test_silent_job_has_no_words() -> None:
    """An empty log, or one that ends with a stage's beginning, gives no words."""
    assert ended().excerpt == ""
    assert ended(log="--- build\nx\n--- switch\n").excerpt == ""


def test_units_that_were_left_alone_are_told() -> None:
    """What switch-to-configuration says it did not restart is told, line by line."""
    log = "NOT restarting the following changed units: a.service\nrestarting b\nNOT restarting c.service\n"
    assert ended(log=log).left_alone.splitlines() == log.splitlines()[::2]
    assert ended(log="x NOT restarting").left_alone == ""


def test_meanings_are_written_for_a_reader() -> None:
    """Every ending says in its own words what became of the host."""
    assert len({ending.value for ending in Ending}) == len(Ending)
    assert all(len(ending.value.split()) > 3 for ending in Ending)


@pytest.mark.parametrize(
    ("stage", "touched"),
    [("", False), ("build", False), ("secrets", False), ("arm", False), ("switch", True), ("rollback", True)],
)
def test_host_is_touched_from_the_switch_on(stage: str, touched: bool) -> None:
    """What is built and armed is not yet what runs; from the switch on the host counts as touched."""
    assert ended(stage=stage).touched is touched


INHIBITED = (
    "There are changes to critical components of the system:\n\ndbus-implementation\n\nPre-switch checks failed\n"
)


@pytest.mark.parametrize(
    ("status", "stage", "log", "ending"),
    [
        (1, "switch", f"--- switch\n{INHIBITED}", Ending.REBOOT_NEEDED),
        (1, "switch", "--- switch\njournal: Switch inhibitors: systemd\n", Ending.REBOOT_NEEDED),
        (1, "switch", f"{INHIBITED}--- switch\nPre-switch checks failed\n", Ending.REFUSED),
        (1, "rollback", "--- rollback\nPre-switch checks failed\n", Ending.NOT_RESTORED),
        (125, "switch", "--- switch\n", Ending.UNKNOWN),
    ],
)
def test_what_the_switch_refused_is_told_by_its_words(status: int, stage: str, log: str, ending: Ending) -> None:
    """A change that needs a reboot is named as that, and a rollback does not blame a program that it never called."""
    assert ended(status=status, stage=stage, log=log).ending is ending


@pytest.mark.parametrize(
    ("log", "units"),
    [
        ("--- switch\nFailed to reload hypervisor.service\n", {"hypervisor.service"}),
        ("--- switch\nwarning: the following units failed: a.service, b@c.service\n", {"a.service", "b@c.service"}),
        ("--- switch\njournal: warning: the following user units failed: a.service\n", {"a.service"}),
        ("--- switch\nJob for x.service failed because the control process exited\n", {"x.service"}),
        ("--- build\nFailed to start a.service\n--- switch\nstarting the following units: b.service\n", set()),
        ("--- switch\nFailed to restart b.service.\nFailed to start c.timer:\n", {"b.service", "c.timer"}),
        ("--- switch\nFailed to run activate script\n", set()),
    ],
)
def test_units_that_the_switch_names_are_known(log: str, units: set[str]) -> None:
    """Units are read from every form in which a switch names them, in its last stage alone."""
    assert ended(log=log, status=4).failed_units == units


RESULT = "--- the switch ended with status 100 (told by systemd's record of its unit; nixos-rebuild returned 1)"


def test_words_reach_up_to_where_the_job_marks_the_end() -> None:
    """Whatever a version of nixos-rebuild prints or not, the lines before the job's own mark are among the words."""
    said = "Warning: the new NixOS configuration has an init that is\nincompatible with the current configuration.\n"
    log = f"--- switch\n{LONG}{said}{RESULT}\njournal: Main process exited, code=exited, status=100/n/a\nFailed\n"
    assert said.strip() in ended(log=log).excerpt
    assert ended(log=log).excerpt.endswith(RESULT)
    log = f"--- switch\nerror: early\n{LONG}{said}{RESULT}\njournal: x\n"
    words = ended(log=log).excerpt
    assert words.startswith("error: early")
    assert "[…]" in words
    assert words.endswith(RESULT)
    assert said.strip() in words


def test_host_that_was_set_back_at_once_is_not_touched() -> None:
    """A refused switch whose profile and boot default were set back has left the host as it was."""
    refused = Convergence(True, 100, "switch", "/nix/store/x", "", "", "", "", restored=True)
    assert not refused.touched
    assert not refused.activated
