"""What a deploy tells a host of its secrets, and what it tells people."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec.structs import replace

from switchproof.deploy.contract import HostState
from switchproof.deploy.target.types import Preflight
from tests.run.drives import Drive
from tests.run.hosts import Host, Turn

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGIYXpVMhziVWMiWKVM5T3x2jZCLNe8CfhGhvg08YOpp root@a\n"
RECIPIENT = "age1ly4rlcr70gv2476f4g00rqqsj2m84szngkzd0afxzer60g65eevq3jacl3"
LOCKED = {"secrets": "/nix/store/a.age: no identity matched\n"}


def told(host: Host) -> list[str]:
    """What the host was told of its secrets with the switch."""
    (question,) = [question for question in host.asked if question.verb == "converge"]
    return [question.values[name] for name in ("SWITCHPROOF_AGE_RECIPIENT", "SWITCHPROOF_LOCKED_SECRETS")]


def test_the_host_is_told_the_recipient_of_its_key(tmp_path: Path) -> None:
    """It is that of the key which the host named with its first answer; a locked secret stops the switch."""
    host = Host("a", turns={"resolve": [Turn({"ssh_key": KEY})]})
    assert Drive(tmp_path, host).run() == {"a": HostState.CONVERGED}
    assert told(host) == [RECIPIENT, ""]


def test_a_host_without_such_a_key_is_told_none(tmp_path: Path) -> None:
    """What is unknown is empty, and proves nothing on the host."""
    assert Drive(tmp_path, host := Host("a")).run() == {"a": HostState.CONVERGED}
    assert told(host) == ["", ""]


def test_secrets_that_only_warn_are_told_after_the_switch(tmp_path: Path) -> None:
    """The host may go on, and each secret is a warning of the run."""
    host = Host("a", ends={"converge": LOCKED})
    drive = Drive(tmp_path, host)
    target = msgspec.structs.replace(drive.plan.target, preflight=Preflight(refuse=()))
    drive.fleet.journeys["a"].plan = replace(drive.plan, target=target)
    assert drive.run() == {"a": HostState.CONVERGED}
    assert told(host) == ["", "1"]
    assert drive.words.count("The host cannot decrypt /nix/store/a.age: no identity matched.") == 1


def test_secrets_that_stop_the_job_leave_the_host_unchanged(tmp_path: Path) -> None:
    """The job's stage tells it, so that no warning repeats it."""
    host = Host("a", ends={"converge": LOCKED | {"stage": "secrets", "rc": "1", "log": "--- secrets\nerror: a.age"}})
    drive = Drive(tmp_path, host)
    assert drive.run() == {"a": HostState.UNCHANGED}
    assert "cannot decrypt" not in drive.words
