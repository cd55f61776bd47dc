"""What a session loads before it needs it: nothing heavy."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {
    "boto3",
    "botocore",
    "paramiko",
    "cryptography",
    "deploy.providers.ssh",
    "deploy.providers.lab.lab",
    "hypothesis",
}

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
    assert "deploy.fleet" in told["modules"], "the session was no deploy"
    assert HEAVY & set(told["modules"]) == set()
