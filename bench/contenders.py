"""Runs each contender of an audit benchmark, and verifies that it got every answer right."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from bench import proxy
from bench.cost import Cost, processor_s, watching
from bench.ground import PEERS, ROOT, Ground
from switchproof.deploy.record.events import AnyEvent, PhaseFinished, RunStarted
from switchproof.deploy.record.record import read_record

LONGEST_S = 1200.0
CHECKS = 10
"""Checks that each contender makes of a host: three services, three ports, three answers, the running system."""

NAMED = 8
"""The most hosts that a problem names."""

_UNITS = ("hypervisor.service", "socat-sandbox@live.service", "socat-sandbox@dev.service")
_PORTS = (9090, 8080, 8081)


@dataclass(frozen=True)
class Sample:
    """One run of one contender.

    Attributes:
        seconds: Wall time of the whole command.
        network_s: The part from the first connection's begin to the last complete answer; None if not known.
        problem: The reason why it does not count; None if every answer was right.
        cost: The machine's resources that it used; None if not known.
        hosts_s: Seconds of processor time that all hosts together used meanwhile; None if not known.
        first_packet_s: Seconds from the start to the first packet to a host; None if not known.
        exit_s: Seconds from the last packet of a host's answer to the exit; None if not known.
    """

    seconds: float
    network_s: float | None = None
    problem: str | None = None
    cost: Cost | None = None
    hosts_s: float | None = None
    first_packet_s: float | None = None
    exit_s: float | None = None


@dataclass(frozen=True)
class Ended:
    """The end of a command.

    Attributes:
        status: The exit status.
        output: Standard output and standard error.
        began: The time of its start, in seconds since 1970.
        seconds: The wall time.
        cost: The resources that it used; None if not known.
    """

    status: int
    output: str
    began: float
    seconds: float
    cost: Cost | None = None

    @property
    def first_error(self) -> str:
        """Return the line of the error."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        errors = [line for line in lines if re.search(r"error|fail|denied|refused|not found", line, re.IGNORECASE)]
        return f"exit status {self.status}: {(errors or lines or ['it said nothing'])[0][:200]}"


class Contender(ABC):
    """A tool that checks hosts.

    Attributes:
        name: Its name in the table.
        slow: Whether it takes so long that it runs only once, on few grounds.
    """

    name: str
    slow = False

    @abstractmethod
    def run(self, ground: Ground) -> Sample:
        """Check every host of a ground once."""


class Switchproof(Contender):
    """An audit by Switchproof."""

    name = "switchproof"

    def run(self, ground: Ground) -> Sample:
        """See `Contender.run`."""
        runs = ground.folder / "runs"
        shutil.rmtree(runs, ignore_errors=True)
        command = [sys.executable, "-m", "switchproof", "audit", "--provider=ovh", "--soak=0"]
        ended = run_command([*command, f"--targets={ground.folder / 'target.toml'}", f"--report-dir={runs}"], ROOT)
        folders = sorted(runs.glob("2*"))
        if ended.status != 0 or len(folders) != 1:
            return Sample(ended.seconds, problem=ended.first_error)
        record = read_record(folders[0] / "record.json")
        if record.verdict != "canonical" or tuple(host.name for host in record.hosts) != ground.hosts:
            return Sample(ended.seconds, problem=f"the record says {record.verdict}")
        lines = (folders[0] / "events.jsonl").read_bytes().splitlines()
        events = [msgspec.json.decode(line, type=AnyEvent) for line in lines]
        first_packet_s, exit_s = edges(ground, ended, events)
        return Sample(
            ended.seconds, network_part(events), cost=ended.cost, first_packet_s=first_packet_s, exit_s=exit_s
        )


class Floor(Contender):
    """The same probes by hand: one `ssh host bash -s` a host, all hosts at the same time."""

    name = "floor: ssh bash -s"

    def run(self, ground: Ground) -> Sample:
        """See `Contender.run`."""
        script = (PEERS / "floor.sh").read_bytes()
        ssh = ["ssh", "-F", str(ground.folder / "ssh_config"), "-o", "BatchMode=yes"]
        began, used_s = time.monotonic(), processor_s()
        started = [_Running([*ssh, host, "bash", "-s"], ground.folder, subprocess.PIPE) for host in ground.hosts]
        for running in started:
            assert running.process.stdin is not None
            running.process.stdin.write(script)
            running.process.stdin.close()
        ended = [running.finish() for running in started]
        seconds = time.monotonic() - began
        for host, end in zip(ground.hosts, ended, strict=True):
            if (right := floor_right(end.output)) != CHECKS:
                return Sample(seconds, problem=f"{host}: {right} of {CHECKS} right; {end.first_error}")
        return Sample(seconds, seconds, cost=Cost(processor_s() - used_s))


