"""Clause `runtime`: every runtime unit that the target file names is listening and healthy."""

import pytest

from switchproof.checks.endpoints import EndpointChecks


@pytest.mark.clause("runtime")
class TestRuntimeUnit(EndpointChecks):
    """Each of the runtime units."""
