"""What waiting cannot mend is taken back long before ready_s is over; what gets well within it stays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from switchproof.deploy.contract import HostState, Verdict
from switchproof.deploy.providers.lab.faults import break_host, mend_host
from switchproof.deploy.providers.lab.lab import Lab
from switchproof.deploy.record.facts import Watch
from tests.deploys.sessions import Ended, session, target_file
from tests.labs import own

pytestmark = [pytest.mark.lab, pytest.mark.long]

HEALTH = """
[health]
ready_s = 240.0
answers = 3
interval_s = 0.5
soak_s = 4.0
timeout_s = 2.0
"""
"""Far longer to wait than a deploy takes that does not wait."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Two hosts that run the first good revision."""
    with Lab.up(("a", "b"), name=own("early"), runtime="netns") as lab:
        yield lab


def deploy(lab: Lab, folder: Path, revision: str, hosts: Sequence[str] = ("a",), health: str = HEALTH) -> Ended:
    targets = target_file(folder, list(hosts), health)
    return session("--provider=lab", f"--sha={revision}", f"--targets={targets}", runs=folder / "runs", lab=lab)


def watches(ended: Ended, leg: str = "forward") -> dict[str, Watch]:
    return {watch.endpoint: watch for watch in ended.record.host("a").watches if watch.leg == leg}


@pytest.mark.parametrize(
    ("revision", "wanted"),
    [
        ("broken/hypervisor-not-starting", ("hypervisor", "failing-alike", "hypervisor.service failed 5 times with")),
        ("broken/hypervisor-500", ("hypervisor", "same-answer", "5 times in a row with HTTP 500")),
        ("broken/live-old-image", ("live", "same-answer", 'with "version" v1, which is not of the system that runs')),
    ],
)
def test_what_waiting_cannot_mend_is_taken_back(
    lab: Lab, tmp_path: Path, revision: str, wanted: tuple[str, str, str]
) -> None:
    """The watch ends with the evidence, the checks say so, and the earlier system is back and verified."""
    endpoint, settled, evidence = wanted
    ended = deploy(lab, tmp_path, revision)
    assert ended.status == 1, ended.output
    seen = watches(ended)
    assert seen[endpoint].settled == settled
    assert seen[endpoint].seconds < 120.0  # half of ready_s
    failed = ended.failed("a")
    assert {check.endpoint for check in failed} == {endpoint}
    assert all(evidence in check.message and "waiting will not change that" in check.message for check in failed)
    assert {watch.settled for watch in watches(ended, "back").values()} == {"healthy"}
    assert ended.record.host("a").state is HostState.ROLLED_BACK


def test_a_broken_host_does_not_wait_for_the_soak_of_a_good_one(lab: Lab, tmp_path: Path) -> None:
    """It goes back while its neighbour soaks; the neighbour keeps the new system."""
    break_host(lab.hosts["a"], "wrong-version", "live")
    try:
        ended = deploy(lab, tmp_path, "v3", hosts=("a", "b"), health=HEALTH.replace("soak_s = 4.0", "soak_s = 60.0"))
    finally:
        mend_host(lab.hosts["a"])
    assert ended.record.host("b").state is HostState.CONVERGED, ended.output
    (begun,) = [moment for moment in ended.record.host("a").timeline if moment.kind == "rollback-begun"]
    (soaked,) = [phase for phase in ended.record.host("b").phases if phase.phase == "observe"]
    assert soaked.finished
    assert begun.at < soaked.finished
    assert ended.evidence("a")["diagnostics/status/cloud-hypervisor@live.service.txt"]


def test_what_gets_well_while_it_is_waited_for_is_canonical(lab: Lab, tmp_path: Path) -> None:
    """A workload that answers 503 for half a minute after the switch, and then well, passes."""
    host = lab.hosts["a"]
    break_host(host, "http-503", "live")
    mending = (
        "until [ -e /run/switchproof/since ]; do sleep 0.5; done; sleep 30; /usr/local/lib/switchproof-lab/fault mend"
    )
    host.run(["systemd-run", "--collect", "--unit=mending", "--", "sh", "-c", mending], timeout_s=60)
    try:
        ended = deploy(lab, tmp_path, "v3")
    finally:
        mend_host(host)
    assert ended.status == 0, ended.output
    live = watches(ended)["live"]
    assert (live.settled, live.samples[0].code) == ("healthy", 503)
    assert {check.verdict for part in ended.record.host("a").clauses for check in part.checks} == {Verdict.PASSED}
    assert "waiting: live: its answer is not the wanted one (code 503)" in ended.output
