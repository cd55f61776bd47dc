"""Renders the record of a trial for the terminal, as JUnit XML and as a page."""

from __future__ import annotations

import io
import textwrap
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec.structs import replace
from rich.console import Console
from rich.text import Text

from switchproof.deploy.contract import Clause, ExitCode, RunVerdict, Verdict
from switchproof.reports import files, text
from switchproof.reports.ci.junit import clean
from switchproof.reports.page import conformance
from switchproof.reports.terminal.summary import STYLES, WIDTH
from switchproof.trials.record import Finding, FindingId, ScenarioResult, Trial

_SENTENCES = {
    RunVerdict.CANONICAL: "The path kept every clause of the contract in every scenario.",
    RunVerdict.NON_CANONICAL: "The path does not keep the contract.",
    RunVerdict.INCONCLUSIVE: "The trial does not show that the path keeps the contract.",
}
_EXITS = {
    ExitCode.CANONICAL: "canonical: the deploy path keeps the contract",
    ExitCode.SAFE_FAILURE: "non-canonical: the deploy path does not keep the contract",
    ExitCode.INTERRUPTED: "interrupted: the scenarios that were not tried are open",
    ExitCode.INTERNAL: "a defect of Switchproof; the trial proves nothing",
    ExitCode.USAGE: "the command cannot be run, so no other scenario was tried",
    ExitCode.INCONCLUSIVE: "inconclusive: a scenario was not tried, or a result could not be seen",
}
_LETTER = (
    "Clause converge is broken in the letter only: the right system runs, is the profile and boots, but a program "
    "other than nixos-rebuild switched to it."
)
_SHAPES = {Verdict.FAILED: "failure", Verdict.INCONCLUSIVE: "error"}
_NAMES_SHOWN = 3


class Reason(msgspec.Struct, frozen=True):
    """One reason, with all its scenarios.

    Attributes:
        clause: The clause; None if there may be several.
        scenarios: Their names, in order.
        expected: What was expected in the first of them.
        why: The reason.
    """

    clause: Clause | None
    scenarios: tuple[str, ...]
    expected: str
    why: str


def line(result: ScenarioResult) -> str:
    """Return a line about the result of a scenario."""
    notes = [f"{finding.id}" for finding in result.findings]
    suffix = f"; {', '.join(dict.fromkeys(notes))}" if notes else ""
    return f"{result.verdict:12}  {result.name:20}  {exits(result)}, {text.duration(result.seconds)}{suffix}"


def exits(result: ScenarioResult) -> str:
    """Return the exit codes of a deploy path in a scenario, in words."""
    if not result.exit_codes:
        return "not seen"
    endings = ["time limit" if code is None else f"exit {code}" for code in result.exit_codes]
    return " and ".join(endings)


def sentence(trial: Trial) -> str:
    """Return a sentence or two that say what the trial proves."""
    sentences = _SENTENCES[trial.verdict]
    if trial.verdict is RunVerdict.NON_CANONICAL:
        broken = list(dict.fromkeys(violation.clause for violation in trial.violations))
        sentences = f"The path does not keep the contract: {', '.join(broken)}."
        of_converge = [each.letter for each in trial.violations if each.clause is Clause.CONVERGE]
        if of_converge and all(of_converge):
            sentences += f" {_LETTER}"
    tried = len(trial.scenarios)
    sentences += f" {text.count(tried, 'scenario')} tried"
    if trial.not_tried:
        sentences += f", {len(trial.not_tried)} left out, and an incomplete trial is never canonical"
    return f"{sentences}."


def meaning(trial: Trial) -> str:
    """Return the meaning of the exit code."""
    return _EXITS.get(ExitCode(trial.exit_code), "pytest's own")


def findings(trial: Trial) -> Mapping[FindingId, list[Finding]]:
    """Return the findings grouped by id."""
    by_id: dict[FindingId, list[Finding]] = {}
    for finding in trial.findings:
        by_id.setdefault(finding.id, []).append(finding)
    return by_id


def violations(trial: Trial) -> list[Reason]:
    """Return the reasons for which a path is non-canonical, each once."""
    reasons: dict[tuple[Clause, str], Reason] = {}
    for each in trial.violations:
        why = f"{each.seen}. {each.cause.meaning}" if each.cause else each.seen
        _add(
            reasons, (each.clause, each.cause or each.seen), Reason(each.clause, (each.scenario,), each.expected, why)
        )
    return list(reasons.values())


def open_of(trial: Trial) -> list[Reason]:
    """Return the reasons for which results are open, each once."""
    reasons: dict[str, Reason] = {}
    for result in trial.scenarios:
        first = next((each for each in result.judgements if each.verdict is Verdict.INCONCLUSIVE), None)
        if first is not None:
            seen = result.problem or first.seen
            why = f"{first.cause.meaning} {seen[:1].upper()}{seen[1:]}" if first.cause else seen
            _add(reasons, first.cause or seen, Reason(None, (result.name,), first.expected, why))
    return list(reasons.values())


_K = TypeVar("_K")


