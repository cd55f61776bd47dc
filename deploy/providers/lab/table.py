"""The provider `lab` in target files: without a table, because it makes the hosts itself."""

from __future__ import annotations

from switchproof.deploy.connection import Provider
from switchproof.deploy.providers.kind import Kind, Opening
from switchproof.deploy.target.types import Target


def _open(target: Target, opening: Opening) -> Provider:
    from switchproof.deploy.providers.lab.provider import LabProvider

    lab = opening.lab
    return LabProvider(
        target,
        keep=lab.keep,
        runtime=lab.runtime,
        suite=lab.suite,
        nixos_rebuild=lab.nixos_rebuild,
        switch=lab.switch,
        ssm_agent=lab.ssm_agent,
        shape=lab.shape,
        prove=opening.changes_hosts,
        say=opening.say,
        emulated=opening.emulated,
    )


LAB = Kind(name="lab", providers=("lab",), open=_open)
