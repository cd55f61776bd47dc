"""A lab host, and the SSM that reaches it."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest

from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from switchproof.deploy.providers.lab.ssm.commands import Pace
from switchproof.deploy.providers.lab.ssm.endpoint import SsmEndpoint
from tests.labs import own

QUICK = Pace(
    invisible_s=0.2,
    pickup_s=0.3,
    report_s=0.05,
    restart_s=0.5,
    back_s=0.5,
    worker_lost_s=0.3,
    repeat_s=60.0,
    upload_s=0.2,
    backoff_s=0.1,
    reboot_s=0.3,
)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """One host."""
    with Lab.up(("i",), name=own("ssm"), runtime="netns") as lab:
        yield lab


@pytest.fixture
def machine(lab: Lab) -> LabHost:
    """The host."""
    return lab.hosts["i"]


@pytest.fixture
def endpoint(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[SsmEndpoint]:
    """The endpoint, which every client finds by the environment."""
    with SsmEndpoint.serve(lab, pace=QUICK) as endpoint:
        for name, value in endpoint.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps the keys of the endpoint before
        yield endpoint
