"""A team's own checks run in their place, count like the contract's, and are refused where something is wrong."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from switchproof.deploy.contract import Clause, HostState, RunVerdict, Verdict
from switchproof.deploy.errors import UsageError
from switchproof.deploy.plan import Options
from switchproof.deploy.planning import make_plan
from switchproof.deploy.record.record import Check
from switchproof.deploy.settings import TARGETS, read_settings
from switchproof.session.beginning import contract_sha256
from tests.answers import SHA
from tests.deploys.sessions import Ended
from tests.own.sessions import Scenario, run_all

SETTINGS = read_settings(Path.cwd())
HEAD = "import pytest\nfrom switchproof.deploy.errors import Inconclusive\n"

GOOD = f'''{HEAD}
@pytest.mark.clause("runtime", severity="low")
def test_room_on_the_disk(host, show):
    """There is room on the disk.

    A full disk stops
    everything.

    Try: nix-collect-garbage.
    """
    show(expected="17", seen=host.check_output("echo 17"))

@pytest.mark.clause("runtime", rationale="Old tables lose data.", remedy="Migrate.")
def test_schema(unit, observation):
    assert (unit.name, unit.want.listen) == ("live", "127.0.0.1:8080")
    assert observation.units

@pytest.mark.clause("revision")
@pytest.mark.when("deploy")
@pytest.mark.parametrize("note", ["one", "two"])
def test_release_notes(note):
    """There are release notes."""

@pytest.mark.audit
def test_certificate(host):
    """The certificate lasts.

    Severity: high
    """
    assert host.run("true").rc == 0, "unreachable"
'''

NEW_IS_BAD = f'''{HEAD}
@pytest.mark.clause("hypervisor")
def test_the_old_system_was_better(observation):
    """The system is the old one.

    Try: leave it.
    """
    assert "0q1w" in observation.system.running, "it is the new one"
'''

AUDIT_FAILS = f'''{HEAD}
@pytest.mark.audit
def test_certificate(unit):
    """The certificate lasts."""
    assert False, f"{{unit.name}} expired"
'''

NO_ANSWER = f'''{HEAD}
pytestmark = pytest.mark.when("deploy")

@pytest.mark.clause("converge")
def test_asks(host):
    """It answers."""
    host.run("kill -9 $$")

@pytest.mark.clause("converge")
def test_skips():
    """It skips itself."""
    pytest.skip("not today")
'''

TAKES_AWAY = """
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    items[:] = [item for item in reversed(items) if "test_its_port_is_its_own" not in item.name]

@pytest.fixture
def answer():
    return 42
"""

RUNS_AGAIN = """
import pytest
from _pytest.runner import runtestprotocol

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    if item.name.startswith(("test_its_port_is_its_own", "test_the_second_time")):
        runtestprotocol(item, nextitem=item)
"""

BAD_ONCE = f'''{HEAD}
TIMES = []

@pytest.mark.clause("hypervisor")
@pytest.mark.when("deploy")
def test_the_second_time_is_better(host):
    """It passes the second time."""
    TIMES.append(1)
    assert len(TIMES) > 1, "the first time"
'''

WRONG = {
    "test_marks.py": f'''{HEAD}
def test_neither(host): """Nothing."""

@pytest.mark.clause("runtime")
@pytest.mark.audit
def test_both(host): """Both."""

@pytest.mark.clause("network")
def test_unknown(host): """Unknown."""

@pytest.mark.audit(severty="low")
def test_misspelled(host): """Misspelled."""

@pytest.mark.clause("runtime", severity="awful")
def test_severe(host): """Severe."""

@pytest.mark.clause("runtime")
@pytest.mark.last
def test_last(host): """Last."""

@pytest.mark.clause("runtime")
@pytest.mark.xfail
def test_hides(host): """Hides."""

@pytest.mark.clause("runtime")
@pytest.mark.when("always")
def test_when(host): """When."""
''',
    "test_names.py": f'''{HEAD}
@pytest.mark.clause("hypervisor")
def test_it_answers_as_it_should(host): """Taken."""

@pytest.mark.clause("revision")
def test_the_earlier_system_is_known_and_there(host): """Taken in rollbacks."""

@pytest.mark.clause("runtime")
class TestOne:
    def test_twice(self, host): """First."""

@pytest.mark.clause("runtime")
class TestTwo:
    def test_twice(self, host): """Second."""
''',
    "test_kinds.py": f"""{HEAD}
