"""For the cutover: nothing of AWS is left on a host."""

import pytest

from switchproof.checks.fixtures import Show
from switchproof.deploy.cutover.surroundings import Surroundings, agents
from switchproof.deploy.errors import Inconclusive

pytestmark = [pytest.mark.clause("converge"), pytest.mark.when("cutover")]


def test_the_agent_of_aws_is_gone(surroundings: Surroundings, show: Show) -> None:
    """There is no amazon-ssm-agent: no unit, no process, and nothing of it in the running system.

    It takes commands as root from an account that nobody watches any more.

    Try: services.amazon-ssm-agent.enable = false, deploy, and remove what was installed by hand.
    """
    found = list(agents(surroundings))
    show(
        expected="no unit, process or store path of amazon-ssm-agent",
        seen="; ".join(found)
        or f"none among {len(surroundings.unit_names)} units and {len(surroundings.closure)} paths",
        command="systemctl list-unit-files; ps -e; nix-store -qR /run/current-system",
    )
    assert not found, f"left of AWS's agent: {'; '.join(found)}"


def test_no_unit_of_the_contract_knows_aws(surroundings: Surroundings, show: Show) -> None:
    """No unit of the contract has credentials of AWS or knows its metadata endpoint, and nobody's home has them.

    A credential that is no longer needed is only good for whoever finds it.

    Try: take it out of the unit's Environment= and EnvironmentFile= and revoke it; remove ~/.aws.
    """
    known = [f"{unit.name}: {', '.join(unit.of_aws)}" for unit in surroundings.served if unit.of_aws]
    known += surroundings.credentials
    show(
        expected="nothing for AWS",
        seen="; ".join(known) or f"nothing in {len(surroundings.served)} units",
        command="systemctl cat, /proc/PID/environ and EnvironmentFile= of each unit; ls -d ~/.aws",
    )
    if not surroundings.served:
        raise Inconclusive("the host told nothing of the contract's units")
    assert not known, f"for AWS: {'; '.join(known)}"
