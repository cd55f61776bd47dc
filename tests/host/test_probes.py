"""Every kind of probe on a real host, and what a lying, half-done or missing answer comes to there."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from switchproof.checks.endpoints import EndpointChecks
from switchproof.checks.fixtures import Shown
from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.host.program import endpoints
from switchproof.deploy.observe.health import EndpointSeen
from switchproof.deploy.observe.observation import Observation, read_observation
from switchproof.deploy.providers import load
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.settings import TARGETS
from switchproof.deploy.target.types import Endpoint, Target
from tests.host.hands import QUICK, ask, by_hand, inside, wait_for, write
from tests.probing import Authority

pytestmark = [pytest.mark.lab, pytest.mark.long]

UNITS = "/run/systemd/system"
ANSWER = "SYSTEM:/run/probes/answer"
SERVERS = {
    "tls": "OPENSSL-LISTEN:8443,bind=127.0.0.1,reuseaddr,fork,cert=/run/probes/good.pem,verify=0 " + ANSWER,
    "mail": "TCP-LISTEN:2525,bind=127.0.0.1,reuseaddr,fork SYSTEM:'echo 220 mail ESMTP; cat >/dev/null'",
    "web": "UNIX-LISTEN:/run/probes/web.sock,fork,unlink-early " + ANSWER,
    "db": "TCP-LISTEN:5432,bind=127.0.0.1,reuseaddr,fork PIPE",
}
TARGET = load(TARGETS / "lab.toml", {}, ["a"])
WANTS = {
    "tls": Endpoint(
        units=("tls.service",),
        probe="https",
        listen="127.0.0.1:8443",
        url="https://web.example:8443/health",
        ca_file="/run/probes/ours.pem",
        contains="healthy",
    ),
    "mail": Endpoint(units=("mail.service",), probe="tcp", listen="127.0.0.1:2525", expect="220 "),
    "web": Endpoint(
        units=("web.service",),
        probe="unix",
        listen="/run/probes/web.sock",
        url="http://localhost/",
        contains="healthy",
    ),
    "db": Endpoint(units=("db.service",), probe="tcp", listen="127.0.0.1:5432"),
    "told": Endpoint(
        units=("db.service",),
        probe="exec",
        command=("/run/current-system/sw/bin/nixos-version", "--configuration-revision"),
        user="nobody",
        listen="127.0.0.1:5432",
    ),
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority of the team's own."""
    return Authority(tmp_path_factory.mktemp("authority"), "ours")


def put(machine: LabHost, path: str, file: Path) -> None:
    """Copy a file into the host."""
    inside(machine, f"base64 -d >{path} <<<{base64.b64encode(file.read_bytes()).decode()}")


@pytest.fixture
def served(machine: LabHost, authority: Authority) -> Iterator[LabHost]:
    """The host with a server of each kind, afresh."""
    write(machine, "/run/probes/answer", "#!/bin/sh\nread -r _\nprintf 'HTTP/1.0 200 OK\\r\\n\\r\\nhealthy'\n")
    put(machine, "/run/probes/ours.pem", authority.file)
    put(machine, "/run/probes/good.pem", authority.issue())
    for name, server in SERVERS.items():
        write(machine, f"{UNITS}/{name}.service", f"[Service]\nExecStart=/usr/bin/socat {server}\n")
    names = " ".join(SERVERS)
    inside(machine, f"systemctl daemon-reload; systemctl restart {names}")
    for listen in ("127.0.0.1:8443", "127.0.0.1:2525", "127.0.0.1:5432", "/run/probes/web.sock"):
        wait_for(partial(is_listened_on, machine, listen), f"{listen} is listened on")
    yield machine
    files = " ".join(f"{UNITS}/{name}.service" for name in SERVERS)
    inside(machine, f"systemctl kill --signal=KILL {names} stranger || true; systemctl stop {names} stranger || true")
    inside(machine, f"rm -rf {files} /run/probes; systemctl daemon-reload; systemctl reset-failed")


