"""A deploy that is cut at one point by one kind of loss, and what became of the run and of the host.

A host is held at a point by programs that stand before the real ones in its search path: the one that the point names
stops there, so that the loss always comes at that very moment, and goes on when it is let go. After a boot they do
nothing any more.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from switchproof.deploy.contract import ExitCode, HostState
from switchproof.deploy.providers.lab.lab import Lab
from tests.deploys.ways_back import Stage, Systems

PROGRAMS = ("git", "nix", "nix-env", "nixos-rebuild", "systemd-run", "sync", "logger", "curl", "journalctl", "gzip")

HOLDER = r"""#!/bin/bash
# Stands before the program of the same name: holds once at the point that /run/cut/point names.
name=${0##*/}
real=$(type -aP "$name" | grep -vxF -e "/usr/local/sbin/$name" -e "/run/wrappers/bin/$name" | head -n1)
[ ! -e /run/cut/point ] || IFS='|' read -r who verb words when time </run/cut/point
caller=$PPID
mapfile -d '' -t parent <"/proc/$caller/cmdline" 2>/dev/null
for _ in 1 2; do
  [ "${parent[0]##*/}" = timeout ] || break
  while read -r key value; do [ "$key" != PPid: ] || caller=$value; done <"/proc/$caller/status"
  mapfile -d '' -t parent <"/proc/$caller/cmdline" 2>/dev/null
done
here() {
  [ "$who" = "$name" ] && [[ "$name $* " == *"$words"* ]] && [[ -z $verb || ${parent[-1]} == "$verb" ]] || return 1
  for ((; time > 1; time--)); do ! mkdir "/run/cut/let-through-$time" 2>/dev/null || return 1; done
  mkdir /run/cut/held 2>/dev/null
}
wait_here() { while [ ! -e /run/cut/go ]; do sleep 0.05; done; }
if [ "$when" = before ] && here "$@"; then wait_here; fi
[ "$when" = after ] || exec "$real" "$@"
"$real" "$@"
rc=$?
if here "$@"; then wait_here; fi
exit $rc
"""


@dataclass(frozen=True)
class Point:
    """A moment of a deploy.

    Attributes:
        phase: What is done then.
        moment: Before it, during it or after it.
        program: Which program is held, or was just run.
        verb: The verb of the host's script that it must have been started by; empty for any.
        words: What its command line must hold.
        when: Whether it is held before or after it runs.
        time: Which of the times that it is run so.
    """

    phase: str
    moment: str
    program: str
    verb: str
    words: str
    when: str
    time: int = 1

    def __str__(self) -> str:
        return f"{self.moment} {self.phase}"


POINTS = (
    Point("fetch", "before", "git", "resolve", "check-ref-format", "before"),
    Point("fetch", "during", "git", "", " fetch ", "before"),
    Point("fetch", "after", "git", "", "log -1 --format=%s", "after"),
    Point("build", "before", "systemd-run", "converge", "-converge", "before"),
    Point("build", "during", "nix", "", " build ", "before"),
    Point("build", "after", "nix", "", " build ", "after"),
    Point("profile set", "before", "nixos-rebuild", "", " switch ", "before"),
    Point("profile set", "during", "nix-env", "", " --set ", "before"),
    Point("profile set", "after", "nix-env", "", " --set ", "after"),
    Point("activation", "before", "sync", "", "--file-system /nix/store", "before"),
    Point("activation", "during", "logger", "", "switching to system configuration", "after"),
    Point("activation", "after", "logger", "", "finished switching", "after"),
    Point("verification", "before", "curl", "", "", "before"),
    Point("verification", "during", "journalctl", "", " -n 5 ", "before"),
    Point("verification", "after", "gzip", "observe", "", "before"),
    Point("confirmation", "before", "systemctl", "confirm", "", "before"),
    # The first such time is when the host, switched but not confirmed, is told to boot the earlier system.
    Point("confirmation", "during", "sync", "boot", "--file-system /nix/store", "before", time=2),
    Point("confirmation", "after", "gzip", "confirm", "", "before"),
)


def reset(stage: Stage, _: subprocess.Popen[str]) -> None:
    """Reset every connection."""
    stage.inside("pkill -KILL -f '^sshd-session: ' || true")
    let_go(stage)


def dropped(stage: Stage, _: subprocess.Popen[str]) -> None:
    """Let every packet vanish for a while; the host goes on meanwhile."""
    link = stage.host._state.cable.interface
    subprocess.run(["ip", "link", "set", link, "down"], check=True, timeout=10)
    let_go(stage)
    time.sleep(AWAY_S)
    subprocess.run(["ip", "link", "set", link, "up"], check=True, timeout=10)


def without_sshd(stage: Stage, _: subprocess.Popen[str]) -> None:
    """Kill the SSH server with all its connections; it comes back after a while."""
    stage.inside("systemctl stop ssh.service; pkill -KILL -x sshd; pkill -KILL -f '^sshd-session: ' || true")
    let_go(stage)
    time.sleep(AWAY_S)
    stage.inside("systemctl start ssh.service")


def runner_killed(stage: Stage, process: subprocess.Popen[str]) -> None:
    """Kill the runner with -9."""
    process.kill()
    process.communicate(timeout=30)
    let_go(stage)


def rebooted(stage: Stage, _: subprocess.Popen[str]) -> None:
    """Shut the host down in order, and start it again."""
    stage.host.power_off(timeout_s=5)
    stage.host.power_on()


def powered_off(stage: Stage, _: subprocess.Popen[str]) -> None:
    """Cut the host's power, and switch it on again."""
    stage.host.kill()
    stage.host.power_on()


AWAY_S = 3.0
"""Seconds for which the network or the SSH server is away."""

LOSSES: Mapping[str, Callable[[Stage, subprocess.Popen[str]], None]] = {
    "connection reset": reset,
    "packets dropped": dropped,
    "sshd killed": without_sshd,
    "runner killed": runner_killed,
    "rebooted": rebooted,
    "power cut": powered_off,
}

CONFIRM_S = 40.0


@dataclass(frozen=True)
class Cell:
    """What came of one point and one loss.

    Attributes:
        point: Where.
        loss: What was lost.
        code: The run's exit code; None if it was killed.
        state: The state that the run says it left the host in; None if it was killed.
        system: Which system the host ended with, as seen on the host: `earlier`, `new`, or what is wrong.
        output: What the run said.
    """

    point: Point
    loss: str
    code: int | None
    state: HostState | None
    system: str
    output: str

    @property
    def problem(self) -> str:
        """What is wrong with this end, empty if nothing is."""
        if self.system not in {"earlier", "new"}:
            return f"the host is not whole: {self.system}"
        if self.loss == "runner killed":
            late = self.point.phase == "confirmation"
            return "" if self.system == "earlier" or late else "nobody confirmed, and the host did not go back"
        if self.point.phase == "fetch" or self.loss in {"connection reset", "packets dropped", "sshd killed"}:
            return "" if self.code == ExitCode.CANONICAL and self._true else "a loss that can be made good was not"
        return "" if self._true else "the run claims something else than is the case"

    @property
    def _true(self) -> bool:
        """Whether the run's exit code and state say what is the case on the host."""
        match self.code:
            case ExitCode.CANONICAL:
                return (self.state, self.system) == (HostState.CONVERGED, "new")
            case ExitCode.SAFE_FAILURE | ExitCode.INCONCLUSIVE:
                return self.state in {HostState.ROLLED_BACK, HostState.UNCHANGED} and self.system == "earlier"
            case _:
                return False

    def __str__(self) -> str:
        if self.code is None:
            return self.system
        return f"exit {self.code}, {self.state}, {self.system}"


def cut(lab: Lab, host: str, folder: Path, point: Point, loss: str) -> Cell:
    """Deploy to a host, and lose something at a point.

    Args:
        lab: The lab.
        host: Its host, which may have been cut before.
        folder: Where the files of this run go.
        point: Where to cut.
        loss: One of `LOSSES`.
    """
    stage = Stage(lab, host, folder, CONFIRM_S)
    first = stage.told.systems["first"]
    assert whole(first), f"{host} is not whole before the cut: {first}"
    sha = "v3" if stage.inside("nixos-version --configuration-revision") != commit(stage, "v3") else "main"
    prepare(stage, point)
    process = stage.begin("run", f"--sha={sha}")
    try:
        stage.wait_until_held(str(point), "run")
        LOSSES[loss](stage, process)
        code, state, output = None, None, ""
        if loss != "runner killed":
            ended = stage.end("run", process)
            code, state, output = ended.status, ended.record.host(host).state, ended.output
        stage.wait_for(lambda: at_rest(stage), "the host is at rest")
    finally:
        process.kill()
        let_go(stage)
        stage.inside("rm -rf /run/switchproof/lock")  # of a killed run it would last a quarter of an hour
    stage.look("end")
    return Cell(point, loss, code, state, _which(stage.told.systems["end"], first), output)


def prepare(stage: Stage, point: Point) -> None:
    """Have the host hold once at a point."""
    held = " ".join({*PROGRAMS, point.program})
    line = f"{point.program}|{point.verb}|{point.words}|{point.when}|{point.time}"
    script = f"""
      mkdir -p /run/wrappers/bin /usr/local/sbin && rm -rf /run/cut && mkdir /run/cut
      cat >/usr/local/sbin/cut-holder && chmod 755 /usr/local/sbin/cut-holder
      for each in {held}; do
        ln -sfn /usr/local/sbin/cut-holder /usr/local/sbin/$each
        ln -sfn /usr/local/sbin/cut-holder /run/wrappers/bin/$each
      done
      printf '%s\\n' '{line}' >/run/cut/point
    """
    done = stage.host.run(["bash", "-c", script], timeout_s=30, input=HOLDER)
    assert done.returncode == 0, done.stderr


def let_go(stage: Stage) -> None:
    """Let the host go on."""
    stage.inside("mkdir -p /run/cut && touch /run/cut/go")


def commit(stage: Stage, revision: str) -> str:
    """The commit of a revision of the sample repository."""
    return stage.inside(f"git --git-dir=/srv/sample.git rev-parse '{revision}^{{commit}}'")


def whole(systems: Systems) -> bool:
    """Whether a host runs, has set and would boot one system, processes included."""
    return systems.running == systems.profile == systems.boot != "" and not systems.strays


def at_rest(stage: Stage) -> bool:
    """Whether nothing is under way on a host any more: no question, no job, nothing that waits for confirmation."""
    script = r"""
      pgrep -f 'host-switch[.]sh (resolve|converge|status|observe|diagnose|rollback|confirm)$' || true
      systemctl list-units --plain --no-legend --state=activating,deactivating 'switchproof-*' 'nixos-rebuild-*'
      ls /var/lib/switchproof/pending 2>/dev/null || true
    """
    return stage.inside(script) == ""


def _which(end: Systems, first: Systems) -> str:
    if not whole(end):
        return str(end)
    return "earlier" if end.running == first.running else "new"


def told(page: str) -> dict[tuple[str, str], str]:
    """Read what the cells of a table came to."""
    rows = [[word.strip() for word in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")]
    return {(row[0], loss): word for row in rows[1:] for loss, word in zip(LOSSES, row[1:], strict=False)}


def table(cells: list[Cell], page: str = "") -> str:
    """Write the cells as a table in Markdown, a row for each point.

    Args:
        cells: Those that were tried.
        page: Where those that were not tried now are taken from.
    """
    found = told(page) | {(str(cell.point), cell.loss): str(cell) for cell in cells}
    head = f"| cut | {' | '.join(LOSSES)} |\n|---|{'---|' * len(LOSSES)}\n"
    rows = []
    for point in POINTS:
        words = [found.get((str(point), loss), "not tried") for loss in LOSSES]
        rows.append(f"| {point} | {' | '.join(re.sub('[|]', '/', word) for word in words)} |")
    return head + "\n".join(rows) + "\n"
