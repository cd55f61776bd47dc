"""What the bridge installed is held against what stands there and what units run; what is in doubt is said to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from switchproof.deploy.errors import UsageError
from switchproof.deploy.host.program import bridge, path_variable
from switchproof.deploy.observe.bridge import Installation, Installed, read_installed, read_realised
from switchproof.deploy.observe.convergence import Convergence, Ending
from switchproof.deploy.observe.observation import read_observation
from switchproof.deploy.providers import load
from switchproof.deploy.target.types import BridgedProgram
from tests.answers import HYPERVISOR, TOPLEVEL, frame

NEW, OLD = f"/nix/store/{'a' * 32}-hypervisor-v2", f"/nix/store/{'b' * 32}-hypervisor-v1"
AT = "/opt/choiros/bin/hypervisor"
PROGRAM = BridgedProgram(file="bin/hypervisor", at=AT, units=(HYPERVISOR,))
ABSENT = Installed("absent", "", "")
LAB = Path(__file__).parents[2] / "deploy" / "targets" / "lab-aws.toml"


@dataclass(frozen=True)
class Process:
    """A process that runs from what was installed, or from nothing of it."""

    unit: str
    installed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Host:
    """What a check has to judge."""

    seen: Installed
    wanted: str = ""
    before: Installed | None = None
    running: tuple[str, ...] = field(default=(NEW,))
    up: bool = True

    @property
    def installation(self) -> Installation:
        """As it should be and as it is."""
        wanted = {"hypervisor": self.wanted} if self.wanted else {}
        before = {"hypervisor": self.before} if self.before else None
        return Installation({"hypervisor": PROGRAM}, wanted, before, {"hypervisor": self.seen})

    @property
    def problems(self) -> str:
        """What is wrong."""
        processes = [Process(HYPERVISOR, self.running), Process("other.service")]
        return "; ".join(self.installation.problems(processes, {HYPERVISOR} if self.up else set()))

    @property
    def doubts(self) -> str:
        """What is in doubt."""
        return "; ".join(self.installation.doubts([Process(HYPERVISOR, self.running)]))


def link(path: str, belongs: str = "", file: str = "bin/hypervisor") -> Installed:
    """A link to a program of a store path."""
    return Installed("store", f"{path}/{file}", belongs)


GOOD = {
    "installed and run": Host(link(NEW, NEW), wanted=NEW),
    "nothing given, nothing there": Host(ABSENT, running=()),
    "nothing given, what belongs is run": Host(link(NEW, NEW)),
    "nothing given, and nobody runs what is there": Host(link(OLD), running=()),
    "nothing given, a file that nobody of the store runs": Host(Installed("other", "", ""), running=()),
    "its unit is not up, which another clause says": Host(link(NEW, NEW), wanted=NEW, running=(), up=False),
    "back at the very link": Host(link(OLD), before=link(OLD, OLD), running=(OLD,)),
    "back at nothing": Host(ABSENT, before=ABSENT, running=()),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_as_it_should_be_passes(name: str) -> None:
    """Nothing is wrong or in doubt."""
    assert (GOOD[name].problems, GOOD[name].doubts) == ("", "")


BAD = {
    "not installed": (Host(ABSENT, wanted=NEW), f"{AT} leads to nothing instead of {NEW}/bin/hypervisor"),
    "another one": (Host(link(OLD, OLD), wanted=NEW), f"leads to {OLD}/bin/hypervisor instead of {NEW}"),
    "another program of it": (Host(link(NEW, NEW, "bin/x"), wanted=NEW), f"leads to {NEW}/bin/x instead of"),
    "collected": (Host(Installed("gone", f"{NEW}/bin/hypervisor", NEW), wanted=NEW), "which is not there"),
    "a copy": (Host(Installed("other", "", NEW), wanted=NEW), "leads to no link into the store"),
    "an old process": (Host(link(NEW, NEW), wanted=NEW, running=()), f"{HYPERVISOR} does not run {NEW}"),
    "changed by hand": (Host(link(NEW, OLD)), f"units run {NEW}, but {OLD} was installed with this system"),
    "not back": (Host(link(NEW, NEW), before=link(OLD, OLD)), f"but before the deploy it was {OLD}/bin/hypervisor"),
    "not taken away": (Host(link(NEW, NEW), before=ABSENT), "but before the deploy it was nothing"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_told(name: str) -> None:
    """The program is named, what stands there, and what should."""
    host, words = BAD[name]
    assert host.problems.startswith("hypervisor: ")
    assert words in host.problems


def test_a_program_of_unknown_release_is_in_doubt() -> None:
    """Units that run what nobody knows to belong to the running system are neither good nor bad."""
    host = Host(link(OLD), running=(OLD,))
    assert host.problems == ""
    assert host.doubts.startswith(f"hypervisor: units run {OLD}, but it is unknown whether it belongs to this system")


def test_what_the_host_did_not_say_is_wrong() -> None:
    """A program that the host said nothing of does not pass."""
    problems = Installation({"hypervisor": PROGRAM}, {}, None, {}).problems([], set())
    assert problems == [f"hypervisor: the host did not report what is installed as {AT}"]


def test_what_should_be_and_what_is_are_told() -> None:
    """A reader sees each program with its store path, that the earlier ones should be back, or that none is due."""
    host = Host(link(OLD), wanted=NEW).installation
    assert (host.expected_text, host.seen_text) == (f"hypervisor: {NEW}", f"hypervisor: {OLD}/bin/hypervisor")
    assert Host(link(OLD), before=link(OLD)).installation.expected_text == "what was there before"
    nothing = Installation({}, {}, None, {})
    assert (nothing.expected_text, nothing.seen_text) == ("nothing that is in doubt", "the target file has no bridge")


def test_an_observation_holds_what_is_installed_and_run() -> None:
    """What stands where programs are installed, and which of them each process runs from, are read from an answer."""
    stray = f"/nix/store/{'c' * 32}-old"
    seen = read_observation(
        frame(
            {
                "system.installed": f"hypervisor\x1fstore\x1f{NEW}/bin/hypervisor\x1f{NEW}\n"
                "sandbox\x1fabsent\x1f\x1f",
                "processes": f"{HYPERVISOR} 410 {NEW}/bin/hypervisor ={NEW} {stray}\nother.service 5 {TOPLEVEL}/x \n",
            }
        )
    )
    assert seen.system.installed == {"hypervisor": link(NEW, NEW), "sandbox": ABSENT}
    assert seen.processes is not None
    assert [(one.strays, one.installed) for one in seen.processes] == [((stray,), (NEW,)), ((), ())]
    assert seen.system.installed["hypervisor"].root == NEW


@pytest.mark.parametrize("line", ["hypervisor", "hypervisor\x1fthere\x1f\x1f", "a\x1fstore\x1f/nix\x1f\x1fmore"])
def test_what_cannot_be_read_is_no_answer(line: str) -> None:
    """A line of another form is an error, never a program that is missing."""
    with pytest.raises(ValueError):  # noqa: PT011 - whichever it is, the caller takes it for a frame of no use
        read_installed(line)


def test_realised_paths_are_read() -> None:
    """Which path each program became is a line each."""
    assert read_realised(f"sandbox\x1f{NEW}\ndesktop\x1f{OLD}\n") == {"sandbox": NEW, "desktop": OLD}
    assert read_realised("") == {}


@pytest.mark.parametrize(
    ("stage", "ending", "touched"),
    [("realise", Ending.NOT_REALISED, False), ("install", Ending.NOT_INSTALLED, True)],
)
def test_a_bridge_that_fails_has_an_ending_of_its_own(stage: str, ending: Ending, touched: bool) -> None:
    """What cannot be realised leaves the host untouched; what cannot be installed may not."""
    log = f"--- build\nfine\n--- {stage}\nerror: sandbox: {NEW} cannot be realised on this host"
    ended = Convergence(
        finished=True, status=1, stage=stage, expected=TOPLEVEL, unit="", journal="", log=log, log_path=""
    )
    assert (ended.ending, ended.touched) == (ending, touched)
    assert ended.excerpt.startswith(f"error: sandbox: {NEW}")


def test_a_table_says_what_the_script_reads() -> None:
    """Name, file, place, units and flake of a program stand in one line, the store path in a variable of its name."""
    assert bridge({"hypervisor": PROGRAM}) == f"hypervisor\x1fbin/hypervisor\x1f{AT}\x1f{HYPERVISOR}\x1f"
    assert path_variable("sandbox") == "SANDBOX_STORE_PATH"
    assert path_variable("live-proxy") == "LIVE_PROXY_STORE_PATH"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            'at = "/opt/choiros/bin/sandbox"',
            'at = "/opt/choiros/bin/hypervisor"',
            "is already used by sandbox",
        ),
        (
            'units = ["hypervisor.service"]\nbuild',
            'units = ["x.service"]\nbuild',
            "x.service is not a unit of the contract",
        ),
        ('file = "bin/sandbox"', 'file = "../sandbox"', "bridge.programs.sandbox.file: "),
        ('at = "/opt/choiros/bin/sandbox"', 'at = "opt/sandbox"', "bridge.programs.sandbox.at: "),
    ],
)
def test_a_bad_table_is_refused(tmp_path: Path, old: str, new: str, problem: str) -> None:
    """An error names the key of the bridge that is wrong."""
    text = LAB.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path = tmp_path / "targets.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(UsageError) as refused:
        load(path, {})
    assert problem in str(refused.value)
