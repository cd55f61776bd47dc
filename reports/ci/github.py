"""Reports a run to GitHub Actions: the step's summary, annotations and outputs."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from switchproof.deploy.contract import ExitCode, HostState, RunVerdict
from switchproof.deploy.record.record import Record
from switchproof.reports import causes, files, reading, text
from switchproof.reports.ci import Service, markdown

ANNOTATIONS = 10
"""Errors that GitHub shows for one step; it drops others silently."""
_MESSAGE_CHARACTERS = 500
_WORST_FIRST = (
    HostState.UNSAFE,
    HostState.FOUND_UNHEALTHY,
    HostState.UNKNOWN,
    HostState.ROLLED_BACK,
    HostState.CONVERGED,
    HostState.UNCHANGED,
    HostState.FOUND_HEALTHY,
)


class GitHub(Service):
    """Reports a run to GitHub's runner.

    The runner obeys commands in a job's log. So commands are off while text from hosts may be in it.

    Args:
        environ: Environment variables, which name the files that the runner reads.
        say: Writes a line to the job's log, unchanged.
    """

    def __init__(self, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
        self._environ = environ
        self._say = say
        self._token = ""

    def begin(self) -> None:
        """Turn commands in the log off, with a random token that no host can know."""
        self._token = secrets.token_hex(16)
        self._say(f"::stop-commands::{self._token}")

    def publish(self, record: Record, folder: Path) -> None:
        """Append to the files of the step's summary and outputs; see `Service.publish`."""
        if summary := self._environ.get("GITHUB_STEP_SUMMARY"):
            _append(summary, markdown.render(record))
        if output := self._environ.get("GITHUB_OUTPUT"):
            _append(output, outputs(record, folder))

    def end(self, record: Record | None) -> None:
        """Turn commands in the log on again, and write our own."""
        if self._token:
            self._say(f"::{self._token}::")
        for line in [*errors(record), *warnings(record)] if record else ():
            self._say(line)


def errors(record: Record) -> list[str]:
    """Return an error command for each cause, after one for the hosts that are unsafe; none for exit code 0."""
    if record.run.exit_code == ExitCode.CANONICAL:
        return []
    lines = []
    if unsafe := [host for host in record.hosts if host.state is HostState.UNSAFE]:
        names = causes.named([host.name for host in unsafe])
        lines.append(_command(f"{names}: {HostState.UNSAFE}", unsafe[0].state_reason))
    for cause in causes.explaining(record):
        title = f"{cause.named}: {cause.clause} {cause.check.verdict}"
        lines.append(_command(title, f"{cause.check.title}: {text.brief(cause.check.message)}"))
    if len(lines) > ANNOTATIONS:
        rest = len(lines) - ANNOTATIONS + 1
        lines[ANNOTATIONS - 1 :] = [_command("More did not pass", f"{rest} more causes; the report has them all")]
    if not lines:
        why = reading.exit_meaning(record) if record.verdict.accepted else reading.sentence(record)
        lines.append(_command(f"{record.run.mode} is {reading.verdict_word(record)}", why))
    return lines


def warnings(record: Record) -> list[str]:
    """Return a warning command for a run that is canonical with waivers, because nobody looks at a green step."""
    if record.verdict is not RunVerdict.WITH_WAIVERS:
        return []
    waived = "; ".join(reading.waiver_words(waiver) for waiver in record.waivers if waiver.state == "used")
    return [_command(f"{record.run.mode} is {record.verdict}", waived, "warning")]


def outputs(record: Record, folder: Path) -> str:
    """Return the outputs `verdict`, `state` (the worst state of a host), `report` and `record`."""
    states = {host.state for host in record.hosts}
    values = {
        "verdict": reading.verdict_word(record),
        "state": str(next((state for state in _WORST_FIRST if state in states), HostState.UNKNOWN)),
        "report": str(folder.resolve() / files.REPORT),
        "record": str(folder.resolve() / "record.json"),
    }
    return "".join(_output(name, value) for name, value in values.items())


def _command(title: str, message: str, kind: str = "error") -> str:
    message = text.brief(message, _MESSAGE_CHARACTERS).replace("%", "%25")
    title = "".join(f"%{ord(char):02X}" if char in "%,:" else char for char in text.one_line(title))
    return f"::{kind} title={title}::{message}"


def _output(name: str, value: str) -> str:
    mark = f"switchproof_{secrets.token_hex(16)}"
    return f"{name}<<{mark}\n{text.inert(value)}\n{mark}\n"


def _append(path: str, content: str) -> None:
    with Path(path).open("a", encoding="utf-8", errors="replace") as file:
        file.write(content)
