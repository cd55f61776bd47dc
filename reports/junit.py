"""JUnit XML from a record, for CI services that show test results."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable

from deploy.contract import RunVerdict, Verdict
from deploy.record import Check, ClauseResult, Record
from deploy.redact import plain
from reports import reading, text

_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAGS = {Verdict.FAILED: "failure", Verdict.INCONCLUSIVE: "error", Verdict.BLOCKED: "skipped"}
_COUNTED = {"failures": "failure", "errors": "error", "skipped": "skipped"}


def render(record: Record) -> str:
    """Render a record as JUnit XML: a suite for each leg of each host, a case for each check.

    A failed check is a failure, an inconclusive one an error, a blocked one skipped. A run that is not
    canonical is never without a failure or an error here, whatever its checks say.
    """
    root = ET.Element("testsuites", name=_clean(f"switchproof {record.run.id}"))
    for leg in reading.legs(record):
        name = leg.host.name if leg.name == "forward" else f"{leg.host.name}.{reading.LEG_WORDS[leg.name]}"
        suite = ET.SubElement(root, "testsuite", name=_clean(name), hostname=_clean(leg.host.name))
        starts = [clause.started for clause in leg.clauses if clause.started]
        suite.set("timestamp", text.rfc3339(min(starts, default=record.run.started)))
        _properties(suite, record, verdict=leg.verdict, state=leg.host.state)
        for clause in leg.clauses:
            for check in _checks(record, clause):
                _case(suite, f"{name}.{clause.id}", check)
    if record.verdict is not RunVerdict.CANONICAL and record.run.mode != "plan" and not _red(root):
        suite = ET.SubElement(root, "testsuite", name="run", timestamp=text.rfc3339(record.run.started))
        _properties(suite, record, verdict=record.verdict)
        said = reading.sentence(record)
        missing = Check(id="verdict", title="The run is canonical", verdict=Verdict.INCONCLUSIVE, message=said)
        _case(suite, "run", missing)
    _count(root)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _checks(record: Record, clause: ClauseResult) -> Iterable[Check]:
    if clause.checks or record.run.mode == "plan":
        return clause.checks
    message = "No check was expected for this clause, and silence never passes."
    return [Check(id=clause.id, title="(no check)", verdict=Verdict.INCONCLUSIVE, message=message)]


def _case(suite: ET.Element, classname: str, check: Check) -> None:
    case = ET.SubElement(
        suite, "testcase", classname=_clean(classname), name=_clean(check.title), time=f"{check.seconds:.3f}"
    )
    if tag := _TAGS.get(check.verdict):
        said = text.one_line(check.message) or check.verdict.value
        blocked = check.verdict is Verdict.BLOCKED and not said.lower().startswith("blocked")
        result = ET.SubElement(case, tag, message=_clean(f"blocked: {said}" if blocked else said))
        result.text = _clean(_details(check))


def _details(check: Check) -> str:
    parts = [check.message]
    if check.expected or check.seen:
        parts += [f"Expected: {text.clip(check.expected)}", f"Seen: {text.clip(check.seen)}"]
    parts += [f"Evidence: {path}" for path in check.evidence]
    return "\n".join(text.clip(part) for part in parts if part)


def _properties(suite: ET.Element, record: Record, **known: str) -> None:
    values = {
        **known,
        "sha": record.revision.sha or "",
        "provider": record.provider,
        "mode": record.run.mode,
        "emulated": str(record.emulated).lower(),
    }
    properties = ET.SubElement(suite, "properties")
    for name, value in values.items():
        ET.SubElement(properties, "property", name=name, value=_clean(value))


def _red(root: ET.Element) -> bool:
    return any(root.find(f".//{tag}") is not None for tag in ("failure", "error"))


def _count(root: ET.Element) -> None:
    whole: Counter[str] = Counter()
    seconds = 0.0
    for suite in root:
        cases = suite.findall("testcase")
        counts = {"tests": len(cases)} | {
            name: len(suite.findall(f"testcase/{tag}")) for name, tag in _COUNTED.items()
        }
        took = sum(float(case.get("time", "0")) for case in cases)
        for name, number in counts.items():
            suite.set(name, str(number))
        suite.set("time", f"{took:.3f}")
        whole.update(counts)
        seconds += took
    for name in ("tests", *_COUNTED):
        root.set(name, str(whole[name]))
    root.set("time", f"{seconds:.3f}")


def _clean(value: str) -> str:
    return _ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", plain(value))
