"""Deploy sessions against healthy hosts that are made up: `python -m tests.own.sessions FILE`, many in one process.

Commands of testinfra really run, on this machine. The file says as JSON which sessions there are.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import runpy
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import switchproof.deploy.providers
from switchproof.deploy.connection import Completed, ConnectionFacts, HostKeyChanged, Program, Question, Unreachable
from tests.answers import LIVE, SHA, TOPLEVEL, answers, bodies, unit_show
from tests.deploys.sessions import ROOT, Ended
from tests.run.hosts import BEFORE, TOOLS, Host

TARGET = """
provider = "ovh"
{checks}
[repository]
url = "https://example.org/choiros.git"
checkout = "/opt/choiros/workspace"
[ssh]
known_hosts = "known_hosts"
{hosts}
[hypervisor]
units = ["hypervisor.service"]
listen = "127.0.0.1:9090"
url = "http://127.0.0.1:9090/login"
contains = "Sign in"
[runtime.live]
units = ["cloud-hypervisor@live.service", "socat-sandbox@live.service"]
listen = "127.0.0.1:8080"
listener = "{listener}"
url = "http://127.0.0.1:8080/health"
json = {{ status = "{status}" }}
[health]
ready_s = 0.0
answers = 1
soak_s = 0.0
"""


@dataclass(frozen=True)
class Scenario:
    """A session to run.

    Attributes:
        options: What stands after `pytest --provider=ovh`.
        checks: The modules of own checks, by their names.
        waivers: Tables of the target file.
        status: What the runtime unit is asked to say; it says `healthy`.
        listener: The unit that is to listen for the runtime unit; it is the forward that does.
        hosts: The hosts' names.
        in_file: Whether the target file names the folder, instead of an option.
        endpoints: The tables of hypervisor and runtime units; those of `TARGET` if empty.
    """

    options: tuple[str, ...] = (f"--sha={SHA}",)
    checks: Mapping[str, str] = field(default_factory=dict)
    waivers: str = ""
    status: str = "healthy"
    listener: str = LIVE[1]
    hosts: tuple[str, ...] = ("a",)
    in_file: bool = False
    endpoints: str = ""


class Asked(Host):
    """A host on which whatever it is asked about is well."""

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self.endpoints: list[list[str]] = []

    def run(self, program: Program, *, timeout_s: float) -> Completed:
        if isinstance(program, Question):
            self.endpoints = [row.split("\x1f") for row in program.values["SWITCHPROOF_ENDPOINTS"].split("\n")]
        return super().run(program, timeout_s=timeout_s)

    @property
    def units(self) -> list[str]:
        """The units of all that is asked, once each."""
        return list(dict.fromkeys(unit for _, units, *_ in self.endpoints for unit in units.split("\x1e")))

    def observe(self, values: Mapping[str, str]) -> dict[str, str]:
        series, texts, listeners, programs = "", dict[str, str](), "", ""
        for name, _, listen, listener, question, code, _, wants, *_ in self.endpoints:
            kind, text = question.partition("\x1e")[0], wants.partition("\x1e")[0]
            remote = listen if kind in {"http", "https", "tcp"} else "-"
            series += f"100.25 {name} yes {code} 0.001 0.002 0 0 {remote} \n"
            texts[name] = text or "well"
            listeners += f"{listen} 410 {listener}\n" if listen else ""
            programs += f"{name} system {self.toplevel}/bin/x\n" if kind == "exec" else ""
        return {
            **super().observe(values),
            "watch.settled": "".join(f"{name} healthy\n" for name in texts),
            "watch.series": series,
            "watch.units": "at 100.25\n" + "".join(f"{unit} active running 410 aaaa 0\n" for unit in self.units),
            **bodies(texts),
            "listeners": listeners,
            "programs": programs,
            "processes": "".join(f"{unit} 410 {self.toplevel}/bin/x \n" for unit in self.units),
            "diagnosable": "".join(f"systemctl {unit} 512\njournalctl {unit} 4096\n" for unit in self.units) + TOOLS,
        }

    def _system(self) -> dict[str, str]:
        files = ((unit, f"/nix/store/u/{unit}") for unit in self.units)
        return super()._system() | {
            "units.show": "\n".join(unit_show(unit) for unit in self.units),
            "units.origins": "".join(f"{unit} /etc/systemd/system/{unit} {file} {file}\n" for unit, file in files),
            "units.definition": "".join(f"{unit} {'d' * 64}\n" for unit in self.units),
        }


class Filling(Host):
    """A host during whose switch the disk of this machine becomes full: no file can grow any more."""

    def converge(self, values: Mapping[str, str]) -> dict[str, str]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        return super().converge(values)


class Signalled(Host):
    """A host during whose switch the terminal of this process is closed."""

    def converge(self, values: Mapping[str, str]) -> dict[str, str]:
        os.kill(os.getpid(), signal.SIGHUP)
        return super().converge(values)


class Keyless(Host):
    """A host during whose switch this machine loses the program that signs."""

    def converge(self, values: Mapping[str, str]) -> dict[str, str]:
        os.environ["PATH"] = "/nowhere"
        return super().converge(values)


class Unknowing(Host):
    """A host whose repository has no such revision."""

    def resolve(self, _: Mapping[str, str]) -> dict[str, str]:
        return {"outcome": "missing", "detail": "the repository has no commit of that name"}


class Unready(Host):
    """A host that lacks what every deploy needs."""

    def resolve(self, _: Mapping[str, str]) -> dict[str, str]:
        return {"outcome": "unready", "detail": "git is missing: install it"}


class Impostor(Host):
    """A host that shows another key than the pinned one."""

    def connect(self) -> Host:
        raise HostKeyChanged(self.host, "it shows another key", "Find out whether the host was reinstalled.")


class Waiting(Host):
    """A host whose running system has another kernel than the booted one."""

    def observe(self, values: Mapping[str, str]) -> dict[str, str]:
        return super().observe(values) | {"system.reboot": "kernel ", "system.kernels": "6.12.1 6.12.2"}


class GivenUp(Host):
    """A host whose live answers 500 after the deploy, and whose hypervisor still answered 503 at that moment."""

    def observe(self, values: Mapping[str, str]) -> dict[str, str]:
        seen = super().observe(values)
        if self.toplevel == BEFORE:
            return seen
        bad = "".join(f"{100 + n}.25 live no 500 0.001 0.002 0 0 127.0.0.1:8080 \n" for n in range(5))
        return seen | {
            "watch.settled": "hypervisor cut-short\nlive same-answer\n",
            "watch.reasons": "live answered 5 times in a row with HTTP 500; waiting will not change that\n",
            "watch.series": answers("hypervisor", *((100.25 + n, "no") for n in range(5))) + bad,
            "watch.ended": "104.50",
            "diagnosable": "",
        }


class LockedOut(Host):
    """A host that lets no new connection in while it runs what was deployed."""

    def connect(self) -> Host:
        if self.toplevel == TOPLEVEL:
            raise Unreachable(self.host, "connection refused", "Look.")
        return super().connect()


class Delivered(Host):
    """A host that is asked through an agent, each question by a way of its own."""

    def connect(self) -> Host:
        self.facts = ConnectionFacts(kind="ssm")
        return super().connect()


class Breaking(Host):
    """A host on which a unit outside the contract fails in the deploy, and says why."""

    def observe(self, values: Mapping[str, str]) -> dict[str, str]:
        failed = "" if self.toplevel == BEFORE else "backup.service\n"
        return super().observe(values) | {"units.failed": failed}

    def diagnose(self, values: Mapping[str, str]) -> dict[str, str]:
        words = "\n".join(f"backup.service: line {number}" for number in range(9))
        return super().diagnose(values) | {"journal/backup.service": f"{words}\nrepository is locked by pid 7"}


KINDS = {
    kind.__name__: kind
    for kind in (
        Host,
        Asked,
        Filling,
        Signalled,
        Keyless,
        Unknowing,
        Unready,
        Waiting,
        GivenUp,
        Impostor,
        LockedOut,
        Delivered,
        Breaking,
    )
}


class Hosts:
    """A provider of them.

    Args:
        kind: What they are like.
    """

    def __init__(self, kind: type[Host] = Host) -> None:
        self._kind = kind
        self._hosts: dict[str, Host] = {}

    def connect(self, host: str) -> Host:
        return self._hosts.setdefault(host, self._kind(host)).connect()

    def close(self) -> None:
        pass


def run_all(folder: Path, scenarios: Mapping[str, Scenario]) -> dict[str, Ended]:
    """Run sessions, one after another in one process, and return how each ended."""
    orders = {name: prepare(folder / name, scenario) for name, scenario in scenarios.items()}
    (folder / "orders.json").write_text(json.dumps(orders), encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "tests.own.sessions", str(folder)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in {"GITHUB_ACTIONS", "GITLAB_CI"}},
        stdin=subprocess.DEVNULL,
        timeout=600,
        check=True,
    )
    codes = json.loads((folder / "codes.json").read_text(encoding="utf-8"))
    return {name: _ended(folder / name, code) for name, code in codes.items()}


def run_alone(folder: Path, scenario: Scenario, *, kind: type[Host] = Host, around: str = "{}") -> Ended:
    """Run a session as a process of its own.

    Args:
        folder: Where its files go.
        scenario: The session.
        kind: What its hosts are like.
        around: What bash makes of the command in place of `{}`, with pipes and redirections.
    """
    order = prepare(folder, scenario)
    command = around.format(shlex.join([sys.executable, "-m", "tests.own.sessions", kind.__name__, *order]))
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in {"GITHUB_ACTIONS", "GITLAB_CI"}},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    (folder / "output").write_text(done.stdout + done.stderr, encoding="utf-8")
    return _ended(folder, done.returncode)


def prepare(folder: Path, scenario: Scenario) -> list[str]:
    """Write a session's files; return its command line."""
    own = folder / "own"
    own.mkdir(parents=True)
    for name, text in scenario.checks.items():
        (own / name).write_text(text, encoding="utf-8")
    hosts = "".join(
        f'[[hosts]]\nname = "{name}"\nflake_attr = "choiros-{name}"\naddress = "192.0.2.1"\n'
        for name in scenario.hosts
    )
    in_file = 'checks = ["own"]' if scenario.in_file else ""
    target = (
        TARGET.format(hosts=hosts, checks=in_file, status=scenario.status, listener=scenario.listener)
        + scenario.waivers
    )
    if scenario.endpoints:
        before, _, rest = target.partition("[hypervisor]")
        target = f"{before}{scenario.endpoints}\n[health]{rest.partition('[health]')[2]}"
    (folder / "target.toml").write_text(target, encoding="utf-8")
    own_checks = [f"--checks={own}"] if scenario.checks and not scenario.in_file else []
    options = (option.replace("FOLDER", str(folder)) for option in scenario.options)
    return [
        *("--provider=ovh", f"--targets={folder / 'target.toml'}", f"--report-dir={folder / 'runs'}"),
        *("-p", "no:cacheprovider", "-p", "no:hypothesispytest", *own_checks, *options),
    ]