import unittest

@pytest.mark.clause("runtime")
class Case(unittest.TestCase):
    def test_case(self): pass

@pytest.fixture
def observation(): return None

@pytest.mark.clause("runtime")
def test_fools_itself(observation): pass
""",
    "test_broken.py": "import no_such_module\n",
    "test_skipped.py": "import pytest\npytest.importorskip('no_such_module')\n",
}

SCENARIOS = {
    "good": Scenario(checks={"test_good.py": GOOD}),
    "audit": Scenario(options=("--audit",), checks={"test_good.py": GOOD}, in_file=True),
    "drill": Scenario(options=(f"--sha={SHA}", "--drill"), checks={"test_good.py": GOOD}),
    "bad": Scenario(checks={"test_bad.py": NEW_IS_BAD}),
    "audit-fails": Scenario(options=("--audit",), checks={"test_audit.py": AUDIT_FAILS}),
    "no-answer": Scenario(checks={"test_no.py": NO_ANSWER}),
    "takes-away": Scenario(
        options=("--audit",),
        checks={"conftest.py": TAKES_AWAY, "test_x.py": GOOD.replace("note):", "note, answer):")},
    ),
    "deselected": Scenario(options=("--audit", "-k", "not certificate"), checks={"test_good.py": GOOD}),
    "wrong": Scenario(options=("--audit",), checks=WRONG),
    "conftest": Scenario(options=("--audit",), checks={"conftest.py": "1 / 0", "test_good.py": GOOD}),
    "empty": Scenario(options=("--audit",), checks={"helper.py": ""}),
    "a-path": Scenario(
        options=(
            "--audit",
            "checks/test_revision.py",
            "checks/test_converge.py::test_the_system_profile_is_the_running_system",
            "checks/test_hypervisor.py::TestHypervisor::test_its_port_is_its_own[a]",
            "--rootdir=.",
            "FOLDER/own/test_good.py::test_certificate",
        ),
        checks={"test_good.py": GOOD},
        in_file=True,
    ),
    "takes-away-in-a-deploy": Scenario(
        checks={"conftest.py": TAKES_AWAY, "test_x.py": GOOD.replace("note):", "note, answer):")},
    ),
    "again": Scenario(checks={"conftest.py": RUNS_AGAIN, "test_good.py": GOOD}),
    "again-until-it-passes": Scenario(checks={"conftest.py": RUNS_AGAIN, "test_bad.py": BAD_ONCE}),
    "spread": Scenario(options=(f"--sha={SHA}", "-n", "2")),
    "chosen": Scenario(options=(f"--sha={SHA}", "-k", "not certificate and live")),
    "ignored": Scenario(options=(f"--sha={SHA}", "--ignore=checks/test_converge.py")),
    "a-stray": Scenario(options=("--audit", "tests/host/test_clocks.py")),
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """Every session of this module, run once."""
    return run_all(tmp_path_factory.mktemp("own"), SCENARIOS)


def own(ended: Ended, clause: Clause | None = None) -> list[Check]:
    """The own checks of host a on its way forward."""
    host = ended.record.host("a")
    parts = [part for part in host.parts if clause is None or part.id == clause]
    return [check for part in parts for check in part.checks if check.source]


def test_own_checks_stand_in_their_clause(ended: dict[str, Ended]) -> None:
    """Own checks stand in the record after the contract's of their clause, with all that they say of themselves."""
    good = ended["good"]
    assert good.status == 0, good.output
    checks = good.clause("a", Clause.RUNTIME).checks
    assert [check.id for check in checks if check.source] == ["runtime/room-on-the-disk", "runtime/live/schema"]
    assert [bool(check.source) for check in checks] == sorted(bool(check.source) for check in checks)
    room, schema = own(good, Clause.RUNTIME)
    assert (room.title, room.why) == ("There is room on the disk", "A full disk stops everything.")
    assert (room.severity, room.source, room.seen) == ("low", "own/test_good.py", "17")
    assert (schema.title, schema.why) == ("live: Schema", "Old tables lose data.")
    assert [check.id for check in own(good, Clause.REVISION)] == [
        "revision/release-notes[one]",
        "revision/release-notes[two]",
    ]
    assert good.record.host("a").audit is None
    order = [check.started for result in good.record.host("a").clauses for check in result.checks]
    keeps, boots = (check for check in good.clause("a", Clause.CONVERGE).checks if "keeps" in check.id)
    last = sorted(started for started in order if started)[-2:]
    assert [keeps.started, boots.started] == last, "the system was confirmed too early"


