"""Starts every process of the lab on this machine; every wait has a deadline."""

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from switchproof.deploy.providers.lab.errors import CommandFailedError


def run(
    argv: Sequence[str],
    *,
    timeout_s: float,
    input: str | None = None,  # noqa: A002 - named as subprocess names it
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return its result, whatever its exit status.

    Args:
        argv: The command; no shell interprets it.
        timeout_s: Seconds after which the command and its children are killed.
        input: Text for its standard input; without it the input is empty.
        env: The whole environment; by default this process's own.
        cwd: Its working directory.

    Raises:
        CommandFailedError: It could not be started or did not end in time.
    """
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            cwd=cwd,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise CommandFailedError(f"Could not start `{shlex.join(argv)}`: {error.strerror}.") from error
    try:
        stdout, stderr = process.communicate(input, timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise CommandFailedError(f"`{shlex.join(argv)}` did not end within {timeout_s:g} s.") from error
    finally:
        if process.returncode is None:
            _end_session(process)
    return subprocess.CompletedProcess(argv, process.returncode, stdout, stderr)


def check(
    argv: Sequence[str],
    *,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Run a command that must succeed and return its standard output.

    Raises:
        CommandFailedError: It failed; the message contains its last lines.
    """
    done = run(argv, timeout_s=timeout_s, env=env, cwd=cwd)
    if done.returncode != 0:
        output = "\n".join((done.stderr or done.stdout).strip().splitlines()[-15:])
        raise CommandFailedError(f"`{shlex.join(argv)}` failed with exit status {done.returncode}:\n{output}")
    return done.stdout


def start(argv: Sequence[str], *, log: Path, cwd: Path) -> subprocess.Popen[bytes]:
    """Start a process that outlives this call and ignores this terminal's signals, writing to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            start_new_session=True,
        )


def tied(argv: Sequence[str]) -> list[str]:
    """Return a command with its own mounts and processes, which end at once when this process dies."""
    alone = ("unshare", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "--")
    return ["setpriv", "--pdeathsig", "KILL", "--", *alone, *argv]


def _end_session(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait(timeout=10)