def _add(reasons: dict[_K, Reason], key: _K, reason: Reason) -> None:
    known = reasons.get(key)
    reasons[key] = replace(known, scenarios=(*known.scenarios, *reason.scenarios)) if known else reason


def summary(trial: Trial, folder: Path, *, colour: bool = False) -> str:
    """Render the end of a trial's terminal output.

    Args:
        trial: The trial.
        folder: Its folder, as it is shown.
        colour: Whether to use ANSI colours. The text is the same without them.
    """
    head = Text.assemble((trial.verdict.value.upper(), STYLES.get(trial.verdict, "")))
    head.append(f"  {text.one_line(trial.subject.command, 100)}")
    lines = [head, *_wrapped(sentence(trial)), Text(), *_table(trial)]
    if trial.violations:
        lines += [Text(), Text("Violations of the contract", style="bold")]
        for each in violations(trial):
            lines += _item(f"{each.clause}, {_shown(each.scenarios)}: {text.one_line(each.why, 400)}")
    if unclear := open_of(trial):
        lines += [Text(), Text("Left open", style="bold")]
        for each in unclear:
            lines += _item(f"{_shown(each.scenarios)}: {text.one_line(each.why, 400)}")
    if trial.findings:
        lines += [Text(), Text("Found beyond the contract, without effect on the verdict", style="bold")]
        for name, each_of in findings(trial).items():
            lines += _item(f"{name}: {name.meaning} {_shown(each.scenario for each in each_of)}")
    lines += [Text(), Text(f"Report: {text.inert(str(folder / files.REPORT))}")]
    lines += _wrapped(f"Exit {trial.exit_code}: {meaning(trial)}")
    out = io.StringIO()
    console = Console(
        file=out,
        force_terminal=colour,
        color_system="standard" if colour else None,
        legacy_windows=False,
        _environ={},  # the caller has decided about colours
    )
    for each_line in lines:
        console.print(each_line, soft_wrap=True, highlight=False)
    return out.getvalue()


def junit(trial: Trial) -> str:
    """Render JUnit XML, with a suite for each clause and a case for each scenario that judges it.

    A violation is a failure, an open result an error. A trial that is not canonical always has one of them.
    """
    root = ET.Element("testsuites", name=clean(f"switchproof {trial.id}"))
    for clause in Clause:
        suite = ET.SubElement(root, "testsuite", name=clause.value, timestamp=text.rfc3339(trial.started))
        for result in trial.scenarios:
            for number, each in enumerate((e for e in result.judgements if e.clause is clause), 1):
                name = result.title if number == 1 else f"{result.title} ({number})"
                seconds = f"{result.seconds:.3f}"
                case = ET.SubElement(suite, "testcase", classname=clause.value, name=clean(name), time=seconds)
                if tag := _SHAPES.get(each.verdict):
                    element = ET.SubElement(
                        case, tag, type=each.verdict.value, message=clean(text.one_line(each.seen))
                    )
                    element.text = clean(f"Expected: {each.expected}\nSeen: {each.seen}")
    if trial.verdict is not RunVerdict.CANONICAL:
        suite = ET.SubElement(root, "testsuite", name="trial", timestamp=text.rfc3339(trial.started))
        case = ET.SubElement(suite, "testcase", classname="trial", name="The path is canonical", time="0.000")
        tag = "failure" if trial.verdict is RunVerdict.NON_CANONICAL else "error"
        ET.SubElement(case, tag, type=trial.verdict.value, message=clean(sentence(trial)))
    for suite in root:
        suite.set("tests", str(len(suite)))
        suite.set("failures", str(len(suite.findall("testcase/failure"))))
        suite.set("errors", str(len(suite.findall("testcase/error"))))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def page(trial: Trial) -> str:
    """Render the report as one page that loads nothing and runs no script. All text is treated as untrusted."""
    return (
        conformance.environment()
        .get_template("trial.html.j2")
        .render(
            trial=trial,
            sentence=sentence(trial),
            meaning=meaning(trial),
            findings=findings(trial),
            exits=exits,
            open_of=open_of(trial),
            violations=violations(trial),
            promises={clause: clause.promise for clause in Clause},
        )
    )


def _table(trial: Trial) -> list[Text]:
    lines = [Text(f"{'clause':12}  {'verdict':12}  shown by")]
    for clause in trial.clauses:
        row = Text(f"{clause.id:12}  ")
        row.append(f"{clause.verdict:12}", style=STYLES.get(clause.verdict, ""))
        lines.append(row.append(f"  {_shown(clause.shown_by)}"))
    return lines


def _shown(names: Iterable[str]) -> str:
    each = list(dict.fromkeys(names))
    more = f" and {len(each) - _NAMES_SHOWN} more" if len(each) > _NAMES_SHOWN else ""
    return f"{', '.join(each[:_NAMES_SHOWN])}{more}" if each else "nothing"


def _item(content: str) -> list[Text]:
    return _wrapped(f"- {content}")


def _wrapped(content: str) -> list[Text]:
    lines = textwrap.wrap(
        text.inert(content), WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    return [Text(each) for each in lines]
