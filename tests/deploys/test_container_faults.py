"""Every fault of a sandbox in a container is found by a deploy and by an audit, and called by its name; the suite
tries some, `just faults` all of them in each of the units and both ways.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from switchproof.deploy.contract import Clause, RunVerdict, Verdict
from switchproof.deploy.observe.causes.case import Case
from switchproof.deploy.providers.lab.faults import CONTAINER_FAULTS, break_host, mend_host
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from tests.deploys.sessions import session, target_file
from tests.deploys.test_faults import HEALTH, MODES, UNITS, Told, wait_for
from tests.labs import own
from tests.sampling import sampled

pytestmark = [pytest.mark.lab, pytest.mark.long]

HOSTS = ("k1", "k2", "k3")
"""Three systems run on each of them, and the kernel lets all of them have 128 inotify instances together."""

NAMES: dict[str, tuple[Case | None, str]] = {
    "killed": (Case.UNIT_KILLED, "killed by signal 9 (KILL)"),
    "stopped-by-signal": (Case.UNIT_STOPPED, "state T"),
    "systemd-stopped": (Case.SYSTEMD_SILENT, "stopped by a signal"),
    "degraded": (Case.UNHEALTHY, '"degraded"'),
    "container-down": (Case.CONTAINER_DOWN, "inactive (dead)"),
    "unit-down": (Case.UNIT_DOWN, "inactive (dead)"),
    "still-starting": (Case.CONTAINER_STARTING, "activating (start)"),
    "program-not-up": (Case.UNIT_NOT_LISTENING, "connection refused"),
    "crash-loop": (Case.UNIT_LOOP, "killed by signal 9 (KILL)"),
    "start-limit": (Case.UNIT_GIVEN_UP, "exit status 1"),
    "wrong-version": (Case.OTHER_RELEASE_INSIDE, '"v0" instead of "v1"'),
    "hang": (Case.HANGING, "no answer in time"),
    "http-503": (Case.BAD_STATUS, "HTTP 503"),
    "container-killed": (Case.CONTAINER_ENDED, "started again 1 times"),
    "network-down": (Case.NETWORK_DOWN, "no answer in time"),
    "crossed": (Case.MISTAKEN, " answers: HTTP 200"),
    "no-curl": (None, ""),
}
"""What each fault must be called, and something that the host saw of it."""

ALL = (
    ("container-down", "no-curl"),
    ("unit-down", "systemd-stopped"),
    ("killed", "still-starting"),
    ("stopped-by-signal", "degraded"),
    ("container-killed", "crash-loop"),
    ("start-limit", "hang"),
    ("wrong-version", "http-503"),
    ("program-not-up", "network-down"),
    ("crossed", "no-curl"),
)
Trial = tuple[str, tuple[tuple[str, str], ...], tuple[str, ...]]
"""A mode, and pairs of faults for hosts."""

SAMPLE: list[list[Trial]] = [[("deploy", ALL[:1], HOSTS[:1]), ("audit", ALL[1:3], HOSTS[1:])]]
WHOLE: list[list[Trial]] = [
    [(mode, pairs[first : first + len(HOSTS)], HOSTS)]
    for mode in MODES
    for pairs in (ALL, tuple((dev, live) for live, dev in ALL))
    for first in range(0, len(ALL), len(HOSTS))
]


def cases(rounds: list[list[Trial]]) -> dict[str, tuple[str, str, str]]:
    """What these rounds try: mode, unit and fault, by name."""
    tried = (
        (mode, unit, fault)
        for trials in rounds
        for mode, pairs, _ in trials
        for pair in pairs
        for unit, fault in zip(UNITS, pair, strict=True)
    )
    return {"-".join(case): case for case in tried}


SAMPLED = sampled("faults of containers", "faults", cases(WHOLE), cases(SAMPLE))
ROUNDS = WHOLE if SAMPLED.asked else SAMPLE
"""What is tried side by side, one after the other."""


def trying(*, named: bool) -> pytest.MarkDecorator:
    """Try each fault that has a name of its own, or each that has none."""
    chosen = {name: case for name, case in SAMPLED.tried.items() if bool(NAMES[case[2]][0]) == named}
    return pytest.mark.parametrize(
        ("mode", "unit", "fault"),
        [pytest.param(*case, id=name, marks=SAMPLED.mark(name)) for name, case in chosen.items()],
    )


def inner(host: LabHost, unit: str, name: str) -> str:
    """A property of the unit inside."""
    command = ["nixos-container", "run", f"sandbox-{unit}", "--", "systemctl", "show", "-P", name, "sandbox.service"]
    return host.run(command, timeout_s=20).stdout.strip()


def healthy(host: LabHost, unit: str) -> bool:
    """Whether a unit answers inside its container."""
    curl = ["curl", "-sf", "-m", "1", "http://127.0.0.1:8080/health"]
    return '"healthy"' in host.run(["nixos-container", "run", f"sandbox-{unit}", "--", *curl], timeout_s=20).stdout


def break_unit(host: LabHost, fault: str, unit: str) -> None:
    """Break a healthy unit, and wait until the fault is what it is called."""
    wait_for(lambda: healthy(host, unit), f"{unit} of {host.name} is healthy before {fault}")
    break_host(host, fault, unit)
    if fault == "crash-loop":
        wait_for(lambda: int(inner(host, unit, "NRestarts") or 0) > 1, f"{unit} of {host.name} has crashed twice")
    if fault == "start-limit":
        wait_for(lambda: inner(host, unit, "ActiveState") == "failed", f"{unit} of {host.name} is given up")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str, str], Told]]:
    """What was told of each fault, by mode, unit and fault."""
    folder, results = tmp_path_factory.mktemp("container-faults"), dict[tuple[str, str, str], Told]()
    with Lab.up(HOSTS, name=own("container-faults"), shape="aws") as lab:

        def try_pairs(trial: Trial) -> None:
            """Break a host with each pair of faults, and see what is told of them."""
            mode, pairs, hosts = trial
            places = [
                (lab.hosts[name], fault, unit)
                for name, pair in zip(hosts, pairs, strict=True)
                for unit, fault in zip(UNITS, pair, strict=True)
            ]
            with ThreadPoolExecutor(len(places)) as pool:
                list(pool.map(lambda place: break_unit(*place), places))
            what = ["--sha=v1", "--on-failure=keep"] if mode == "deploy" else ["--audit"]
            runs = folder / f"{len(results)}-{mode}-{hosts[0]}"
            runs.mkdir()
            targets = target_file(runs, list(hosts), HEALTH, shape="aws")
            ended = session("--provider=lab", "--shape=aws", *what, f"--targets={targets}", runs=runs, lab=lab)
            for host, fault, unit in places:
                results[mode, unit, fault] = Told(ended.folder, ended.record, host.name, unit, ended.output)

        for number, trials in enumerate(ROUNDS):
            with ThreadPoolExecutor(len(HOSTS)) as pool:
                if number:
                    list(pool.map(mend_host, (lab.hosts[name] for name in HOSTS)))
                list(pool.map(try_pairs, trials))
        yield results


@pytest.fixture
def one(told: dict[tuple[str, str, str], Told], mode: str, unit: str, fault: str) -> Told:
    """What was told of one fault in one unit."""
    return told[mode, unit, fault]


every = trying(named=True)


def test_every_fault_of_containers_is_tried() -> None:
    """The lab has no fault of containers that these tests leave out, and each is called what the lab says."""
    assert {fault.name: fault.case for fault in CONTAINER_FAULTS} == {name: case for name, (case, _) in NAMES.items()}
    assert {fault for pair in ALL for fault in pair} == set(NAMES)


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


@trying(named=False)
def test_nothing_need_be_there_inside_to_be_asked(one: Told) -> None:
    """A container without curl passes: it is asked in its own network, with the host's curl."""
    runtime = next(clause for clause in one.record.host(one.host).clauses if clause.id is Clause.RUNTIME)
    mine = [check for check in runtime.checks if f"/{one.unit}/" in check.id]
    assert mine
    assert {check.verdict for check in mine} == {Verdict.PASSED}, one.output


@every
def test_diagnostics_reach_inside(one: Told, fault: str) -> None:
    """The failed checks name the container's facts as evidence, and, while it is up, what units inside say of it."""
    folder = f"evidence/{one.host}/diagnostics"
    up = fault not in {"container-down", "still-starting"}
    for check in one.failed:
        kept = {path.removeprefix(folder + "/") for path in check.evidence}
        inside = {f"container/{one.unit}.{part}.txt" for part in ("sockets", "network")} if up else set()
        units = {f"{kind}/sandbox-{one.unit}/sandbox.service.txt" for kind in ("status", "journal")}
        assert kept >= {f"container/{one.unit}.facts.txt", *inside, *units}, kept
    journal = (one.folder / folder / "journal" / f"sandbox-{one.unit}" / "sandbox.service.txt").read_text()
    assert (f"sandbox {one.unit} v1 listens" in journal) if up else f"[sandbox-{one.unit} is not up;" in journal
    if up and fault != "systemd-stopped":
        status = (one.folder / folder / "status" / f"sandbox-{one.unit}" / "sandbox.service.txt").read_text()
        assert "Loaded: loaded (/etc/systemd/system/sandbox.service" in status
