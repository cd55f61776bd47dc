"""The provider `aws` against an SSM that really executes: whatever goes wrong, a program runs once or says so."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

import boto3
import msgspec
import pytest
from botocore.config import Config

from switchproof.deploy.connection import (
    ConnectionLost,
    DeadlineExceeded,
    NotRoot,
    Question,
    RootRefused,
    Unreachable,
)
from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.host.program import question
from switchproof.deploy.providers import load
from switchproof.deploy.providers.aws import clients, commands, provider
from switchproof.deploy.providers.aws.document import document
from switchproof.deploy.providers.aws.provider import AwsConnection, AwsProvider
from switchproof.deploy.providers.aws.table import Ssm
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.ssm import NOT_MODELLED, OF_STAND_IN
from switchproof.deploy.providers.lab.ssm.endpoint import SsmEndpoint
from switchproof.deploy.providers.lab.ssm.faults import Fault
from switchproof.deploy.providers.lab.ssm.sts import ROLE_ARN
from switchproof.deploy.settings import TARGETS
from switchproof.deploy.target.types import Target
from tests.deploys.sessions import ROOT
from tests.host.hands import wait_for
from tests.logins import COMMAND, allow, login_user

pytestmark = [pytest.mark.lab, pytest.mark.long]

COUNT = b"echo ran >>/run/count; cat /run/count"
LIMIT_S = 20.0


@pytest.fixture
def target(endpoint: SsmEndpoint) -> Target:
    """The target file of AWS, with the one instance."""
    return load(TARGETS / "aws.toml", {"DEPLOY_INSTANCE_ID": endpoint.instance_ids["i"]})


@pytest.fixture(autouse=True)
def _nothing_else_is_needed(endpoint: SsmEndpoint) -> Iterator[None]:
    """The provider does nothing that the policy in docs/aws.md does not allow."""
    page = (ROOT / "docs" / "aws.md").read_text(encoding="utf-8")
    policy = json.loads(page.partition("```json\n")[2].partition("```")[0])
    given = [one["Action"] for one in policy["Statement"]]
    allowed = {action for one in given for action in ([one] if isinstance(one, str) else one)}
    yield
    optional = {"ssm:CancelCommand"}  # the page says what a run does without
    assert {f"ssm:{operation}" for operation, _ in endpoint.calls} - {"ssm:CreateDocument"} <= allowed | optional


def opened(target: Target, *, prove: bool = False) -> AwsConnection:
    """Connect to the one instance."""
    return AwsProvider(target, prove=prove, emulated=lambda *_: None, say=print).connect("aws")


@pytest.fixture
def way(target: Target, machine: LabHost) -> AwsConnection:
    """A connection to a host on which nothing was counted yet."""
    machine.run(["rm", "-f", "/run/count"], timeout_s=10)
    return opened(target)


def runs(machine: LabHost, program: str) -> bool:
    """Whether a program with exactly these words runs on the host."""
    return machine.run(["pgrep", "-xf", program], timeout_s=10).returncode == 0


@pytest.mark.parametrize(
    ("text", "status", "output"),
    [
        ("echo out; exit 0", 0, b"out\n"),
        ("exit 3", 3, b""),
        ("exit 137", 137, b""),
        ("exit 194", 194, b""),
        ("echo out; kill -9 $$", None, b"out\n"),
        ("printf '\\377\\303\\n'", 0, b"\xff\xc3\n"),
        ("/bin/no-such-bash -c true", 127, b""),
        ('cd /nowhere; echo "$HOME $PWD"; command -v nixos-rebuild', 0, b"/root /\n/usr/local/bin/nixos-rebuild\n"),
    ],
    ids=["0", "3", "137", "194", "signal", "no-text", "no-shell", "surroundings"],
)
def test_a_program_ends_as_it_did(way: AwsConnection, text: str, status: int | None, output: bytes) -> None:
    """Output and status are the program's own, also those that the agent gives another meaning."""
    done = way.run(text.encode(), timeout_s=LIMIT_S)
    assert (done.exit_status, done.stdout) == (status, output)


