"""Renders a record as JUnit XML, for CI services that show test results."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from switchproof.deploy.contract import ExitCode, RunVerdict, Verdict
from switchproof.deploy.record.facts import LOOKING_AHEAD
from switchproof.deploy.record.record import Check, Part, Record
from switchproof.deploy.redact.redactor import plain
from switchproof.reports import causes, reading, text
from switchproof.reports.legs import LEG_WORDS, legs_of

_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_TAGS = {
    Verdict.FAILED: "failure",
    Verdict.INCONCLUSIVE: "error",
    Verdict.BLOCKED: "skipped",
    Verdict.WAIVED: "skipped",
}
_COUNTED = {"failures": "failure", "errors": "error", "skipped": "skipped"}


DETAIL_CHARACTERS = 4_000_000
"""Characters of all details together. Escaped, they stay below the 30 MB that GitLab reads."""


_WAIVER_CHARACTERS = 400
_RED = (Verdict.FAILED, Verdict.INCONCLUSIVE)
_OUTPUT_CHARACTERS = 1000
"""Characters of the output of a case that did not fail, of which Jenkins keeps all."""
_ATTACHABLE = re.compile(r"evidence/[^|\]\n\r]+")
"""A path of evidence that can stand in an attachment's mark."""


def render(record: Record, folder: Path | None = None) -> str:
    """Render a record as JUnit XML, with a suite for each leg of each host and a case for each check.

    A failed check is a failure, an inconclusive one an error; blocked and waived ones are skipped. A run whose exit
    code is not 0 always has a failure or an error here, whatever its checks are.
    A case has the id of its check as its name, which rewording never changes. No two cases share class and name,
    because GitLab counts only the first of them. A case has the time of what it judges, or none: checks wait for
    answers together, and that wait belongs to no single check.

    Args:
        record: The run.
        folder: The run's folder, as in the job's artifacts. With it, evidence is attached to cases that did not pass.
    """
    root = ET.Element("testsuites", name=clean(f"switchproof {record.run.id}"))
    cause_of = {(name, cause.leg): cause.what for cause in causes.explaining(record) for name in cause.hosts}
    details = _Details(record)
    for leg in legs_of(record):
        name = leg.host.name if leg.name == "forward" else f"{leg.host.name}.{LEG_WORDS[leg.name]}"
        suite = ET.SubElement(root, "testsuite", name=clean(name), hostname=clean(leg.host.name))
        starts = [clause.started for clause in leg.clauses if clause.started]
        suite.set("timestamp", text.rfc3339(min(starts, default=record.run.started)))
        known = {
            "verdict": leg.verdict,
            "state": leg.host.state,
            "cause": cause_of.get((leg.host.name, leg.name), ""),
        }
        _properties(suite, record, **known)
        for part in leg.parts:
            for check in _checks(record, part):
                _case(suite, f"{name}.{part.id}", check, details, folder)
        suite.set("time", f"{leg.seconds:.3f}")
    if record.run.exit_code != ExitCode.CANONICAL and not _red(root):
        suite = ET.SubElement(root, "testsuite", name="run", timestamp=text.rfc3339(record.run.started))
        _properties(suite, record, verdict=record.verdict)
        reason = reading.exit_meaning(record) if record.verdict.accepted else reading.sentence(record)
        verdict = Verdict.FAILED if record.verdict is RunVerdict.NON_CANONICAL else Verdict.INCONCLUSIVE
        missing = Check(id="verdict", title="The run ends with exit code 0", verdict=verdict, message=reason)
        _case(suite, "run", missing, details, folder)
    _tell_apart(root)
    _count(root)
    if record.run.finished:
        root.set("time", f"{(record.run.finished - record.run.started).total_seconds():.3f}")
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _checks(record: Record, part: Part) -> Iterable[Check]:
    if part.checks or record.run.mode in LOOKING_AHEAD:
        return part.checks
    message = "No check was expected for this clause, and silence never passes."
    return [Check(id=part.id, title="(no check)", verdict=Verdict.INCONCLUSIVE, message=message)]


