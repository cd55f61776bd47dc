"""Switches that wait for their confirmation: made, looked at and left, on several hosts at a time."""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from switchproof.deploy.host.frame import Frame
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from tests.host.hands import ask, commit, finish, inside, wait_for

RUNS = "/var/lib/switchproof/runs"
GONE = (
    "cat /var/lib/switchproof/pending 2>/dev/null; systemctl show -P MainPID switchproof-guard | grep -vx 0 || true"
)
PROCESSES = """
for unit in hypervisor cloud-hypervisor@{live,dev} socat-sandbox@{live,dev}; do
  exe=$(readlink /proc/$(systemctl show -P MainPID $unit)/exe) || exit
  nix-store -qR /run/current-system | grep -qx "$(cut -d/ -f1-4 <<<"$exe")" || exit
done
"""


def on_all(lab: Lab, cases: Mapping[str, Callable[[LabHost, str], None]]) -> None:
    """Try each case on a host of its own, as many at a time as there are hosts; its name is the name of its run."""
    free: queue.Queue[LabHost] = queue.Queue()
    for host in lab.hosts.values():
        free.put(host)

    def attempt(name: str) -> None:
        host = free.get()
        try:
            cases[name](host, name)
        finally:
            inside(host, "rm -rf /run/switchproof/lock; systemctl stop switchproof-guard || true")
            free.put(host)

    with ThreadPoolExecutor(len(lab.hosts)) as pool:
        attempts = {name: pool.submit(attempt, name) for name in cases}
    errors = {name: error for name, tried in attempts.items() if (error := tried.exception()) is not None}
    for name, error in errors.items():
        error.add_note(f"in case {name}")
    if errors:
        raise BaseExceptionGroup("some cases ended otherwise", list(errors.values()))


@dataclass(frozen=True)
class Switched:
    """A host in the middle of a run: what it ran before, and what it was switched to."""

    machine: LabHost
    run: str
    earlier: str
    new: str

    def ask(self, verb: str, **values: str) -> Frame:
        """Ask the host a verb as the run does."""
        return ask(self.machine, verb, SWITCHPROOF_RUN=self.run, **values)

    def confirm(self, keep: str = "1") -> str:
        """Confirm; return the outcome."""
        return self.ask("confirm", SWITCHPROOF_KEEP=keep).text("outcome")

    def roll_back(self) -> str:
        """Begin to go back; return the outcome."""
        return self.ask("rollback", SWITCHPROOF_TO=self.earlier).text("outcome")

    def guard(self) -> str:
        """What the dead man's switch is doing."""
        return self.ask("status").text("guard")

    def returned(self, job: str = "return") -> str:
        """Wait until the host has gone back by itself; return what it says about it."""
        wait_for(
            lambda: self.ask("status", SWITCHPROOF_JOB=job).text("state") == "finished",
            f"{self.machine.name} went back after {self.run}",
        )
        told = self.ask("status", SWITCHPROOF_JOB=job)
        assert (told.text("guard"), told.text("rc").strip()) == ("returned", "0"), told.sections
        assert told.text("expected").strip() == self.earlier
        is_wholly(self.machine, self.earlier)
        return told.text("returned")


def switch(
    machine: LabHost,
    run: str,
    deadman_s: float = 300,
    *,
    reconnect_s: float = 0,
    job: str = "converge",
    wait: bool = True,
) -> Switched:
    """Switch a host to another release than it runs; nobody has confirmed it yet."""
    earlier = inside(machine, "readlink -e /run/current-system")
    sha = commit(machine, "v3" if earlier.endswith("v2") else "main")
    values = {
        "SWITCHPROOF_RUN": run,
        "RELEASE_SHA": sha,
        "SWITCHPROOF_DEADMAN_S": str(deadman_s),
        "SWITCHPROOF_RECONNECT_S": str(reconnect_s),
        "SWITCHPROOF_JOB": job,
    }
    claimed = ask(machine, "resolve", SWITCHPROOF_CLAIM="1", **values)
    assert claimed.text("outcome") == "ok", claimed.sections
    begun = ask(machine, "converge", **values)
    assert begun.text("outcome") == "started", begun.sections
    if not wait:
        return Switched(machine, run, earlier, "")
    ended = finish(machine, run, job)
    assert (ended.text("rc").strip(), ended.text("guard")) == ("0", "armed"), ended.sections
    new = ended.text("expected").strip()
    assert inside(machine, "readlink -e /run/current-system /nix/var/nix/profiles/system").split() == [new, new]
    return Switched(machine, run, earlier, new)


def is_wholly(machine: LabHost, toplevel: str) -> None:
    """Assert that a system is profile, running system and boot default, its processes run, and nothing is armed."""
    script = (
        "readlink -e /nix/var/nix/profiles/system /run/current-system; /usr/local/lib/switchproof-lab/boot-loader"
    )
    assert inside(machine, script).split() == [toplevel] * 3
    wait_for(lambda: machine.run(["bash", "-c", PROCESSES], timeout_s=10).returncode == 0, "its processes run")
    wait_for(lambda: inside(machine, GONE) == "", "the dead man's switch is disarmed")