def test_a_question_costs_one_command(way: AwsConnection, endpoint: SsmEndpoint) -> None:
    """Nothing but the question itself is sent for a question; the first one asks whether the script is there."""
    for sent in (2, 3):
        assert way.run(Question("echo $1 $A", "observe", {"A": "b"}), timeout_s=LIMIT_S).stdout == b"observe b\n"
        assert endpoint.count("SendCommand") == sent


@pytest.mark.parametrize("fault", [Fault.ERROR_AFTER_ACCEPTING, Fault.STALL_AFTER_ACCEPTING])
def test_what_was_accepted_without_an_answer_runs_once(
    target: Target, machine: LabHost, endpoint: SsmEndpoint, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    """After a 500, or no answer at all, the command is found in AWS's lists and followed, never sent again."""
    monkeypatch.setattr(clients, "SENDS", clients.SENDS.merge(Config(read_timeout=0.5)))
    machine.run(["rm", "-f", "/run/count"], timeout_s=10)
    way = opened(target)
    endpoint.faults.plan(fault)
    assert way.run(COUNT, timeout_s=LIMIT_S).stdout == b"ran\n"
    assert endpoint.count("SendCommand") == 1
    assert endpoint.count("ListCommands") >= 1


def test_what_an_agent_runs_twice_runs_once(way: AwsConnection, endpoint: SsmEndpoint, machine: LabHost) -> None:
    """A command that an agent runs twice at the same time runs its program once."""
    endpoint.faults.plan(Fault.RUN_TWICE)
    assert way.run(COUNT + b"; sleep 1", timeout_s=LIMIT_S).stdout == b"ran\n"
    assert machine.run(["cat", "/run/count"], timeout_s=10).stdout == "ran\n"


@pytest.mark.parametrize("operation", ["SendCommand", "GetCommandInvocation"])
def test_throttled_requests_are_tried_again(way: AwsConnection, endpoint: SsmEndpoint, operation: str) -> None:
    """What AWS refused for its rate is asked again, and the program runs once."""
    endpoint.faults.plan(Fault.THROTTLE, operation=operation, times=2)
    assert way.run(COUNT, timeout_s=LIMIT_S).stdout == b"ran\n"
    assert endpoint.count("SendCommand") == 1


@pytest.mark.parametrize(
    ("fault", "commands"),
    [(Fault.UNDELIVERABLE_BUT_RAN, 2), (Fault.CUT_OUTPUT, 2), (Fault.AGENT_RESTART, 1)],
    ids=str,
)
def test_an_answer_that_ssm_loses_is_fetched_from_the_host(
    way: AwsConnection, endpoint: SsmEndpoint, fault: Fault, commands: int
) -> None:
    """Called undeliverable, or cut short: the host still has the answer, and nothing runs again."""
    endpoint.faults.plan(fault)
    assert way.run(COUNT + b"; seq 200", timeout_s=LIMIT_S).stdout.startswith(b"ran\n1\n")
    assert endpoint.count("SendCommand") == commands


def test_a_command_that_never_started_says_so(way: AwsConnection, endpoint: SsmEndpoint, machine: LabHost) -> None:
    """It is looked for on the host before anything is said; there nothing was begun."""
    endpoint.faults.plan(Fault.DELIVERY_TIMEOUT)
    with pytest.raises(
        ConnectionLost, match=r"never started \(SSM: TimedOut/DeliveryTimedOut\). The host started nothing"
    ):
        way.run(COUNT, timeout_s=LIMIT_S)
    assert machine.run(["test", "-e", "/run/count"], timeout_s=10).returncode == 1


def test_an_agent_that_dies_leaves_no_answer(way: AwsConnection, endpoint: SsmEndpoint, machine: LabHost) -> None:
    """A program that was ended with its agent has no answer, and is never taken for one that failed."""
    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(way.run, b"sleep 4091", timeout_s=LIMIT_S)
        wait_for(lambda: runs(machine, "sleep 4091"), "the program to run")
        endpoint.kill_agent("i")
        with pytest.raises(ConnectionLost, match=r"for a killed worker.*It no longer runs there"):
            told.result()


def test_a_program_that_takes_too_long_is_ended(way: AwsConnection, machine: LabHost) -> None:
    """Its time over, it is killed, and the error says that nothing of it is left."""
    with pytest.raises(DeadlineExceeded, match=r"killed it at its timeout.*It no longer runs there"):
        way.run(b"sleep 4101", timeout_s=1)
    assert not runs(machine, "sleep 4101")


def test_what_goes_on_after_giving_up_is_found_out(
    way: AwsConnection, endpoint: SsmEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When AWS never tells an end, the command is cancelled; if that does not end it, its answer is still taken."""
    monkeypatch.setattr(commands, "SLACK_S", 1.5 - LIMIT_S)
    endpoint.faults.plan(Fault.CANCEL_IN_VAIN, operation="CancelCommand")
    done = way.run(COUNT + b"; sleep 4; echo $$", timeout_s=LIMIT_S)
    assert done.stdout.startswith(b"ran\n")
    assert endpoint.count("CancelCommand") >= 1


def test_a_reply_that_is_lost_is_asked_for(
    way: AwsConnection, endpoint: SsmEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent's reply is not waited for until it repeats it: the host has the answer, and nothing runs again."""
    monkeypatch.setattr(commands, "SLACK_S", 1.0 - LIMIT_S)
    endpoint.faults.plan(Fault.REPLY_LOST)
    assert way.run(COUNT, timeout_s=LIMIT_S).stdout == b"ran\n"
    assert endpoint.count("SendCommand") == 2


def test_a_message_that_the_agent_loses_runs_nothing(
    way: AwsConnection, endpoint: SsmEndpoint, machine: LabHost, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that stays pending is given up, withdrawn on the host, and told as one that never began."""
    monkeypatch.setattr(commands, "SLACK_S", 2.0 - target.table(Ssm).start_s)
    monkeypatch.setattr(provider, "LOOK_S", target.table(Ssm).start_s + LIMIT_S)
    endpoint.faults.plan(Fault.DROPPED)
    with pytest.raises(
        ConnectionLost, match=r"did not get the command: given up and cancelled.*if the command arrives later"
    ):
        way.run(COUNT, timeout_s=target.table(Ssm).start_s)
    assert machine.run(["test", "-e", "/run/count"], timeout_s=10).returncode == 1


def test_an_agent_with_a_short_path_is_enough(way: AwsConnection, endpoint: SsmEndpoint) -> None:
    """What carries a program finds its tools without the agent's help."""
    endpoint.faults.plan(Fault.BARE_PATH)
    assert way.run(COUNT + b"; command -v nixos-rebuild", timeout_s=LIMIT_S).exit_status == 0


def test_long_output_comes_whole(way: AwsConnection, endpoint: SsmEndpoint) -> None:
    """Output that no answer of SSM can hold comes in pieces."""
    random = os.urandom(40_000).hex()
    done = way.run(f"printf %s {random}".encode(), timeout_s=LIMIT_S)
    assert done.stdout.decode() == random
    assert endpoint.count("SendCommand") == 3


def test_an_instance_proves_that_it_runs_commands(target: Target, endpoint: SsmEndpoint) -> None:
    """The preflight of a deploy sends a trivial command; online alone proves nothing."""
    reached = AwsProvider(target, prove=True, emulated=lambda *_: None, say=print)
    for _ in range(2):
        reached.connect("aws")
    assert endpoint.count("SendCommand") == 1
    endpoint.faults.plan(Fault.DELIVERY_TIMEOUT)
    with pytest.raises(
        Unreachable, match=r"reports the instance online, but it did not run a command: .*never started"
    ):
        opened(target, prove=True)
    endpoint.faults.plan(Fault.DENY)
    with pytest.raises(ConnectionLost, match=r"the command was not sent: .*see the IAM policy in docs/aws.md"):
        opened(target, prove=True)
    endpoint.set_online("i", online=False)
    with pytest.raises(Unreachable, match="is ConnectionLost; its last ping was at"):
        opened(target, prove=True)


def test_an_instance_is_found_by_tags_and_reached_in_a_role(
    target: Target, endpoint: SsmEndpoint, machine: LabHost
) -> None:
    """Tags select the host, a role is assumed, and the run learns what stands in for AWS and what that lacks."""
    host = msgspec.structs.replace(target.hosts[0], instance=None, tags={"Name": machine.hostname})
    ssm = msgspec.structs.replace(target.table(Ssm), role="arn:aws:iam::000000000000:role/deploy", region="us-east-1")
    told: list[tuple[str, tuple[str, ...]]] = []
    given = msgspec.structs.replace(target, hosts=(host,), ssm=ssm)
    reached = AwsProvider(given, prove=False, emulated=lambda *said: told.append(said), say=print)
    connection = reached.connect("aws")
    assert connection.run(b"exit 7", timeout_s=LIMIT_S).exit_status == 7
    assert connection.facts.address == endpoint.instance_ids["i"]
    assert ROLE_ARN in reached._caller
    assert [lacking for _, lacking in told] == [NOT_MODELLED + OF_STAND_IN]


def test_a_document_without_a_shell_runs_the_verbs(target: Target) -> None:
    """The document that is shipped runs a verb with typed parameters; for another target file it is refused."""
    made = msgspec.json.encode(document(target)).decode()
    boto3.client("ssm").create_document(Name="Switchproof", Content=made, DocumentType="Command")
    ssm = msgspec.structs.replace(target.table(Ssm), document="Switchproof")
    way = opened(msgspec.structs.replace(target, ssm=ssm), prove=True)
    asked = question(
        "status", "0" * 16, {"SWITCHPROOF_RUN": "none", "FLAKE_ATTR": "a", "SWITCHPROOF_OWNER": "it's {{x}}"}
    )
    done = way.run(asked, timeout_s=LIMIT_S)
    assert b"SWITCHPROOF/" in done.stdout, done
    with pytest.raises(Inconclusive, match="does not take"):
        way.run(question("status", "0" * 16, {"RELEASE_SHA": "$(id)"}), timeout_s=LIMIT_S)
    other = msgspec.structs.replace(target.repository, url="https://example.org/other.git")
    with pytest.raises(Inconclusive, match="create the document Switchproof again"):
        opened(msgspec.structs.replace(target, ssm=ssm, repository=other)).run(asked, timeout_s=LIMIT_S)


@contextmanager
def s3() -> Iterator[tuple[str, dict[str, bytes]]]:
    """Serve as much of S3 as an output needs: put, list below a prefix, get. It proves nothing about the real one."""
    kept: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            kept[urlsplit(self.path).path] = self.rfile.read(int(self.headers["Content-Length"]))
            self._say(b"")

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if "list-type" not in parts.query:
                self._say(kept[parts.path])
                return
            below = f"{parts.path}/{parse_qs(parts.query)['prefix'][0]}"
            found = [key.removeprefix(f"{parts.path}/") for key in kept if key.startswith(below)]
            entries = "".join(f"<Contents><Key>{escape(key)}</Key></Contents>" for key in found)
            self._say(f"<ListBucketResult>{entries}</ListBucketResult>".encode())

        def _say(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", kept
        server.shutdown()


def test_long_output_comes_from_a_bucket(
    target: Target, endpoint: SsmEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a bucket in the target file the whole of a long output is read from there, by one command."""
    random = os.urandom(40_000).hex()
    ssm = msgspec.structs.replace(target.table(Ssm), bucket="outputs", prefix="deploys/of-choiros")
    with s3() as (url, kept):
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        done = opened(msgspec.structs.replace(target, ssm=ssm)).run(f"printf %s {random}".encode(), timeout_s=LIMIT_S)
    assert done.stdout.decode() == random
    assert endpoint.count("SendCommand") == 1
    (key,) = kept
    assert key.endswith("/awsrunShellScript/0.awsrunShellScript/stdout")


def test_a_bucket_that_the_instance_does_not_reach_costs_one_delay(
    target: Target, endpoint: SsmEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answer shows it; later commands do without the bucket, and one line says so."""
    ssm = msgspec.structs.replace(target.table(Ssm), bucket="outputs")
    random = os.urandom(40_000).hex()
    said: list[str] = []
    with s3() as (url, kept):
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        endpoint.faults.plan(Fault.BUCKET_AWAY, times=99)
        given = msgspec.structs.replace(target, ssm=ssm)
        reached = AwsProvider(given, prove=True, emulated=lambda *_: None, say=said.append)
        assert reached.connect("aws").run(f"printf %s {random}".encode(), timeout_s=LIMIT_S).stdout.decode() == random
        assert not kept
    asked = [request for operation, request in endpoint.calls if operation == "SendCommand"]
    assert ["OutputS3BucketName" in request for request in asked] == [True, False, False, False]
    assert len(said) == 1
    assert said[0].startswith("aws: the bucket outputs is not used from now on, and output is fetched in pieces")


def test_nothing_is_left_running(way: AwsConnection, endpoint: SsmEndpoint) -> None:
    """A connection that is closed stops waiting at once, and cancels what it sent."""
    begun: list[Any] = []

    def run() -> None:
        try:
            way.run(b"sleep 4111", timeout_s=60)
        except ConnectionLost as error:
            begun.append(error)

    waiting = threading.Thread(target=run)
    waiting.start()
    while not endpoint.count("GetCommandInvocation"):
        assert waiting.is_alive()
        time.sleep(0.02)
    way.close()
    waiting.join(10)
    assert "given up" in str(begun[0])
    assert endpoint.count("SendCommand") == endpoint.count("CancelCommand") == 1


def test_programs_run_as_another_user_by_the_one_rule(target: Target, machine: LabHost) -> None:
    """With the rule of `switchproof sudoers` a question and a text run as root; without it one sentence refuses."""
    own = msgspec.structs.replace(target.table(Ssm), user="deploy")
    way = opened(msgspec.structs.replace(target, ssm=own))
    with login_user(machine):
        allow(machine)
        with pytest.raises(RootRefused, match=r"sudo there (does not allow deploy to|asks deploy for a password)"):
            way.run(b"id -u", timeout_s=LIMIT_S)
        allow(machine, f"deploy ALL=(root) NOPASSWD: {COMMAND}")
        text = b'echo "$(id -u) $SUDO_USER"; exit 5'
        for asked in (text, Question(text.decode(), "observe", {"A": "1"})):
            done = way.run(asked, timeout_s=LIMIT_S)
            assert (done.stdout, done.exit_status) == (b"0 deploy\n", 5)
        allow(machine)
        with pytest.raises(NotRoot):
            way.run(b"id -u", timeout_s=LIMIT_S)


def test_a_user_who_is_not_there_is_named(target: Target) -> None:
    """The agent could not run anything as that user, and nothing was run as root instead."""
    own = msgspec.structs.replace(target.table(Ssm), user="nobody-here")
    with pytest.raises(RootRefused, match="there is no user nobody-here there"):
        opened(msgspec.structs.replace(target, ssm=own)).run(b"id -u", timeout_s=LIMIT_S)


def test_a_stream_comes_whole_and_is_not_left_there(way: AwsConnection, machine: LabHost) -> None:
    """In five pieces, of which four travel at the same time."""
    content = os.urandom(100_000)
    done = way.feed("cat >/run/got", [content], stall_s=LIMIT_S)
    assert (done.exit_status, done.stderr) == (0, b"")
    seen = machine.run(["sh", "-c", "sha256sum </run/got; rm /run/got; ls /run/switchproof/ssm/sent"], timeout_s=10)
    assert seen.stdout == f"{hashlib.sha256(content).hexdigest()}  -\n"
