"""A stand-in for amazon-ssm-agent: runs a script on a lab host like the real one's plugin runscript."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping
from typing import IO

from switchproof.deploy.providers.lab.errors import LabError
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.ssm.documents import Script
from switchproof.deploy.providers.lab.ssm.outputs import KILLED, Finished

ORCHESTRATION = "/var/lib/amazon/ssm"
PATH = "/run/current-system/sw/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BARE_PATH = f"{ORCHESTRATION}/bare-path"
"""A folder with coreutils and a shell: all that the unit of NixOS's agent had before nixpkgs#342947."""
MAX_OUTPUT = 64 * 2**20
"""Bytes kept of a script's output."""
CHUNK = 2**16
"""Bytes per read."""

# The host's own `sh` makes folder and file, where links lead nowhere else, because the host is not trusted with
# a path of this machine. The script comes on standard input.
_LAUNCH = """
place=$0 folder=$1 path=$2
(
  umask 077
  mkdir -p "${place%/*}" && cat >"$place" && chmod 700 "$place" || exit 1
  case $path in
    */bare-path)
      mkdir -p "$path"
      for tool in sh base64 cat chmod cut date env head id ls mkdir mv readlink rm sha256sum sleep sort tail tr wc; do
        ln -sf "$(command -v "$tool")" "$path/$tool"
      done
      ;;
  esac
) || exit 1
if ! cd "$folder" 2>/dev/null; then
  why='no such file or directory'
  [ ! -e "$folder" ] || why='not a directory'
  PATH=$path
  printf '\\0fork/exec %s: %s' "$(command -v sh)" "$why" >&2
  exit 1
fi
unset OLDPWD
ulimit -S -n 1024
PATH=$path
exec sh -c "$place" </dev/null
"""
_NOT_ENTERED = b"\0"
"""The beginning of standard error if the working directory could not be entered; the reason in Go's words follows."""


class Agent:
    """Runs scripts on one host.

    Args:
        host: The host.
        instance: Its instance id.
        region: Its region.
        output_rate: Bytes of output that the agent reads in a second.
    """

    def __init__(self, host: LabHost, instance: str, region: str, output_rate: float) -> None:
        self.host = host
        self._instance, self._region, self._rate = instance, region, output_rate
        self._begun: set[str] = set()
        self._invocation = uuid.uuid4().hex

    def run(
        self, command: str, script: Script, folder: str, ending: threading.Event, *, bare_path: bool = False
    ) -> Finished:
        """Run a command's script to its end, its time limit, or until `ending` is set.

        Args:
            command: The command's id.
            script: The script.
            folder: A folder below the command's own, as in the document.
            ending: Set when the command is cancelled, or the agent dies.
            bare_path: Whether the agent's own PATH has coreutils only.
        """
        begun = f"{ORCHESTRATION}/{self._instance}/document/orchestration/{command}"
        self._begun.add(begun)
        place = f"{begun}/{folder}/0.awsrunShellScript/_script.sh"
        # A relative folder would be one of downloads, which there are none of.
        working = script.folder if script.folder.startswith("/") else "/"
        with tempfile.TemporaryFile() as text:
            text.write(f"{script.text}\n".encode())
            text.seek(0)
            process = subprocess.Popen(
                self.host.inside(["/bin/sh", "-c", _LAUNCH, place, working, BARE_PATH if bare_path else PATH]),
                stdin=text,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**self._environment(command), **script.environment},
                start_new_session=True,
            )
        finished = self._follow(process, time.monotonic() + script.limit_s, ending)
        if finished.code == 1 and finished.stderr.startswith(_NOT_ENTERED):
            return Finished(1, b"", b"", problem=finished.stderr[1:].decode(errors="replace"))
        return finished

    def _follow(self, process: subprocess.Popen[bytes], deadline: float, ending: threading.Event) -> Finished:
        assert process.stdout is not None
        assert process.stderr is not None
        out, err = bytearray(), bytearray()
        readers = [
            threading.Thread(target=_drain, args=(*pair, self._rate), daemon=True)
            for pair in ((process.stdout, out), (process.stderr, err))
        ]
        for reader in readers:
            reader.start()
        late = False
        # A process that keeps the output open after the script's end delays the agent, up to the limit.
        while process.poll() is None or any(reader.is_alive() for reader in readers):
            late = time.monotonic() > deadline
            if late or ending.is_set():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                break
            time.sleep(0.02)
        return Finished(KILLED if late else process.returncode, bytes(out), bytes(err), late)

    def _environment(self, command: str) -> Mapping[str, str]:
        """The environment of an agent's service: what systemd sets, but no home and nothing of a login."""
        return {
            "PATH": PATH,
            "LANG": "C.UTF-8",
            "USER": "root",
            "INVOCATION_ID": self._invocation,
            "JOURNAL_STREAM": "9:1",
            "SYSTEMD_EXEC_PID": "2",
            "SSM_COMMAND_ID": command,
            "AWS_SSM_INSTANCE_ID": self._instance,
            "AWS_SSM_REGION_NAME": self._region,
            "AWS_SSM_PLATFORM_NAME": "NixOS",
            "AWS_SSM_PLATFORM_VERSION": "25.11",
        }

    def forget(self) -> None:
        """Remove the commands' files from the disk of a host that is on; otherwise its disk goes with the lab."""
        with contextlib.suppress(LabError):
            self.host.run(["rm", "-rf", "--", BARE_PATH, *sorted(self._begun)], timeout_s=20)


def _drain(stream: IO[bytes], into: bytearray, rate: float) -> None:
    for chunk in iter(lambda: stream.read1(CHUNK), b""):  # type: ignore[attr-defined] # a buffered pipe
        time.sleep(len(chunk) / rate)  # the agent reads byte by byte
        into += chunk[: max(0, MAX_OUTPUT - len(into))]
