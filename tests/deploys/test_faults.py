"""Faults of microVMs are found and called by their names, by a deploy or an audit; `just faults` tries every one of
them in both units and by both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from switchproof.deploy.contract import Clause, RunVerdict, Verdict
from switchproof.deploy.observe.causes.in_machine import Case
from switchproof.deploy.providers.lab.faults import FAULTS, break_host, mend_host
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from switchproof.deploy.record.record import Check, Record
from tests.deploys.sessions import session, target_file
from tests.sampling import sampled

pytestmark = [pytest.mark.lab, pytest.mark.long]

MODES = ("deploy", "audit")
UNITS = ("live", "dev")
# What a whole machine cannot be: good for long enough to pass, or waited for until the test is slow.
HEALTH = """
[health]
ready_s = 4.0
answers = 4
interval_s = 0.5
soak_s = 3.0
timeout_s = 2.0
"""
LONGEST_S = 300.0
"""Seconds after which nothing is waited for any more; a busy machine takes a good part of that for two crashes."""

NAMES: dict[str, tuple[Case, str]] = {
    "killed": (Case.KILLED, "killed by signal 9 (KILL)"),
    "stopped-by-signal": (Case.STOPPED, "state T"),
    "paused": (Case.PAUSED, "monitor paused"),
    "degraded": (Case.UNHEALTHY, '"degraded"'),
    "vm-stopped": (Case.MACHINE_DOWN, "inactive (dead)"),
    "still-booting": (Case.BOOTING, "monitor running"),
    "program-not-up": (Case.NOT_LISTENING, "monitor running"),
    "crash-loop": (Case.CRASH_LOOP, "exit status 0"),
    "start-limit": (Case.START_LIMIT, "exit status 1"),
    "wrong-version": (Case.OTHER_RELEASE, '"v0" instead of "v1"'),
    "forward-down": (Case.FORWARD_DOWN, "with HTTP 200"),
    "hang": (Case.HANGING, "monitor running"),
    "http-503": (Case.BAD_STATUS, "HTTP 503"),
    "guest-panic": (Case.PANICKED, "Kernel panic - not syncing"),
    "tap-off-bridge": (Case.TAP_OFF_BRIDGE, "on no bridge"),
    "forwards-crossed": (Case.CROSSED, " answers: HTTP 200"),
}
"""What each fault must be called, and something that the host saw of it."""


# Two at a time, so that every name is also told from another one's beside it. A forward can be seen to lead to the
# other machine only while that one answers.
SAMPLE = (
    ("killed", "crash-loop"),
    ("stopped-by-signal", "paused"),
    ("guest-panic", "tap-off-bridge"),
    ("wrong-version", "forwards-crossed"),
    ("degraded", "http-503"),
    ("vm-stopped", "start-limit"),
    ("still-booting", "program-not-up"),
    ("forward-down", "hang"),
)


def modes_at(place: int, number: int, *, all_of_them: bool) -> tuple[str, ...]:
    """How what ails a host is looked for, by its place among the hosts: half of them by deploys, half by audits."""
    return MODES if all_of_them else MODES[:1] if place < number // 2 else MODES[1:]


def cases(rounds: Sequence[Sequence[tuple[str, str]]], *, all_of_them: bool) -> dict[str, tuple[str, str, str]]:
    """What these rounds try: mode, unit and fault, by name."""
    tried = (
        (mode, unit, fault)
        for pairs in rounds
        for place, pair in enumerate(pairs)
        for mode in modes_at(place, len(pairs), all_of_them=all_of_them)
        for unit, fault in zip(UNITS, pair, strict=True)
    )
    return {"-".join(case): case for case in tried}


WHOLE = (SAMPLE, tuple((dev, live) for live, dev in SAMPLE))
SAMPLED = sampled(
    "faults of microVMs", "faults", cases(WHOLE, all_of_them=True), cases((SAMPLE[:4],), all_of_them=False)
)
ALL = bool(SAMPLED.asked)
ROUNDS = WHOLE if ALL else (SAMPLE[:4],)
HOSTS = tuple(f"f{number}" for number, _ in enumerate(ROUNDS[0], 1))
ONCE = ("killed", "guest-panic")


@dataclass(frozen=True)
class Told:
    """What a session told of one unit of one host."""

    folder: Path
    record: Record
    host: str
    unit: str
    output: str

    @property
    def failed(self) -> list[Check]:
        """The unit's checks that did not pass."""
        runtime = next(clause for clause in self.record.host(self.host).clauses if clause.id is Clause.RUNTIME)
        return [check for check in runtime.checks if f"/{self.unit}/" in check.id and check.verdict != "passed"]


def wait_for(what: Callable[[], bool], sentence: str) -> None:
    """Wait until something is true of a host."""
    deadline = time.monotonic() + LONGEST_S
    while not what():
        assert time.monotonic() < deadline, f"not within {LONGEST_S:g} s: {sentence}"
        time.sleep(0.1)


def prop(host: LabHost, unit: str, name: str) -> str:
    """A property of a unit's machine."""
    return host.run(["systemctl", "show", "-P", name, f"cloud-hypervisor@{unit}"], timeout_s=20).stdout.strip()


def healthy(host: LabHost, unit: str) -> bool:
    """Whether a unit answers through its forward."""
    port = {"live": 8080, "dev": 8081}[unit]
    command = ["curl", "-sf", "-m", "1", f"http://127.0.0.1:{port}/health"]
    return '"healthy"' in host.run(command, timeout_s=20).stdout


