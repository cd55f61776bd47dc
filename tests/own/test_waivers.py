"""A waived failure holds nothing up and stays in sight; a waiver that is not needed, or too old, fails the run."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest

from switchproof.deploy.contract import HostState, RunVerdict, Verdict
from switchproof.deploy.record.past_runs import last_canonical, proven
from switchproof.deploy.record.record import Check
from switchproof.deploy.trust.statement import make_statement
from switchproof.reports import reading
from switchproof.reports.ci import github, markdown
from switchproof.reports.kept.compare import compare
from tests.answers import LIVE, SHA
from tests.deploys.sessions import Ended
from tests.own.sessions import Scenario, run_all

PORT = "runtime/live/its-port-is-its-own"
UNTIL = 'expires = 2999-12-31\nowner = "team hypervisor"'
LONG_AGO = 'expires = 2001-02-03T04:05:06+02:00\nowner = "team hypervisor"'


def waiver(check: str = PORT, until: str = UNTIL, more: str = "", reason: str = "the old client lies") -> str:
    return f'[[waivers]]\ncheck = "{check}"\nreason = "{reason}"\n{until}\n{more}\n'


OWN = '''
import pytest
from switchproof.deploy.errors import Inconclusive

@pytest.mark.clause("converge")
def test_fails(host):
    """It holds.

    Severity: low
    """
    assert host.run("false").rc == 0, "it does not hold"

@pytest.mark.clause("converge")
def test_asks(host):
    """It answers."""
    raise Inconclusive("nobody answers")

@pytest.mark.audit
def test_lasts(host):
    """It lasts."""
    assert False, "it is over"
'''
FAILS = OWN.replace("raise Inconclusive", "str")
IN_AUDITS = """
import pytest

@pytest.mark.audit
@pytest.mark.parametrize("number", [1])
def test_lasts(host, number):
    assert False
