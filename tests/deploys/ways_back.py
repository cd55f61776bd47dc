"""Deploys that do not come to a good end, each told once on a lab host of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from tests.deploys.sessions import HEALTH, ROOT, Ended, session, target_file

AT_MOST_S = 300.0
"""Seconds after which nothing is waited for any more; a busy machine takes a good part of that for a deploy alone."""

BROKEN = "broken/live-degraded"


@dataclass(frozen=True)
class Systems:
    """What a host runs, has set, would boot, and how many processes of its hypervisor are from elsewhere."""

    running: str
    profile: str
    boot: str
    strays: str


@dataclass(frozen=True)
class Told:
    """A story that has ended: its sessions, and what the host was between them, by name."""

    host: str
    ended: dict[str, Ended] = field(default_factory=dict)
    systems: dict[str, Systems] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)


class Stage:
    """One host with everything that a story needs.

    Args:
        lab: The lab.
        host: Its host.
        folder: Where the story's files go.
        confirm_s: Seconds for which the host waits to be confirmed.
        others: Hosts that its sessions are about as well.
    """

    def __init__(self, lab: Lab, host: str, folder: Path, confirm_s: float, others: Sequence[str] = ()) -> None:
        self.lab, self.host, self.folder = lab, lab.hosts[host], folder
        folder.mkdir()
        health = HEALTH.replace("soak_s = 2.0", "soak_s = 1.0") + f"\n[rollback]\nconfirm_s = {confirm_s}\n"
        self.targets = target_file(folder, [host, *others], health)
        self.environ = {"SWITCHPROOF_LAB": lab.name}
        self.told = Told(host)
        self.begun: dict[str, subprocess.Popen[str]] = {}
        self.look("first")
        self.first = self.told.systems["first"].running

    @property
    def arguments(self) -> list[str]:
        """What every session of this story is given."""
        return ["--provider=lab", f"--targets={self.targets}"]

    def run(self, name: str, *arguments: str) -> Ended:
        """Run a session to its end, and look at the host."""
        self.told.ended[name] = session(*self.arguments, *arguments, runs=self.folder / "runs", lab=self.lab)
        self.look(name)
        return self.told.ended[name]

    def begin(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        """Begin a session that will not be left to itself."""
        command = [sys.executable, "-m", "pytest", *self.arguments, *arguments, f"--report-dir={self.folder / name}"]
        self.begun[name] = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return self.begun[name]

    def end(self, name: str, process: subprocess.Popen[str]) -> Ended:
        """Wait for the end of a session that was begun, and look at the host."""
        output, _ = process.communicate(timeout=AT_MOST_S)
        (folder,) = (self.folder / name).glob("2*")
        self.told.ended[name] = Ended(process.returncode, output, folder)
        self.look(name)
        return self.told.ended[name]

    def reach(self, name: str, event: str) -> None:
        """Wait until the journal of a session tells of an event."""
        self.wait_for(lambda: any(event in path.read_text() for path in self._journals(name)), event, name)

    def wait_for(self, holds: Callable[[], bool], what: str, during: str = "") -> None:
        """Wait until something holds.

        Args:
            holds: Whether it does.
            what: What that is, in words.
            during: The session after whose end it cannot come about any more.
        """
        deadline = time.monotonic() + AT_MOST_S
        while not holds():
            process = self.begun.get(during)
            if process is not None and process.poll() is not None and not holds():
                output, _ = process.communicate()
                pytest.fail(f"{self.host.name}: {during} ended with {process.returncode} before: {what}\n{output}")
            assert time.monotonic() < deadline, f"{self.host.name}: not within {AT_MOST_S:g} s: {what}"
            time.sleep(0.1)

    def wait_until_held(self, what: str, during: str = "") -> None:
        """Wait until a program on the host is held at the point that was prepared."""
        self.wait_for(lambda: self.inside("ls -d /run/cut/held 2>/dev/null || true") != "", f"held {what}", during)

    def wait_for_return(self) -> None:
        """Wait until the host has gone back by itself, and everything of that is over."""
        self.wait_for(lambda: self.inside("cat /var/lib/switchproof/returned") != "", "it went back by itself")

    def wait_for_a_connection(self, name: str) -> None:
        """Wait until the host knows of a connection that a session made after the switch."""
        self.wait_for(lambda: self.inside("cat /run/switchproof/came") != "", "a new connection came", name)

    def ask_for_a_connection_within(self, seconds: float) -> None:
        """Have the sessions that follow, and so the host, wait so long for a new connection."""
        text = self.targets.read_text(encoding="utf-8")
        self.targets.write_text(f"{text}\n[converge]\nreconnect_s = {seconds}\n", encoding="utf-8")

    @contextmanager
    def held_unconfirmed(self) -> Iterator[None]:
        """Keep the host from going back by itself, however long the machine takes: its countdown begins again."""
        again = "read -r up _ </proc/uptime; echo $up >/run/since.new; mv /run/since.new /run/switchproof/since"
        loop = f"while [ ! -e /run/let-go ]; do [ ! -e /run/switchproof/since ] || {{ {again}; }}; sleep 0.5; done"
        self.inside(f"setsid bash -c '{loop}' >/dev/null 2>&1 </dev/null &")
        try:
            yield
        finally:
            self.inside("touch /run/let-go")

    def is_given_up(self) -> bool:
        """Whether the run that holds the host has said nothing for so long that it must be gone."""
        seen = "sed -n 's/^seen //p' /run/switchproof/lock/holder"
        return self.inside(f"echo $(($(date +%s) - $({seen}) > 20))") == "1"

    def is_watched(self) -> bool:
        """Whether the host is answering the question whether all is healthy."""
        return self.inside(r"pgrep -fc 'host-switch\.sh observe$'") != "0"

    def inside(self, script: str) -> str:
        """What a shell text prints on the host."""
        return self.host.run(["bash", "-c", script], timeout_s=60).stdout.strip()

    def look(self, name: str) -> None:
        """Look at what the host is now, on the host itself."""
        self.told.systems[name] = look(self.host)

    def _journals(self, name: str) -> list[Path]:
        return list((self.folder / name).glob("*/events.jsonl"))


def look(host: LabHost) -> Systems:
    """What a host runs, has set and would boot; and its hypervisor's processes that are not of what it runs."""
    script = r"""
      readlink -e /run/current-system; readlink -e /nix/var/nix/profiles/system
      /usr/local/lib/switchproof-lab/boot-loader
      exe=$(readlink "/proc/$(systemctl show -P MainPID hypervisor.service)/exe")
      nix-store -qR /run/current-system | grep -qxF "$(cut -d/ -f1-4 <<<"$exe")" || echo "$exe"
    """
    lines = [*host.run(["bash", "-c", script], timeout_s=60).stdout.splitlines(), "", "", "", ""]
    return Systems(*lines[:4])


