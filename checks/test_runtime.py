"""Clause `runtime`: both sandbox units, `live` and `dev`, are listening and healthy."""

import pytest

from switchproof.checks.endpoints import EndpointChecks


@pytest.mark.clause("runtime")
class TestRuntimeUnit(EndpointChecks):
    """Each of the runtime units."""
