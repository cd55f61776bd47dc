"""A host that the run loses in a switch is judged by how its switch ended, whenever it tells that."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from switchproof.checks import test_converge
from switchproof.checks.fixtures import Shown
from switchproof.deploy.connection import Completed, ConnectionFacts, ConnectionLost, Program, Question, Unreachable
from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.host.patience import Patience
from switchproof.deploy.observe.convergence import Convergence, Ending
from switchproof.deploy.observe.observation import Observation, read_observation
from switchproof.deploy.observe.revision import Resolution
from switchproof.deploy.plan import Mode, Plan
from switchproof.deploy.providers import load
from switchproof.deploy.record.journal import Journal
from switchproof.deploy.redact.redactor import Redactor
from switchproof.deploy.run.journey import Journey
from switchproof.deploy.run.results import Before
from tests.answers import SECTIONS, TOPLEVEL, frame, packed, payload

OLD, NEW = "1" * 40, "2" * 40
WORDS = "--- switch\nwarning: the following units failed: agent.service\n--- the switch ended with 4\n"
WENT_BACK = "run r-1\nat 2026-11-24T01:02:03Z\nwhy not confirmed within 30 s\nfrom /n\nto /o\nrc 0\nowner me@here\n"
STATUS: Mapping[str, str] = {
    "state": "finished",
    "rc": "4",
    "stage": "switch",
    "expected": "/nix/store/new",
    "unit": "",
    "journal": "",
    "log": base64.b64encode(WORDS.encode()).decode(),
    "log.size": str(len(WORDS)),
    "guard": "returned",
    "boot_id": "b00t",
}


class Clock(threading.Event):
    """Waits for nothing; time passes as it is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        self.now += timeout or 0.0
        return False


class Host:
    """A host that begins a switch, is away from then on until a time, and has gone back by itself meanwhile."""

    host = "a"
    facts = ConnectionFacts(kind="local")

    def __init__(self, clock: Clock, away_s: float, begun: str = "started") -> None:
        self.clock, self.away_s, self.begun = clock, away_s, begun
        self.switched = False
        self.asked: list[str] = []

    def connect(self, _: str) -> Host:
        if self.switched and self.clock.now < self.away_s:
            raise Unreachable("a", "no answer at its address", "Look.")
        return self

    def run(self, program: Program, *, timeout_s: float) -> Completed:
        assert isinstance(program, Question)
        if self.switched and self.clock.now < self.away_s:
            raise ConnectionLost("a", "gone", "Look.")
        self.asked.append(program.verb)
        self.switched |= program.verb == "converge" and self.begun == "started"
        said: dict[str, str] = {
            "converge": {"outcome": self.begun, "detail": "the disk is full"},
            "status": dict(STATUS),
            "diagnose": {},
        }.get(program.verb) or {
            **SECTIONS,
            "system.revision": OLD,
            "system.built_from": OLD,
            **({"returned": WENT_BACK} if self.switched else {}),
        }
        found = re.search(r"\w+", program.values["SWITCHPROOF_NONCE"])
        assert found
        body = payload({name: text.encode() for name, text in said.items()})
        return Completed(packed(body, nonce=found[0], verb=program.verb), b"", 0, timeout_s)

    def close(self) -> None:
        pass


def journey(folder: Path, host: Host) -> Journey:
    target = load(Path("deploy/targets/lab.toml"), {})
    plan = Plan(
        mode=Mode.DEPLOY,
        revision=NEW,
        target=target,
        targets_file=Path("deploy/targets/lab.toml"),
        on_failure="rollback",
        report_dir=folder,
    )
    journal = Journal(folder, Redactor(()))
    made = Journey(
        target.hosts[0], plan=plan, run="r-1", owner="me@here", provider=host, journal=journal, stop=host.clock
    )
    made._host_side._patience = Patience(lambda: host.clock.now)
    made.resolution = Resolution(NEW, "new")
    seen = read_observation(frame({"system.revision": OLD, "system.built_from": OLD}))
    made.before = Before(seen.system, seen.units, ())
    return made


