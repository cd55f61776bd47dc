"""What a record says: its legs, its first cause, and the words and shapes for them, so that no two outputs differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from switchproof.deploy.contract import Clause, ExitCode, HostState, RunVerdict, Verdict
from switchproof.deploy.record.facts import Leg as LegName
from switchproof.deploy.record.fold import judge
from switchproof.deploy.record.record import (
    Again,
    AuditResult,
    Check,
    ClauseResult,
    Host,
    Part,
    Record,
    Rollback,
    WaiverResult,
)
from switchproof.deploy.record.waivers import called, words
from switchproof.reports import text

SHAPES: dict[str, str] = {
    Verdict.PASSED: "✓",
    Verdict.FAILED: "✗",
    Verdict.BLOCKED: "⊘",
    Verdict.INCONCLUSIVE: "?",
    Verdict.WAIVED: "~",
    RunVerdict.CANONICAL: "✓",
    RunVerdict.WITH_WAIVERS: "~",
    RunVerdict.NON_CANONICAL: "✗",
    "planned": "…",
    HostState.UNCHANGED: "=",
    HostState.CONVERGED: "✓",
    HostState.ROLLED_BACK: "↩",
    HostState.UNSAFE: "!",
    HostState.UNKNOWN: "?",
    HostState.FOUND_HEALTHY: "+",
    HostState.FOUND_UNHEALTHY: "✗",
}
"""A shape for each verdict and state, so that none is told by colour alone."""

_NOTHING_COLLECTED = 5

EXIT_MEANINGS: dict[int, str] = {
    ExitCode.CANONICAL: "canonical: the contract held on every host",
    ExitCode.SAFE_FAILURE: "not canonical; no host is left in a state that this run did not verify",
    ExitCode.INTERRUPTED: "interrupted before the run came to its end",
    ExitCode.INTERNAL: "a defect of Switchproof; it proves nothing about the hosts",
    ExitCode.USAGE: "nothing was touched: a bad option, target file, host or revision, or no room for the report",
    _NOTHING_COLLECTED: "no check was collected; nothing is proven",
    ExitCode.UNSAFE: "not canonical, and some host is unsafe",
    ExitCode.INCONCLUSIVE: "inconclusive: an answer could not be obtained, so nothing is proven",
    ExitCode.UNSIGNED: "canonical, but not signed as asked: the contract held on every host",
    ExitCode.LOCKED: "another deploy holds a host's lock",
}


def verdict_word(record: Record) -> str:
    """Say the verdict of a run in one word; a plan has none, as it proves nothing."""
    planned = record.run.mode == "plan" and record.run.exit_code == ExitCode.CANONICAL
    return "planned" if planned else record.verdict.value


def exit_meaning(record: Record) -> str:
    """Say in words what the exit code of a run means."""
    code = record.run.exit_code
    if code is None:
        return "none: the run did not come to its end"
    if record.run.mode == "plan" and code == ExitCode.CANONICAL:
        return "planned: nothing was changed, and nothing is proven"
    if record.verdict is RunVerdict.WITH_WAIVERS and code == ExitCode.CANONICAL:
        return "canonical with waivers: what failed is waived, and all else of the contract held on every host"
    if code == ExitCode.SAFE_FAILURE and waivers_alone(record):
        return "not canonical for a waiver alone; every host keeps what was verified"
    if code == ExitCode.INCONCLUSIVE and (reason := _incomplete(record)):
        return f"inconclusive: {reason}"
    if code == ExitCode.SAFE_FAILURE and record.run.mode == "audit":
        names = [host for host in record.hosts if host.state is HostState.FOUND_UNHEALTHY]
        return (
            f"found unhealthy: {_group(names)}; nothing was changed"
            if names
            else "not canonical; nothing was changed"
        )
    if code == ExitCode.USAGE and record.run.refusal:
        return f"nothing was touched: {text.one_line(record.run.refusal.kind)}"
    if apart := split(record):
        return f"{EXIT_MEANINGS.get(code, 'not canonical').partition(';')[0]}; {apart}"
    return EXIT_MEANINGS.get(code, "not an exit code of a deploy session")


def _incomplete(record: Record) -> str:
    """Say why a run proves nothing whatever its hosts are like; empty where no such reason exists."""
    if record.run.selected:
        return f"you selected checks with {text.one_line(record.run.selected)}, so the others were not made"
    if record.run.unreported:
        return f"the report could not be written whole ({text.one_line(record.run.unreported)})"
    return ""


@dataclass(frozen=True)
class Leg:
    """One leg of one host's way.

    Attributes:
        host: The host.
        name: `forward` for what was asked for, `back` for the system from before, `again` for a second deploy.
        label: The host's name, with the leg where it is not the first.
        anchor: A piece of an id, unique in the record.
        verdict: What all clauses of the leg come to.
        clauses: The five clauses, in the contract's order.
        audit: The team's own checks of an audit; None where there are none.
        seconds: How long it took, as far as that is known.
    """

    host: Host
    name: LegName
    label: str
    anchor: str
    verdict: Verdict
    clauses: list[ClauseResult]
    audit: AuditResult | None = None
    seconds: float = 0.0

    @property
    def parts(self) -> list[Part]:
        """Everything that it is judged by, and so every check of it."""
        return [*self.clauses, self.audit] if self.audit else [*self.clauses]


LEG_WORDS: dict[LegName, str] = {"forward": "deploy", "back": "rollback", "again": "again"}
"""What each leg is called beside a host's name."""