def test_an_audit_has_checks_of_its_own(ended: dict[str, Ended]) -> None:
    """What is marked for audits is made in audits alone, after all clauses, and stands in every output."""
    audit = ended["audit"]
    assert audit.status == 0, audit.output
    made = audit.record.host("a").audit
    assert made
    assert [(check.id, check.verdict, check.severity) for check in made.checks] == [
        ("audit/certificate", Verdict.PASSED, "high")
    ]
    assert "a audit passed: 1 passed" in audit.output
    suite = ET.parse(audit.folder / "junit.xml").getroot()  # noqa: S314 - our own file
    assert [case.get("name") for case in suite.iter("testcase") if case.get("classname") == "a.audit"] == [
        "audit/certificate"
    ]
    assert "The certificate lasts" in (audit.folder / "report.html").read_text(encoding="utf-8")


def test_own_checks_are_made_on_every_leg(ended: dict[str, Ended]) -> None:
    """A drill makes own checks on all three legs; where one says when it applies, only there."""
    host = ended["drill"].record.host("a")
    assert ended["drill"].status == 0, ended["drill"].output
    assert host.rollback
    assert host.again
    legs = [host.clauses, host.rollback.clauses, host.again.clauses]
    made = [[check.id.split("/")[-1] for part in leg for check in part.checks if check.source] for leg in legs]
    notes = ["release-notes[one]", "release-notes[two]"]
    both = ["room-on-the-disk", "schema"]
    assert made == [notes + both, both, notes + both]


def test_a_failed_own_check_brings_the_host_back(ended: dict[str, Ended]) -> None:
    """An own check that fails blocks later clauses, and the host goes back before anything confirmed the system."""
    bad = ended["bad"]
    assert bad.status == 1, bad.output
    host = bad.record.host("a")
    assert (bad.record.verdict, host.state) == (RunVerdict.NON_CANONICAL, HostState.ROLLED_BACK)
    assert bad.verdicts("a") == "passed passed failed blocked passed"
    (failed,) = bad.failed("a")
    assert (failed.message, failed.remedy) == ("it is the new one", "leave it.")
    assert "confirm started" not in bad.output.partition("rolling back")[0]
    assert host.rollback
    assert host.rollback.verdict is Verdict.PASSED, "the own check holds on the restored system"


def test_a_failed_check_of_an_audit_fails_the_audit(ended: dict[str, Ended]) -> None:
    """A check of an audit counts in the verdict, though no clause of the contract failed."""
    audit = ended["audit-fails"]
    assert audit.status == 1, audit.output
    assert audit.record.verdict is RunVerdict.NON_CANONICAL
    assert audit.verdicts("a") == "passed passed passed passed passed"
    assert "on host a, audit, “live: The certificate lasts” failed: live expired" in " ".join(audit.output.split())
    assert "live expired" in (audit.folder / "junit.xml").read_text(encoding="utf-8")


def test_what_gave_no_answer_is_inconclusive(ended: dict[str, Ended]) -> None:
    """A command whose end is not known, and a check that skips itself, prove nothing: the host goes back."""
    session = ended["no-answer"]
    assert session.status == 11, session.output
    assert [check.verdict for check in own(session)] == [Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE]
    assert session.record.host("a").state is HostState.ROLLED_BACK


