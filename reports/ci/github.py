"""Reports a run to GitHub Actions: the step's summary, annotations and outputs."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from switchproof.deploy.contract import ExitCode, HostState, RunVerdict, Verdict
from switchproof.deploy.record.record import Check, Part, Record
from switchproof.reports import files, reading, text
from switchproof.reports.ci import Service, markdown
from switchproof.reports.legs import legs_of

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
    """Return an error command for the first clause that did not pass on each leg of each host, failed ones first."""
    bad = [
        (leg, clause, check)
        for leg in legs_of(record)
        if (first := _first_bad(leg.parts)) is not None
        for clause, check in [first]
    ]
    bad.sort(key=lambda each: each[2].verdict is not Verdict.FAILED)
    lines = [
        _command(f"{leg.label}: {clause.id} {check.verdict}", f"{check.title}: {text.brief(check.message)}")
        for leg, clause, check in bad[:ANNOTATIONS]
    ]
    if len(bad) > ANNOTATIONS:
        rest = len(bad) - ANNOTATIONS + 1
        lines[-1] = _command("More did not pass", f"{text.count(rest, 'leg')} more of hosts; the report has them all")
    went_well = record.verdict.accepted or record.run.exit_code == ExitCode.CANONICAL
    if not lines and not went_well:
        lines.append(_command(f"{record.run.mode} is {record.verdict}", reading.sentence(record)))
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


def _first_bad(parts: Sequence[Part]) -> tuple[Part, Check] | None:
    """Return the first check that ran and did not pass; without one, the first that never ran."""
    bad = [
        (part, check)
        for part in parts
        for check in part.checks
        if check.verdict in {Verdict.FAILED, Verdict.INCONCLUSIVE}
    ]
    return next((each for each in bad if each[1].started), bad[0] if bad else None)


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
