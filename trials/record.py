"""A trial as data, `trial.json`: every other output is made from it."""

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
    """Why scenarios leave a clause open, or violate it, where one reason holds for all of them and is told once."""

    OTHER_COMMIT = "another-commit"
    NOT_ACTIVATED = "not-activated"
    CANNOT_RUN = "cannot-run"
    LAB = "lab-limit"

    @property
    def meaning(self) -> str:
        """What it means, as one sentence."""
        return _CAUSES[self]


_CAUSES = {
    Cause.OTHER_COMMIT: "The path deployed another commit than the requested one.",
    Cause.NOT_ACTIVATED: "The requested commit was never activated, so nothing shows whether its fault is noticed.",
    Cause.CANNOT_RUN: "The command cannot be run here.",
    Cause.LAB: "The lab cannot do what the path asked for; that says nothing about the path.",
}


class FindingId(enum.StrEnum):
    """What may be found of a path beyond the contract; none of it changes the verdict."""

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
        """What it means, as one sentence."""
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
    """What one scenario says of one clause.

    Attributes:
        cause: The reason, where it is one that other scenarios share.
        letter: Whether only the letter of the clause was broken: the right system runs, is set and boots, and was
            switched to by another program than nixos-rebuild.
    """

    clause: Clause
    verdict: Verdict
    expected: str
    seen: str
    cause: Cause | None = None
    letter: bool = False


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something beyond the contract, and the scenario that shows it."""

    id: FindingId
    scenario: str
    message: str


class ScenarioResult(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario that was tried.

    Attributes:
        truth: What was true then.
        clause: The clause that it examines.
        seconds: How long it took, the making of its host included.
        problem: Why it could not be tried or seen; None if it was.
        prepared: What was prepared, in a line.
        host_saw: What the host saw, in a line.
        path_said: What the path said, in a line.
        asked: The commits that were asked for.
        exit_codes: What the path ended with; null if its time limit ended it.
        witness: What the host saw.
        evidence: Paths of the files that were kept.
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
    """What all scenarios say of a clause.

    Attributes:
        shown_by: The scenarios that decide it: those that show a violation, else those that leave it open, else all.
    """

    id: Clause
    verdict: Verdict
    shown_by: tuple[str, ...]


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """A clause of the contract that the path does not keep, and the scenario that shows it; see `Judgement`."""

    clause: Clause
    scenario: str
    expected: str
    seen: str
    cause: Cause | None = None
    letter: bool = False


class SubjectTold(msgspec.Struct, frozen=True, kw_only=True):
    """What was on trial.

    Attributes:
        command: The command, as given.
        folder: Where it was run.
        limit_s: Its time limit in seconds.
        sets_first: Whether it deployed the first system of each host itself (`--subject-first`).
    """

    command: str
    folder: str
    limit_s: float
    sets_first: bool = False


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """A deploy path's trial, whole. Times are UTC.

    Attributes:
        id: Name of its folder.
        finished: When its last scenario had been judged.
        exit_code: Of the session: 0 canonical, 1 non-canonical, 4 the command cannot be run, 11 inconclusive.
        interrupted: What ended it early, None if nothing did.
        harness: This program and its version.
        runtime: What the sandboxes of the hosts were.
        emulated: Always true: a trial is held on lab hosts.
        not_tried: Scenarios that were left out; a trial without them is never canonical.
        violations: What makes it non-canonical.
        findings: What is not good beyond the contract; it changes no verdict.
        redactions: What was taken out of all texts, by rule.
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
    """Return what a scenario says that was not tried, or could not be seen: that it is open what it examines."""
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
    """Combine what one scenario says; one that has nothing to say against a path passed."""
    found = [judgement.verdict for judgement in judgements]
    return combine(found) if found else Verdict.PASSED


def clauses_of(tried: Iterable[ScenarioResult], not_tried: Iterable[Scenario]) -> tuple[ClauseResult, ...]:
    """Combine what all scenarios say, clause by clause; what was not tried leaves a clause open."""
    said = [(result.name, judgement) for result in tried for judgement in result.judgements]
    said += [(scenario.name, judgement) for scenario in not_tried for judgement in unseen(scenario, "not tried")]
    results = []
    for clause in Clause:
        of_clause = [(name, judgement.verdict) for name, judgement in said if judgement.clause is clause]
        verdict = combine(each for _, each in of_clause)
        deciding = dict.fromkeys(name for name, each in of_clause if each is verdict)
        results.append(ClauseResult(id=clause, verdict=verdict, shown_by=tuple(deciding)))
    return tuple(results)


def verdict_of_trial(clauses: Iterable[ClauseResult], tried: Iterable[ScenarioResult], *, whole: bool) -> RunVerdict:
    """Say what a trial proves; one that is not whole proves nothing good."""
    verdict = run_verdict([*(clause.verdict for clause in clauses), *(result.verdict for result in tried)])
    return RunVerdict.INCONCLUSIVE if verdict is RunVerdict.CANONICAL and not whole else verdict


def violations_of(tried: Iterable[ScenarioResult]) -> tuple[Violation, ...]:
    """Return every violation, in the order of the contract."""
    found = [
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
    return tuple(sorted(found, key=lambda violation: order.index(violation.clause)))


def cannot_run(tried: Iterable[ScenarioResult]) -> bool:
    """Tell whether the command could not be run in the first scenario, so that no other one was tried."""
    first = next(iter(tried), None)
    return first is not None and any(each.cause is Cause.CANNOT_RUN for each in first.judgements)


def exit_code(verdict: RunVerdict, *, refused: bool = False) -> ExitCode:
    """Say with which code the session of a trial ends; `refused` if the command cannot be run."""
    if refused:
        return ExitCode.USAGE
    codes = {RunVerdict.CANONICAL: ExitCode.CANONICAL, RunVerdict.NON_CANONICAL: ExitCode.SAFE_FAILURE}
    return codes.get(verdict, ExitCode.INCONCLUSIVE)


_T = TypeVar("_T", ScenarioResult, Trial)


def redacted(record: _T, redact: Callable[[str], str]) -> _T:
    """Return a record with every text in it redacted."""
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
    """Return what `trial.json` holds."""
    return msgspec.json.format(msgspec.json.encode(trial), indent=2).decode() + "\n"


def read_trial(path: Path) -> Trial:
    """Read a trial back.

    Raises:
        ValueError: The file is no trial; the message names the file and the key.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Trial)
    except ValueError as error:
        raise ValueError(f"{path}: not a trial: {error}") from error