def break_unit(host: LabHost, fault: str, unit: str) -> None:
    """Break a healthy unit, and wait until the fault is what it is called."""
    wait_for(lambda: healthy(host, unit), f"{unit} of {host.name} is healthy before {fault}")
    break_host(host, fault, unit)
    if fault == "crash-loop":
        wait_for(lambda: int(prop(host, unit, "NRestarts")) > 1, f"{unit} of {host.name} has crashed twice")
    if fault == "start-limit":
        wait_for(lambda: prop(host, unit, "ActiveState") == "failed", f"{unit} of {host.name} is given up")
    if fault == "vm-stopped":
        wait_for(lambda: prop(host, unit, "ActiveState") == "inactive", f"{unit} of {host.name} is stopped")


def break_once_more(host: LabHost, fault: str, unit: str) -> None:
    """Break a unit that was broken once, started anew: twice within a minute would be a crash loop."""
    host.run(["systemctl", "restart", f"cloud-hypervisor@{unit}"], timeout_s=30)
    break_unit(host, fault, unit)


@dataclass(frozen=True)
class Trial:
    """Four hosts with a fault in each of their units, and where the runs on them are kept."""

    lab: Lab
    hosts: tuple[str, ...]
    folder: Path

    def run(self, number: int) -> Iterator[tuple[tuple[str, str, str], Told]]:
        """Break every unit as this half's pairs of a round say, deploy and audit."""
        first = HOSTS.index(self.hosts[0])
        pairs = ROUNDS[number][first : first + len(self.hosts)]
        places = [
            (self.lab.hosts[name], fault, unit)
            for name, faults in zip(self.hosts, pairs, strict=True)
            for unit, fault in zip(UNITS, faults, strict=True)
        ]
        targets = target_file(self.folder, list(self.hosts), HEALTH)
        with ThreadPoolExecutor(len(places)) as pool:
            list(pool.map(lambda place: break_unit(*place), places))
            for mode in modes_at(first, len(HOSTS), all_of_them=ALL):
                if mode == "audit" and ALL:
                    list(pool.map(lambda place: break_once_more(*place), [one for one in places if one[1] in ONCE]))
                what = ["--sha=v1", "--on-failure=keep"] if mode == "deploy" else ["--audit"]
                runs = self.folder / f"{mode}-{first}-{number}"
                ended = session("--provider=lab", *what, f"--targets={targets}", runs=runs, lab=self.lab)
                for host, fault, unit in places:
                    yield (mode, unit, fault), Told(ended.folder, ended.record, host.name, unit, ended.output)

    def mend(self) -> None:
        """Make the hosts whole again."""
        with ThreadPoolExecutor(len(self.hosts)) as pool:
            list(pool.map(mend_host, (self.lab.hosts[name] for name in self.hosts)))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str, str], Told]]:
    """What was told of each fault, by mode, unit and fault: two trials at a time."""
    folder = tmp_path_factory.mktemp("faults")
    halves = (HOSTS[: len(HOSTS) // 2], HOSTS[len(HOSTS) // 2 :])
    with Lab.up(HOSTS, name="faults", runtime="microvm") as lab, ThreadPoolExecutor(len(halves)) as pool:

        def try_half(half: int) -> dict[tuple[str, str, str], Told]:
            trial = Trial(lab, halves[half], folder)
            tried = dict(trial.run(0))
            for number in range(1, len(ROUNDS)):
                trial.mend()
                tried |= trial.run(number)
            return tried

        yield {key: one for results in pool.map(try_half, range(len(halves))) for key, one in results.items()}


@pytest.fixture
def one(told: dict[tuple[str, str, str], Told], mode: str, unit: str, fault: str) -> Told:
    """What was told of one fault in one unit."""
    return told[mode, unit, fault]


every = pytest.mark.parametrize(
    ("mode", "unit", "fault"),
    [pytest.param(*case, id=name, marks=SAMPLED.mark(name)) for name, case in SAMPLED.tried.items()],
)


def test_every_fault_of_the_lab_is_tried() -> None:
    """The lab has no fault that these tests leave out."""
    assert {fault.name for fault in FAULTS} == set(NAMES)
    assert sorted(fault for pair in SAMPLE for fault in pair) == sorted(NAMES)


@every
def test_fault_does_not_pass(one: Told) -> None:
    """The host's clause `runtime` fails, its diagnostics are complete, and the run is not canonical."""
    clauses = {clause.id: clause.verdict for clause in one.record.host(one.host).clauses}
    assert clauses[Clause.RUNTIME] is Verdict.FAILED, one.output
    assert clauses[Clause.DIAGNOSTICS] is Verdict.PASSED, one.output
    assert one.record.verdict is RunVerdict.NON_CANONICAL
    assert one.record.run.exit_code in {1, 10}


@every
def test_fault_is_called_by_its_name(one: Told, fault: str) -> None:
    """Every check of the unit that failed begins with the fault's name, whatever ails the other unit."""
    case, saw = NAMES[fault]
    assert one.failed, one.output
    for check in one.failed:
        assert check.message.startswith(f"{case} ("), check.message
        assert saw in check.message
        assert "\ntry: " in check.message


@every
def test_diagnostics_reach_the_machine(one: Told) -> None:
    """The failed checks name the machine's console, answer, monitor and network as evidence, and those are there."""
    for check in one.failed:
        kept = {path.rpartition("/")[2] for path in check.evidence if f"/machine/{one.unit}." in path}
        assert kept == {f"{one.unit}.{part}.txt" for part in ("facts", "answer", "console", "network")}
    facts = next(one.folder.glob(f"evidence/{one.host}/diagnostics/machine/{one.unit}.facts.txt")).read_text()
    assert "\ntap " in facts
    assert "\nmonitor " in facts or facts.startswith("monitor ")