def _case(suite: ET.Element, classname: str, check: Check, details: _Details, folder: Path | None) -> None:
    case = ET.SubElement(suite, "testcase", classname=clean(classname), name=clean(check.id))
    if check.took_s is not None:
        case.set("time", f"{max(check.took_s, 0.0):.3f}")
    if tag := _TAGS.get(check.verdict):
        message = text.brief(check.message) or check.verdict.value
        blocked = check.verdict is Verdict.BLOCKED and not message.lower().startswith("blocked")
        message = f"blocked: {message}" if blocked else message
        if check.verdict is Verdict.WAIVED:
            message = f"waived {text.one_line(check.waiver, _WAIVER_CHARACTERS)}; what failed: {message}"
        result = ET.SubElement(case, tag, type=check.verdict.value, message=clean(message))
        result.text = clean(details(check) or message)  # GitLab takes no result without a text
    ET.SubElement(case, "system-out").text = clean(_output(check, folder if tag else None))


def _output(check: Check, folder: Path | None) -> str:
    """Return the output of a case: its title, the module of an own check, and a line for each attachment.

    Jenkins' JUnit attachments plugin takes every mark, one a line; GitLab links the file of the first. Jenkins cuts
    the middle out of a long output of a case that did not fail, which could cut a mark.
    """
    lines = [text.one_line(check.title), *([f"Check: {text.one_line(check.source)}"] if check.source else [])]
    lines = [line.replace("[[", "[ [") for line in lines]  # no title names a file for CI to fetch
    for path in _attachable(check, folder) if folder else ():
        mark = f"[[ATTACHMENT|{path}]]"
        if check.verdict in _RED or len("\n".join([*lines, mark])) <= _OUTPUT_CHARACTERS:
            lines.append(mark)
    return "\n".join(lines)


def _attachable(check: Check, folder: Path) -> Iterator[Path]:
    """Yield the evidence of a check that is in the run's folder, the file to read first before the others."""
    first = causes.file_of(check)
    for path in sorted(check.evidence, key=lambda path: path != first):
        if _ATTACHABLE.fullmatch(path) and ".." not in Path(path).parts:
            yield folder / path


class _Details:
    """Formats the details of a check that did not pass, within the check's share of the whole file."""

    def __init__(self, record: Record) -> None:
        count = sum(check.verdict in _TAGS for leg in legs_of(record) for part in leg.parts for check in part.checks)
        self._share = DETAIL_CHARACTERS // max(count, 1)

    def __call__(self, check: Check) -> str:
        parts = [check.message]
        if check.expected or check.seen:
            parts += [f"Expected: {check.expected}", f"Seen: {check.seen}"]
        whole = "\n".join(text.clip(part) for part in parts if part)
        evidence = "\n".join(f"Evidence: {path}" for path in check.evidence)
        return "\n".join(text.clip(part, self._share // 2) for part in (whole, evidence) if part)


def _tell_apart(root: ET.Element) -> None:
    """Number the cases that repeat the class and name of an earlier one, and likewise the suites."""
    seen: set[tuple[str, str, str]] = set()
    for element in root.iter():
        if element.tag in {"testcase", "testsuite"}:
            kind, name, number = element.get("classname", ""), element.get("name", ""), 1
            while (element.tag, kind, element.get("name", "")) in seen:
                number += 1
                element.set("name", f"{name} ({number})")
            seen.add((element.tag, kind, element.get("name", "")))


def _properties(suite: ET.Element, record: Record, **known: str) -> None:
    values = {
        **known,
        "run-verdict": reading.verdict_word(record),
        "exit-code": "" if record.run.exit_code is None else str(record.run.exit_code),
        "sha": record.revision.sha or "",
        "provider": record.provider,
        "mode": record.run.mode,
        "emulated": str(record.emulated).lower(),
    }
    properties = ET.SubElement(suite, "properties")
    for name, value in values.items():
        if value:
            ET.SubElement(properties, "property", name=name, value=clean(value))


def _red(root: ET.Element) -> bool:
    return any(root.find(f".//{tag}") is not None for tag in ("failure", "error"))


def _count(root: ET.Element) -> None:
    whole: Counter[str] = Counter()
    for suite in root:
        counts = {"tests": len(suite.findall("testcase"))} | {
            name: len(suite.findall(f"testcase/{tag}")) for name, tag in _COUNTED.items()
        }
        for name, number in counts.items():
            suite.set(name, str(number))
        whole.update(counts)
    for name in ("tests", "failures", "errors"):  # Jenkins allows no number of skipped cases on the root
        root.set(name, str(whole[name]))


def clean(value: str) -> str:
    """Return text without characters that XML forbids."""
    return _ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", plain(value))
