"""Runs testinfra over a run's own connection: checked host keys, deadlines, any provider."""

from __future__ import annotations

import shlex
from typing import Any

from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host

from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.run.journey import Journey

COMMAND_S = 60.0
"""Seconds for one command of a check."""


class ConnectionBackend(BaseBackend):
    """Runs testinfra's commands through a journey's connection.

    Args:
        journey: The host.
    """

    NAME = "switchproof"

    def __init__(self, journey: Journey) -> None:
        super().__init__(journey.host.name)
        self._journey = journey

    def run(self, command: str, *args: str, **_: Any) -> CommandResult:
        """Run a command; see testinfra.

        Raises:
            Inconclusive: The host could not be reached, or did not report the exit status.
        """
        text = self.get_command(command, *args)
        # The shell reads this program from standard input, so the command must not read from it.
        program = f"exec /bin/sh -c {shlex.quote(text)} </dev/null\n"
        status, out, err = self._journey.run_program(program, COMMAND_S)
        if status is None:
            raise Inconclusive(
                f"{self._journey.host.name}: it is unknown how this command ended: {shlex.quote(text)}"
            )
        return self.result(status, self.encode(text), out, err)


def host_over(journey: Journey) -> Host:
    """Make testinfra's `Host` for a host of the run."""
    return Host(ConnectionBackend(journey))