def test_a_conftest_cannot_take_the_contract_away(ended: dict[str, Ended]) -> None:
    """Checks that a team's conftest.py drops are missed, and the order that it wants is not taken."""
    session = ended["takes-away"]
    assert session.status == 11, session.output
    missed = [
        check
        for result in session.record.host("a").clauses
        for check in result.checks
        if check.message == "The check was expected and did not run."
    ]
    assert {check.id for check in missed} == {"hypervisor/its-port-is-its-own", "runtime/live/its-port-is-its-own"}
    assert session.record.host("a").state is HostState.UNKNOWN
    begun = [result.started for result in session.record.host("a").clauses[:4]]
    assert begun == sorted(started for started in begun if started)


def test_no_host_is_changed_without_every_check(ended: dict[str, Ended]) -> None:
    """A deploy from which something takes checks away is refused, with what does so, before anything is touched."""
    for name, what in {"chosen": "-k 'not certificate and live'", "takes-away-in-a-deploy": "a conftest.py"}.items():
        assert ended[name].status == 4, ended[name].output
        assert f"{what}: leaves out" in ended[name].output
        assert "no host is changed without all of them" in ended[name].output
        assert not (ended[name].folder / "record.json").exists()


def test_the_first_verdict_of_a_check_counts(ended: dict[str, Ended]) -> None:
    """A plugin that runs checks again until they pass turns no failure into a pass, and makes nothing of a pass."""
    for name, code in {"again": 0, "again-until-it-passes": 1}.items():
        assert ended[name].status == code, ended[name].output
        assert "first verdict" not in ended[name].output
    (failed,) = ended["again-until-it-passes"].failed("a")
    assert failed.message == "the first time"


def test_a_session_in_several_processes_is_refused(ended: dict[str, Ended]) -> None:
    """Checks that would run in other processes are refused with what to leave out, before anything is touched."""
    assert ended["spread"].status == 4, ended["spread"].output
    assert "leave out -n 2, or add -n 0" in ended["spread"].output


def test_own_checks_that_are_left_out_are_missed(ended: dict[str, Ended]) -> None:
    """With -k the run is partial for own checks, too."""
    session = ended["deselected"]
    assert session.status == 11, session.output
    assert [check.verdict for check in own(session) if "certificate" in check.id] == [Verdict.INCONCLUSIVE]


@pytest.mark.parametrize(
    "said",
    [
        'test_marks.py: test_neither: has no marker that says when it runs: @pytest.mark.clause("runtime")',
        "test_marks.py: test_both: has both @pytest.mark.clause",
        "test_marks.py: test_unknown: @pytest.mark.clause says 'network'; allowed: one of revision, converge,",
        "test_marks.py: test_misspelled: @pytest.mark.audit says severty; allowed: rationale, remedy, severity",
        "test_marks.py: test_severe: its severity is 'awful'; allowed: low, medium, high, critical",
        "test_marks.py: test_last: @pytest.mark.last is the contract's own",
        "test_marks.py: test_hides: @pytest.mark.xfail hides a failure: waive it in the target file",
        "test_marks.py: test_when: @pytest.mark.when says 'always'; allowed: deploy, rollback, audit",
        "test_names.py: test_it_answers_as_it_should: hypervisor/it-answers-as-it-should is the id of a check in",
        "revision/the-earlier-system-is-known-and-there is the id of a check in test_revision.py of the contract",
        "test_names.py: test_twice: runtime/twice is the id of a check in",
        "test_kinds.py: test_case: cannot run on every host",
        "test_kinds.py has a fixture 'observation', which is Switchproof's own: give it another name",
        "test_broken.py cannot be imported, so its checks would be missing: ModuleNotFoundError",
        "test_skipped.py skips itself, so its checks would be missing: Skipped: could not import 'no_such_module'",
    ],
)
def test_what_is_wrong_is_told_before_anything_is_touched(ended: dict[str, Ended], said: str) -> None:
    """Everything that is wrong with own checks is told at once, by file and name, and the session exits 4."""
    wrong = ended["wrong"]
    assert wrong.status == 4
    assert not wrong.folder.exists() or not any(wrong.folder.glob("2*")), "a run was begun"
    assert said in wrong.output
    assert "Traceback" not in wrong.output


def test_a_conftest_that_breaks_is_refused(ended: dict[str, Ended]) -> None:
    """A conftest.py that cannot be imported is named, and what is wrong with it."""
    assert ended["conftest"].status == 4
    assert "ZeroDivisionError: division by zero" in ended["conftest"].output
    assert "own cannot be imported, so its checks would be missing" in ended["conftest"].output


