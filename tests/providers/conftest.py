"""Fixtures: one lab host for all tests of providers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from tests.labs import own
from tests.providers.ways import inside


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A lab of one host, which tests leave as they found it."""
    with Lab.up(("a",), name=own("providers"), runtime="netns") as lab:
        yield lab


@pytest.fixture(scope="session")
def machine(lab: Lab) -> LabHost:
    """The host; its sshd does not hold the refused logins of one test against the next."""
    host = lab.hosts["a"]
    inside(host, "echo 'PerSourcePenalties no' >/etc/ssh/sshd_config.d/patience.conf; systemctl reload ssh.service")
    return host
