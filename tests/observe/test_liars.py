"""What a host would have to do to look healthy and not be: each is tried on what it answers, and fails."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from switchproof.checks import endpoints, test_converge
from switchproof.checks.fixtures import Shown
from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.host.frame import FrameError
from switchproof.deploy.observe.health import EndpointSeen
from switchproof.deploy.observe.observation import Observation, read_observation
from switchproof.deploy.target.types import Endpoint, Health, JsonValue
from tests.answers import HYPERVISOR, LIVE, SHA, TOPLEVEL, frame, unit_show

CHECKS = endpoints.EndpointChecks()
WANT: dict[str, JsonValue] = {"status": "healthy", "instance_role": "live"}
UNITS = (HYPERVISOR, *LIVE)


def observed(**changes: str | None) -> Observation:
    return read_observation(frame({name.replace("__", "."): text for name, text in changes.items()}))


def live(seen: Observation, exposure: str | None = None) -> EndpointSeen:
    want = Endpoint(
        units=LIVE,
        listen="127.0.0.1:8080",
        url="http://127.0.0.1:8080/health",
        json=WANT,
        exposure=exposure,  # type: ignore[arg-type]
    )
    return EndpointSeen("live", want, Health(answers=1, soak_s=0.0), seen)


def shown(**changes: str) -> str:
    """Every unit, the forward with other values."""
    return "\n".join(unit_show(name, **(changes if name == LIVE[1] else {})) for name in (HYPERVISOR, *LIVE))


def origins(path: str, file: str, of_system: str) -> str:
    return f"{LIVE[1]} {path} {file} {of_system}\n"


# Where a unit's definition comes from.

DROP_IN = f"/etc/systemd/system.control/{LIVE[1]}.d/50-Environment.conf"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"units__origins": origins(DROP_IN, DROP_IN, f"{TOPLEVEL}/etc/x")}, f"{LIVE[1]} is defined by {DROP_IN}"),
        (
            {
                "units__origins": origins(
                    "/etc/systemd/system/x.conf", "/nix/store/old/x.conf", "/nix/store/new/x.conf"
                )
            },
            "is defined by /etc/systemd/system/x.conf",
        ),
        ({"units__show": shown(LoadState="masked")}, f"{LIVE[1]} runs, but its load state is masked"),
        ({"units__show": shown(LoadState="")}, "runs, but its load state is unknown"),
        ({"units__show": shown(NeedDaemonReload="yes")}, "systemd has not loaded the current files"),
    ],
)
def test_unit_that_the_running_system_does_not_define_fails(changes: Mapping[str, str], said: str) -> None:
    """A drop-in, a mask, another system's file or one that systemd has not read yet is told by unit and path."""
    with pytest.raises(AssertionError, match=said.replace("/", "\\/")):
        test_converge.test_unit_definitions_are_those_of_the_running_system(observed(**changes), set(), (), Shown())


def test_unit_files_that_are_named_may_be_there() -> None:
    """A folder or file that the target file names may define units; one whose name only begins alike may not."""
    seen = observed(units__origins=origins("/run/systemd/system/x.d/a.conf", "/run/x", "/nix/store/x"))
    for named in ("/run/systemd/system", "/run/systemd/system/", "/run/systemd/system/x.d/a.conf"):
        test_converge.test_unit_definitions_are_those_of_the_running_system(seen, set(), (named,), Shown())
    for named in ("/run/systemd/sys", "/run/systemd/system/x.d/a"):
        with pytest.raises(AssertionError):
            test_converge.test_unit_definitions_are_those_of_the_running_system(seen, set(), (named,), Shown())


def test_container_s_unit_defined_at_run_time_fails() -> None:
    """Inside a container what was put below /run/systemd is no part of its system."""
    shows = shown() + "\n" + unit_show("box/app.service", DropInPaths="/run/systemd/system/app.service.d/x.conf")
    with pytest.raises(AssertionError, match=r"box/app.service is defined by /run/systemd"):
        test_converge.test_unit_definitions_are_those_of_the_running_system(
            observed(units__show=shows), set(), (), Shown()
        )


# Processes.


@pytest.mark.parametrize(
    ("began", "fails"),
    [("40000", True), ("49500", True), ("49800", False), ("50000", False), ("70000", False), ("", False)],
)
def test_process_of_an_earlier_start_fails(began: str, fails: bool) -> None:
    """A process that outlived its unit's restart is of the earlier release, though its program is in both."""
    seen = observed(
        units__show=shown(InactiveExitTimestampMonotonic="500300000"),
        processes="".join(
            f"{unit} {pid} {TOPLEVEL}/bin/x \n" for unit, pid in zip(UNITS, (410, 4, 430), strict=True)
        ),
        processes__began=f"430 {began}\n" if began else "",
        system__activated="1763909900.12 600.00 1.00",
        system__clock="1763910000.12",
    )
    assert seen.activated_s == pytest.approx(500.0)
    assert [process.pid for process in seen.survivors] == ([430] if fails else [])
    if not fails:
        test_converge.test_processes_run_from_the_running_system(seen, set(), Shown())
        CHECKS.test_its_port_is_its_own(live(seen), Shown())
        return
    with pytest.raises(AssertionError, match="left over from before the unit was last started"):
        test_converge.test_processes_run_from_the_running_system(seen, set(), Shown())
    with pytest.raises(AssertionError, match="process 430 is left over"):
        CHECKS.test_its_port_is_its_own(live(seen), Shown())