def test_a_folder_without_checks_is_refused(ended: dict[str, Ended]) -> None:
    """A folder with nothing to collect is named, with what a check is."""
    assert ended["empty"].status == 4
    assert "own: contains no checks; a check is a function test_… in a file test_*.py" in ended["empty"].output


def test_what_a_path_leaves_out_is_missed(ended: dict[str, Ended]) -> None:
    """With paths, and names behind them, the run is partial: every single check that they leave out is missed."""
    session = ended["a-path"]
    assert session.status == 11, session.output
    made = [check.id for part in session.record.host("a").parts for check in part.checks if check.started]
    assert made == [
        "revision/the-running-system-comes-from-a-known-commit",
        "converge/the-system-profile-is-the-running-system",
        "hypervisor/its-port-is-its-own",
        "audit/certificate",
    ]
    whole = [check.id for part in ended["audit"].record.host("a").parts for check in part.checks]
    assert [check.id for part in session.record.host("a").parts for check in part.checks] == whole


def test_a_module_that_nobody_named_is_refused(ended: dict[str, Ended]) -> None:
    """A module that is neither the contract's nor in a folder of own checks is not run on a host by accident."""
    assert ended["a-stray"].status == 4
    said = "tests/host/test_clocks.py: matches no check of this run; to add checks of your own to the contract's"
    assert said in ended["a-stray"].output


def test_no_option_leaves_checks_out_in_silence(ended: dict[str, Ended]) -> None:
    """An option that keeps the contract from being collected is refused, with what to use instead."""
    assert ended["ignored"].status == 4
    said = "--ignore=checks/test_converge.py: not allowed in a deploy, because it leaves out checks unnoticed"
    assert said in ended["ignored"].output


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("nowhere", "--checks=nowhere: no such folder"),
        (".", "--checks=.: the contract's own checks are there"),
        ("checks", "--checks=checks: the contract's own checks are there"),
    ],
)
def test_a_folder_that_cannot_be_is_refused(given: str, says: str) -> None:
    """A folder that is not there, or has the contract itself in it, is refused with the option's name."""
    options = Options(provider="lab", audit=True, checks=(given,))
    with pytest.raises(UsageError, match=says):
        make_plan(options, {}, SETTINGS)


def test_a_target_file_names_folders_beside_itself(tmp_path: Path) -> None:
    """Folders of the target file are relative to it; one that is named twice, or is in another one, counts once."""
    (tmp_path / "ops" / "inner").mkdir(parents=True)
    (tmp_path / "more").mkdir()
    lab = (TARGETS / "lab.toml").read_text(encoding="utf-8")
    (tmp_path / "t.toml").write_text(f'checks = ["ops", "ops/inner"]\n{lab}', encoding="utf-8")
    given = (str(tmp_path / "more"), str(tmp_path / "ops"))
    options = Options(provider="lab", audit=True, targets=str(tmp_path / "t.toml"), checks=given)
    assert make_plan(options, {}, SETTINGS).checks == (tmp_path / "more", tmp_path / "ops")
    (tmp_path / "t.toml").write_text(f'checks = ["nowhere"]\n{lab}', encoding="utf-8")
    with pytest.raises(UsageError, match=r"t\.toml: checks\[0\]: no such folder"):
        make_plan(options, {}, SETTINGS)


def test_own_checks_are_part_of_the_contract(tmp_path: Path) -> None:
    """With own checks it is another contract than without, and with one changed byte of them, another again."""

    def digest(*checks: str) -> str:
        return contract_sha256(make_plan(Options(provider="lab", audit=True, checks=checks), {}, SETTINGS))

    (tmp_path / "own" / "deeper").mkdir(parents=True)
    (tmp_path / "own" / "deeper" / "test_x.py").write_text("limit = 1", encoding="utf-8")
    first = digest(str(tmp_path / "own"))
    assert first != digest()
    assert first == digest(str(tmp_path / "own"))
    (tmp_path / "own" / "deeper" / "test_x.py").write_text("limit = 0", encoding="utf-8")
    assert first != digest(str(tmp_path / "own"))
