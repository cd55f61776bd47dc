"""For the cutover: nothing of AWS is left on a host."""

import pytest

from switchproof.checks.fixtures import Show
from switchproof.deploy.cutover.surroundings import Surroundings, agents
from switchproof.deploy.errors import Inconclusive

pytestmark = [pytest.mark.clause("converge"), pytest.mark.when("cutover")]


def test_the_agent_of_aws_is_gone(surroundings: Surroundings, show: Show) -> None:
    """amazon-ssm-agent is gone: no unit, no process and no store path in the running system.

    The agent accepts commands as root from an account that nobody watches any more.

    Try: set services.amazon-ssm-agent.enable = false, deploy, and remove anything installed by hand.
    """
    remains = list(agents(surroundings))
    show(
        expected="no unit, process or store path of amazon-ssm-agent",
        seen="; ".join(remains)
        or f"none among {len(surroundings.unit_names)} units and {len(surroundings.closure)} paths",
        command="systemctl list-unit-files; ps -e; nix-store -qR /run/current-system",
    )
    assert not remains, f"left of AWS's agent: {'; '.join(remains)}"


def test_no_unit_of_the_contract_knows_aws(surroundings: Surroundings, show: Show) -> None:
    """No unit of the contract has AWS credentials or knows the metadata endpoint, and no home directory has them.

    A credential that is no longer needed helps only an attacker.

    Try: remove it from the unit's Environment= and EnvironmentFile=, revoke it, and remove ~/.aws.
    """
    references = [f"{unit.name}: {', '.join(unit.of_aws)}" for unit in surroundings.served if unit.of_aws]
    references += surroundings.credentials
    show(
        expected="nothing for AWS",
        seen="; ".join(references) or f"nothing in {len(surroundings.served)} units",
        command="systemctl cat, /proc/PID/environ and EnvironmentFile= of each unit; ls -d ~/.aws",
    )
    if not surroundings.served:
        raise Inconclusive("the host reported nothing about the contract's units")
    assert not references, f"for AWS: {'; '.join(references)}"