def is_listened_on(machine: LabHost, listen: str) -> bool:
    return listen in inside(machine, "ss -Hltn; ss -Hlxn")


def target(**changes: Endpoint) -> Target:
    """A target file whose runtime units are those of this page, and which has no hypervisor."""
    return msgspec.structs.replace(TARGET, hypervisor=Endpoint(absent="a test"), runtime={**WANTS, **changes})


def look(machine: LabHost, asked: Target, ready_s: str = "20") -> Observation:
    """Observe the host as an audit does."""
    values = {**QUICK, "READY_S": ready_s, "ANSWER_TIMEOUT_S": "5"}
    return read_observation(
        ask(machine, "observe", **values, SWITCHPROOF_ENDPOINTS=endpoints(asked), SWITCHPROOF_BRIDGE="")
    )


def verdicts(seen: Observation, asked: Target) -> dict[str, str]:
    """Hold every endpoint against the contract, as the checks do; return what was said of each that did not pass."""
    health, checks = msgspec.structs.replace(asked.health, answers=2, soak_s=0.5), EndpointChecks()
    said: dict[str, str] = {}
    for name, want in asked.runtime.items():
        endpoint = EndpointSeen(name, want, health, seen)
        for check in (
            checks.test_its_units_are_active,
            checks.test_its_port_is_its_own,
            checks.test_it_answers_as_it_should,
            checks.test_it_stays_healthy,
        ):
            try:
                check(endpoint, Shown())
            except AssertionError as error:
                said[name] = f"failed: {str(error).partition(chr(10))[0]}"
                break
            except Inconclusive as error:
                said[name] = f"inconclusive: {error}"
                break
    return said


def test_each_kind_passes_where_all_is_well(served: LabHost) -> None:
    """A certificate, a banner, a socket and a program of the system pass on a real host, also by hand."""
    asked = target()
    assert verdicts(look(served, asked), asked) == {}
    values = {"READY_S": "20", "ANSWER_TIMEOUT_S": "5", "SWITCHPROOF_ENDPOINTS": endpoints(asked)}
    status, output = by_hand(served, "observe", **values)
    assert status == 0
    assert re.findall(r"^(\w+) +healthy$", output, re.MULTILINE) == list(WANTS), output


def test_what_lies_or_is_half_done_does_not_pass(served: LabHost, authority: Authority) -> None:
    """An expired certificate, a stopped process, a taken socket and a program of somebody are each told as that."""
    put(served, "/run/probes/good.pem", authority.issue(days=(-2, -1)))
    stranger = "UNIX-LISTEN:/run/probes/web.sock,fork,unlink-early " + ANSWER
    write(served, "/usr/local/bin/says-yes", "#!/bin/sh\nexit 0\n")
    inside(
        served,
        "systemctl restart tls; systemctl kill --signal=STOP db; "
        f"systemd-run --quiet --unit=stranger /usr/bin/socat {stranger}",
    )
    wait_for(
        lambda: "stranger" in inside(served, "systemctl is-active stranger && echo stranger"), "the stranger runs"
    )
    wait_for(lambda: "2" in inside(served, "ss -Hlxn | grep -c web.sock"), "the stranger has the path")
    asked = target(told=msgspec.structs.replace(WANTS["told"], command=("/usr/local/bin/says-yes",)))
    seen = look(served, asked, ready_s="4")
    said = verdicts(seen, asked)
    inside(served, "rm /usr/local/bin/says-yes; systemctl kill --signal=CONT db")
    assert said.keys() == {"tls", "web", "db", "told"}, said
    assert "its certificate has expired" in said["tls"]
    assert (
        "/run/probes/web.sock is listened on by /run/probes/web.sock by /system.slice/stranger.service" in said["web"]
    )
    assert "a connection that no process accepted in time" in said["db"]
    assert (
        "/usr/local/bin/says-yes is the file /usr/local/bin/says-yes, which is not part of the running system"
        in said["told"]
    )
    assert all(text.startswith("failed: ") for text in said.values())
