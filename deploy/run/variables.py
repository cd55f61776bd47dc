"""The variables of the host's script in a run, and the first question of an audit (pure)."""

from __future__ import annotations

import math

from msgspec.structs import replace

from switchproof.deploy.host.budget import ANSWER_S
from switchproof.deploy.host.first import First
from switchproof.deploy.host.program import bridge_values, endpoints, health_values
from switchproof.deploy.plan import Plan
from switchproof.deploy.target.types import Health, Host, Target

SOURCES = "/var/lib/switchproof/sources"


def source_file(run: str) -> str:
    """Return the file on a host from which it fetches the commit that a run sends."""
    return f"{SOURCES}/{run}"


def variables_of(host: Host, plan: Plan, run: str, owner: str) -> dict[str, str]:
    """Return the variables that every verb of the host's script needs."""
    target = plan.target
    return {
        "WORKDIR": target.repository.checkout,
        "REPO_URL": source_file(run) if plan.source else target.repository.url or "",
        "NIX_FILE": target.repository.file or "",
        "FLAKE_ATTR": target.attribute(host),
        "SPECIALISATION": host.specialisation or "",
        "SWITCHPROOF_RUN": run,
        "SWITCHPROOF_OWNER": owner,
        "SWITCHPROOF_LEASE_S": str(int(target.health.ready_s + target.health.soak_s + target.confirm_s + 600)),
        "SWITCHPROOF_DEADMAN_S": str(math.ceil(target.confirm_s)),
        "SWITCHPROOF_TIMEOUT_S": str(int(target.converge.timeout_s)),
        "SWITCHPROOF_ENDPOINTS": endpoints(target),
        **bridge_values(target.bridge),
    }


def audit_health(target: Target) -> Health:
    """Return the health limits of an audit, which does not wait for what is not healthy."""
    return replace(target.health, ready_s=0.0)


def first_question(host: Host, plan: Plan, run: str, owner: str) -> First:
    """Return the question with which an audit begins on a host; it changes nothing there."""
    health = audit_health(plan.target)
    values = {**variables_of(host, plan, run, owner), **health_values(health)}
    return First("observe", values, health.longest_s + ANSWER_S)
