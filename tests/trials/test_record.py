"""A trial's verdict is no better than the worst of what it is made of, and every output says the same."""

from __future__ import annotations

import datetime as dt
import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import pytest
from jsonschema import Draft202012Validator

from switchproof.deploy.contract import Clause, RunVerdict, Verdict
from switchproof.deploy.record.record import Emulation
from switchproof.reports import trial as outputs
from switchproof.trials.case import Seen
from switchproof.trials.findings import find
from switchproof.trials.judge import judge
from switchproof.trials.record import (
    ScenarioResult,
    SubjectTold,
    Trial,
    cannot_run,
    clauses_of,
    encode,
    exit_code,
    fails_anyway,
    read_trial,
    redacted,
    unseen,
    verdict_of,
    verdict_of_trial,
    violations_of,
)
from switchproof.trials.scenario import SCENARIOS, Scenario, Truth
from tests.trials.seeing import DIAGNOSTICS, OTHER, START, UNCHANGED, activation, ended, scenario, seen, system

ROOT = Path(__file__).parents[2]
HOSTILE = "<script>alert('x')</script>\x1b[31m"


def good_of(each: Scenario) -> Seen:
    """A path that does right in a scenario."""
    match each.truth:
        case Truth.BAD | Truth.HANGS:
            return seen(each.name, ended(1, output=DIAGNOSTICS))
        case Truth.REFUSED:
            return seen(each.name, ended(1, output=DIAGNOSTICS), **UNCHANGED)
        case Truth.IMPOSTOR:
            return seen(each.name, ended(255), **UNCHANGED)
        case Truth.RIVALS:
            return seen(each.name, ended(0), ended(75))
        case _:
            return seen(each.name)


def result(given: Seen) -> ScenarioResult:
    """What is kept of what was seen."""
    judgements = tuple(judge(given))
    each = given.scenario
    return ScenarioResult(
        name=each.name,
        title=each.title,
        truth=each.truth,
        clause=each.clause,
        verdict=verdict_of(judgements),
        seconds=3.0,
        asked=tuple(run.asked for run in given.ended),
        exit_codes=tuple(run.exit_code for run in given.ended),
        judgements=judgements,
        findings=tuple(find(given)),
        witness=given.witness,
    )


def trial(*instead: ScenarioResult, without: tuple[str, ...] = ()) -> Trial:
    """The trial of a path that does right in every scenario, but for some."""
    other = {each.name: each for each in instead}
    tried = [other.get(each.name) or result(good_of(each)) for each in SCENARIOS if each.name not in without]
    clauses = clauses_of(tried, [scenario(name) for name in without])
    verdict = verdict_of_trial(clauses, tried, whole=not without)
    return Trial(
        id="20261123T120000Z-trial-ovh",
        started=START,
        finished=START + dt.timedelta(minutes=2),
        exit_code=int(exit_code(verdict)),
        harness="switchproof 1",
        subject=SubjectTold(command=f"./deploy.sh {HOSTILE}", folder="/srv", limit_s=600),
        shape="ovh",
        runtime="netns",
        emulation=Emulation(by="lab hosts", not_modelled=("NixOS",)),
        verdict=verdict,
        clauses=clauses,
        violations=violations_of(tried),
        findings=tuple(finding for each in tried for finding in each.findings),
        scenarios=tuple(tried),
        not_tried=without,
    )


def test_a_path_that_does_right_everywhere_is_canonical() -> None:
    """Every clause passed, and the session ends with 0."""
    made = trial()
    assert made.verdict is RunVerdict.CANONICAL
    assert {clause.verdict for clause in made.clauses} == {Verdict.PASSED}
    assert made.exit_code == 0


def test_every_clause_is_judged_by_some_scenario() -> None:
    """Silence never passes: a clause that nothing looked at is open."""
    assert {clause.verdict for clause in clauses_of([], [])} == {Verdict.INCONCLUSIVE}
    assert all(clause.shown_by for clause in trial().clauses)


