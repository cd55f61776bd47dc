"""A stand-in for amazon-ssm-agent: runs a script on a lab host as the real one's plugin runscript does."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from deploy.providers.lab.host import LabHost
from deploy.providers.lab.ssm.documents import Script

ORCHESTRATION = Path("var/lib/amazon/ssm")
PATH = "/run/current-system/sw/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
KILLED = 137
"""The exit code of what was killed; one that a script itself ends with is taken for the agent's own time limit."""
REBOOT = 194
"""The exit code with which a script asks for a reboot, after which it is run again from its start."""
REBOOTS = 15
"""How often."""
MAX_OUTPUT = 64 * 2**20
"""Bytes kept of a script's output."""


@dataclass(frozen=True)
class Finished:
    """How a script ended.

    Attributes:
        code: Its exit code; -1 if its shell ended by a signal.
        stdout: What it printed.
        stderr: Likewise.
        late: The time limit was over.
    """

    code: int
    stdout: bytes
    stderr: bytes
    late: bool = False


class Agent:
    """Runs scripts on one host.

    Args:
        host: The host.
        instance: Its instance id.
        region: Its region.
    """

    def __init__(self, host: LabHost, instance: str, region: str) -> None:
        self.host = host
        self._instance, self._region = instance, region
        self._begun: set[Path] = set()

    def run(self, command: str, script: Script, folder: str, ending: threading.Event) -> Finished:
        """Run a command's script to its end, its time limit, or until `ending` is set.

        Args:
            command: The command's id.
            script: What to run.
            folder: Below the command's own, as the document names it.
            ending: Set when the command is cancelled, or the agent dies.
        """
        place = ORCHESTRATION / self._instance / "document/orchestration" / command / folder / "0.awsrunShellScript"
        on_host = self.host.root / place
        on_host.mkdir(parents=True, exist_ok=True)
        self._begun.add(on_host.parents[1])
        file = on_host / "_script.sh"
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o700), "w", encoding="utf-8") as text:  # noqa: PTH123 - a descriptor
            text.write(script.text)
        finished = Finished(REBOOT, b"", b"")
        deadline = time.monotonic() + script.limit_s
        for _ in range(REBOOTS + 1):
            finished = self._once(f"/{place}/_script.sh", command, script, deadline, ending)
            if finished.code != REBOOT or ending.is_set():
                break
        return finished

    def _once(self, path: str, command: str, script: Script, deadline: float, ending: threading.Event) -> Finished:
        text = 'cd "$1" 2>/dev/null || cd /; exec sh -c "$0"'
        process = subprocess.Popen(
            self.host.inside(["/bin/sh", "-c", text, path, script.folder or "/"]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**self._environment(command), **script.environment},
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        out, err = bytearray(), bytearray()
        readers = [
            threading.Thread(target=_drain, args=pair, daemon=True)
            for pair in ((process.stdout, out), (process.stderr, err))
        ]
        for reader in readers:
            reader.start()
        late = False
        # What still holds the output after the script's end delays the agent, up to the limit.
        while process.poll() is None or any(reader.is_alive() for reader in readers):
            late = time.monotonic() > deadline
            if late or ending.is_set():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                break
            time.sleep(0.02)
        code = process.returncode if process.returncode >= 0 else -1
        return Finished(KILLED if late else code, bytes(out), bytes(err), late)

    def _environment(self, command: str) -> Mapping[str, str]:
        """An agent's service has a path, and neither a home nor anything of a login."""
        return {
            "PATH": PATH,
            "SSM_COMMAND_ID": command,
            "AWS_SSM_INSTANCE_ID": self._instance,
            "AWS_SSM_REGION_NAME": self._region,
            "AWS_SSM_PLATFORM_NAME": "NixOS",
            "AWS_SSM_PLATFORM_VERSION": "25.11",
        }

    def forget(self) -> None:
        """Take away what commands left on the host's disk."""
        for folder in self._begun:
            shutil.rmtree(folder, ignore_errors=True)


def _drain(stream: IO[bytes], into: bytearray) -> None:
    for chunk in iter(lambda: stream.read1(2**16), b""):  # type: ignore[attr-defined] # a buffered pipe
        into += chunk[: max(0, MAX_OUTPUT - len(into))]
