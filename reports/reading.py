"""What a record says: its legs, its first cause, and the words and shapes for them, so that no two outputs differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deploy.contract import Clause, ExitCode, HostState, RunVerdict, Verdict
from deploy.journal import Leg as LegName
from deploy.record import Check, ClauseResult, Host, Record
from reports import text

SHAPES: dict[str, str] = {
    Verdict.PASSED: "✓",
    Verdict.FAILED: "✗",
    Verdict.BLOCKED: "⊘",
    Verdict.INCONCLUSIVE: "?",
    RunVerdict.CANONICAL: "✓",
    RunVerdict.NON_CANONICAL: "✗",
    HostState.UNCHANGED: "=",
    HostState.CONVERGED: "✓",
    HostState.ROLLED_BACK: "↩",
    HostState.UNSAFE: "!",
    HostState.UNKNOWN: "?",
}
"""A shape for each verdict and state, so that none is told by colour alone."""

_NOTHING_COLLECTED = 5

EXIT_MEANINGS: dict[int, str] = {
    ExitCode.CANONICAL: "canonical: the contract held on every host",
    ExitCode.SAFE_FAILURE: "not canonical; every host is safe (unchanged, or rolled back and re-verified)",
    ExitCode.INTERRUPTED: "interrupted before the run came to its end",
    ExitCode.INTERNAL: "an error inside the harness; it proves nothing about the hosts",
    ExitCode.USAGE: "a bad option, target file, host or revision; nothing was touched",
    _NOTHING_COLLECTED: "no check was collected; nothing is proven",
    ExitCode.UNSAFE: "not canonical, and some host is unsafe",
    ExitCode.INCONCLUSIVE: "inconclusive: an answer could not be obtained, so nothing is proven",
    ExitCode.LOCKED: "another deploy holds a host's lock",
}


def exit_meaning(record: Record) -> str:
    """Say in words what the exit code of a run means."""
    code = record.run.exit_code
    if code is None:
        return "none: the run did not come to its end"
    if record.run.mode == "plan" and code == ExitCode.CANONICAL:
        return "planned: nothing was changed, and nothing is proven"
    return EXIT_MEANINGS.get(code, "not an exit code of a deploy session")


@dataclass(frozen=True)
class Leg:
    """One leg of one host's way.

    Attributes:
        host: The host.
        name: `forward` for what was asked for, `back` for the system that a rollback restored.
        label: The host's name, with the leg where it is the way back.
        anchor: A piece of an id, unique in the record.
        verdict: What all clauses of the leg come to.
        clauses: The five clauses, in the contract's order.
    """

    host: Host
    name: LegName
    label: str
    anchor: str
    verdict: Verdict
    clauses: list[ClauseResult]


def legs(record: Record) -> Iterator[Leg]:
    """Yield every leg of every host, a host's way back after its way forward."""
    for index, host in enumerate(record.hosts, 1):
        anchor = f"sp-{index}-{text.slug(host.name)}"
        yield Leg(host, "forward", host.name, anchor, host.verdict, host.clauses)
        if back := host.rollback:
            yield Leg(host, "back", f"{host.name} (rollback)", f"{anchor}-rollback", back.verdict, back.clauses)


@dataclass(frozen=True)
class Cause:
    """The check that a run's verdict first comes from."""

    host: str
    clause: Clause
    check: Check

    @property
    def sentence(self) -> str:
        """The cause in one line, without a full stop: host, clause, check, verdict and what it said."""
        said = text.one_line(self.check.message)
        verdict = "failed" if self.check.verdict is Verdict.FAILED else "is inconclusive"
        head = f"on host {self.host}, clause {self.clause}, “{text.one_line(self.check.title)}” {verdict}"
        return f"{head}: {said}" if said else head


def first_cause(record: Record) -> Cause | None:
    """Find the first check, in the contract's order, that failed or gave no answer.

    A check that never ran is a symptom as long as one that ran has something to say, and of several hosts
    the one that failed comes before the one that gave no answer.
    """
    candidates = [
        Cause(host.name, clause.id, check)
        for host in record.hosts
        for clause in host.clauses
        for check in clause.checks
        if check.verdict in {Verdict.FAILED, Verdict.INCONCLUSIVE}
    ]
    order = list(Clause)
    return min(
        candidates,
        key=lambda cause: (
            cause.check.started is None,
            order.index(cause.clause),
            cause.check.verdict is not Verdict.FAILED,
        ),
        default=None,
    )


def sentence(record: Record) -> str:
    """Say in one sentence why the verdict of a run is what it is."""
    run = record.run
    if run.mode == "plan":
        return "A plan shows what would change; it changes nothing and proves nothing."
    if record.verdict is RunVerdict.CANONICAL:
        checks = sum(len(clause.checks) for host in record.hosts for clause in host.clauses)
        return (
            f"All five clauses of the contract held on {text.count(len(record.hosts), 'host')}: "
            f"{checks} of {text.count(checks, 'check')} passed."
        )
    cause = first_cause(record)
    lead = "Not canonical" if record.verdict is RunVerdict.NON_CANONICAL else "Nothing is proven"
    if cause and cause.check.started:
        return _stopped(f"{lead}: {cause.sentence}")
    if run.exit_code == ExitCode.LOCKED:
        return _stopped(f"{lead}: another deploy holds the lock of a host: {_lock_reason(record)}")
    if run.interrupted:
        return _stopped(f"{lead}: the run was interrupted ({text.one_line(run.interrupted)})")
    if run.finished is None:
        return _stopped(f"{lead}: the run did not come to its end{_last_known(record)}")
    if cause:
        return _stopped(f"{lead}: {cause.sentence}")
    return f"{lead}: no check was expected for some clause, and silence never passes."


def _stopped(line: str) -> str:
    return line if line.endswith((".", "!", "?", "…")) else f"{line}."


def _lock_reason(record: Record) -> str:
    return next(
        (f"{host.name}: {text.one_line(host.state_reason)}" for host in record.hosts if host.state_reason),
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
