"""One lab for all whole-deploy tests, and the sessions that many tests look at, run side by side once."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from switchproof.deploy.providers.lab.lab import Lab
from switchproof.deploy.providers.lab.revisions import REVISIONS, Revision
from tests.deploys.sessions import HEALTH, Ended, session, target_file
from tests.labs import own

HOSTS = ("h1", "h2", "h3", "h4")
PATIENT = "patient"
"""The host of the revisions that are healthy only after a while: one that goes back to them takes as long."""


SLOW = {"warming-up", "three-crashes", "slow-notify"}
"""Good revisions whose hypervisor is healthy only after a while."""


@dataclass(frozen=True)
class Deployed:
    """A revision, the host that it was deployed to from a canonical state, and how that ended."""

    revision: Revision
    host: str
    ended: Ended


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Hosts that run the first good revision."""
    with Lab.up((*HOSTS, PATIENT, "a", "b"), name=own("deploys"), runtime="netns") as lab:
        yield lab


@pytest.fixture(scope="session")
def deploys(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Deployed]]]:
    """Deploy every revision of the sample repository to one host alone, as many at a time as there are hosts."""
    folders = tmp_path_factory.mktemp("deploys")
    free: queue.Queue[str] = queue.Queue()
    for host in HOSTS:
        free.put(host)
    patient: queue.Queue[str] = queue.Queue()
    patient.put(PATIENT)

    def deploy(revision: Revision) -> Deployed:
        hosts = patient if revision.name in SLOW else free
        host = hosts.get()
        folder = folders / revision.ref.replace("/", "-")
        folder.mkdir()
        # Only a soak longer than its healthy stretches tells a crash loop from health.
        crashes = revision.name == "broken/live-crash-loop"
        health = HEALTH.replace("soak_s = 2.0", "soak_s = 15.0") if crashes else HEALTH
        if revision.name in SLOW:  # with the time that a target file gives by default
            health = health.replace("ready_s = 5.0\n", "")
        try:
            targets = target_file(folder, [host], health)
            ended = session(
                "--provider=lab",
                f"--sha={revision.ref.removeprefix('refs/')}",
                f"--targets={targets}",
                runs=folder,
                lab=lab,
            )
            return Deployed(revision, host, ended)
        finally:
            hosts.put(host)

    with ThreadPoolExecutor(len(HOSTS) + len(SLOW)) as pool:
        # The longest first, or they would run alone at the end.
        order = sorted(REVISIONS, key=lambda revision: revision.name not in {*SLOW, "broken/live-crash-loop"})
        yield {revision.ref: pool.submit(deploy, revision) for revision in order}


@pytest.fixture
def deployed(deploys: dict[str, Future[Deployed]], request: pytest.FixtureRequest) -> Deployed:
    """The deploy of the revision that the test is about."""
    revision: Revision = request.param
    return deploys[revision.ref].result()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder for the runs of one test."""
    return tmp_path / "runs"
