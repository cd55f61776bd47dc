"""The commands that CI and people type call pytest and nothing else, and take the old environment."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from switchproof.deploy.errors import UsageError
from switchproof.deploy.host.program import bridge_values
from switchproof.deploy.providers import load
from switchproof.deploy.providers.aws.table import AwsHost
from switchproof.deploy.target.types import Target

ROOT = Path(__file__).parents[1]
AWS = ROOT / "deploy" / "targets" / "aws.toml"
INSTANCE = "i-0123456789abcdef0"
PATHS = {
    f"{name}_STORE_PATH": f"/nix/store/{digit * 32}-{name.lower()}"
    for digit, name in (("0", "SANDBOX"), ("1", "HYPERVISOR"), ("2", "DESKTOP"))
}
OLD = ("DEPLOY_INSTANCE_ID", "EC2_INSTANCE_ID", "DEPLOY_SHA", "WORKDIR", "FLAKE_ATTR", *PATHS)


def environment(**given: str) -> dict[str, str]:
    """This process's environment without what the commands take from it, and with what is given."""
    return {name: value for name, value in os.environ.items() if name not in OLD} | given


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a pytest that tells its arguments, one a line."""
    program = tmp_path / "pytest"
    program.write_text("#!/bin/sh\nprintf '%s\\n' called \"$@\"\n", encoding="utf-8")
    program.chmod(0o755)
    return tmp_path


def just(folder: Path, *words: str, **given: str) -> subprocess.CompletedProcess[str]:
    """Call a recipe with that folder's pytest."""
    path = f"{folder}:{os.environ['PATH']}"
    command = ["just", f"--justfile={ROOT / 'justfile'}", *words]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment(**given, PATH=path),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        (["deploy-aws-ssm", "v2"], ["--provider=aws", "--sha=v2"]),
        (["deploy-ovh-ssh", "v2"], ["--provider=ovh", "--sha=v2"]),
        (["audit", "ovh"], ["--provider=ovh", "--audit"]),
        (["rollback", "aws"], ["--provider=aws", "--rollback"]),
        (["drill", "ovh", "v2"], ["--provider=ovh", "--sha=v2", "--drill"]),
    ],
    ids=lambda words: words[0],
)
def test_a_command_calls_pytest_and_nothing_else(folder: Path, words: list[str], arguments: list[str]) -> None:
    """Each command is one call of pytest; further arguments reach it as they are, whatever is in them."""
    for more in ([], ["--host=@staging", "-k", "a b; $(id) 'c'"]):
        done = just(folder, *words, *more)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines() == ["called", *arguments, *more]


@pytest.mark.parametrize("command", ["deploy-aws-ssm", "deploy-ovh-ssh"])
def test_the_revision_is_deploy_sha_or_head(folder: Path, command: str) -> None:
    """Without a revision DEPLOY_SHA is deployed, and without that the commit that is checked out here."""
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert just(folder, command).stdout.splitlines()[-1] == f"--sha={head.strip()}"
    assert just(folder, command, DEPLOY_SHA="v3").stdout.splitlines()[-1] == "--sha=v3"
    assert just(folder, command, "v1", DEPLOY_SHA="v3").stdout.splitlines()[-1] == "--sha=v1"


@pytest.mark.parametrize("words", [[], ["main"], ["--force"]])
def test_the_old_command_is_gone(folder: Path, words: list[str]) -> None:
    """`deploy-ec2` fails at once, calls nothing, and says what to use instead."""
    done = just(folder, "deploy-ec2", *words)
    assert done.returncode != 0
    assert done.stdout == ""
    assert "Use: just deploy-aws-ssm SHA" in done.stderr


def test_a_missing_instance_is_one_error(tmp_path: Path) -> None:
    """Without an instance id the deploy ends with exit code 4 and one sentence that names both variables."""
    given = environment(AWS_ENDPOINT_URL="http://127.0.0.1:1", AWS_REGION="eu-central-1")
    done = subprocess.run(
        ["just", "deploy-aws-ssm", "main", f"--report-dir={tmp_path}"],
        cwd=ROOT,
        env=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 4
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("ERROR")]
    variables = "the environment variables DEPLOY_INSTANCE_ID and EC2_INSTANCE_ID are not set"
    line = AWS.read_text(encoding="utf-8").splitlines().index("[[hosts]]") + 1
    assert re.fullmatch(rf"ERROR: {re.escape(str(AWS))}:\d+: hosts\[0\]\.instance: {variables}", "\n".join(said))
    assert int("\n".join(said).removeprefix(f"ERROR: {AWS}:").partition(":")[0]) >= line
    assert list(tmp_path.iterdir()) == []


def aws(**given: str) -> Target:
    """The shipped target file as an environment makes it."""
    return load(AWS, given)


def test_the_old_environment_is_taken() -> None:
    """Instance, working directory and store paths come from the variables that the old entry point had."""
    assert aws(DEPLOY_INSTANCE_ID=INSTANCE).hosts[0].part(AwsHost).instance == INSTANCE
    assert aws(EC2_INSTANCE_ID=INSTANCE).hosts[0].part(AwsHost).instance == INSTANCE
    assert aws(DEPLOY_INSTANCE_ID=INSTANCE, EC2_INSTANCE_ID="i-00000000").hosts[0].part(AwsHost).instance == INSTANCE
    assert aws(EC2_INSTANCE_ID=INSTANCE).repository.checkout == "/opt/choiros/workspace"
    assert aws(EC2_INSTANCE_ID=INSTANCE, WORKDIR="/srv/it").repository.checkout == "/srv/it"
    assert {name: bridge_values(aws(EC2_INSTANCE_ID=INSTANCE, **PATHS).bridge)[name] for name in PATHS} == PATHS
    allowed = aws(EC2_INSTANCE_ID=INSTANCE, ALLOW_HOST_BUILD_FALLBACK="true").bridge
    assert bridge_values(allowed)["ALLOW_HOST_BUILD_FALLBACK"] == "true"
    none = bridge_values(aws(EC2_INSTANCE_ID=INSTANCE, SANDBOX_STORE_PATH="").bridge)
    assert {name: none[name] for name in PATHS} == dict.fromkeys(PATHS, "")
    assert none["ALLOW_HOST_BUILD_FALLBACK"] == "false"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SANDBOX_STORE_PATH", "/opt/sandbox"),
        ("HYPERVISOR_STORE_PATH", "/nix/store/../etc"),
        ("DESKTOP_STORE_PATH", f"/nix/store/{'0' * 32}-x; reboot"),
        ("ALLOW_HOST_BUILD_FALLBACK", "yes"),
    ],
)
def test_what_it_may_not_be_is_refused(variable: str, value: str) -> None:
    """A value that is no store path, or neither true nor false, is refused with its key before anything is sent."""
    key = "build_on_host" if variable.startswith("ALLOW") else f"{variable.partition('_')[0].lower()}.path"
    with pytest.raises(UsageError, match=rf"bridge\.(programs\.)?{key}: .*found "):
        aws(EC2_INSTANCE_ID=INSTANCE, **{variable: value})