def killed(stage: Stage) -> Told:
    """The runner is killed with -9 in the soak; a deploy and an audit come too early, others after the return."""
    process = stage.begin("killed", "--sha=main", "--soak=30")
    stage.reach("killed", '"phase":"observe"')
    stage.wait_for_a_connection("killed")
    process.kill()
    process.communicate(timeout=30)
    with stage.held_unconfirmed():
        stage.look("unconfirmed")
        stage.run("other", "--sha=v3")
        stage.run("too early", "--audit")
    stage.wait_for_return()
    stage.look("killed")
    stage.told.said["journal"] = stage.inside("journalctl -q -o cat -t switchproof")
    stage.run("audit", "--audit")
    stage.wait_for(stage.is_given_up, "the lock of a run that says nothing any more")
    stage.run("next", "--sha=main")
    stage.run("after", "--audit")
    return stage.told


def late(stage: Stage) -> Told:
    """The runner is stopped until the host has gone back, and then goes on as if nothing had been."""
    process = stage.begin("late", "--sha=main", "--soak=4")
    stage.wait_for(stage.is_watched, "the host watches whether all is healthy", "late")
    stage.wait_for_a_connection("late")
    process.send_signal(signal.SIGSTOP)
    assert stage.is_watched(), "the run was stopped only after it had its answer"
    stage.wait_for_return()
    process.send_signal(signal.SIGCONT)
    stage.end("late", process)
    return stage.told


def locked_out(stage: Stage) -> Told:
    """The new system lets nobody in any more; the earlier one, to which the host goes back, does again."""
    process = stage.begin("locked out", "--sha=main")
    stage.reach("locked out", '"phase":"observe"')
    stage.inside("systemctl mask --runtime --now ssh.service; pkill -KILL -f '^sshd-session: ' || true")
    stage.wait_for_return()
    stage.inside("systemctl unmask --runtime ssh.service && systemctl start ssh.service")
    stage.end("locked out", process)
    return stage.told


def barred(stage: Stage) -> Told:
    """The SSH server ends in the switch: the connection from before lives on, and no new one is let in."""
    stage.ask_for_a_connection_within(5.0)
    process = stage.begin("barred", "--sha=main", "--soak=1")
    stage.reach("barred", '"kind":"switch-begun"')
    stage.inside("systemctl stop ssh.service; systemctl mask --runtime ssh.service")
    stage.wait_for(lambda: stage.inside("readlink -e /run/current-system") != stage.first, "it is switched", "barred")
    stage.wait_for(lambda: stage.inside("readlink -e /run/current-system") == stage.first, "it went back", "barred")
    stage.inside("systemctl unmask --runtime ssh.service && systemctl start ssh.service")
    stage.end("barred", process)
    return stage.told


