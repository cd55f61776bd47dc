"""What a session loads before it needs it: nothing heavy."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from switchproof.deploy.contract import ExitCode

ROOT = Path(__file__).parents[2]
HEAVY = {
    "boto3",
    "botocore",
    "paramiko",
    "cryptography",
    "switchproof.deploy.providers.ssh.provider",
    "switchproof.deploy.providers.aws.provider",
    "switchproof.deploy.providers.lab.lab",
    "hypothesis",
}
ROOMS = {"deploy", "checks", "reports", "trials"}
UNUSED = {
    "invoke",
    "asyncio",
    "unittest.mock",
    "yaml",
    "rich.live",
    "hypothesis",
    "xdist",
    "switchproof.deploy.paths",
    "_pytest.junitxml",
    "_pytest.setuponly",
    "_pytest.stepwise",
}
"""What an audit over SSH does not need, although packages that it needs would load it."""
COLLECTED, AUDITED = 540, 700
"""Modules that listing the checks loads, and an audit: start-up is most of the time of an audit of one host."""

_TARGET = """
provider = "ovh"
[repository]
url = "https://git.example.com/fleet.git"
[[hosts]]
name = "h"
flake_attr = "h"
address = "127.0.0.1"
port = {port}
host_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC1hPAkxILvrp5nUe2jzotRhXXl8FSUIZ5EwvIDSO0Vd"]
[hypervisor]
absent = "it runs on another host"
[runtime.web]
units = ["web.service"]
listen = "127.0.0.1:80"
url = "http://127.0.0.1/health"
"""

_SESSION = """
import json, pdb, sys
of_pytest = set(sys.modules)
import pytest
status = pytest.main(sys.argv[1:])
print("\\n" + json.dumps({"status": int(status), "modules": sorted(set(sys.modules) - of_pytest)}))
"""
"""What a session loads beyond the debugger, which pytest always loads; Python 3.14's brings asyncio along."""

_COUNTED = """
import importlib.metadata, json, sys
from switchproof import command
listed, counted = importlib.metadata.distributions, []
importlib.metadata.distributions = lambda **kinds: counted.append(1) or listed(**kinds)
status = command.main(sys.argv[1:])
print("\\n" + json.dumps({"status": int(status), "counted": len(counted)}))
"""
"""How often the entry points of all installed packages are read."""

_COMMAND = _SESSION.replace("import pytest", "from switchproof import command").replace("pytest.main", "command.main")


@pytest.mark.parametrize("arguments", [("--provider=lab", "--sha=main"), ("--provider=lab", "--audit")])
def test_looking_at_the_checks_loads_no_connection(arguments: tuple[str, ...]) -> None:
    """Collecting loads neither boto3 nor paramiko nor the lab before first use, and nothing that only tests need."""
    options = ("--collect-only", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")
    command = [sys.executable, "-c", _SESSION, *arguments, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["status"] == 0, done.stdout
    assert "switchproof.deploy.run.fleet" in told["modules"], "the session was no deploy"
    assert HEAVY & set(told["modules"]) == set()
    assert outside_the_package(told["modules"]) == set()
    assert len(told["modules"]) <= COLLECTED


def test_an_audit_loads_little(tmp_path: Path) -> None:
    """An audit over SSH, here of a host that refuses the connection, loads nothing that it makes no use of."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # it does not listen
        target = tmp_path / "target.toml"
        target.write_text(_TARGET.format(port=unused.getsockname()[1]))
        words = ["audit", "--provider=ovh", f"--targets={target}", f"--report-dir={tmp_path}"]
        command = [sys.executable, "-c", _COMMAND, *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["status"] == ExitCode.INCONCLUSIVE, done.stdout
    assert {"paramiko", "jinja2"} <= set(told["modules"])
    assert UNUSED & set(told["modules"]) == set()
    assert len(told["modules"]) <= AUDITED


def test_a_host_that_breaks_off_the_handshake_brings_no_traceback(tmp_path: Path) -> None:
    """What paramiko logs of it is for those who ask for it; the run says in its own words what happened."""

    def answer(server: socket.socket) -> None:
        with suppress(OSError):  # the test is over
            while True:
                connected, _ = server.accept()
                with connected:
                    connected.sendall(b"SSH-2.0-x\r\n\0\0\0\x30" + b"garbage" * 20)
                    connected.recv(2**16)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=answer, args=(server,), daemon=True).start()
        target = tmp_path / "target.toml"
        target.write_text(f"{_TARGET.format(port=server.getsockname()[1])}[ssh]\nconnect_timeout_s = 1.0\n")
        words = ["audit", "--provider=ovh", f"--targets={target}", f"--report-dir={tmp_path}"]
        command = [sys.executable, "-m", "switchproof", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == ExitCode.INCONCLUSIVE, done.stdout
    assert "before its key exchange" in " ".join(done.stdout.split())
    assert done.stderr == ""


def test_the_command_reads_no_entry_points(tmp_path: Path) -> None:
    """It names its plugins itself: where many packages are installed, each look at all of them costs time."""
    target = tmp_path / "target.toml"
    target.write_text(_TARGET.format(port=9))
    command = [sys.executable, "-c", _COUNTED, "audit", "--provider=ovh", f"--targets={target}", "--collect-only"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == {"status": 0, "counted": 0}


@pytest.mark.parametrize("word", ["--version", "--help"])
def test_a_word_about_the_command_loads_no_engine(word: str) -> None:
    """Neither pytest nor what reads target files is loaded before a verb needs it."""
    command = [sys.executable, "-c", _COMMAND, word]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["status"] == 0, done.stdout
    assert {"pytest", "msgspec", "switchproof.deploy.plan"} & set(told["modules"]) == set()


def outside_the_package(modules: Iterable[str]) -> set[str]:
    """Name the modules of Switchproof that are imported under a name outside of its package."""
    return {name for name in modules if name.partition(".")[0] in ROOMS}


def test_no_module_has_two_names() -> None:
    """Every test module that was collected with this one imports Switchproof by its package alone."""
    assert outside_the_package(sys.modules) == set()


_ENDS = """
import atexit, gc, sys
class Global:
    def __del__(self): print("taken apart")
kept = Global()
atexit.register(lambda: print(f"told at the exit, collects garbage: {gc.isenabled()}, {gc.get_freeze_count() > 0}"))
from switchproof.command import run
run()
"""


def test_the_command_ends_without_taking_apart_what_it_loaded(tmp_path: Path) -> None:
    """What is registered for the exit runs, and its words arrive; garbage is collected once the checks are there."""
    target = tmp_path / "target.toml"
    target.write_text(_TARGET.format(port=9))
    command = [sys.executable, "-c", _ENDS, "audit", "--provider=ovh", f"--targets={target}", "--collect-only"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == "told at the exit, collects garbage: True, True"


@pytest.mark.parametrize("verb", ["audit", "--version"])
def test_a_thread_that_still_works_is_waited_for(verb: str) -> None:
    """It may write something that belongs to the run."""
    text = (
        "import threading; from switchproof.command import run\n"
        "def work(): threading.main_thread().join(); print('worked')\n"
        "threading.Thread(target=work).start(); run()"
    )
    done = subprocess.run([sys.executable, "-c", text, verb], capture_output=True, text=True, timeout=60, check=False)
    assert "worked" in done.stdout, done.stderr
