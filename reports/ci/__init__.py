"""Detects the CI service that a run is in, and defines what a run reports to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from switchproof.deploy.record.events import AnyEvent
from switchproof.deploy.record.record import Record


class Service:
    """What a run reports to its CI service. This class is for runs outside CI and reports nothing."""

    def begin(self) -> None:
        """Handle the start of output that may hold text from hosts."""

    def watch(self, event: AnyEvent) -> None:
        """Handle an event before it is shown."""

    def publish(self, record: Record, folder: Path) -> None:
        """Write the files that the service reads.

        Args:
            record: The run.
            folder: The run's folder.

        Raises:
            OSError: A file could not be written.
        """

    def end(self, record: Record | None) -> None:
        """Handle the end of output that may hold text from hosts; `record` is None if the run never began."""


def service(environ: Mapping[str, str], say: Callable[[str], None]) -> Service:
    """Return the CI service that environment variables name.

    Args:
        environ: The environment variables.
        say: Writes a line to the job's log, unchanged.
    """
    if environ.get("GITHUB_ACTIONS") == "true":
        from switchproof.reports.ci.github import GitHub

        return GitHub(environ, say)
    if environ.get("GITLAB_CI") == "true":
        from switchproof.reports.ci.gitlab import GitLab

        return GitLab(say)
    return Service()