class Testinfra(Contender):
    """pytest-testinfra with one of its backends, and no other plugin to slow it."""

    slow = True

    def __init__(self, backend: str) -> None:
        self.name = f"testinfra {backend}://"
        self._backend = backend

    def run(self, ground: Ground) -> Sample:
        """See `Contender.run`."""
        hosts = ",".join(f"{self._backend}://{host}" for host in ground.hosts)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "testinfra.plugin", "--junit-xml=junit.xml"]
        ended = run_command(
            [*command, f"--hosts={hosts}", "--ssh-config=ssh_config", "test_ten.py"],
            ground.folder,
            PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
        )
        if ended.status != 0:
            return Sample(ended.seconds, problem=ended.first_error)
        suite = ET.parse(ground.folder / "junit.xml").getroot().find("testsuite")  # noqa: S314 - written just now
        counts = {} if suite is None else {name: int(suite.get(name, 0)) for name in ("tests", "skipped")}
        wanted = CHECKS * len(ground.hosts)
        problem = None if counts == {"tests": wanted, "skipped": 0} else f"{counts} of {wanted}"
        return Sample(ended.seconds, problem=problem, cost=ended.cost)


class Pyinfra(Contender):
    """pyinfra: one invocation for all hosts.

    Args:
        command: The program, in an environment of its own, because it requires an older paramiko than ours.
    """

    name = "pyinfra"

    def __init__(self, command: str) -> None:
        self._command = command

    def run(self, ground: Ground) -> Sample:
        """See `Contender.run`."""
        right = ground.folder / "right"
        shutil.rmtree(right, ignore_errors=True)
        right.mkdir()
        ended = run_command([self._command, "-y", "inventory.py", "ten.py"], ground.folder)
        missing = sorted(set(ground.hosts) - {path.name for path in right.iterdir()})
        if ended.status != 0 or missing:
            return Sample(ended.seconds, problem=f"{ended.first_error} ({', '.join(missing[:NAMED])})")
        return Sample(ended.seconds, cost=ended.cost)


def network_part(events: Sequence[AnyEvent]) -> float | None:
    """Return the seconds from the run's begin, before its first connection, to the last complete answer."""
    began = [event.at for event in events if isinstance(event, RunStarted)]
    ended = [event.at for event in events if isinstance(event, PhaseFinished) and event.phase == "observe"]
    return (max(ended) - min(began)).total_seconds() if began and ended else None


def edges(ground: Ground, ended: Ended, events: Sequence[AnyEvent]) -> tuple[float | None, float | None]:
    """Return the seconds that an audit took before the first packet to a host, and after the last answer of one.

    The proxy saw both packets. Packets that it passed on after the run had every answer only ended a connection.
    """
    observed = [event.at for event in events if isinstance(event, PhaseFinished) and event.phase == "observe"]
    if ground.notes is None or not observed:
        return None, None
    complete = max(observed).timestamp()
    connected = [at for at in proxy.seen(ground.notes, "connected") if at >= ended.began]
    answered = [at for at in proxy.seen(ground.notes, "answered") if ended.began <= at <= complete]
    return min(connected) - ended.began, ended.began + ended.seconds - max(answered)


def floor_right(output: str) -> int:
    """Count the checks that passed in the floor's output, whose curls write at the same time."""
    links = re.findall(r"^/nix/store/[^/\n]+-nixos-system-[^/\n]+$", output, re.MULTILINE)[:2]
    bodies = re.findall(r'\{"[^{}]*"\}', output)
    answers = len(re.findall(r"^HTTP 200 ", output, re.MULTILINE)) == len(_PORTS)
    right = [
        *(re.search(rf"^Id={re.escape(unit)}\nActiveState=active$", output, re.MULTILINE) for unit in _UNITS),
        *(f" 127.0.0.1:{port} " in output for port in _PORTS),
        answers and "<title>ChoirOS</title>" in output,
        *(answers and any(_is_healthy(body, role) for body in bodies) for role in ("live", "dev")),
        links == links[:1] * 2,
    ]
    return sum(map(bool, right))


def _is_healthy(body: str, role: str) -> bool:
    try:
        health = json.loads(body)
    except ValueError:
        return False
    return health.get("status") == "healthy" and health.get("instance_role") == role and "version" in health


def run_command(command: list[str], cwd: Path, **environ: str) -> Ended:
    """Run a command to its end; kill it and its children at the time limit."""
    before, running = processor_s(), _Running(command, cwd, subprocess.DEVNULL, **environ)
    with watching(running.process.pid) as most:
        ended = running.finish()
    return replace(ended, cost=replace(most.cost, processor_s=processor_s() - before))


class _Running:
    """A command under way, whose output goes to a file: what it leaves running may hold a pipe open after its end."""

    def __init__(self, command: list[str], cwd: Path, stdin: int, **environ: str) -> None:
        # Installed packages are compiled, so that no run includes compiling modules.
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self._at, self._began = time.time(), time.monotonic()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=inherited | environ,
            stdin=stdin,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def finish(self) -> Ended:
        """Wait for its end, and kill what it leaves running, or everything at the time limit."""
        end = os.pidfd_open(self.process.pid)
        try:
            is_over = bool(select.select([end], [], [], LONGEST_S)[0])
        finally:
            seconds = time.monotonic() - self._began
            os.close(end)
            os.killpg(self.process.pid, signal.SIGKILL)  # its group is there until it is waited for
            self.process.wait()
        with self._output:
            self._output.seek(0)
            text = self._output.read().decode("utf-8", "replace")
        if not is_over:
            text = f"error: not done after {LONGEST_S:.0f} s"
        return Ended(self.process.returncode, text, self._at, seconds)
