"""The local SSM endpoint behaves as SSM does, seen through boto3 and through AWS's own command line."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError

from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from switchproof.deploy.providers.lab.ssm import NOT_MODELLED, OF_STAND_IN, model
from switchproof.deploy.providers.lab.ssm.endpoint import SsmEndpoint
from switchproof.deploy.providers.lab.ssm.faults import Fault
from tests.deploys.sessions import ROOT
from tests.ssm.conftest import QUICK

pytestmark = pytest.mark.lab

SOON_S = 20.0


@pytest.fixture
def ssm(endpoint: SsmEndpoint) -> Any:
    """boto3's client, as anybody makes it."""
    assert endpoint.url
    return boto3.client("ssm")


class Sender:
    """Sends shell text to the one instance, and waits for its end."""

    def __init__(self, ssm: Any, instance: str) -> None:
        self.ssm, self.instance = ssm, instance

    def send(self, text: str, **more: Any) -> str:
        parameters = {"commands": [text], **more.pop("parameters", {})}
        sent = self.ssm.send_command(
            InstanceIds=[self.instance], DocumentName="AWS-RunShellScript", Parameters=parameters, **more
        )
        return str(sent["Command"]["CommandId"])

    def get(self, command: str) -> dict[str, Any]:
        told: dict[str, Any] = self.ssm.get_command_invocation(CommandId=command, InstanceId=self.instance)
        return told

    def await_status(self, command: str, *wanted: str) -> dict[str, Any]:
        deadline = time.monotonic() + SOON_S
        while True:
            try:
                told = self.get(command)
                if told["Status"] in wanted:
                    return told
            except ClientError as error:
                if error.response["Error"]["Code"] != "InvocationDoesNotExist":
                    raise
            assert time.monotonic() < deadline, wanted
            time.sleep(0.05)

    def run(self, text: str, **more: Any) -> dict[str, Any]:
        return self.await_status(self.send(text, **more), "Success", "Failed", "TimedOut", "Cancelled")


@pytest.fixture
def sender(ssm: Any, endpoint: SsmEndpoint) -> Sender:
    """Sends to the host."""
    return Sender(ssm, endpoint.instance_ids["i"])


def ending(told: dict[str, Any]) -> tuple[str, str, int]:
    """Status, details and response code."""
    return told["Status"], told["StatusDetails"], told["ResponseCode"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", ("Success", "Success", 0)),
        ("exit 3", ("Failed", "Failed", 3)),
        ("false; true", ("Success", "Success", 0)),
        ("exit 137", ("TimedOut", "ExecutionTimedOut", 137)),
        ("kill -9 $$", ("TimedOut", "ExecutionTimedOut", 137)),
    ],
    ids=["good", "exit-3", "only-the-last-counts", "137-is-taken-for-late", "so-is-death-by-signal"],
)
def test_a_script_s_end_is_told_as_the_agent_tells_it(
    sender: Sender, text: str, expected: tuple[str, str, int]
) -> None:
    """The script really runs, and its exit code means what the agent makes of it."""
    assert ending(sender.run(text)) == expected


def test_exit_194_runs_the_script_again(sender: Sender, machine: LabHost) -> None:
    """The exit code that asks for a reboot runs the script once more from its start."""
    machine.run(["rm", "-f", "/run/again"], timeout_s=10)
    told = sender.run("echo x >>/run/again; [ $(wc -l </run/again) -ge 3 ] || exit 194; cat /run/again")
    assert (ending(told), told["StandardOutputContent"]) == (("Success", "Success", 0), "x\nx\nx\n")


def test_a_script_finds_what_an_agent_gives_it(sender: Sender) -> None:
    """root, a path, the command's id, no home, `/` as folder, `sh`, and no bash where its first line asks for one."""
    told = sender.run('id -u; echo "$SSM_COMMAND_ID ${HOME-none} $PWD"; ps -o comm= -p $$')
    assert told["StandardOutputContent"] == f"0\n{told['CommandId']} none /\nsh\n"
    assert ending(sender.run("#!/nowhere/bash\ntrue"))[2] == 127


def test_a_time_limit_kills_the_whole_group(sender: Sender, machine: LabHost) -> None:
    """When the execution time is over, the script and its children are killed; what left the group goes on."""
    text = "setsid sleep 4071 >/dev/null 2>&1 & sleep 4072 & sleep 4073"
    told = sender.run(text, parameters={"executionTimeout": ["5"]})
    assert ending(told) == ("TimedOut", "ExecutionTimedOut", 137)
    left = machine.run(["pgrep", "-fa", "sleep 407"], timeout_s=10).stdout
    assert "4071" in left
    assert "4072" not in left
    assert "4073" not in left
    machine.run(["pkill", "-f", "sleep 4071"], timeout_s=10)


