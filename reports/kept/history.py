"""Prints how one host, or one check, fared in the kept runs (`switchproof reports history`)."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from switchproof.deploy.command_line import Parser
from switchproof.deploy.contract import ExitCode, Verdict
from switchproof.deploy.errors import UsageError
from switchproof.deploy.record.facts import Leg
from switchproof.deploy.record.fold import legs
from switchproof.deploy.record.record import Check, Host, Part, Record
from switchproof.deploy.settings import read_settings
from switchproof.reports import reading, text
from switchproof.reports.kept.lookup import read_run
from switchproof.reports.kept.runs import read_kept
from switchproof.reports.legs import LEG_WORDS

RUNS = 50
"""Runs that are read unless more are asked for, the newest ones."""
_CHARACTERS = 200
"""Characters shown of a message."""


class Past(msgspec.Struct, frozen=True):
    """A run that is read, and the name of its folder."""

    folder: str
    record: Record


def command(arguments: list[str]) -> int:
    """Run the command.

    Args:
        arguments: What follows `history` on the command line.

    Returns:
        0, or 4 if no run of the folder has such a host or check.
    """
    parser = Parser(
        prog="switchproof reports history", description="Show how a host or a check fared, the newest run first."
    )
    parser.add_argument(
        "name", metavar="HOST|CHECK", help="a host's name, or a check's id or its beginning, such as runtime/live"
    )
    described = "the folder of kept runs, as given with --report-dir (default: reports/runs)"
    parser.add_argument("folder", metavar="DIR", nargs="?", type=Path, help=described)
    parser.add_argument("--runs", type=int, default=RUNS, metavar="N", help=f"runs to read (default: {RUNS})")
    asked = parser.parse_args(arguments)
    try:
        folder = asked.folder or read_settings(Path.cwd()).report_dir
        sys.stdout.write(render(asked.name, list(_past(folder, asked.runs)), folder))
    except UsageError as error:
        print(error, file=sys.stderr)
        return ExitCode.USAGE
    return ExitCode.CANONICAL


def _past(folder: Path, count: int) -> Iterator[Past]:
    """Yield the newest runs of a folder that can be read."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    for kept in [run for run in read_kept(folder) if run.digest][: max(count, 1)]:
        try:
            yield Past(kept.folder, read_run(str(folder / kept.folder)))
        except UsageError:  # it was removed since
            continue


def render(name: str, runs: Sequence[Past], folder: Path) -> str:
    """Render the history of a host or a check.

    Args:
        name: The host's name, or the check's id with or without its clause. The beginning of ids, up to a slash,
            means all of these checks.
        runs: The runs, the newest first.
        folder: Their folder, for messages.

    Raises:
        UsageError: No run has such a host or check; the message names the nearest one.
    """
    hosts = {host.name for run in runs for host in run.record.hosts}
    checks = {_whole(part, check) for run in runs for _, _, part, check in _checks(run.record)}
    if name in hosts:
        lines = list(_of_host(name, runs))
    elif wanted := {each for each in checks if name in {each, each.partition("/")[2]} or each.startswith(f"{name}/")}:
        lines = list(_of_check(wanted, runs))
    else:
        near = difflib.get_close_matches(name, [*hosts, *checks], 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        counted = text.count(len(runs), "run")
        raise UsageError(f"{name}: neither a host nor a check of the {counted} in {folder}{hint}")
    return "".join(f"{line}\n" for line in lines)


def _of_host(name: str, runs: Sequence[Past]) -> Iterator[str]:
    for run in runs:
        for host in run.record.hosts:
            if host.name == name:
                yield f"{_head(run)}  {host.state}"
                yield from _not_passed(host, run.record)


def _not_passed(host: Host, record: Record) -> Iterator[str]:
    """Yield a line for each check of the host that is to blame; a check that did not run blames another."""
    for whose, leg, part, check in _checks(record):
        if whose is host and check.verdict in {Verdict.FAILED, Verdict.INCONCLUSIVE, Verdict.WAIVED}:
            where = "" if leg == "forward" else f" ({LEG_WORDS[leg]})"
            yield f"    {_whole(part, check)}{where}: {_verdict(check)}"


def _of_check(wanted: set[str], runs: Sequence[Past]) -> Iterator[str]:
    """Yield the run and then its hosts; hosts with one verdict and message share a line."""
    for run in runs:
        told: dict[tuple[str, str], list[str]] = {}
        for host, leg, part, check in _checks(run.record):
            if (whole := _whole(part, check)) in wanted:
                where = "" if leg == "forward" else f" ({LEG_WORDS[leg]})"
                which = f"{whole}, " if len(wanted) > 1 else ""
                told.setdefault((which, _verdict(check)), []).append(f"{host.name}{where}")
        if told:
            yield _head(run)
        for (which, verdict), names in told.items():
            yield f"    {which}{', '.join(names)}: {verdict}"


def _checks(record: Record) -> Iterator[tuple[Host, Leg, Part, Check]]:
    for host in record.hosts:
        for leg, parts in legs(host):
            for part in parts:
                for check in part.checks:
                    yield host, leg, part, check


def _whole(part: Part, check: Check) -> str:
    """Return a check's id with its clause; those of the contract begin with it."""
    return check.id if check.id.startswith(f"{part.id}/") else f"{part.id}/{check.id}"


def _verdict(check: Check) -> str:
    message = text.one_line(check.message, _CHARACTERS)
    return f"{check.verdict}: {message}" if message and check.verdict is not Verdict.PASSED else str(check.verdict)


def _head(run: Past) -> str:
    record = run.record
    sha = record.revision.sha[:7] if record.revision.sha else "-"
    when = text.moment(record.run.started).removesuffix(" UTC")
    return f"{when}  {record.run.mode}  {reading.verdict_word(record)}  {sha}  {text.one_line(run.folder)}"
