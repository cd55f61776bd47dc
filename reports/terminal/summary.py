"""Renders the last lines on the terminal: the verdict, the state of each host and the next steps."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.text import Text

from switchproof.deploy.contract import ExitCode, Verdict
from switchproof.deploy.record.facts import LOOKING_AHEAD
from switchproof.deploy.record.record import Host, Record, WaiverResult
from switchproof.reports import advice, causes, files, reading, text
from switchproof.reports.legs import clauses_of, phase_name
from switchproof.reports.terminal.activity import WARNING_CHARACTERS

WIDTH = 80
"""Columns of a line; only paths and commands, which are for copying, may be longer."""

PLAN_LINES = 40
"""Lines of a plan shown for hosts that are alike; a kernel update has hundreds."""

CAUSES = 10
"""Causes listed after the first."""

LACKS = 6
"""Missing proofs shown for a step of the cutover."""

STYLES = {
    "passed": "green",
    "failed": "bold red",
    "blocked": "bright_black",
    "inconclusive": "yellow",
    "waived": "magenta",
    "canonical": "bold green",
    "canonical with waivers": "bold magenta",
    "non-canonical": "bold red",
    "ready": "bold green",
    "unready": "bold red",
    "converged": "green",
    "rolled-back": "cyan",
    "unsafe": "bold red",
    "unknown": "yellow",
    "found-healthy": "green",
    "found-unhealthy": "bold red",
}
_EXPLAINED = (ExitCode.SAFE_FAILURE, ExitCode.UNSAFE, ExitCode.INCONCLUSIVE)
"""Exit codes of runs in which a check explains the failure; for others, the meaning of the exit code does."""

_WRITTEN = re.compile(r"^(\s*)\d{4}-\d\d-\d\dT\S+ \S+ ")
"""The time and the host, which journalctl writes before a line."""

_GAP = "  "


def render(record: Record, folder: Path, *, colour: bool = False, brief: bool = False) -> str:
    """Render the summary of a run.

    Args:
        record: The run.
        folder: The run's folder, as it is shown.
        colour: Whether to use ANSI colours. The text is the same without them.
        brief: Whether to render only the verdict, the report's path and the exit code.

    Returns:
        Lines of at most 80 columns, with a line feed at the end.
    """
    lines = [_headline(record), *_wrapped(f"{reading.sentence(record)} {reading.bound(record)}".strip())]
    if brief:
        return _text([*lines, *_report(record, folder), *_exit(record)], colour=colour)
    lines += [*_wrapped(reading.absence(record)), *_promoted(record), Text()]
    if record.run.mode == "plan" and record.run.exit_code == ExitCode.CANONICAL:
        lines += [line for plan in reading.plans(record) for line in _planned(plan)]
    elif record.run.mode == "preflight":
        lines += _findings(record)
        lines += [line for host in record.hosts for line in _warnings(host)]
    else:
        lines += [*_causes(record), *_cause(record, folder), *_table(record)]
        lines += [line for host in record.hosts for line in _audit(host)]
        explained = (
            reading.failing_waivers(record)[:1] if reading.waivers_alone(record) else []
        )  # by the sentence above
        lines += [line for waiver in record.waivers if waiver not in explained for line in _waiver(waiver)]
        lines += _states(record)
        lines += [line for host in record.hosts for line in _warnings(host)]
    lines += cutover_lines(record)
    lines += [Text()] * bool(lines[-1].plain) + [*_report(record, folder), *_exit(record)]
    for step in advice.next_steps(record, f"{folder}/"):
        lines += _wrapped(step.text)
        if step.command:
            lines.append(Text(f"  {text.inert(step.command)}", style="bold"))
    return _text(lines, colour=colour)


def _text(lines: Sequence[Text], *, colour: bool) -> str:
    out = io.StringIO()
    console = Console(
        file=out,
        force_terminal=colour,
        color_system="standard" if colour else None,
        legacy_windows=False,
        _environ={},  # the caller has decided about colours, from TERM and NO_COLOR
    )
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False)
    return out.getvalue()


def _report(record: Record, folder: Path) -> list[Text]:
    """Return the path of the report, and its gaps."""
    if record.run.unreported:
        problem = text.one_line(record.run.unreported)
        lines = _wrapped(f"Report: incomplete, because the disk did not take all of it ({problem}); what is there:")
        return [*lines, Text(f"  {text.inert(str(folder))}")]
    return [Text(f"Report: {text.inert(str(folder / files.REPORT))}")]


def _headline(record: Record) -> Text:
    verdict = reading.verdict_word(record)
    head = Text.assemble((verdict.upper(), STYLES.get(verdict, "")))
    which = f" of {record.revision.sha[:12]}" if record.revision.sha else ""
    hosts = f"{text.count(len(record.hosts), 'host')} of {record.provider}"
    head.append(f"  {text.inert(f'{record.run.mode}{which}, {hosts}')}")
    if record.emulated:
        head.append(" (emulated)", style="yellow")
    if record.run.finished:
        head.append(f", {text.duration((record.run.finished - record.run.started).total_seconds())}")
    return head


def _promoted(record: Record) -> list[Text]:
    """Return the run that let the deploy through the gate, if there was a gate."""
    source = record.promoted_from
    if source is None:
        return []
    lines = _wrapped(
        f"Promoted from run {source.run}, signed by {source.signer} (statement {source.statement_sha256[:12]}):"
    )
    return [*lines, Text(f"  {text.inert(source.record)}")]


def cutover_lines(record: Record) -> list[Text]:
    """Return the steps of the cutover, their proofs, and what the next step lacks."""
    cutover = record.cutover
    if cutover is None:
        return []
    lines = [Text(), *_wrapped(f"Cutover: {text.one_line(cutover.words, reading.CUTOVER_CHARACTERS)}")]
    for step in cutover.steps:
        word = "proven" if step.proven else "not proven"
        lines.append(Text.assemble(f"  {step.number} {step.title}: ", (word, "green" if step.proven else "yellow")))
        for proof in step.proofs if step.proven else ():
            by = f"run {proof.run}" if proof.run else "this audit"
            lines += _wrapped(f"      {proof.what}: {by}, {text.moment(proof.when)}")
        for lack in step.missing[:LACKS] if step.number == cutover.reached + 1 or cutover.backwards else ():
            lines += _wrapped(f"      lacks: {text.one_line(lack.words, reading.CUTOVER_CHARACTERS)}")
        if step.number == cutover.reached + 1 and len(step.missing) > LACKS:
            lines.append(Text(f"      and {len(step.missing) - LACKS} more, in the report"))
    return lines


def _causes(record: Record) -> list[Text]:
    """Return the causes after the first, which the sentence above names."""
    others = causes.others(record)
    lines = [_wrapped(f"- {cause.where}: {cause.what}") for cause in others[:CAUSES]]
    if len(others) > CAUSES:
        lines.append([Text(f"- and {len(others) - CAUSES} more causes, in the report")])
    return [line for wrapped in lines for line in wrapped] + [Text()] * bool(lines)


def _cause(record: Record, folder: Path) -> list[Text]:
    """Return the last journal lines of the first cause, the file to read and the remedy."""
    cause = None if record.verdict.accepted else causes.first_cause(record)
    if cause is None or record.run.exit_code not in _EXPLAINED:
        return []
    lines = [Text(_shortened(_WRITTEN.sub(r"\1", line))) for line in cause.last_words]
    if cause.file:
        lines.append(Text(f"Read: {text.inert(f'{folder}/{cause.file}')}"))
    if cause.check.remedy and not causes.nobody_let_in(record):
        lines += _wrapped(f"Try: {text.one_line(cause.check.remedy)}")
    return [*lines, *[Text()] * bool(lines)]


def _shortened(line: str) -> str:
    shown = text.inert(line)
    return shown if cell_len(shown) <= WIDTH else f"{chop_cells(shown, WIDTH - 1)[0]}…"


def _table(record: Record) -> list[Text]:
    if record.run.exit_code in {ExitCode.USAGE, ExitCode.LOCKED}:
        return []  # nothing was asked of the hosts
    rows, passed = reading.matrix(record)
    every = "check" if record.run.mode in LOOKING_AHEAD else "clause"
    rest = _wrapped(f"{text.count(passed, 'host')} passed every {every}") if passed else []
    if not rows:
        return [*rest, Text()]
    clauses = clauses_of(record)
    widths = [max(len(clause), *(len(row.verdicts[index]) for row in rows)) for index, clause in enumerate(clauses)]
    room = WIDTH - sum(widths) - len(_GAP) * len(widths)
    names = [text.inert(row.label) for row in rows]
    first = min(room, max(4, *(cell_len(name) for name in names)))
    lines = [_row("host", clauses, widths, first)]
    for name, row in zip(names, rows, strict=True):
        if cell_len(name) > first:
            lines += [Text(name), _row("", row.verdicts, widths, first)]
        else:
            lines.append(_row(name, row.verdicts, widths, first))
    return [*lines, *rest, Text()]


def _planned(plan: reading.Planned) -> list[Text]:
    """Return the first lines of what a deploy would change on hosts; the report has all."""
    lines = [Text(f"{text.inert(causes.named(plan.hosts))} would change", style="bold")]
    lines += [Text(f"  {text.inert(line)}") for line in plan.lines[:PLAN_LINES]]
    if len(plan.lines) > PLAN_LINES:
        lines.append(Text(f"  … and {len(plan.lines) - PLAN_LINES} more lines in the report"))
    return lines


def _findings(record: Record) -> list[Text]:
    """Return what a preflight found, each finding once with the hosts that it is about."""
    lines = []
    for each in reading.findings(record):
        wrapped = _wrapped(
            f"{each.verdict}  {causes.named(each.hosts)}: {text.brief(each.message, WARNING_CHARACTERS)}"
        )
        wrapped[0].stylize(STYLES.get(each.verdict, ""), 0, len(each.verdict))
        lines += wrapped
    return lines


def durations(record: Record, count: int, at_least_s: float = 0.0) -> str:
    """Render the phases that took longest, for pytest's option `--durations`.

    Checks wait for answers together, so the time of a test is that of the phase that it was the first to need.

    Args:
        record: The run.
        count: How many; 0 for all.
        at_least_s: Seconds of the shortest phase.
    """
    took = sorted(
        (
            ((phase.finished - phase.started).total_seconds(), host.name, phase)
            for host in record.hosts
            for phase in host.phases
            if phase.finished and (phase.finished - phase.started).total_seconds() >= at_least_s
        ),
        key=lambda each: -each[0],
    )
    shown = took[:count] if count else took
    lines = [f"{seconds:8.2f} s  {host} {phase_name(phase.phase, phase.leg)}" for seconds, host, phase in shown]
    return text.inert("\n".join([f"slowest {text.count(len(shown), 'phase')}:", *lines])) + "\n"


def _row(name: str, cells: Sequence[str], widths: list[int], first: int) -> Text:
    row = Text(name + " " * (first - cell_len(name)))
    for word, width in zip(cells, widths, strict=True):
        row.append(_GAP)
        row.append(f"{word:<{width}}", style=STYLES.get(word, ""))
    row.rstrip()
    return row


def _audit(host: Host) -> list[Text]:
    """Return the result of the team's own checks of an audit, if there are any."""
    if host.audit is None:
        return []
    verdicts = [check.verdict for check in host.audit.checks]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in Verdict if verdict in verdicts)
    line = Text(f"{text.inert(host.name)} audit {host.audit.verdict}: {counts}")
    line.highlight_words([host.audit.verdict.value], STYLES.get(host.audit.verdict, ""))
    return [line]