def test_a_cancelled_command_is_killed(sender: Sender, ssm: Any, machine: LabHost) -> None:
    """Cancelling ends what runs, by way of a status of its own."""
    command = sender.send("echo $$ >/run/victim; sleep 4081")
    sender.await_status(command, "InProgress")
    ssm.cancel_command(CommandId=command, InstanceIds=[sender.instance])
    assert sender.await_status(command, "Cancelled")["StatusDetails"] == "Cancelled"
    assert machine.run(["pgrep", "-f", "sleep 4081"], timeout_s=10).returncode == 1


def test_only_the_beginning_of_long_output_is_passed_on(sender: Sender, ssm: Any) -> None:
    """24,000 bytes with a mark, 8,000 characters of errors without one, and 2,500 of both together in the list."""
    told = sender.run("head -c 30000 /dev/zero | tr '\\0' o; head -c 9000 /dev/zero | tr '\\0' e >&2")
    out, err = told["StandardOutputContent"], told["StandardErrorContent"]
    assert (len(out), len(err)) == (24_000, 8_000)
    assert out.endswith("o--output truncated--")
    assert set(err) == {"e"}
    (listed,) = ssm.list_command_invocations(CommandId=told["CommandId"], Details=True)["CommandInvocations"]
    assert len(listed["CommandPlugins"][0]["Output"]) == 2_500
    assert "\n---Output truncated---\n----------ERROR-------\n" in listed["CommandPlugins"][0]["Output"]
    assert listed["CommandPlugins"][0]["Output"].endswith("e\n---Error truncated----")


def _refusal(sender: Sender, command: str) -> str:
    """The code with which GetCommandInvocation refuses; empty if it answers."""
    try:
        sender.get(command)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def test_a_command_is_seen_only_after_a_while(sender: Sender, ssm: Any) -> None:
    """Right after it was accepted it does not exist for GetCommandInvocation, and lists are empty; then it does."""
    for _ in range(20):  # a machine with much else to do may ask too late
        began, command = time.monotonic(), sender.send("true", Comment="to be found")
        told = (_refusal(sender, command), ssm.list_commands(CommandId=command)["Commands"])
        if told == ("InvocationDoesNotExist", []):
            break
        assert time.monotonic() - began > QUICK.invisible_s, told
    else:
        pytest.fail("this machine never asked soon enough")
    sender.await_status(command, "Success")
    (listed,) = ssm.list_commands(CommandId=command)["Commands"]
    assert (listed["Comment"], listed["Status"], listed["CompletedCount"]) == ("to be found", "Success", 1)


