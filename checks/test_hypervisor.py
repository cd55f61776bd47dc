"""Clause `hypervisor`: the hypervisor's health endpoint answers as it should."""

import pytest

from switchproof.checks.endpoints import EndpointChecks


@pytest.mark.clause("hypervisor")
class TestHypervisor(EndpointChecks):
    """The hypervisor."""