def _ended(folder: Path, code: int) -> Ended:
    found = sorted((folder / "runs").glob("2*"))
    output = (folder / "output").read_text(encoding="utf-8")
    return Ended(code, output, found[-1] if found else folder / "runs")


@contextmanager
def _into(path: Path) -> Iterator[None]:
    """Let everything that is printed, by whichever way, go to a file."""
    kept = os.dup(1), os.dup(2)
    with path.open("wb") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for descriptor, old in zip((1, 2), kept, strict=True):
                os.dup2(old, descriptor)
                os.close(old)


def main(folder: Path) -> None:
    """Run the sessions that a folder has orders for."""
    switchproof.deploy.providers.open_provider = lambda *_, **__: Hosts()
    gc.freeze()  # pytest collects garbage at each session's end; what is loaded already is none
    codes = {}
    for name, arguments in json.loads((folder / "orders.json").read_text(encoding="utf-8")).items():
        with _into(folder / name / "output"):
            codes[name] = int(pytest.main(arguments))
    (folder / "codes.json").write_text(json.dumps(codes), encoding="utf-8")


def main_alone(kind: str, arguments: list[str]) -> None:
    """Run one session, and end this process as `pytest` does."""
    switchproof.deploy.providers.open_provider = lambda *_, **__: Hosts(KINDS[kind])
    sys.argv = ["pytest", *arguments]
    runpy.run_module("pytest", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    if sys.argv[1] in KINDS:
        main_alone(sys.argv[1], sys.argv[2:])
    else:
        main(Path(sys.argv[1]))