def test_process_of_a_deleted_file_fails() -> None:
    """The path in the kernel's words is the running system's, but the file is gone: what runs is anybody's."""
    seen = observed(processes="".join(f"{unit} 1 {TOPLEVEL}/bin/x_(deleted) \n" for unit in (HYPERVISOR, *LIVE)))
    with pytest.raises(AssertionError, match="runs a file that was deleted"):
        test_converge.test_processes_run_from_the_running_system(seen, set(), Shown())


def test_nix_that_does_not_tell_of_the_closure_is_quoted() -> None:
    """Where nix's daemon refuses, its own words are told, and what helps with that."""
    seen = observed(processes=None, processes__problem="error: cannot connect to socket: Connection refused")
    with pytest.raises(Inconclusive, match="nix reported: error: cannot connect to socket") as refused:
        test_converge.test_processes_run_from_the_running_system(seen, set(), Shown())
    assert "nix-daemon" in refused.value.remedy


# The commit.


@pytest.mark.parametrize(
    ("revision", "built_from", "agrees"),
    [
        (SHA, SHA, True),
        (SHA[:7], SHA, True),
        ("", SHA, True),
        (SHA, "", True),
        ("f" * 40, SHA, False),
        ("fffffff", SHA, False),
    ],
)
def test_system_that_names_another_commit_fails(revision: str, built_from: str, agrees: bool) -> None:
    """What the flake writes into the system is held against what the host noted when it built it, in audits too."""
    seen = observed(system__revision=revision, system__built_from=built_from)
    if agrees:
        test_converge.test_the_system_is_of_the_commit(seen, None, "", Shown())
        return
    with pytest.raises(AssertionError, match="but this host built it from"):
        test_converge.test_the_system_is_of_the_commit(seen, None, "", Shown())


# Who listens.


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (f"0.0.0.0:8080 430 {LIVE[1]}\n", "open to others: 0.0.0.0:8080 by"),
        (f"*:8080 430 {LIVE[1]}\n", "open to others"),
        (f"127.0.0.1:8080 430 {LIVE[1]}\n[::]:8080 430 {LIVE[1]}\n", r"open to others: \[::\]:8080"),
        (f"127.0.0.1:8080 430 {LIVE[1]}\n10.0.0.1:8080 430 {LIVE[1]}\n", "open to others: 10.0.0.1:8080"),
        (f"127.0.0.1:8080 430 {LIVE[1]}\n127.0.0.1:8080 9 /user.slice/x/{LIVE[1]}\n", "not only by"),
        (f"127.0.0.1:8080 430 /user.slice/user@0.service/{LIVE[1]}\n", "not only by"),
        (f"127.0.0.1:8088 430 {LIVE[1]}\n", "it listens on 127.0.0.1:8088 instead"),
        ("", "nobody listens"),
    ],
)
def test_port_that_is_not_the_unit_s_own_fails(rows: str, said: str) -> None:
    """Strangers, units of users with the same name and sockets that the world reaches are told by address."""
    with pytest.raises(AssertionError, match=said):
        CHECKS.test_its_port_is_its_own(live(observed(listeners=rows)), Shown())


@pytest.mark.parametrize(
    ("rows", "exposure"),
    [
        (f"127.0.0.1:8080 430 {LIVE[1]}\n", None),
        (f"*%lo:8080 430 {LIVE[1]}\n", None),
        (f"127.0.0.1:8080 430 {LIVE[1]}\n10.0.0.1:8080 9 /system.slice/other.service\n", None),
        (f"127.0.0.1:8080 430 {LIVE[1]}\n10.0.0.1:80 430 {LIVE[1]}\n", None),
        (f"*:8080 430 {LIVE[1]}\n", "any"),
    ],
)
def test_port_that_is_the_unit_s_own_passes(rows: str, exposure: str | None) -> None:
    """A socket on loopback passes, and one that others reach where the target file says so."""
    CHECKS.test_its_port_is_its_own(live(observed(listeners=rows), exposure), Shown())


def test_silence_is_no_answer() -> None:
    """Where ss or systemctl gave no answer, nothing is concluded from an empty list."""
    with pytest.raises(Inconclusive, match="ss failed 5 times"):
        CHECKS.test_its_port_is_its_own(live(observed(listeners="", sockets__problem="ss failed 5 times")), Shown())
    with pytest.raises(FrameError, match="systemctl did not answer"):
        observed(units__problem="systemctl did not answer")