"""
SICK = LIVE[0]  # does not listen

SCENARIOS = {
    "waived": Scenario(listener=SICK, waivers=waiver()),
    "audited": Scenario(
        options=("--audit",),
        checks={"test_own.py": FAILS},
        waivers=waiver("audit/lasts") + waiver("converge/fails") + waiver("converge/changed-units-were-restarted"),
    ),
    "not-asked": Scenario(
        checks={"test_own.py": IN_AUDITS},
        waivers=waiver("audit/lasts[1]"),
    ),
    "unused": Scenario(waivers=waiver()),
    "expired": Scenario(listener=SICK, waivers=waiver(until=LONG_AGO)),
    "expired-good": Scenario(options=("--rollback=41",), waivers=waiver(until=LONG_AGO)),
    "no-answer": Scenario(
        options=("--audit",),
        checks={"test_own.py": OWN},
        waivers=waiver("converge/asks") + waiver("converge/fails") + waiver("audit/lasts"),
    ),
    "one-host": Scenario(listener=SICK, hosts=("a", "b"), waivers=waiver(more='host = "a"')),
    "other-host": Scenario(options=(f"--sha={SHA}", "--host=b"), hosts=("a", "b"), waivers=waiver(more='host = "a"')),
    "drill": Scenario(options=(f"--sha={SHA}", "--drill", "-x"), listener=SICK, waivers=waiver()),
    "no-such-check": Scenario(options=("--audit",), waivers=waiver("runtime/live/its-port")),
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """Every session of this module, run once."""
    return run_all(tmp_path_factory.mktemp("waivers"), SCENARIOS)


def flat(text: str) -> str:
    """A text without its line breaks."""
    return " ".join(text.split())


def check(ended: Ended, name: str = PORT, host: str = "a") -> Check:
    return next(one for part in ended.record.host(host).parts for one in part.checks if one.id == name)


def test_a_waived_failure_holds_nothing_up(ended: dict[str, Ended]) -> None:
    """The host keeps the system, later clauses are made, diagnostics were emitted, and the run exits 0."""
    session = ended["waived"]
    assert session.status == 0, session.output
    record = session.record
    assert record.verdict is RunVerdict.WITH_WAIVERS
    assert record.host("a").state is HostState.CONVERGED
    assert "except those waived" in record.host("a").state_reason
    assert record.host("a").rollback is None
    assert session.verdicts("a") == "passed passed passed waived passed"
    waived = check(session)
    assert waived.verdict is Verdict.WAIVED
    assert f"not only by {LIVE[0]}" in waived.message
    assert waived.waiver == "until 3000-01-01T00:00:00Z by team hypervisor: the old client lies"
    assert waived.evidence
    assert check(session, "diagnostics/logs-are-emitted").seen.startswith("emitted:")


def test_every_output_says_so_in_words(ended: dict[str, Ended]) -> None:
    """Terminal, report, summary page, record, outputs and warnings of CI all say canonical with waivers."""
    session = ended["waived"]
    record = session.record
    words = "canonical with waivers"
    assert "CANONICAL WITH WAIVERS  deploy of" in session.output
    told = f"{PORT} failed on a and is waived until 3000-01-01T00:00:00Z by team hypervisor: the old client lies"
    assert told in flat(session.output)
    assert "the first waiver that was used ends at 3000-01-01 00:00:00 UTC" in flat(session.output)
    page = (session.folder / "report.html").read_text(encoding="utf-8")
    assert words in page.lower()
    assert "used on a</td>" in page
    assert "until 3000-01-01T00:00:00Z by team hypervisor: the old client lies" in page
    assert "CANONICAL WITH WAIVERS" in markdown.render(record)
    assert told in markdown.render(record)
    assert json.loads((session.folder / "record.json").read_text(encoding="utf-8"))["verdict"] == words
    assert f"\n{words}\n" in github.outputs(record, session.folder)
    assert github.errors(record) == []
    assert github.warnings(record) == [f"::warning title=deploy is {words}::{told}"]


def test_junit_has_it_skipped_with_its_words(ended: dict[str, Ended]) -> None:
    """In JUnit a waived failure is skipped, never a plain pass, and says why; nothing in the file is red."""
    root = ET.parse(ended["waived"].folder / "junit.xml").getroot()  # noqa: S314 - our own file
    (case,) = [case for case in root.iter("testcase") if case.find("skipped") is not None]
    skipped = case.find("skipped")
    assert skipped is not None
    assert skipped.get("type") == "waived"
    assert str(skipped.get("message")).startswith(
        "waived until 3000-01-01T00:00:00Z by team hypervisor: the old client lies; what failed: "
    )
    assert (root.get("failures"), root.get("errors")) == ("0", "0")


def test_it_proves_nothing_to_others(ended: dict[str, Ended]) -> None:
    """No rollback is led by such a run, no later run is held against it as canonical, its statement only warns."""
    session = ended["waived"]
    runs, record = session.folder.parent, session.record
    assert proven(runs, "ovh", "a") == []
    assert record.run.finished
    assert last_canonical(runs, "ovh", ["a"], record.run.finished) is None
    predicate = make_statement(record, "1" * 64, "ovh.toml", "2" * 64).predicate
    assert (predicate.result, predicate.failed_tests) == ("WARNED", ())
    assert predicate.warned_tests == (f"a/{PORT}",)
    good = record.__class__(**{name: getattr(record, name) for name in record.__struct_fields__})
    good.verdict = RunVerdict.CANONICAL
    assert not compare(good, record, {}).same


def test_own_checks_and_audits_can_be_waived(ended: dict[str, Ended]) -> None:
    """A failure of an own check is waived as well, of a clause or of an audit; everything else goes on."""
    session = ended["audited"]
    assert session.status == 0, session.output
    assert session.verdicts("a") == "passed waived passed passed passed"
    assert "a audit waived: 1 waived" in session.output
    assert check(session, "converge/fails").severity == "low"
    assert [one.state for one in session.record.waivers] == ["used", "used", "not-asked"]


def test_a_waiver_of_what_a_run_does_not_make_is_left_alone(ended: dict[str, Ended]) -> None:
    """A waiver of a check of audits neither helps nor harms a deploy; nor does one of a host that is not selected."""
    for name in ("not-asked", "other-host"):
        session = ended[name]
        assert session.status == 0, session.output
        assert session.record.verdict is RunVerdict.CANONICAL
        assert [one.state for one in session.record.waivers] == ["not-asked"]


def test_an_unused_waiver_fails_the_run_and_no_host(ended: dict[str, Ended]) -> None:
    """The host keeps what passed, and the run says which waiver to remove; no output is green."""
    session = ended["unused"]
    assert session.status == 1, session.output
    record = session.record
    assert record.verdict is RunVerdict.NON_CANONICAL
    assert (record.host("a").state, record.host("a").verdict) == (HostState.CONVERGED, Verdict.PASSED)
    assert f"the waiver of {PORT}" in flat(session.output)
    assert "is not needed, because that check passed: remove it" in flat(session.output)
    assert "not needed: remove it</td>" in (session.folder / "report.html").read_text(encoding="utf-8")
    assert "Exit 1: not canonical only because of a waiver; every host keeps what was verified" in flat(
        session.output
    )
    root = ET.parse(session.folder / "junit.xml").getroot()  # noqa: S314 - our own file
    assert root.get("failures") == "1"
    assert github.errors(record)
    assert proven(session.folder.parent, "ovh", "a") == []


def test_an_expired_waiver_covers_nothing(ended: dict[str, Ended]) -> None:
    """The check fails as if there were no waiver, and that it expired is told before anything is touched."""
    session = ended["expired"]
    assert session.status == 10
    assert session.verdicts("a") == "passed passed passed failed passed"
    told = f"run note: The waiver of {PORT} (team hypervisor) expired at 2001-02-03T02:05:06Z"
    assert told in session.output.partition("a connect started")[0]
    assert [one.state for one in session.record.waivers] == ["expired"]


def test_an_expired_waiver_never_stops_a_rollback(ended: dict[str, Ended]) -> None:
    """In an emergency a host goes back whatever the target file says; the run is not canonical for it afterwards."""
    session = ended["expired-good"]
    assert session.status == 1, session.output
    assert session.record.host("a").state is HostState.CONVERGED
    assert session.record.verdict is RunVerdict.NON_CANONICAL
    assert "has expired: fix what it was for, and remove it" in flat(session.output)


def test_only_what_failed_is_waived(ended: dict[str, Ended]) -> None:
    """A check that gave no answer, and one that is blocked, stay what they are, and their waivers are left open."""
    session = ended["no-answer"]
    assert session.status == 11, session.output
    assert check(session, "converge/asks").verdict is Verdict.INCONCLUSIVE
    assert check(session, "converge/fails").verdict is Verdict.WAIVED
    assert session.record.verdict is RunVerdict.INCONCLUSIVE
    assert [one.state for one in session.record.waivers] == ["open", "used", "used"]


def test_a_waiver_of_one_host_is_of_no_other(ended: dict[str, Ended]) -> None:
    """Where two hosts fail alike, the one that no waiver is for has failed."""
    session = ended["one-host"]
    assert session.record.verdict is RunVerdict.NON_CANONICAL
    assert check(session, host="a").verdict is Verdict.WAIVED
    assert check(session, host="b").verdict is Verdict.FAILED
    assert session.record.host("a").state is HostState.CONVERGED


def test_a_drill_goes_on_over_what_is_waived(ended: dict[str, Ended]) -> None:
    """All three legs of a drill are made, each with its waived failure in sight, which ends nothing even with -x."""
    session = ended["drill"]
    assert session.status == 0, session.output
    assert session.record.verdict is RunVerdict.WITH_WAIVERS
    (result,) = session.record.waivers
    assert [one.leg for one in result.covered] == ["forward", "back", "again"]
    assert "failed on a, a (rollback), a (again) and is waived" in reading.waiver_words(result)


def test_a_waiver_of_no_check_is_refused(ended: dict[str, Ended]) -> None:
    """A waiver whose check does not exist is refused before anything is touched, with the check that may be meant."""
    session = ended["no-such-check"]
    assert session.status == 4
    said = f"target.toml: waivers[0].check: there is no check 'runtime/live/its-port'; did you mean {PORT}"
    assert said in session.output
    assert not session.folder.exists() or not any(session.folder.glob("2*")), "a run was begun"