_LEG_TITLES = {
    "forward": {"audit": "Audit", "rollback": "Rollback", "plan": "Plan", "drill": "First deploy"},
    "back": {"drill": "Way back, on purpose"},
}


def leg_title(record: Record, leg: Leg) -> str:
    """Say what was done on a leg, as a heading."""
    usual = {"forward": "Deploy", "back": "Way back", "again": "Second deploy"}
    return _LEG_TITLES.get(leg.name, {}).get(record.run.mode, usual[leg.name])


_ANCHOR = 12
"""Letters of a host's name in its anchors, of which a page has many."""


def legs(record: Record) -> Iterator[Leg]:
    """Yield every leg of every host, in the order in which a host takes them."""
    for index, host in enumerate(record.hosts, 1):
        anchor = f"h{index}-{text.slug(host.name)[:_ANCHOR]}"
        verdict, took = judge(host.parts), _took(host, "forward")
        yield Leg(host, "forward", host.name, anchor, verdict, host.clauses, host.audit, took)
        later: list[tuple[LegName, Rollback | Again | None]] = [("back", host.rollback), ("again", host.again)]
        for name, leg in later:
            if leg is not None:
                word = LEG_WORDS[name]
                label = f"{host.name} ({word})"
                yield Leg(host, name, label, f"{anchor}-{word}", leg.verdict, leg.clauses, seconds=_took(host, name))


def _took(host: Host, leg: LegName) -> float:
    """Seconds from the beginning of a leg's first phase to the end of its last one."""
    phases = [phase for phase in host.phases if phase.leg == leg]
    ends = [phase.finished for phase in phases if phase.finished]
    return (max(ends) - min(phase.started for phase in phases)).total_seconds() if ends else 0.0


@dataclass(frozen=True)
class Cause:
    """The check that a run's verdict first comes from."""

    host: str
    clause: Clause | Literal["audit"]
    check: Check
    leg: LegName = "forward"

    @property
    def sentence(self) -> str:
        """The cause in one line, without a full stop: host, clause, check, verdict and what it said."""
        said = text.brief(self.check.message)
        verdict = "failed" if self.check.verdict is Verdict.FAILED else "is inconclusive"
        where = "" if self.leg == "forward" else f" ({LEG_WORDS[self.leg]})"
        part = f"clause {self.clause}" if isinstance(self.clause, Clause) else "audit"
        head = f"on host {self.host}{where}, {part}, “{text.one_line(self.check.title)}” {verdict}"
        return f"{head}: {said}" if said else head


def first_cause(record: Record) -> Cause | None:
    """Find the first check, in the contract's order, that failed or gave no answer.

    A check that never ran is a symptom as long as one that ran has something to say, and of several hosts
    the one that failed comes before the one that gave no answer.
    """
    drill = record.run.mode == "drill"  # in which each leg counts; else the way back is no cause of the verdict
    candidates = [
        Cause(leg.host.name, part.id, check, leg.name)
        for leg in legs(record)
        if drill or leg.name == "forward"
        for part in leg.parts
        for check in part.checks
        if check.verdict in {Verdict.FAILED, Verdict.INCONCLUSIVE}
    ]
    order = [*Clause, "audit"]
    return min(
        candidates,
        key=lambda cause: (
            cause.check.started is None,
            list(LEG_WORDS).index(cause.leg),
            order.index(cause.clause),
            cause.check.verdict is not Verdict.FAILED,
        ),
        default=None,
    )


def nobody_let_in(record: Record) -> str:
    """Say what to do where no host was reached, so that an audit would see no more; empty where one was."""
    cause = first_cause(record)
    if cause is None or not cause.check.remedy or any(host.connections for host in record.hosts):
        return ""
    return f"No host was reached, so nothing was touched. {cause.check.remedy}"


