"""Hosts without a hypervisor: the clause is passed for want of one, and every output says so and why."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from switchproof.deploy.contract import Clause, ExitCode, RunVerdict, Verdict
from tests.answers import SHA
from tests.own.sessions import Asked, Scenario, run_alone

WHY = "sandboxes are plain processes, see page 7"
SENTENCE = f"Clause hypervisor is passed for want of one: {WHY}."


ENDPOINTS = f"""
[hypervisor]
absent = "{WHY}"
[runtime.web]
units = ["web.service"]
listen = "127.0.0.1:80"
url = "http://127.0.0.1/"
"""


def joined(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("options", [("--audit",), (f"--sha={SHA}",)])
def test_every_output_says_that_there_is_none_and_why(options: tuple[str, ...], tmp_path: Path) -> None:
    """Terminal, report, JUnit and record of an audit and of a deploy have the words of the target file."""
    ended = run_alone(tmp_path / "run", Scenario(options=options, endpoints=ENDPOINTS), kind=Asked)
    assert ended.status == ExitCode.CANONICAL, ended.output
    assert ended.record.verdict is RunVerdict.CANONICAL
    (clause,) = (clause for clause in ended.record.host("a").clauses if clause.id is Clause.HYPERVISOR)
    assert clause.verdict is Verdict.PASSED
    assert [(check.id, check.seen) for check in clause.checks] == [
        ("hypervisor/there-is-none", f"passed for want of one: {WHY}")
    ]
    assert SENTENCE in joined(ended.output)
    assert SENTENCE in joined((ended.folder / "report.html").read_text(encoding="utf-8"))
    cases = ET.parse(ended.folder / "junit.xml").iter("testcase")  # noqa: S314 - our own file
    (case,) = (case for case in cases if case.get("classname") == "a.hypervisor")
    assert f"passed for want of one: {WHY}" in (case.findtext("system-out") or "")
    raw = json.loads((ended.folder / "record.json").read_text(encoding="utf-8"))
    assert f"passed for want of one: {WHY}" in json.dumps(raw)


def test_with_a_hypervisor_nothing_is_said_of_one_that_is_not(tmp_path: Path) -> None:
    """Where there is a hypervisor, the check of its absence is not even expected."""
    ended = run_alone(tmp_path / "run", Scenario(options=("--audit",)))
    assert ended.status == ExitCode.CANONICAL, ended.output
    assert "want of one" not in ended.output
    assert "there-is-none" not in (ended.folder / "record.json").read_text(encoding="utf-8")
