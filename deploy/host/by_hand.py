"""Writes the host's script for people: one file with the values of a target file.

`python -m switchproof.deploy.host.by_hand deploy/targets/NAME.toml > host-switch.sh`
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from switchproof.deploy.command_line import Parser
from switchproof.deploy.errors import UsageError
from switchproof.deploy.host.program import bridge, endpoints, health_values, whole_script
from switchproof.deploy.target.loading import load_contract
from switchproof.deploy.target.types import Contract

_HEAD = "set -euo pipefail\n"


def by_hand(contract: Contract) -> str:
    """Return the script with the values of a target file as defaults; the caller's variables take precedence."""
    text = whole_script()
    lines = [
        f'[ -n "${{{name}+given}}" ] || {name}={_quoted(value)}\n'
        for name, value in defaults(contract).items()
        if value
    ]
    before, after = text.split(_HEAD, 1)
    return f"{before}{_HEAD}# What the target file says of this host.\n{''.join(lines)}{after}"


def defaults(contract: Contract) -> dict[str, str]:
    """Return the target file's health limits as variables of the script."""
    return {
        "SWITCHPROOF_ENDPOINTS": endpoints(contract),
        "SWITCHPROOF_BRIDGE": bridge(contract.bridge.programs),
        "NO_HYPERVISOR": contract.hypervisor.absent or "",
        "UNIT_FILES": " ".join(contract.unit_files),
        **health_values(contract.health),
    }


def _quoted(value: str) -> str:
    """Quote a text for bash on one readable line."""
    return "$'" + "".join(_ESCAPES.get(character, character) for character in value) + "'"


_ESCAPES = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\x1e": "\\036", "\x1f": "\\037"}


def main() -> int:
    """Print the script for a target file; return 4 if the file is wrong."""
    parser = Parser(
        prog="python -m switchproof.deploy.host.by_hand",
        description="Print the host's script with what a target file says of health as its defaults.",
    )
    parser.add_argument("targets", type=Path, metavar="FILE", help="the target file, such as deploy/targets/ovh.toml")
    try:
        sys.stdout.write(by_hand(load_contract(parser.parse_args().targets, os.environ)))
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