@pytest.mark.parametrize("name", [each.name for each in SCENARIOS])
def test_a_trial_without_one_scenario_is_never_canonical(name: str) -> None:
    """Whatever is left out leaves its clause open."""
    made = trial(without=(name,))
    assert (made.verdict, made.exit_code) == (RunVerdict.INCONCLUSIVE, 11)
    assert Verdict.INCONCLUSIVE in {clause.verdict for clause in made.clauses}


def test_one_violation_makes_a_path_non_canonical_even_in_part_of_a_trial() -> None:
    """What was seen cannot be unseen by leaving out the rest; the clause names the scenario that shows it."""
    made = trial(result(seen("hypervisor-500")), without=("good",))
    assert (made.verdict, made.exit_code) == (RunVerdict.NON_CANONICAL, 1)
    (violation,) = made.violations
    assert (violation.clause, violation.scenario) == (Clause.HYPERVISOR, "hypervisor-500")
    assert next(each for each in made.clauses if each.id is Clause.HYPERVISOR).shown_by == ("hypervisor-500",)


@pytest.mark.parametrize("name", [each.name for each in SCENARIOS])
def test_a_scenario_that_could_not_be_seen_leaves_open_what_it_examines(name: str) -> None:
    """A lab that could not be made proves nothing for the path."""
    each = scenario(name)
    judgements = unseen(each, "the lab could not be made")
    broken = msgspec.structs.replace(result(good_of(each)), judgements=judgements, verdict=verdict_of(judgements))
    made = trial(broken)
    assert made.verdict is RunVerdict.INCONCLUSIVE
    judged = {judgement.clause for judgement in result(good_of(each)).judgements}
    assert judged <= {judgement.clause for judgement in judgements}


def test_findings_change_no_verdict() -> None:
    """A path without a way back is as canonical as another."""
    made = trial(result(seen("hypervisor-500", ended(1, output=DIAGNOSTICS))))
    assert made.findings
    assert made.verdict is RunVerdict.CANONICAL


@pytest.mark.parametrize("made", [trial(), trial(result(seen("good", requests=()))), trial(without=("good",))])
def test_a_trial_is_as_published_and_can_be_read_back(made: Trial, tmp_path: Path) -> None:
    """`trial.json` keeps to docs/trial.schema.json."""
    schema = msgspec.json.decode((ROOT / "docs/trial.schema.json").read_bytes())
    Draft202012Validator(schema).validate(msgspec.json.decode(encode(made)))
    path = tmp_path / "trial.json"
    path.write_text(encode(made), encoding="utf-8")
    assert read_trial(path) == made


