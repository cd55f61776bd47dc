"""The same behaviour of a host has the same verdict over SSH and through SSM."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from deploy.providers.lab.lab import Lab
from deploy.providers.lab.revisions import REVISIONS, Revision
from reports.compare import compare, render
from tests.deploys.conftest import Deployed, deploy_all
from tests.labs import own

pytestmark = pytest.mark.lab

AWS_HOSTS = ("s1", "s2", "s3")
"""Three systems run on each of them, and the kernel lets all of them have 128 inotify instances together."""


@pytest.fixture(scope="module")
def through_ssm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Deployed]]]:
    """Every revision, deployed through SSM to hosts of the shape that is reached so."""
    with (
        Lab.up(AWS_HOSTS, name=own("parity"), shape="aws") as lab,
        deploy_all(lab, AWS_HOSTS, tmp_path_factory.mktemp("parity")) as deploys,
    ):
        yield deploys


@pytest.mark.parametrize("revision", REVISIONS, ids=lambda revision: revision.ref.removeprefix("refs/"))
def test_a_revision_ends_the_same(
    revision: Revision, deploys: dict[str, Future[Deployed]], through_ssm: dict[str, Future[Deployed]]
) -> None:
    """Verdict, clauses, checks that both shapes have, exit code and the state of the host are the same."""
    ssh, ssm = deploys[revision.ref].result(), through_ssm[revision.ref].result()
    assert ssm.ended.status == ssh.ended.status, ssm.ended.output
    if not (ssh.ended.folder / "record.json").exists():
        assert not (ssm.ended.folder / "record.json").exists()
        return
    left, right = ssh.ended.record, ssm.ended.record
    comparison = compare(left, right, {ssh.host: ssm.host})
    rows = [
        row
        for part in comparison.parts
        for row in part.rows
        if row.decides and "machines-are-looked-at" not in row.what
    ]
    assert all(row.same for row in rows), f"{render(comparison, colour=False)}\n{ssm.ended.output}"
    ways = [run.host(where).connection for run, where in ((left, ssh.host), (right, ssm.host))]
    assert [way and way.kind for way in ways] == ["ssh", "ssm"]