CUTOVER_CHARACTERS = 600
"""Of what is said of the cutover in one sentence; a line of a repository may be long."""

_REFUSAL_CHARACTERS = 1200
"""Of the error for which a run was refused: the need, and what would help."""

_HELD = {
    "audit": ", and nothing was changed",
    "rollback": " after going back",
    "drill": ", deployed, gone back and deployed again",
}
"""What a canonical run of a mode did to the hosts, where that is not plain."""

_DID = {"audit": ", and nothing was changed"}
"""What another run of a mode did, where that is not plain; in a drill the cause names its leg."""


def sentence(record: Record) -> str:
    """Say in one sentence why the verdict of a run is what it is."""
    run = record.run
    if run.mode == "plan" and run.exit_code == ExitCode.CANONICAL:
        return "A plan shows what would change; it changes nothing and proves nothing."
    if record.verdict.accepted:
        verdicts = [check.verdict for leg in legs(record) for part in leg.parts for check in part.checks]
        hosts = text.count(len(record.hosts), "host")
        waived = verdicts.count(Verdict.WAIVED)
        but = f", {waived} failed and {'is' if waived == 1 else 'are'} waived" if waived else ""
        return (
            f"All five clauses of the contract held on {hosts}{_HELD.get(run.mode, '')}"
            f"{' but for what is waived' if waived else ''}: "
            f"{verdicts.count(Verdict.PASSED)} of {text.count(len(verdicts), 'check')} passed{but}."
        )
    if waivers_alone(record):
        return _stopped(f"Not canonical: {waiver_words(failing_waivers(record)[0])}")
    cause = first_cause(record)
    if (reason := _incomplete(record)) and not (cause and cause.check.started):
        return _stopped(f"Nothing is proven: {reason}")
    if run.refusal and not (cause and cause.check.started):
        return _stopped(f"Nothing was touched: {text.brief(run.refusal.message, _REFUSAL_CHARACTERS)}")
    lead = "Not canonical" if record.verdict is RunVerdict.NON_CANONICAL else "Nothing is proven"
    if cause and cause.check.started:
        lead += _DID.get(run.mode, "")
    if cause and cause.check.started:
        return _stopped(f"{lead}: {cause.sentence}")
    if run.exit_code == ExitCode.LOCKED:
        return _stopped(f"{lead}: another deploy holds the lock of a host: {_lock_reason(record)}")
    if run.interrupted:
        return _stopped(f"{lead}: the run was interrupted ({text.brief(run.interrupted)})")
    if run.finished is None:
        return _stopped(f"{lead}: the run did not come to its end{_last_known(record)}")
    if cause:
        return _stopped(f"{lead}: {cause.sentence}")
    if record.cutover and record.cutover.verdict is not Verdict.PASSED:
        return _stopped(f"{lead}: {text.one_line(record.cutover.words, CUTOVER_CHARACTERS)}")
    return f"{lead}: no check was expected for some clause, and silence never passes."


ABSENT = "hypervisor/there-is-none"
"""The id of the check that stands for a hypervisor that there is not."""


def absence(record: Record) -> str:
    """Say that clause `hypervisor` was passed for want of one, and why; empty where there is one."""
    checks = (check for leg in legs(record) for part in leg.parts for check in part.checks)
    told = next((check.seen for check in checks if check.id == ABSENT and check.verdict is Verdict.PASSED), "")
    return _stopped(f"Clause hypervisor is {text.one_line(told)}") if told else ""


def bound(record: Record) -> str:
    """Say for how long health was watched, which is what a good verdict is worth; empty for any other verdict."""
    soak = record.run.options.get("soak_s", "")
    if not record.verdict.accepted or record.run.mode == "plan" or not soak:
        return ""
    return f"Every endpoint stayed healthy over {soak} s; what fails later is not seen."


def waivers_alone(record: Record) -> bool:
    """Whether nothing but waivers keeps a run from being canonical."""
    return (
        record.verdict is RunVerdict.NON_CANONICAL
        and bool(failing_waivers(record))
        and all(host.verdict.accepted for host in record.hosts)
    )


def failing_waivers(record: Record) -> list[WaiverResult]:
    """Return the waivers for which a run is not canonical."""
    return [one for one in record.waivers if one.fails]


