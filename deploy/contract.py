"""The clauses of the deployment contract, the verdicts, and how verdicts combine.

Everything here is pure. The order of `Clause` is the order of the contract.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable


class Clause(enum.StrEnum):
    """One row of the contract, in the order in which a deploy path must satisfy them."""

    REVISION = "revision"
    CONVERGE = "converge"
    HYPERVISOR = "hypervisor"
    RUNTIME = "runtime"
    DIAGNOSTICS = "diagnostics"

    @property
    def promise(self) -> str:
        """The promise of the clause, as one sentence."""
        return _PROMISES[self]

    @property
    def prerequisites(self) -> tuple[Clause, ...]:
        """The clauses that must have passed on a host before this one is checked there.

        Diagnostics have none, because they matter most when something else failed.
        """
        if self is Clause.DIAGNOSTICS:
            return ()
        order = list(Clause)
        return tuple(order[: order.index(self)])


_PROMISES = {
    Clause.REVISION: "The target revision is resolved to one full commit, before anything changes.",
    Clause.CONVERGE: "The host is converged to that commit with nixos-rebuild switch, and really runs it.",
    Clause.HYPERVISOR: "The hypervisor's health endpoint answers as it should.",
    Clause.RUNTIME: "Every runtime unit that the target file names is listening and healthy.",
    Clause.DIAGNOSTICS: (
        "When anything fails, unit state, logs and sockets are emitted; "
        "when nothing fails, it is shown that they would have been."
    ),
}


class Verdict(enum.StrEnum):
    """The result of a clause or a check. Only `PASSED` proves anything.

    `WAIVED` is a failure that the target file accepts: it blocks nothing and stays visible.
    """

    PASSED = "passed"
    FAILED = "failed"
    BLOCKED = "blocked"
    INCONCLUSIVE = "inconclusive"
    WAIVED = "waived"

    @property
    def accepted(self) -> bool:
        """Whether it neither blocks later clauses nor causes a rollback."""
        return self in {Verdict.PASSED, Verdict.WAIVED}


class HostState(enum.StrEnum):
    """The state in which a run leaves a host, or in which an audit found it."""

    UNCHANGED = "unchanged"
    CONVERGED = "converged"
    ROLLED_BACK = "rolled-back"
    UNSAFE = "unsafe"
    UNKNOWN = "unknown"
    FOUND_HEALTHY = "found-healthy"
    FOUND_UNHEALTHY = "found-unhealthy"


class RunVerdict(enum.StrEnum):
    """The verdict of a run about the deploy path."""

    CANONICAL = "canonical"
    WITH_WAIVERS = "canonical with waivers"
    NON_CANONICAL = "non-canonical"
    INCONCLUSIVE = "inconclusive"

    @property
    def accepted(self) -> bool:
        """Whether no unwaived failure remains. Only `CANONICAL` proves to others that the contract held."""
        return self in {RunVerdict.CANONICAL, RunVerdict.WITH_WAIVERS}


class ExitCode(enum.IntEnum):
    """The exit codes of a deploy session; 2, 3 and 5 keep pytest's meaning.

    `INTERNAL` is a defect of Switchproof. `UNSIGNED` is canonical, but not signed as requested.
    """

    CANONICAL = 0
    SAFE_FAILURE = 1
    INTERRUPTED = 2
    INTERNAL = 3
    USAGE = 4
    UNSAFE = 10
    INCONCLUSIVE = 11
    UNSIGNED = 12
    LOCKED = 75


PROVEN_STATES = frozenset({HostState.UNCHANGED, HostState.CONVERGED, HostState.FOUND_HEALTHY})
"""The states in which a canonical run, with or without waivers, may leave a host."""

_WORST_FIRST = (Verdict.FAILED, Verdict.INCONCLUSIVE, Verdict.BLOCKED, Verdict.WAIVED)


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """Combine the verdicts of parts into the verdict of the whole.

    Args:
        verdicts: The verdicts of the parts; without any the result is `INCONCLUSIVE`, because silence never passes.

    Returns:
        The worst of them: failed before inconclusive before blocked before waived; passed only if every part passed.
    """
    seen = set(verdicts)
    for verdict in _WORST_FIRST:
        if verdict in seen:
            return verdict
    return Verdict.PASSED if seen else Verdict.INCONCLUSIVE


def run_verdict(hosts: Iterable[Verdict]) -> RunVerdict:
    """Combine the verdicts of all hosts into the verdict of the run."""
    match combine(hosts):
        case Verdict.PASSED:
            return RunVerdict.CANONICAL
        case Verdict.WAIVED:
            return RunVerdict.WITH_WAIVERS
        case Verdict.FAILED:
            return RunVerdict.NON_CANONICAL
        case _:
            return RunVerdict.INCONCLUSIVE


def exit_code(verdict: RunVerdict, states: Iterable[HostState]) -> ExitCode:
    """Return the exit code of a run that was neither refused, interrupted nor locked out.

    Args:
        verdict: The verdict of the run.
        states: The state that each host was left in.
    """
    left = set(states)
    if HostState.UNSAFE in left:
        return ExitCode.UNSAFE
    if verdict is RunVerdict.INCONCLUSIVE or HostState.UNKNOWN in left:
        return ExitCode.INCONCLUSIVE
    if verdict.accepted and left <= PROVEN_STATES:
        return ExitCode.CANONICAL
    return ExitCode.SAFE_FAILURE
