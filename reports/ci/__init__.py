"""Which CI service a run is in, and what a run tells it; elsewhere nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from switchproof.deploy.record.events import AnyEvent
from switchproof.deploy.record.record import Record


class Service:
    """What a run tells the service that it runs in. This one is none, and is told nothing."""

    def begin(self) -> None:
        """Hear that from now on the log may hold what a host said."""

    def watch(self, event: AnyEvent) -> None:
        """Hear of an event before it is shown."""

    def publish(self, record: Record, folder: Path) -> None:
        """Leave for the service what it takes from files.

        Args:
            record: The run.
            folder: The run's folder.

        Raises:
            OSError: Something could not be written.
        """

    def end(self, record: Record | None) -> None:
        """Hear that the log will hold nothing more of what a host said; there is no record if the run never began."""


def service(environ: Mapping[str, str], say: Callable[[str], None]) -> Service:
    """Return the service that the environment tells of.

    Args:
        environ: The environment's variables.
        say: Writes a line to the job's log, as it is.
    """
    if environ.get("GITHUB_ACTIONS") == "true":
        from switchproof.reports.ci.github import GitHub

        return GitHub(environ, say)
    if environ.get("GITLAB_CI") == "true":
        from switchproof.reports.ci.gitlab import GitLab

        return GitLab(say)
    return Service()
