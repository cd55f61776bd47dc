"""Types of `trial.json`, the record of a trial, from which every other output is made."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from switchproof.deploy.contract import Clause, ExitCode, RunVerdict, Verdict, combine, run_verdict
from switchproof.deploy.providers.lab.kinds import Runtime, Shape
from switchproof.deploy.providers.lab.trial.seen import Witness
from switchproof.deploy.record import facts
from switchproof.deploy.record.record import Emulation, Evidence
from switchproof.trials.scenario import Scenario, Truth


class Cause(enum.StrEnum):
    """A reason that several scenarios share for leaving a clause open or violating it; outputs show it once."""

    OTHER_COMMIT = "another-commit"
    NOT_ACTIVATED = "not-activated"
    CANNOT_RUN = "cannot-run"
    FAILS_ANYWAY = "fails-anyway"
    LAB = "lab-limit"

    @property
    def meaning(self) -> str:
        """The meaning, as one sentence."""
        return _CAUSES[self]


_CAUSES = {
    Cause.OTHER_COMMIT: "The path deployed another commit than the requested one.",
    Cause.NOT_ACTIVATED: "The requested commit was never activated, so nothing shows whether its fault is noticed.",
    Cause.CANNOT_RUN: "The command cannot be run here.",
    Cause.FAILS_ANYWAY: "The path reports failure for a good commit as well, so its failure shows nothing.",
    Cause.LAB: "The lab cannot do what the path asked for; that says nothing about the path.",
}


class FindingId(enum.StrEnum):
    """A weakness of a path outside the contract; it never changes the verdict."""

    HOST_KEYS = "host-keys-unchecked"
    LOCK = "no-lock"
    ROLLBACK = "no-rollback"
    ROLLBACK_OPEN = "rollback-not-shown"
    UNTRUE = "untrue-rollback"
    BRANCH = "floating-branch"
    SECRETS = "secrets-in-arguments"
    LIMIT = "no-time-limit"
    LEFTOVERS = "left-running"

    @property
    def meaning(self) -> str:
        """The meaning, as one sentence."""
        return _MEANINGS[self]


_MEANINGS = {
    FindingId.HOST_KEYS: "It does not verify the host's key, so it cannot know whether the host is the right one.",
    FindingId.LOCK: "Two deploys to one host disturb each other.",
    FindingId.ROLLBACK: "A failed deploy leaves the failed system on the host.",
    FindingId.ROLLBACK_OPEN: "The path had not deployed the earlier system; try it with --subject-first.",
    FindingId.UNTRUE: "It reported a rollback, but the host had not gone back.",
    FindingId.BRANCH: "It follows a branch, which may move between two steps of a deploy.",
    FindingId.SECRETS: "Anyone who lists the processes, or the commands sent to AWS, can read a secret.",
    FindingId.LIMIT: "It waits forever for something that never comes.",
    FindingId.LEFTOVERS: "A process that it started still runs after its end.",
}


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """The judgement of one clause in one scenario.

    Attributes:
        cause: The reason, if other scenarios may share it.
        letter: Whether only the letter of the clause was broken: the right system runs, is the profile and boots,
            but a program other than nixos-rebuild switched to it.
    """

    clause: Clause
    verdict: Verdict
    expected: str
    seen: str
    cause: Cause | None = None
    letter: bool = False


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A weakness outside the contract, and the scenario that shows it."""

    id: FindingId
    scenario: str
    message: str


class ScenarioResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a scenario.

    Attributes:
        truth: What is true in the scenario.
        clause: The examined clause.
        seconds: Its duration in seconds, including the making of its host.
        problem: The reason why it could not be tried or seen; None if it was.
        prepared: What was prepared, in a line.
        host_saw: What the host saw, in a line.
        path_said: What the path reported, in a line.
        asked: The requested commits.
        exit_codes: The exit codes of the path; null if the time limit ended it.
        witness: The host's account.
        evidence: The paths of kept files.
    """

    name: str
    title: str
    truth: Truth
    clause: Clause
    verdict: Verdict
    seconds: float
    problem: str | None = None
    prepared: str = ""
    host_saw: str = ""
    path_said: str = ""
    asked: tuple[str, ...] = ()
    exit_codes: tuple[int | None, ...] = ()
    judgements: tuple[Judgement, ...] = ()
    findings: tuple[Finding, ...] = ()
    witness: Witness | None = None
    evidence: tuple[str, ...] = ()


class ClauseResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a clause over all scenarios.

    Attributes:
        shown_by: The deciding scenarios: those with a violation, else those that leave it open, else all.
    """

    id: Clause
    verdict: Verdict
    shown_by: tuple[str, ...]


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """A violated clause of the contract, and the scenario that shows it; see `Judgement`."""

    clause: Clause
    scenario: str
    expected: str
    seen: str
    cause: Cause | None = None
    letter: bool = False


