"""Marks each phase of a run as a collapsible section in GitLab's job log."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from switchproof.deploy.record import events as ev
from switchproof.deploy.record.record import Record
from switchproof.reports.ci import Service
from switchproof.reports.legs import LEG_WORDS, phase_name

_CLEAR = "\x1b[0K"


class GitLab(Service):
    r"""Marks the phases of a run as sections of GitLab's job log.

    Hosts go through the phases at the same time and sections cannot overlap, so a section begins when the first host
    enters a phase. Its marks hold `\r` and an escape character, which are removed from all text of hosts.

    Args:
        say: Writes a line to the job's log, unchanged.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._open = ""
        self._seen: set[str] = set()

    def watch(self, event: ev.AnyEvent) -> None:
        """Begin the section of a phase when the first host enters it; see `Service.watch`."""
        match event:
            case ev.PhaseStarted():
                leg = "" if event.leg == "forward" else LEG_WORDS[event.leg]
                name = f"switchproof_{event.phase}{leg and f'_{leg}'}"
                if name not in self._seen:
                    self._seen.add(name)
                    self._close(event.at)
                    self._open = name
                    title = phase_name(event.phase, event.leg)
                    self._say(f"{_CLEAR}section_start:{int(event.at.timestamp())}:{name}\r{_CLEAR}{title}")
            case ev.RunFinished():
                self._close(event.at)

    def end(self, record: Record | None) -> None:  # noqa: ARG002 - other services use it
        """End the open section of a run that did not finish; see `Service.end`."""
        self._close(dt.datetime.now(dt.UTC))

    def _close(self, at: dt.datetime) -> None:
        name, self._open = self._open, ""
        if name:
            self._say(f"{_CLEAR}section_end:{int(at.timestamp())}:{name}\r{_CLEAR}")
