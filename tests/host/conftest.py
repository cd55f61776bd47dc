"""Lab hosts for the tests of the host's script."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from tests.host.hands import inside
from tests.labs import own


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A lab of one host."""
    with Lab.up(("a",), name=own("script"), runtime="netns") as lab:
        yield lab


@pytest.fixture(scope="module")
def several() -> Iterator[Lab]:
    """A lab of hosts that are alike, for what takes time and can be tried side by side."""
    with Lab.up(("g1", "g2", "g3", "g4"), name=own("guards"), runtime="netns") as lab:
        yield lab


@pytest.fixture
def machine(lab: Lab) -> Iterator[LabHost]:
    """The host; whatever a test leaves locked is free for the next."""
    host = lab.hosts["a"]
    yield host
    inside(host, "rm -rf /run/switchproof/lock")