class SubjectTold(msgspec.Struct, frozen=True, kw_only=True):
    """The deploy path on trial.

    Attributes:
        command: The command, as given.
        folder: The working directory.
        limit_s: Its time limit in seconds.
        sets_first: Whether it deployed the first system of each host itself (`--subject-first`).
    """

    command: str
    folder: str
    limit_s: float
    sets_first: bool = False


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """The record of a deploy path's trial. Times are UTC.

    Attributes:
        id: The name of its folder.
        finished: The time after its last judgement.
        exit_code: The exit code of the session: 0 canonical, 1 non-canonical, 4 the command cannot be run, 11
            inconclusive.
        interrupted: The reason for an early end; None without one.
        harness: Switchproof with its version.
        runtime: The kind of the hosts' sandboxes.
        emulated: Always true, because trials run on lab hosts.
        not_tried: The scenarios that were left out; without them, a trial is never canonical.
        violations: The violations that make it non-canonical.
        findings: Weaknesses outside the contract, which change no verdict.
        redactions: The number of secrets removed from all texts, by rule.
    """

    schema: Literal["switchproof/trial/v1"] = "switchproof/trial/v1"
    id: str
    started: facts.Time
    finished: facts.Time
    exit_code: int
    interrupted: str | None = None
    harness: str
    subject: SubjectTold
    shape: Shape
    runtime: Runtime
    emulated: bool = True
    emulation: Emulation
    verdict: RunVerdict
    clauses: tuple[ClauseResult, ...]
    violations: tuple[Violation, ...]
    findings: tuple[Finding, ...]
    scenarios: tuple[ScenarioResult, ...]
    not_tried: tuple[str, ...] = ()
    redactions: dict[str, int] = {}
    evidence: tuple[Evidence, ...] = ()


def unseen(scenario: Scenario, why: str, cause: Cause | None = None) -> tuple[Judgement, ...]:
    """Return the judgements of a scenario that was not tried or not seen: all examined clauses are open."""
    examined = [scenario.clause]
    if scenario.truth is Truth.GOOD:
        examined = [clause for clause in Clause if clause is not Clause.DIAGNOSTICS]
    if scenario.diagnosed:
        examined.append(Clause.DIAGNOSTICS)
    expected = f"{scenario.title}: the scenario runs"
    return tuple(
        Judgement(clause=clause, verdict=Verdict.INCONCLUSIVE, expected=expected, seen=why, cause=cause)
        for clause in examined
    )


def verdict_of(judgements: Iterable[Judgement]) -> Verdict:
    """Combine the judgements of one scenario; a scenario without any passed."""
    verdicts = [judgement.verdict for judgement in judgements]
    return combine(verdicts) if verdicts else Verdict.PASSED


def clauses_of(tried: Iterable[ScenarioResult], not_tried: Iterable[Scenario]) -> tuple[ClauseResult, ...]:
    """Combine the judgements of all scenarios by clause; scenarios that were not tried leave a clause open."""
    judgements = [(result.name, judgement) for result in tried for judgement in result.judgements]
    judgements += [
        (scenario.name, judgement) for scenario in not_tried for judgement in unseen(scenario, "not tried")
    ]
    results = []
    for clause in Clause:
        of_clause = [(name, judgement.verdict) for name, judgement in judgements if judgement.clause is clause]
        verdict = combine(each for _, each in of_clause)
        deciding = dict.fromkeys(name for name, each in of_clause if each is verdict)
        results.append(ClauseResult(id=clause, verdict=verdict, shown_by=tuple(deciding)))
    return tuple(results)


def verdict_of_trial(clauses: Iterable[ClauseResult], tried: Iterable[ScenarioResult], *, whole: bool) -> RunVerdict:
    """Return the verdict of a trial; an incomplete one is never canonical."""
    verdict = run_verdict([*(clause.verdict for clause in clauses), *(result.verdict for result in tried)])
    return RunVerdict.INCONCLUSIVE if verdict is RunVerdict.CANONICAL and not whole else verdict


def violations_of(tried: Iterable[ScenarioResult]) -> tuple[Violation, ...]:
    """Return all violations, in the order of the contract."""
    violations = [
        Violation(
            clause=judgement.clause,
            scenario=result.name,
            expected=judgement.expected,
            seen=judgement.seen,
            cause=judgement.cause,
            letter=judgement.letter,
        )
        for result in tried
        for judgement in result.judgements
        if judgement.verdict is Verdict.FAILED
    ]
    order = list(Clause)
    return tuple(sorted(violations, key=lambda violation: order.index(violation.clause)))


def fails_anyway(first: ScenarioResult | None) -> bool:
    """Whether the first scenario shows that the path activates a good commit and reports failure for it."""
    if first is None or first.truth is not Truth.GOOD or first.witness is None:
        return False
    activated = {each.revision for each in first.witness.activations}
    return first.exit_codes[0] not in {0, None} and first.asked[0] in activated


def cannot_run(tried: Iterable[ScenarioResult]) -> bool:
    """Whether the command could not be run in the first scenario, so that no other was tried."""
    first = next(iter(tried), None)
    return first is not None and any(each.cause is Cause.CANNOT_RUN for each in first.judgements)


def exit_code(verdict: RunVerdict, *, refused: bool = False) -> ExitCode:
    """Return the exit code of a trial's session; `refused` if the command cannot be run."""
    if refused:
        return ExitCode.USAGE
    codes = {RunVerdict.CANONICAL: ExitCode.CANONICAL, RunVerdict.NON_CANONICAL: ExitCode.SAFE_FAILURE}
    return codes.get(verdict, ExitCode.INCONCLUSIVE)


_T = TypeVar("_T", ScenarioResult, Trial)


def redacted(record: _T, redact: Callable[[str], str]) -> _T:
    """Return a record with all of its texts redacted."""
    return msgspec.convert(_walk(msgspec.to_builtins(record), redact), type=type(record))


def _walk(value: Any, redact: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list | tuple):
        return [_walk(each, redact) for each in value]
    if isinstance(value, dict):
        return {name: _walk(each, redact) for name, each in value.items()}
    return value


def encode(trial: Trial) -> str:
    """Return the contents of `trial.json`."""
    return msgspec.json.format(msgspec.json.encode(trial), indent=2).decode() + "\n"


def read_trial(path: Path) -> Trial:
    """Read a `trial.json`.

    Raises:
        ValueError: The file is not a trial; the message names the file and the key.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Trial)
    except ValueError as error:
        raise ValueError(f"{path}: not a trial: {error}") from error