def killed_in_switch(stage: Stage) -> Told:
    """The runner is killed with -9 in the switch, so that no new connection comes after it."""
    stage.ask_for_a_connection_within(5.0)
    process = stage.begin("killed", "--sha=main")
    stage.reach("killed", '"kind":"switch-begun"')
    process.kill()
    process.communicate(timeout=30)
    stage.wait_for_return()
    stage.look("killed")
    stage.told.said["returned"] = stage.inside("cat /var/lib/switchproof/returned")
    stage.run("audit", "--audit")
    return stage.told


def away(stage: Stage) -> Told:
    """The network is gone for half a minute, right after the host was reached by a new connection."""
    link = ["ip", "link", "set", stage.host._state.cable.interface]
    process = stage.begin("away", "--sha=main")
    stage.reach("away", '"phase":"observe"')
    stage.wait_for_a_connection("away")
    subprocess.run([*link, "down"], check=True, timeout=10)
    time.sleep(AWAY_S)
    subprocess.run([*link, "up"], check=True, timeout=10)
    stage.end("away", process)
    return stage.told


AWAY_S = 30.0


def lost_in_switch(stage: Stage) -> Told:
    """The network is gone from the switch to a system whose new unit cannot start until the host has gone back."""
    link = ["ip", "link", "set", stage.host._state.cable.interface]
    process = stage.begin("lost in switch", "--sha=broken/new-unit-failing")
    stage.reach("lost in switch", '"kind":"switch-begun"')
    subprocess.run([*link, "down"], check=True, timeout=10)
    stage.wait_for_return()
    subprocess.run([*link, "up"], check=True, timeout=10)
    stage.end("lost in switch", process)
    return stage.told


def drill(stage: Stage) -> Told:
    """A drill in which the run itself goes back."""
    stage.run("drill", "--sha=main", "--drill")
    return stage.told


def dead_man(stage: Stage) -> Told:
    """A drill in which the host goes back by itself."""
    stage.run("drill", "--sha=main", "--drill=dead-man")
    return stage.told


def broken_drill(stage: Stage) -> Told:
    """A drill of a revision that is broken."""
    stage.run("drill", f"--sha={BROKEN}", "--drill")
    return stage.told


def kept(stage: Stage) -> Told:
    """A broken revision is kept; a rollback then restores what ran, and one to the broken system does not pass."""
    stage.run("keep", f"--sha={BROKEN}", "--on-failure=keep")
    stage.run("rollback", "--rollback")
    broken = stage.inside(
        "for each in /nix/var/nix/profiles/system-*-link; do"
        f" [ $(readlink -e $each) != {stage.told.systems['keep'].running} ] || echo $each; done"
    )
    number = re.findall(r"system-(\d+)-link", broken)[-1]
    stage.run("to broken", f"--rollback={number}")
    return stage.told


def asked(stage: Stage) -> Told:
    """Two deploys, then rollbacks: left open, by generation, by commit, and to what is garbage-collected."""
    stage.run("main", "--sha=main")
    stage.run("v3", "--sha=v3")
    stage.run("left open", "--rollback")
    stage.run("by generation", "--rollback=1")
    stage.run("by commit", f"--rollback={stage.told.ended['v3'].record.revision.sha}")
    stage.inside("ln -sfn /nix/store/00000000000000000000000000000000-gone /nix/var/nix/profiles/system-1-link")
    stage.run("gone", "--rollback=1")
    return stage.told


def foreign(stage: Stage) -> Told:
    """Somebody else has deployed here, never we."""
    flake = "git+file:///srv/sample.git?ref=refs/heads/main#choiros-a"
    stage.told.said["by hand"] = stage.inside(f"HOME=/root nixos-rebuild switch --flake '{flake}' 2>&1; echo rc $?")
    stage.look("by hand")
    stage.told.said["state"] = stage.inside("ls /var/lib/switchproof 2>&1 || true")
    stage.run("rollback", "--rollback")
    return stage.told


STORIES: dict[str, tuple[Callable[[Stage], Told], float]] = {
    "killed": (killed, 60.0),
    "late": (late, 15.0),
    "locked-out": (locked_out, 7.0),
    "barred": (barred, 300.0),
    "kill-early": (killed_in_switch, 300.0),
    "away": (away, 90.0),
    "lost-switch": (lost_in_switch, 7.0),
    "drill": (drill, 60.0),
    "dead-man": (dead_man, 45.0),
    "broken-drill": (broken_drill, 60.0),
    "kept": (kept, 30.0),
    "asked": (asked, 60.0),
    "foreign": (foreign, 60.0),
}
"""Every story with the seconds for which its host waits to be confirmed."""
