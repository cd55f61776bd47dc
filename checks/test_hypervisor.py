"""Clause `hypervisor`: the hypervisor's health endpoint answers as it should."""

import pytest

from switchproof.checks.endpoints import EndpointChecks
from switchproof.checks.fixtures import Show


@pytest.mark.clause("hypervisor")
class TestHypervisor(EndpointChecks):
    """The hypervisor."""


@pytest.mark.clause("hypervisor")
def test_there_is_none(no_hypervisor: str, show: Show) -> None:
    """There is no hypervisor, so the clause is passed for want of one.

    Only the target file can declare that, with the reason; the hosts are not asked.

    Try: describe the hypervisor in the target file as soon as there is one.
    """
    show(expected="a hypervisor, or why there is none", seen=f"passed for want of one: {no_hypervisor}")
    assert no_hypervisor.strip(), "the target file does not say why there is no hypervisor"
