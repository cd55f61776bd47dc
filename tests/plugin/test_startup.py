"""What a session loads before it needs it: nothing heavy."""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {
    "boto3",
    "botocore",
    "paramiko",
    "cryptography",
    "switchproof.deploy.providers.ssh.provider",
    "switchproof.deploy.providers.aws.provider",
    "switchproof.deploy.providers.lab.lab",
    "hypothesis",
}
ROOMS = {"deploy", "checks", "reports", "trials"}

_SESSION = """
import json, sys, pytest
status = pytest.main(sys.argv[1:])
print("\\n" + json.dumps({"status": int(status), "modules": sorted(sys.modules)}))
"""


@pytest.mark.parametrize("arguments", [("--provider=lab", "--sha=main"), ("--provider=lab", "--audit")])
def test_looking_at_the_checks_loads_no_connection(arguments: tuple[str, ...]) -> None:
    """Collecting loads neither boto3 nor paramiko nor the lab before first use, and nothing that only tests need."""
    options = ("--collect-only", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")
    command = [sys.executable, "-c", _SESSION, *arguments, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["status"] == 0, done.stdout
    assert "switchproof.deploy.run.fleet" in told["modules"], "the session was no deploy"
    assert HEAVY & set(told["modules"]) == set()
    assert outside_the_package(told["modules"]) == set()


def outside_the_package(modules: Iterable[str]) -> set[str]:
    """Name the modules of Switchproof that are imported under a name outside of its package."""
    return {name for name in modules if name.partition(".")[0] in ROOMS}


def test_no_module_has_two_names() -> None:
    """Every test module that was collected with this one imports Switchproof by its package alone."""
    assert outside_the_package(sys.modules) == set()
