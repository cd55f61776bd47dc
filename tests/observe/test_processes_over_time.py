"""Which processes outlived a switch, which stayed the same over the soak, and which command failed."""

from __future__ import annotations

import pytest

from switchproof.deploy.host.frame import FrameError
from switchproof.deploy.observe.observation import Observation, read_observation
from tests.answers import HYPERVISOR, LIVE, SHA, frame, presence, unit_show


def observed(**parts: str) -> Observation:
    return read_observation(frame({name.replace("__", "."): text for name, text in parts.items()}))


@pytest.mark.parametrize(
    ("process", "unit", "activated", "outlived"),
    [
        ("10", 20.0, "1000 15", True),
        ("10", 15.01, "1000 12", True),
        ("10", 15.0, "1000 12", False),
        ("10", 14.5, "1000 12", False),
        ("12", 20.0, "1000 12", False),
        ("12", 20.0, "1000 12.01", True),
        ("10", 20.0, "1000", True),
        ("10", 20.0, "", True),
        ("10", 0.0, "1000 15", False),
        ("", 20.0, "1000 15", False),
    ],
)
def test_process_outlived_a_restart_if_it_is_older_than_both(
    process: str, unit: float, activated: str, outlived: bool
) -> None:
    """It began before the system was activated, if that is known, and more than five seconds before its unit did."""
    seen = observed(
        processes=f"{HYPERVISOR} 77 /bin/x \nstranger.service 77 /bin/x \n",
        processes__began=f"77 {process}00\n" if process else "",
        units__show=unit_show(HYPERVISOR, InactiveExitTimestampMonotonic=f"{unit * 1e6:.0f}"),
        system__clock="1000",
        system__activated=activated,
    )
    assert [one.unit for one in seen.survivors] == ([HYPERVISOR] if outlived else [])


def test_main_process_of_a_unit_began_with_it() -> None:
    """Whatever the clocks say, the process that systemd started last is none of before."""
    seen = observed(
        processes=f"{HYPERVISOR} 410 /bin/x \n",
        processes__began="410 1000\n",
        units__show=unit_show(HYPERVISOR, InactiveExitTimestampMonotonic="2000000000000"),
    )
    assert seen.survivors == []
    assert seen.units[HYPERVISOR].began_s == 2_000_000.0


def command(key: str, path: str, end: str) -> str:
    times = "start_time=[n/a] ; stop_time=[n/a] ; pid=1"
    return f"{key}={{ path={path} ; argv[]={path} -x ; ignore_errors=no ; {times} ; {end} }}\n"


FINE = command("ExecStartPre", "/bin/a", "code=exited ; status=0")
BAD = command("ExecStart", "/bin/b", "code=exited ; status=1")
KILLED = command("ExecStart", "/bin/c", "code=killed ; status=9/KILL")
NAMELESS = command("ExecStart", "/bin/d", "code=dumped ; status=0")


@pytest.mark.parametrize(
    ("commands", "said"),
    [
        ("", ""),
        (f"Id={HYPERVISOR}\n{FINE}", ""),
        (f"Id={HYPERVISOR}\n{FINE}{BAD}{KILLED}", ": ExecStart=/bin/b ended with status 1"),
        (f"Id={HYPERVISOR}\n{KILLED}{BAD}", ": ExecStart=/bin/c was killed by KILL"),
        (f"Id={HYPERVISOR}\n{NAMELESS}", ": ExecStart=/bin/d was killed by 0"),
        (f"Id=x.service\n{BAD}\nId={HYPERVISOR}\n{KILLED}", ": ExecStart=/bin/c was killed by KILL"),
        (BAD, ""),
    ],
)
def test_first_command_that_failed_is_told(commands: str, said: str) -> None:
    """Of a unit's commands the first that did not end with status 0, and of nobody else's."""
    assert observed(units__commands=commands).units[HYPERVISOR].failed_command == said


UP = {"vm": "active running 420 bbbb 0", "socat": "active running 430 cccc 0"}
STARTING = UP | {"vm": "activating start 0 - 0"}
OTHER = UP | {"vm": "active running 421 dddd 1"}


@pytest.mark.parametrize(
    ("row", "kept"),
    [
        ((UP,), True),
        ((STARTING, UP), True),
        (({"vm": UP["vm"]}, UP), True),
        ((STARTING, UP, OTHER), False),
        ((STARTING, OTHER, UP), False),
        ((UP, STARTING), False),
        ((STARTING,), False),
        ((UP, {"vm": UP["vm"]}), False),
        ((), False),
    ],
)
def test_identity_counts_from_when_all_units_were_active(row: tuple[dict[str, str], ...], kept: bool) -> None:
    """What started while the first answers came may become the process that lasts; after that none may change."""
    seen = observed(watch__units="".join(presence(100.25 + n / 2, **units) for n, units in enumerate(row)))
    assert seen.streak(seen.answers["live"], LIVE).identity_kept is kept


def test_soak_is_told_to_the_millisecond() -> None:
    """The soak lasts from the first of the last good answers to the end of the watch."""
    seen = observed(watch__ended="103.50055")
    assert seen.streak(seen.answers["live"], LIVE).seconds == 3.251


def test_bodies_must_be_whole() -> None:
    """Bytes that are no base64, or fewer than the list says, are no bodies."""
    for parts in ({"watch__body-bytes": "!!!!"}, {"watch__bodies": "live 0 9999\n"}, {"watch__bodies": "live 0 x\n"}):
        with pytest.raises(FrameError):
            observed(**parts)


@pytest.mark.parametrize(
    ("reported", "noted", "named", "agrees"),
    [
        (SHA, SHA, SHA, True),
        (SHA[:7], SHA, SHA[:7], True),
        (f"{SHA[:7]}-dirty", SHA, f"{SHA[:7]}-dirty", True),
        ("f" * 7, SHA, "f" * 7, False),
        ("", SHA, SHA, True),
        ("dirty", SHA, SHA, True),
        (SHA, "", SHA, True),
        ("", "", None, True),
    ],
)
def test_system_that_names_its_commit_is_held_against_the_note(
    reported: str, noted: str, named: str | None, agrees: bool
) -> None:
    """The commit that the system reports goes before the one that the host noted; only two commits can contradict."""
    system = observed(system__revision=reported, system__built_from=noted).system
    assert (system.named_commit, system.has_consistent_commit) == (named, agrees)
