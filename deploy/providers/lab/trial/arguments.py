"""Watches the command lines of all processes for secrets."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from switchproof.deploy.providers.lab.trial.subject import process_numbers, read_file

INTERVAL_S = 0.03
"""Seconds between two scans; a process with a shorter life may be missed."""
LOOKS = 4
"""Scans per new process: between fork and exec a process has another one's command line."""
AGAIN = 30
"""Scans between two later looks at a process, which may have become another program since."""


class Arguments:
    """A context that checks every new process's command line, on this machine and on lab hosts.

    Args:
        secrets: The secrets, by name.
    """

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._secrets = {name: value.encode() for name, value in secrets.items()}
        self._found: dict[str, str] = {}
        self._seen = dict.fromkeys(process_numbers(), LOOKS)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings, as sentences without the secrets."""
        return tuple(f"{name} stood in the command line of `{program}`" for name, program in self._found.items())

    def _watch(self) -> None:
        scans = 0
        while not self._over.wait(INTERVAL_S):
            scans += 1
            present = process_numbers()
            self._seen = {pid: self._seen.get(pid, 0) for pid in present}
            for pid in present:
                if self._seen[pid] < LOOKS:
                    self._seen[pid] += 1
                    self._look(pid)
                elif (pid + scans) % AGAIN == 0:  # not all at once
                    self._look(pid)

    def _look(self, pid: int) -> None:
        line = read_file(f"/proc/{pid}/cmdline")
        for name, value in self._secrets.items():
            if name not in self._found and value in line:
                program = line.partition(b"\0")[0].decode("utf-8", "replace")
                self._found[name] = program.rsplit("/", 1)[-1]
