"""A container whose root is hostile gets nothing of the host by answering what the host's script asks in there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from switchproof.deploy.host.program import endpoints
from switchproof.deploy.providers import load
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from tests.deploys.sessions import target_file
from tests.host.hands import QUICK, ask, inside
from tests.labs import own

pytestmark = [pytest.mark.lab, pytest.mark.long]

HOSTILE = r"""#!/bin/sh
{
  echo "namespace $(readlink /proc/self/ns/user)"
  echo "terminal $(cut -d' ' -f7 /proc/self/stat)"
  for fd in /proc/$$/fd/*; do echo "open $(readlink "$fd")"; done
  mknod /root/evil/disk b 1 0 && echo "device"
  mount -t tmpfs none /root/evil/mounted && echo "mounted"
} >>/root/evil/report 2>/dev/null
printf 'Id=sandbox.service\nActiveState=active\nSubState=running\n'
printf 'MainPID=a[$(touch /run/pwned)]\nNRestarts=a[$(touch /run/pwned)]\nControlGroup=/../../../init.scope\n=\n\n'
yes | head -c 50000000 &
exec sleep 300 >/dev/null
"""


@pytest.fixture(scope="module")
def host() -> Iterator[LabHost]:
    """A host of the shape `aws`."""
    with Lab.up(("a",), name=own("hostile"), shape="aws") as lab:
        yield lab.hosts["a"]


def test_a_hostile_container_gets_nothing_of_the_host(host: LabHost, tmp_path: Path) -> None:
    """A systemctl that root in a container put there has no rights, no terminal and no open file of the host."""
    leader = inside(
        host,
        "main=$(systemctl show -P MainPID container@sandbox-live.service); cat /proc/$main/task/$main/children",
    )
    into = f"nsenter -t {leader.split()[0]} -m -p --"
    inside(host, f"{into} mkdir -p /root/evil/mounted")
    done = host.run(["sh", "-c", f"{into} tee /root/evil/systemctl >/dev/null"], timeout_s=10, input=HOSTILE)
    assert done.returncode == 0
    inside(
        host, f"{into} sh -c 'chmod 755 /root/evil/systemctl; mount --bind /root/evil/systemctl /usr/bin/systemctl'"
    )

    targets = load(target_file(tmp_path, ["a"], shape="aws"), {})
    answer = ask(
        host, "observe", SWITCHPROOF_ENDPOINTS=endpoints(targets), **{**QUICK, "READY_S": "0", "SOAK_S": "0"}
    )

    report = inside(host, f"{into} cat /root/evil/report").splitlines()
    assert f"namespace {inside(host, 'readlink /proc/self/ns/user')}" not in report
    assert set(report) - {line for line in report if line.startswith(("namespace ", "open "))} == {"terminal 0"}
    opened = {line.removeprefix("open ").partition(":")[0] for line in report if line.startswith("open ")}
    assert opened <= {"/dev/null", "pipe", "user", "/root/evil/systemctl", "/usr/bin/systemctl", "/root/evil/report"}
    assert inside(host, "ls /run/pwned 2>/dev/null || true") == ""
    # It says so much that its answer is cut off, which is no answer; the other container is seen as ever.
    shown = answer.text("units.show")
    assert "Id=sandbox-live/sandbox.service\nActiveState=unknown\n" in shown
    assert "sandbox-dev/sandbox.service" in answer.text("processes")
    assert len(shown) < 100_000