def test_boto3_s_waiter_works(ssm: Any, sender: Sender) -> None:
    """The waiter that everybody uses sees the end, and raises for whatever is no success."""
    waiter = ssm.get_waiter("command_executed")
    for text in ("true", "exit 1"):
        command = sender.send(text)
        wait = {"CommandId": command, "InstanceId": sender.instance, "WaiterConfig": {"Delay": 1, "MaxAttempts": 9}}
        if text == "true":
            waiter.wait(**wait)
        else:
            with pytest.raises(WaiterError, match="Failed"):
                waiter.wait(**wait)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"InstanceIds": ["web-1"]}, "ValidationException"),
        ({"InstanceIds": ["i-00000000000000000"]}, "InvalidInstanceId"),
        ({"Comment": "c" * 101}, "ValidationException"),
        ({"TimeoutSeconds": 29}, "ValidationException"),
        ({"DocumentName": "No-Such-Document"}, "InvalidDocument"),
        ({"Parameters": {"commands": ["true"], "colour": ["red"]}}, "InvalidParameters"),
        ({"Parameters": {}}, "InvalidParameters"),
        ({"Parameters": {"commands": ["true"], "executionTimeout": ["soon"]}}, "InvalidParameters"),
        ({"Parameters": {"commands": ["echo {{ssm:secret}}"]}}, "InvalidParameters"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_a_wrong_request_is_refused(
    endpoint: SsmEndpoint, sender: Sender, request_: dict[str, Any], code: str
) -> None:
    """What SSM would refuse is refused by the same name, and runs nothing."""
    # botocore's own checks would keep some of these from leaving this machine.
    lax = boto3.client("ssm", config=Config(parameter_validation=False))
    good = {
        "InstanceIds": [sender.instance],
        "DocumentName": "AWS-RunShellScript",
        "Parameters": {"commands": ["true"]},
    }
    with pytest.raises(ClientError) as caught:
        lax.send_command(**{**good, **request_})
    assert caught.value.response["Error"]["Code"] == code
    assert not endpoint.count("GetCommandInvocation")


def test_what_is_not_modelled_is_an_error(ssm: Any, endpoint: SsmEndpoint) -> None:
    """An operation that is not there is never a success; every answer says what it comes from and what it lacks."""
    with pytest.raises(ClientError) as caught:
        ssm.describe_automation_executions()
    assert caught.value.response["Error"]["Code"] == "UnknownOperationException"
    headers = ssm.describe_instance_information()["ResponseMetadata"]["HTTPHeaders"]
    assert model.version() in headers["x-switchproof-emulation"]
    assert headers["x-switchproof-not-modelled"].split(" | ") == [*NOT_MODELLED, *OF_STAND_IN]
    assert endpoint.count("DescribeAutomationExecutions") == 0


def test_answers_are_as_the_model_says(ssm: Any, sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind of answer has the fields, types and words that AWS's model gives it."""
    told: dict[str, list[str]] = {}
    real = json.dumps

    def watched(answer: Any, *rest: Any, **more: Any) -> str:
        keys = {
            "Command": "SendCommand",
            "Commands": "ListCommands",
            "InstanceInformationList": "DescribeInstanceInformation",
        }
        keys |= {"CommandInvocations": "ListCommandInvocations", "StandardOutputContent": "GetCommandInvocation"}
        for key, operation in keys.items():
            if isinstance(answer, dict) and key in answer:
                told.setdefault(operation, []).extend(model.check_response(operation, answer))
        return real(answer, *rest, **more)

    monkeypatch.setattr("switchproof.deploy.providers.lab.ssm.endpoint.json.dumps", watched)
    command = sender.run("echo out; echo err >&2; exit 4")["CommandId"]
    ssm.list_commands(CommandId=command)
    ssm.list_command_invocations(CommandId=command, Details=True)
    ssm.describe_instance_information()
    assert len(told) == 5
    assert not any(told.values()), told


@pytest.mark.parametrize("fault", [Fault.ERROR_AFTER_ACCEPTING, Fault.STALL_AFTER_ACCEPTING])
def test_a_client_that_retries_runs_a_script_twice(
    endpoint: SsmEndpoint, sender: Sender, machine: LabHost, fault: Fault
) -> None:
    """boto3 as it comes sends again what was accepted without an answer, and the script runs twice, as with AWS."""
    machine.run(["rm", "-f", "/run/twice"], timeout_s=10)
    endpoint.faults.plan(fault)
    Sender(boto3.client("ssm", config=Config(read_timeout=1)), sender.instance).run("echo ran >>/run/twice")
    deadline = time.monotonic() + SOON_S
    while machine.run(["cat", "/run/twice"], timeout_s=10).stdout != "ran\nran\n":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert endpoint.count("SendCommand") == 2


def test_a_message_that_comes_twice_runs_once(endpoint: SsmEndpoint, sender: Sender, machine: LabHost) -> None:
    """The agent takes a message once; only one that lost its state runs a command twice, and SSM tells of one."""
    machine.run(["rm", "-f", "/run/both"], timeout_s=10)
    endpoint.faults.plan(Fault.DELIVERED_TWICE)
    assert sender.run("echo ran >>/run/both; cat /run/both")["StandardOutputContent"] == "ran\n"
    machine.run(["rm", "-f", "/run/both"], timeout_s=10)
    endpoint.faults.plan(Fault.RUN_TWICE)
    told = sender.run("echo ran >>/run/both; while [ $(wc -l </run/both) -lt 2 ]; do sleep 0.1; done; cat /run/both")
    assert told["StandardOutputContent"] == "ran\nran\n"
    assert len(sender.ssm.list_commands()["Commands"]) == 2


def test_a_script_stays_within_the_host(sender: Sender, machine: LabHost, tmp_path: Path) -> None:
    """A link that leads out of the host's root leads nowhere else, and a script may do what the host may, no more."""
    outside = tmp_path / "outside"
    outside.mkdir()
    link = f"/var/lib/amazon/ssm/{sender.instance}"
    machine.run(["sh", "-c", f"rm -rf {link}; mkdir -p /var/lib/amazon/ssm; ln -s {outside} {link}"], timeout_s=10)
    told = sender.run("true")
    machine.run(["rm", "-f", link], timeout_s=10)
    assert (told["Status"], told["ResponseCode"]) == ("Failed", 1)
    assert not list(outside.iterdir())
    bounds = "grep CapBnd /proc/1/status /proc/self/status | cut -d: -f3 | sort -u"
    assert len(sender.run(bounds)["StandardOutputContent"].splitlines()) == 1
    assert len(machine.run(["sh", "-c", bounds], timeout_s=10).stdout.splitlines()) == 1


def test_a_script_that_cannot_begin_has_failed(sender: Sender) -> None:
    """A working directory that is not there is a failure in the agent's words, and nothing is run."""
    told = sender.run("echo ran", parameters={"workingDirectory": ["/nowhere"]})
    assert ending(told) == ("Failed", "Failed", 1)
    assert (told["StandardOutputContent"], told["StandardErrorContent"]) == (
        "",
        "failed to run commands: fork/exec /usr/bin/sh: no such file or directory",
    )


def test_a_working_directory_that_is_a_file_is_called_so(sender: Sender) -> None:
    """The agent's words name the shell, which is what could not be started."""
    told = sender.run("echo ran", parameters={"workingDirectory": ["/etc/passwd"]})
    assert ending(told) == ("Failed", "Failed", 1)
    assert told["StandardErrorContent"] == "failed to run commands: fork/exec /usr/bin/sh: not a directory"


def test_a_script_sees_what_systemd_gives_to_the_agents_service(sender: Sender) -> None:
    """Scripts that ask whether a service runs them find so; 1,024 files may be open, and no home is named."""
    names = "INVOCATION_ID JOURNAL_STREAM LANG SYSTEMD_EXEC_PID USER HOME LOGNAME OLDPWD SHELL TERM"
    told = sender.run(f'for name in {names}; do eval "[ -z \\"\\${{$name-}}\\" ] || echo $name"; done; ulimit -S -n')
    assert told["StandardOutputContent"].split() == [*names.split()[:5], "1024"]


def test_an_old_agent_has_a_short_path(endpoint: SsmEndpoint, sender: Sender) -> None:
    """An agent whose unit has coreutils only finds neither ps nor setsid, let alone nixos-rebuild."""
    endpoint.faults.plan(Fault.BARE_PATH)
    told = sender.run("id -u; for tool in ps setsid nixos-rebuild; do command -v $tool; done; true")
    assert told["StandardOutputContent"] == "0\n"


def test_an_agent_can_be_killed_at_any_moment(endpoint: SsmEndpoint, sender: Sender, machine: LabHost) -> None:
    """What it ran is killed with it and told as failed; the next command finds an agent."""
    command = sender.send("sleep 4151")
    sender.await_status(command, "InProgress")
    endpoint.kill_agent("i")
    assert ending(sender.await_status(command, "Failed", "Success")) == ("Failed", "Failed", 1)
    assert machine.run(["pgrep", "-f", "sleep 4151"], timeout_s=10).returncode == 1
    assert ending(sender.run("true")) == ("Success", "Success", 0)


def test_an_instance_that_is_away_takes_commands_when_it_is_back(
    endpoint: SsmEndpoint, sender: Sender, ssm: Any
) -> None:
    """Offline is seen in the instance's information; a command waits, delayed, and runs when the agent is back."""
    endpoint.set_online("i", online=False)
    (known,) = ssm.describe_instance_information()["InstanceInformationList"]
    assert known["PingStatus"] == "ConnectionLost"
    command = sender.send("true")
    sender.await_status(command, "Delayed")
    endpoint.set_online("i", online=True)
    assert ending(sender.await_status(command, "Success")) == ("Success", "Success", 0)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault.DELIVERY_TIMEOUT, ("TimedOut", "DeliveryTimedOut", -1)),
        (Fault.UNDELIVERABLE_BUT_RAN, ("Failed", "Undeliverable", -1)),
        (Fault.AGENT_DIES, ("Failed", "Failed", 1)),
        (Fault.AGENT_RESTART, ("Success", "Success", 0)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_planned_fault_of_a_command_happens_once(
    endpoint: SsmEndpoint, sender: Sender, fault: Fault, expected: tuple[str, str, int]
) -> None:
    """What was planned goes wrong with the next command, and with no other."""
    endpoint.faults.plan(fault)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(sender.run, "sleep 0.5")
        assert ending(first.result()) == expected
    assert ending(sender.run("true")) == ("Success", "Success", 0)


def test_what_it_does_and_does_not_is_documented() -> None:
    """The endpoint's page has every fault, and a word of all that is not modelled."""
    page = (ROOT / "docs" / "ssm-endpoint.md").read_text(encoding="utf-8")
    assert not [fault for fault in Fault if f"`{fault}`" not in page]
    for word in ("IAM", "latencies", "MaxConcurrency", "Parameter Store", "schema 2.2", "194", "instance", "agent"):
        assert any(word in lacking for lacking in NOT_MODELLED + OF_STAND_IN), word
        assert word in page


def test_it_is_served_by_hand(lab: Lab, machine: LabHost, tmp_path: Path) -> None:
    """The command prints what a shell needs, gives the host a checkout, breaks what it is told, and ends.

    The file that its output goes to can be read by nobody else.
    """
    file = tmp_path / "ssm.env"
    main = (
        "from switchproof.deploy.providers.lab import __main__ as lab; "
        "lab._require_aws = print; raise SystemExit(lab.main())"
    )
    command = [sys.executable, "-c", main, "ssm", "i", "--fault", "throttle"]
    named = os.environ | {"SWITCHPROOF_LAB": lab.name}
    with (
        file.open("w") as output,
        subprocess.Popen(command, stdout=output, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=named) as process,
    ):
        assert process.stderr is not None
        while not process.stderr.readline().startswith("Serving until"):
            assert process.poll() is None
        assert file.stat().st_mode & 0o777 == 0o600
        _, first, *lines = file.read_text("utf-8").splitlines()  # the lab's own check is replaced by a line
        assert first == "unset AWS_DEFAULT_PROFILE AWS_PROFILE AWS_SESSION_TOKEN"
        given = dict(shlex.split(line)[1].split("=", 1) for line in lines)
        ssm = boto3.client(
            "ssm",
            endpoint_url=given["AWS_ENDPOINT_URL_SSM"],
            region_name=given["AWS_REGION"],
            aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
            config=Config(retries={"mode": "standard", "total_max_attempts": 1}),
        )
        with pytest.raises(ClientError, match="ThrottlingException"):
            Sender(ssm, given["DEPLOY_INSTANCE_ID"]).send("true")
        process.terminate()
        assert process.wait(20) == 0
    assert given["FLAKE_ATTR"] == machine.attr
    origin = machine.run(["git", "-C", "/opt/choiros/workspace", "remote", "get-url", "origin"], timeout_s=10)
    assert origin.stdout.strip() == Lab.repository_url


def test_a_lab_of_another_shape_is_refused_at_once(lab: Lab) -> None:
    """Its hosts have no containers, so that every deploy would fail late; the command that works is told."""
    command = [sys.executable, "-m", "switchproof.deploy.providers.lab", "ssm", "--name", lab.name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=ROOT)
    assert done.returncode == 4
    assert "has hosts of the shape ovh; SSM is for hosts of the shape aws" in done.stderr
    assert "up --shape=aws --name" in done.stderr
    assert not done.stdout


def aws(*arguments: str) -> tuple[int, Any]:
    """AWS's own command line, version 1."""
    program = Path(sys.executable).parent / "aws"
    done = subprocess.run(
        [sys.executable, program, *arguments], capture_output=True, text=True, check=False, timeout=60, env=os.environ
    )
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else done.stderr


def test_aws_s_command_line_works(endpoint: SsmEndpoint, sender: Sender) -> None:
    """`aws` finds the endpoint by the environment, sends, reads, and is told of errors as with AWS."""
    assert aws("sts", "get-caller-identity")[1]["Account"] == "000000000000"
    sent = ["ssm", "send-command", "--instance-ids", sender.instance, "--document-name", "AWS-RunShellScript"]
    status, told = aws(*sent, "--parameters", json.dumps({"commands": ["echo from aws; exit 7"]}))
    assert status == 0, told
    ended = sender.await_status(told["Command"]["CommandId"], "Failed")
    assert (ended["ResponseCode"], ended["StandardOutputContent"]) == (7, "from aws\n")
    status, words = aws("ssm", "get-command-invocation", "--command-id", "0" * 36, "--instance-id", sender.instance)
    assert status != 0
    assert "InvocationDoesNotExist" in words
    assert endpoint.count("SendCommand") == 1