def test_what_is_no_trial_is_refused(tmp_path: Path) -> None:
    """The message names the file."""
    path = tmp_path / "trial.json"
    path.write_text('{"schema": "switchproof/record/v1"}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"trial\.json: not a trial"):
        read_trial(path)


@pytest.mark.parametrize(
    ("made", "failures", "errors"),
    [(trial(), 0, 0), (trial(result(seen("good", requests=()))), 3, 0), (trial(without=("good",)), 0, 1)],
)
def test_junit_is_red_whenever_a_trial_is_not_canonical(made: Trial, failures: int, errors: int) -> None:
    """Violations are failures, what is open is an error, and the trial itself is a case."""
    root = ET.fromstring(outputs.junit(made))  # noqa: S314 - our own
    assert len(root.findall(".//failure")) == failures
    assert len(root.findall(".//error")) == errors
    names = [(case.get("classname"), case.get("name")) for case in root.findall(".//testcase")]
    assert len(names) == len(set(names))


def test_the_page_takes_every_text_for_text() -> None:
    """A command or an answer with markup in it stays what it is, and the page loads and runs nothing."""
    bad = result(seen("hypervisor-500", ended(1, output=DIAGNOSTICS)))
    (first, *others) = bad.judgements
    bad = msgspec.structs.replace(bad, judgements=(msgspec.structs.replace(first, seen=HOSTILE), *others))
    page = outputs.page(trial(bad))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\x1b" not in page
    assert "default-src 'none'" in page


def test_the_summary_says_verdict_violation_finding_and_exit_code() -> None:
    """A reader of the last lines knows what is wrong and where."""
    bad = trial(result(seen("hypervisor-500")), result(seen("live-degraded", ended(1, output=DIAGNOSTICS))))
    said = outputs.summary(bad, Path("reports/trials/x"))
    assert said.startswith("NON-CANONICAL  ./deploy.sh")
    assert "- hypervisor, hypervisor-500: it reported success while the hypervisor answered 500" in " ".join(
        said.split()
    )
    assert "- no-rollback: " in said
    assert "Exit 1: " in said
    assert "\x1b" not in said


def another(name: str) -> ScenarioResult:
    """What came of a path that deployed another commit."""
    code = 0 if scenario(name).truth is Truth.GOOD else 1
    return result(seen(name, ended(code), after=system(OTHER), activations=(activation(OTHER),)))


def test_a_reason_that_several_scenarios_share_is_told_once() -> None:
    """Another commit is one violation and one thing left open, each with every scenario that shows it."""
    names = ("branch-moved", "activation-failure", "hypervisor-500", "live-degraded")
    made = trial(*map(another, names))
    of_revision = [each for each in outputs.violations(made) if each.clause is Clause.REVISION]
    assert [each.scenarios for each in of_revision] == [names]
    (left,) = outputs.open_of(made)
    assert left.scenarios == names
    said = " ".join(outputs.summary(made, Path("x")).split())
    assert said.count("The path deployed another commit") == 2
    assert "answered 500" not in said


def test_a_path_that_breaks_the_letter_only_is_told_so() -> None:
    """The right system by another program is non-canonical, and the sentence says that the substance holds."""
    by_the_letter = trial(result(seen("good", nixos_rebuild=False)))
    assert by_the_letter.verdict is RunVerdict.NON_CANONICAL
    assert "is broken in the letter only" in outputs.sentence(by_the_letter)
    both = trial(result(seen("good", nixos_rebuild=False)), result(seen("new-unit-failing")))
    assert "only the letter" not in outputs.sentence(both)


def test_the_page_tells_each_scenario_in_three_lines() -> None:
    """What was prepared, what the host saw and what the path said come first."""
    told = {"prepared": "PREPARED", "host_saw": f"SAW {HOSTILE}", "path_said": "SAID"}
    page = outputs.page(trial(msgspec.structs.replace(result(seen("good", requests=())), **told)))
    order = ["PREPARED", "SAW", "SAID", "<h4>Expected</h4>"]
    page = page[page.index("PREPARED") :]
    assert sorted(order, key=page.index) == order
    assert "<script" not in page


def test_a_command_that_cannot_run_ends_with_4() -> None:
    """Only if the first scenario shows it, and not for a path that another scenario finds missing something."""
    lost = result(seen("good", ended(127), **UNCHANGED))
    assert cannot_run([lost])
    assert not cannot_run([result(seen("good")), lost])
    assert not cannot_run([])
    assert (exit_code(RunVerdict.INCONCLUSIVE, refused=True), exit_code(RunVerdict.INCONCLUSIVE)) == (4, 11)


def test_secrets_are_taken_out_of_every_text() -> None:
    """A witness's command lines and words go through the redactor like anything else."""
    made = redacted(trial(), lambda text: text.replace("deploy", "[redacted]"))
    assert made.subject.command.startswith("./[redacted].sh")
    assert made.verdict is RunVerdict.CANONICAL


def test_only_a_failure_after_the_activation_of_a_good_commit_makes_others_worth_nothing() -> None:
    """A success, a failure before the activation, a time limit and a bad commit say nothing of that kind."""
    assert fails_anyway(result(seen("good", ended(1))))
    assert fails_anyway(result(seen("branch-moved", ended(1))))
    assert not fails_anyway(result(seen("good")))
    assert not fails_anyway(result(seen("good", ended(1), **UNCHANGED)))
    assert not fails_anyway(result(seen("good", ended(None))))
    assert not fails_anyway(result(seen("hypervisor-500", ended(1))))
    assert not fails_anyway(msgspec.structs.replace(result(seen("good", ended(1))), witness=None, exit_codes=()))
    assert not fails_anyway(None)
