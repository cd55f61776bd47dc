"""How a switch ended is told from what it left behind."""

from __future__ import annotations

import pytest

from deploy.convergence import Convergence, Ending

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
        (ended(status=0, stage="build"), Ending.UNKNOWN),
        (ended(status=1, stage="arm"), Ending.NOT_ARMED),
        (ended(status=0, stage="arm"), Ending.UNKNOWN),
        (ended(status=None), Ending.UNKNOWN),
        (ended(finished=False), Ending.UNKNOWN),
        (ended(finished=False, status=None), Ending.UNKNOWN),
        (ended(finished=False, status=None, unit=LOST + "timeout"), Ending.STOPPED),
        (ended(finished=False, status=None, unit=LOST + "signal"), Ending.STOPPED),
        (ended(finished=False, status=None, unit=LOST + "success"), Ending.UNKNOWN),
    ],
)
def test_each_end_has_its_meaning(convergence: Convergence, ending: Ending) -> None:
    """Stage, exit status, journal and systemd's word together say how a switch ended."""
    assert convergence.ending is ending
    assert convergence.activated == (ending in {Ending.DONE, Ending.UNITS_FAILED})


@pytest.mark.parametrize("status", [None, *range(256)])
def test_build_never_activates(status: int | None) -> None:
    """A job that got no further than building, or never wrote down a result, has activated nothing."""
    assert not ended(status=status, stage="build").activated
    assert not ended(status=status, finished=False).activated


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
    words = ended(log=log).words.splitlines()
    assert (words[0], words[-1], len(words)) == (first, last, count)


def test_silent_job_has_no_words() -> None:
    """An empty log, or one that ends with a stage's beginning, gives no words."""
    assert ended().words == ""
    assert ended(log="--- build\nx\n--- switch\n").words == ""


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
    ("stage", "touched"), [("", False), ("build", False), ("arm", False), ("switch", True), ("rollback", True)]
)
def test_host_is_touched_from_the_switch_on(stage: str, touched: bool) -> None:
    """What is built and armed is not yet what runs; from the switch on the host counts as touched."""
    assert ended(stage=stage).touched is touched
