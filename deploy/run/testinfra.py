"""testinfra's words for one host, over our own connection: host keys checked, deadlines kept, any provider."""

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
            Inconclusive: The host could not be asked, or did not say how the command ended.
        """
        text = self.get_command(command, *args)
        # A shell that reads its own text from standard input must not have that taken away.
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