def _waiver(result: WaiverResult) -> list[Text]:
    """Return the outcome of a waiver; nothing for a waiver that did not apply, unless it has expired."""
    if result.state == "not-asked" and not result.waiver.expired:
        return []
    lines = _wrapped(f"waiver: {reading.waiver_words(result)}")
    lines[0].stylize("bold red" if result.fails else STYLES["waived"], 0, len("waiver:"))
    return lines


def _states(record: Record) -> list[Text]:
    """Return the state of each host; of many hosts, those with the same state share a line."""
    lines = []
    for group in reading.states(record):
        reason = f": {text.brief(group.reason)}" if group.reason else ""
        line = _wrapped(f"{causes.named(group.hosts)} {group.words}{reason}")
        line[0].highlight_words([group.words.partition(" ")[2]], STYLES.get(group.state, ""))
        lines += line
    return lines


def _warnings(host: Host) -> list[Text]:
    lines = []
    for warning in host.warnings:
        wrapped = _wrapped(f"{host.name}: {text.brief(warning, WARNING_CHARACTERS)}")
        wrapped[0].stylize("bold yellow", 0, len(text.inert(host.name)) + 1)
        lines += wrapped
    return lines


def _exit(record: Record) -> list[Text]:
    code = record.run.exit_code
    return _wrapped(f"Exit {'code' if code is None else code}: {reading.exit_meaning(record)}")


def _wrapped(content: str) -> list[Text]:
    lines = textwrap.wrap(
        text.inert(content), WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    return [Text(line) for line in lines]
