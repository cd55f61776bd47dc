"""What is probed is read as it was written down."""

from __future__ import annotations

import pytest

from switchproof.deploy.host.program import bridge_values, endpoints, path_variable
from switchproof.deploy.settings import TARGETS
from switchproof.deploy.target.loading import load_contract
from tests.host_functions import run

UNITS = """
list_units
echo "all ${UNITS[*]}"
echo "host ${HOST_UNITS[*]}"
for name in "${!INSIDE[@]}"; do echo "in $name of ${CONTAINER_OF[$name]}: ${INSIDE[$name]}"; done
"""


@pytest.mark.parametrize("name", ["ovh", "aws", "lab", "lab-aws", "local"])
def test_each_unit_is_listed_once(name: str) -> None:
    """Units come in the order of the file, each once; those inside a container are told apart."""
    contract = load_contract(TARGETS / f"{name}.toml", {})
    told = run(UNITS, "contract", values={"SWITCHPROOF_ENDPOINTS": endpoints(contract)}).splitlines()
    units = list(dict.fromkeys(unit for endpoint in contract.endpoints.values() for unit in endpoint.units))
    assert told[0].split()[1:] == units
    assert told[1].split()[1:] == [unit for unit in units if "/" not in unit]
    inside = {
        f"in {unit.split('/')[0]} of {endpoint.container}: {unit.split('/')[1]} "
        for endpoint in contract.endpoints.values()
        for unit in endpoint.units
        if "/" in unit
    }
    assert set(told[2:]) == inside


def test_a_program_s_path_is_read_from_its_variable() -> None:
    """The script and a run name the variable of a program alike; a name that makes none has no path."""
    contract = load_contract(TARGETS / "aws.toml", {"SANDBOX_STORE_PATH": "/nix/store/" + "a" * 32 + "-x"})
    values = bridge_values(contract.bridge)
    assert len(values) > 2
    for name in contract.bridge.programs:
        wanted = values[path_variable(name)]
        assert run(f"store_path_of {name}", "contract", values=values) == wanted
    for name in ("a[0]", "1x", "a b", "x;id"):
        assert run(f"store_path_of '{name}'", "contract") == ""


def test_a_unit_of_two_endpoints_is_one() -> None:
    """A unit that stands behind two endpoints is looked at once, wherever it stands."""
    rows = [
        ["a", "x.service\x1ebox/app.service", *[""] * 9, "container@box.service"],
        ["b", "box/app.service\x1ex.service", *[""] * 9, "container@box.service"],
    ]
    values = {"SWITCHPROOF_ENDPOINTS": "\n".join(map("\x1f".join, rows))}
    assert run(UNITS, "contract", values=values).splitlines() == [
        "all x.service box/app.service",
        "host x.service",
        "in box of container@box.service: app.service ",
    ]