@pytest.mark.parametrize("away_s", [50.0, 150.0, 290.0])
def test_a_lost_host_is_asked_on_until_it_tells_how_its_switch_ended(tmp_path: Path, away_s: float) -> None:
    """The run follows the original job to its own end, once the host is there again by itself."""
    made = journey(tmp_path, Host(Clock(), away_s))
    ended = made.converge()
    assert (ended.ending, ended.failed_units) == (Ending.UNITS_FAILED, frozenset({"agent.service"}))
    seen = made.observe("forward")
    assert made.went_back["forward"].startswith("It went back by itself at 2026-11-24T01:02:03Z: not confirmed")
    with pytest.raises(AssertionError, match=r"agent\.service failed in the switch"):
        test_converge.test_no_unit_failed_in_the_switch(ended, made.before, set(), Shown())  # type: ignore[arg-type]
    follows(seen, ended, made.went_back["forward"])


def test_a_host_whose_job_may_be_at_work_is_brought_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That it runs the earlier system at a moment says nothing while its switch is still to come."""
    host = Host(Clock(), 0.0)
    made = journey(tmp_path, host)

    def follow(*_: object) -> Convergence:
        raise Inconclusive("a: the job 'converge' was still running on the host when the run was interrupted")

    monkeypatch.setattr(made._host_side, "follow", follow)
    with pytest.raises(Inconclusive):
        made.converge()
    host.switched = False  # not yet, and it did not go back
    seen = made.observe("forward")
    assert seen.system.running == made.before.system.running  # type: ignore[union-attr]
    assert made.changed


def test_a_host_that_answers_only_when_it_is_looked_at_is_asked_for_its_switch_first(tmp_path: Path) -> None:
    """Its own word counts as soon as it can be had, even after following it was given up."""
    host = Host(Clock(), 400.0)
    made = journey(tmp_path, host)
    with pytest.raises(Unreachable):
        made.converge()
    host.clock.now = 400.0
    made.observe("forward")
    assert host.asked[:3] == ["converge", "status", "observe"]
    assert made.convergences["forward"].ending is Ending.UNITS_FAILED


def test_a_switch_that_was_not_begun_is_not_asked_for(tmp_path: Path) -> None:
    """Of a switch that the host refused there is no end, and what the host runs is a consequence of that."""
    host = Host(Clock(), 0.0, begun="refused")
    made = journey(tmp_path, host)
    with pytest.raises(Inconclusive, match="the switch did not start: the disk is full") as refused:
        made.converge()
    seen = made.observe("forward")
    assert "status" not in host.asked
    with pytest.raises(
        Inconclusive, match=r"only follows from an earlier problem: .*did not start: the disk is full"
    ):
        test_converge.test_the_system_is_of_the_commit(seen, NEW, str(refused.value), Shown())


def follows(seen: Observation, ended: Convergence, went_back: str) -> None:
    """See that a look after the return accuses the new system of nothing."""
    with pytest.raises(Inconclusive, match=r"by itself .* how the switch ended: the system was activated, but units"):
        test_converge.test_the_running_system_is_the_expected_one(
            seen, ended.expected, "", "", went_back, ended, Shown()
        )
    with pytest.raises(Inconclusive, match="only follows from an earlier problem: It went back by itself"):
        test_converge.test_the_system_is_of_the_commit(seen, NEW, went_back, Shown())


def test_a_return_from_a_good_switch_is_told_as_what_it_is() -> None:
    """Where the switch itself ended well, that the host went back is the failure, and no strange system is."""
    seen = read_observation(frame())
    ended = Convergence(True, 0, "switch", "/nix/store/new", "", "", "", "converge.log")
    said = "It went back by itself at 1:02: nobody confirmed it."
    with pytest.raises(AssertionError, match=f"^{said}"):
        test_converge.test_the_running_system_is_the_expected_one(seen, ended.expected, "", "", said, ended, Shown())
    with pytest.raises(AssertionError, match=f"expected /nix/store/new, running {TOPLEVEL}"):
        test_converge.test_the_running_system_is_the_expected_one(seen, ended.expected, "", "", "", ended, Shown())