def waiver_words(result: WaiverResult) -> str:
    """Say in one line, without a full stop, what became of a waiver and what to do about it."""
    about, told = called(result.waiver), text.one_line(words(result.waiver), 400)
    match result.state:
        case "used":
            legs = ("" if one.leg == "forward" else f" ({LEG_WORDS[one.leg]})" for one in result.covered)
            hosts = [f"{one.host}{leg}" for one, leg in zip(result.covered, legs, strict=True)]
            return f"{result.waiver.check} failed on {', '.join(hosts)} and is waived {told}"
        case "unused":
            return f"the waiver of {about} ({told}) is not needed, as that check passed: remove it"
        case "expired":
            return f"the waiver of {about} ({told}) has expired: mend what it was for, and remove it"
        case "open":
            return f"the waiver of {about} ({told}) was neither used nor unused, as that check gave no answer"
        case _:
            expired = ", and has expired: remove it" if result.waiver.expired else ""
            return f"the waiver of {about} ({told}) is of a check that this run does not make{expired}"


_LEFT: dict[HostState, str] = {
    HostState.UNSAFE: "left unsafe, which needs a person now",
    HostState.FOUND_UNHEALTHY: "found unhealthy",
    HostState.UNKNOWN: "left in a state that is not known",
    HostState.ROLLED_BACK: "left rolled back to the earlier system and verified there",
    HostState.CONVERGED: "left converged",
    HostState.FOUND_HEALTHY: "found healthy",
    HostState.UNCHANGED: "left unchanged",
}
"""What it means for hosts to be in a state, the worst first."""

_NAMED = 6
"""Hosts that are named; of more, only the number is said."""


def aftermath(record: Record) -> str:
    """Say in one sentence which state each host was left in."""
    parts = []
    for state, told in _LEFT.items():
        names = [host.name for host in record.hosts if host.state is state]
        if len(names) == len(record.hosts) > 1:
            whole = "Both hosts" if len(names) == 2 else f"All {len(names)} hosts"  # noqa: PLR2004 - a pair
            return f"{whole} were {told}.{_and_split(record)}"
        if names:
            noun, verb = ("host", "was") if len(names) == 1 else ("hosts", "were")
            which = ", ".join(text.one_line(name) for name in names)
            said = f"{noun} {which}" if len(names) <= _NAMED else f"{len(names)} {noun}"
            parts.append(f"{said} {verb} {told}")
    whole = "; ".join(parts) or "no host was touched"
    return f"{whole[0].upper()}{whole[1:]}.{_and_split(record)}"


def _and_split(record: Record) -> str:
    apart = split(record)
    return f" {apart[0].upper()}{apart[1:]}." if apart else ""


def split(record: Record) -> str:
    """Say, without a full stop, which hosts run the new system and which do not; empty where all are alike."""
    moved = [host for host in record.hosts if host.state is HostState.CONVERGED]
    commit = record.revision.sha
    rest = [
        host
        for host in record.hosts
        if host.state is not HostState.CONVERGED and not (commit and host.before and host.before.revision == commit)
    ]
    if not moved or not rest:
        return ""
    runs = [f"{_group(moved)} {_runs(record, moved[0])}"]
    for state in dict.fromkeys(host.state for host in rest):
        alike = [host for host in rest if host.state is state]
        kept = state in {HostState.ROLLED_BACK, HostState.UNCHANGED}
        runs.append(f"{_group(alike)} {_runs(record, alike[0]) if kept else f'is {state}'}")
    return f"the fleet is split: {'; '.join(runs)}"


def _group(hosts: list[Host]) -> str:
    names = [text.one_line(host.name) for host in hosts]
    return ", ".join(names) if len(names) <= _NAMED else f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more"


def _runs(record: Record, host: Host) -> str:
    """Say which system a host was seen to run: its commit, or else its store path."""
    new = host.state is HostState.CONVERGED
    seen = host.after if new else host.before
    commit = record.revision.sha if new else seen.revision if seen else None
    system = commit[:12] if commit else seen.toplevel if seen else None
    return f"runs {system or 'an unnamed system'} ({'new' if new else 'old'})"


def tally(record: Record) -> str:
    """Say in one sentence what came of every check of every leg."""
    verdicts = [check.verdict for leg in legs(record) for part in leg.parts for check in part.checks]
    counts = Counter(verdicts)
    told = [f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict]]
    return f"{text.count(len(verdicts), 'check')} on all legs: {', '.join(told) or 'none was expected'}."


def _stopped(line: str) -> str:
    return line if line.endswith((".", "!", "?", "…")) else f"{line}."


def _lock_reason(record: Record) -> str:
    return next(
        (f"{host.name}: {text.brief(host.state_reason)}" for host in record.hosts if host.state_reason),
        "it is not known which",
    )


def _last_known(record: Record) -> str:
    within = [
        f"{host.name} was in {phase.phase}"
        for host in record.hosts
        for phase in host.phases
        if phase.finished is None
    ]
    return f" (last known: {', '.join(within)})" if within else ""
