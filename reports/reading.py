"""Puts a record's verdict, states and exit code into words, the same in all outputs."""

from __future__ import annotations

from collections import Counter

import msgspec

from switchproof.deploy.contract import Clause, ExitCode, HostState, RunVerdict, Verdict
from switchproof.deploy.record.facts import LOOKING_AHEAD
from switchproof.deploy.record.record import Host, Record, WaiverResult
from switchproof.deploy.record.waivers import waived_check, waiver_terms
from switchproof.reports import causes, text
from switchproof.reports.legs import LEG_WORDS, Leg, legs_of

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
    "ready": "✓",
    "unready": "✗",
    HostState.UNCHANGED: "=",
    HostState.CONVERGED: "✓",
    HostState.ROLLED_BACK: "↩",
    HostState.UNSAFE: "!",
    HostState.UNKNOWN: "?",
    HostState.FOUND_HEALTHY: "+",
    HostState.FOUND_UNHEALTHY: "✗",
}
"""A shape for each verdict and state, so that colour never carries the meaning alone."""

MANY = 10
"""Number of hosts above which outputs for people show the failing ones and fold or count the others."""

_NOTHING_COLLECTED = 5

EXIT_MEANINGS: dict[int, str] = {
    ExitCode.CANONICAL: "canonical: the contract held on every host",
    ExitCode.SAFE_FAILURE: "not canonical; no host is left in a state that this run did not verify",
    ExitCode.INTERRUPTED: "interrupted; no host is left in a state that this run did not verify",
    ExitCode.INTERNAL: "a defect of Switchproof; it proves nothing about the hosts",
    ExitCode.USAGE: "nothing was touched: a bad option, target file, host or revision, or no room for the report",
    _NOTHING_COLLECTED: "no check was collected; nothing is proven",
    ExitCode.UNSAFE: "not canonical, and some host is unsafe",
    ExitCode.INCONCLUSIVE: "inconclusive: an answer could not be obtained, so nothing is proven",
    ExitCode.UNSIGNED: "canonical, but not signed as asked: the contract held on every host",
    ExitCode.LOCKED: "another deploy holds a host's lock",
}


def verdict_word(record: Record) -> str:
    """Return the verdict of a run in one word; `planned`, `ready` and `unready` are of runs that prove nothing."""
    match record.run.mode, record.run.exit_code:
        case "plan", ExitCode.CANONICAL:
            return "planned"
        case "preflight", ExitCode.CANONICAL:
            return "ready"
        case "preflight", ExitCode.SAFE_FAILURE:
            return "unready"
    return record.verdict.value


def exit_meaning(record: Record) -> str:
    """Return the meaning of a run's exit code."""
    code = record.run.exit_code
    if code is None:
        return "none: the run did not finish"
    if record.run.mode == "plan" and code == ExitCode.CANONICAL:
        return "planned: nothing was changed, and nothing is proven"
    if record.run.mode == "preflight" and code == ExitCode.CANONICAL:
        return "ready: nothing refuses a deploy; nothing was changed, and nothing is proven"
    if record.run.mode == "preflight" and code == ExitCode.SAFE_FAILURE:
        return "unready: a deploy would be refused; nothing was changed"
    if record.verdict is RunVerdict.WITH_WAIVERS and code == ExitCode.CANONICAL:
        return "canonical with waivers: what failed is waived, and the rest of the contract held on every host"
    if code == ExitCode.SAFE_FAILURE and waivers_alone(record):
        return "not canonical only because of a waiver; every host keeps what was verified"
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


MERGED_CHARACTERS = 1200
"""Characters of the problems of a merged run in a sentence."""


def _incomplete(record: Record) -> str:
    """Return why a run proves nothing whatever state its hosts are in; empty without such a reason."""
    if record.run.selected:
        return f"you selected checks with {text.one_line(record.run.selected)}, so the others did not run"
    if record.run.dirty:
        return f"the working tree {record.run.dirty} is not committed, so no commit is proven"
    if record.run.merged and record.run.merged.problems:
        return text.brief("; ".join(record.run.merged.problems), MERGED_CHARACTERS)
    if record.run.unreported:
        return f"the report could not be written completely ({text.one_line(record.run.unreported)})"
    return ""


CUTOVER_CHARACTERS = 600
"""Characters of a sentence about the cutover, which may quote a long line of a repository."""

_REFUSAL_CHARACTERS = 1200
"""Characters of the error for which a run was refused, with its remedy."""

_HELD = {
    "audit": ", and nothing was changed",
    "rollback": " after going back",
    "drill": ", deployed, gone back and deployed again",
}
"""What a canonical run of a mode did to the hosts, for modes whose name does not say it."""

_DID = {"audit": ", and nothing was changed"}
"""What any other run of a mode did to the hosts; in a drill, the cause names its leg."""


def sentence(record: Record) -> str:
    """Return one sentence that explains the verdict of a run."""
    run = record.run
    if run.mode == "plan" and run.exit_code == ExitCode.CANONICAL:
        return "A plan shows what would change; it changes nothing and proves nothing."
    if run.mode == "preflight" and run.exit_code == ExitCode.CANONICAL:
        hosts = text.count(len(record.hosts), "host")
        return f"Nothing was found that refuses a deploy to {hosts}; a preflight changes nothing and proves nothing."
    if verdict_word(record) == "unready":
        refused = {Verdict.FAILED, Verdict.WAIVED}
        found = [
            host.name
            for host in record.hosts
            if any(check.verdict in refused for part in host.clauses for check in part.checks)
        ]
        return f"A deploy to {causes.named(found)} would be refused; nothing was changed."
    if record.verdict.accepted:
        verdicts = [check.verdict for leg in legs_of(record) for part in leg.parts for check in part.checks]
        hosts = text.count(len(record.hosts), "host")
        waived = verdicts.count(Verdict.WAIVED)
        but = f", {waived} failed and {'is' if waived == 1 else 'are'} waived" if waived else ""
        return (
            f"All five clauses of the contract held on {hosts}{_HELD.get(run.mode, '')}"
            f"{' except for what is waived' if waived else ''}: "
            f"{verdicts.count(Verdict.PASSED)} of {text.count(len(verdicts), 'check')} passed{but}."
        )
    if waivers_alone(record):
        return _stopped(f"Not canonical: {waiver_words(failing_waivers(record)[0])}")
    all_causes = causes.causes_of(record)
    cause = all_causes[0] if all_causes else None
    if (reason := _incomplete(record)) and not (cause and not cause.is_symptom):
        return _stopped(f"Nothing is proven: {reason}")
    if run.refusal and (run.exit_code == ExitCode.USAGE or not (cause and not cause.is_symptom)):
        return _stopped(f"Nothing was touched: {text.brief(run.refusal.message, _REFUSAL_CHARACTERS)}")
    if run.exit_code == ExitCode.LOCKED and cause and not cause.is_symptom:
        return _stopped(f"Nothing was touched. {text.brief(cause.check.message)}")
    lead = "Not canonical" if record.verdict is RunVerdict.NON_CANONICAL else "Nothing is proven"
    if run.interrupted and not (cause and cause.check.verdict is Verdict.FAILED):
        # Checks without an answer have none because the run ended.
        return _stopped(f"{lead}: the run was interrupted ({text.brief(run.interrupted)})")
    if cause and not cause.is_symptom:
        return _stopped(f"{lead}{_DID.get(run.mode, '')}: {causes.summary(record, all_causes)}")
    if run.exit_code == ExitCode.LOCKED:
        return _stopped(f"{lead}: another deploy holds the lock of a host: {_lock_reason(record)}")
    if run.finished is None:
        return _stopped(f"{lead}: the run did not finish{_last_known(record)}")
    if cause:
        return _stopped(f"{lead}: {causes.summary(record, all_causes)}")
    if record.cutover and record.cutover.verdict is not Verdict.PASSED:
        return _stopped(f"{lead}: {text.one_line(record.cutover.words, CUTOVER_CHARACTERS)}")
    return f"{lead}: no check was expected for some clause, and silence never passes."


ABSENT = "hypervisor/there-is-none"
"""The id of the check that stands for an absent hypervisor."""


def absence(record: Record) -> str:
    """Return why clause `hypervisor` passed without a hypervisor; empty if the hosts have one."""
    checks = (check for leg in legs_of(record) for part in leg.parts for check in part.checks)
    reason = next((check.seen for check in checks if check.id == ABSENT and check.verdict is Verdict.PASSED), "")
    return _stopped(f"Clause hypervisor is {text.one_line(reason)}") if reason else ""


def bound(record: Record) -> str:
    """Return for how long health was watched, which bounds a good verdict; empty for any other verdict."""
    soak = record.run.options.get("soak_s", "")
    if not record.verdict.accepted or record.run.mode in LOOKING_AHEAD or not soak:
        return ""
    return f"Every endpoint stayed healthy over {soak} s; what fails later is not seen."


def waivers_alone(record: Record) -> bool:
    """Whether waivers alone keep a run from being canonical."""
    return (
        record.verdict is RunVerdict.NON_CANONICAL
        and bool(failing_waivers(record))
        and all(host.verdict.accepted for host in record.hosts)
    )


def failing_waivers(record: Record) -> list[WaiverResult]:
    """Return the waivers that keep a run from being canonical."""
    return [result for result in record.waivers if result.fails]


def waiver_words(result: WaiverResult) -> str:
    """Return the outcome of a waiver and what to do about it, in one line without a full stop."""
    about, terms = waived_check(result.waiver), text.one_line(waiver_terms(result.waiver), 400)
    match result.state:
        case "used":
            legs = ("" if check.leg == "forward" else f" ({LEG_WORDS[check.leg]})" for check in result.covered)
            hosts = [f"{check.host}{leg}" for check, leg in zip(result.covered, legs, strict=True)]
            return f"{result.waiver.check} failed on {', '.join(hosts)} and is waived {terms}"
        case "unused":
            return f"the waiver of {about} ({terms}) is not needed, because that check passed: remove it"
        case "expired":
            return f"the waiver of {about} ({terms}) has expired: fix what it was for, and remove it"
        case "open":
            return f"the waiver of {about} ({terms}) was neither used nor unused, because that check gave no answer"
        case _:
            expired = ", and has expired: remove it" if result.waiver.expired else ""
            return f"the waiver of {about} ({terms}) is of a check that this run does not make{expired}"


class Row(msgspec.Struct, frozen=True):
    """A row of the table of hosts and clauses.

    Attributes:
        label: The names of the hosts, with the leg unless it is the first.
        verdicts: The verdicts of the five clauses.
        state: The state of the hosts; None for a leg after the first.
    """

    label: str
    verdicts: list[Verdict]
    state: HostState | None


def matrix(record: Record) -> tuple[list[Row], int]:
    """Return the rows of hosts and clauses, and how many hosts have none because they passed every clause.

    Of many hosts, those with the same verdicts and state share a row, and those that passed have none.
    """
    legs, many = list(legs_of(record)), len(record.hosts) > MANY
    troubled = {leg.host.name for leg in legs if leg.verdict is not Verdict.PASSED or not many}
    alike: dict[tuple[object, ...], list[Leg]] = {}
    for leg in (leg for leg in legs if leg.host.name in troubled):
        key = (leg.name, leg.host.state, *(clause.verdict for clause in leg.clauses)) if many else (leg.anchor,)
        alike.setdefault(key, []).append(leg)
    rows = [
        Row(
            causes.labelled([leg.host.name for leg in group], group[0].name),
            [clause.verdict for clause in group[0].clauses],
            group[0].host.state if group[0].name == "forward" else None,
        )
        for group in alike.values()
    ]
    return rows, len(record.hosts) - len(troubled)


class Left(msgspec.Struct, frozen=True):
    """Hosts that were left in one state.

    Attributes:
        hosts: Their names.
        state: The state.
        words: The state with its verb, such as `was found healthy`.
        reason: How it is known; empty for a state that needs no explanation.
    """

    hosts: list[str]
    state: HostState
    words: str
    reason: str


def states(record: Record) -> list[Left]:
    """Return the state of each host; of many hosts, those with the same state and reason together."""
    alike: dict[tuple[str, ...], list[Host]] = {}
    for host in record.hosts:
        reason = "" if host.state in _QUIET else host.state_reason
        alike.setdefault((host.state, reason) if len(record.hosts) > MANY else (host.name,), []).append(host)
    return [
        Left(
            [host.name for host in hosts],
            hosts[0].state,
            state_words(hosts[0].state, len(hosts)),
            "" if hosts[0].state in _QUIET else hosts[0].state_reason,
        )
        for hosts in alike.values()
    ]


def state_words(state: HostState, count: int = 1) -> str:
    """Return a state of `count` hosts with its verb: `is rolled back`, `were found healthy`."""
    is_found = state in {HostState.FOUND_HEALTHY, HostState.FOUND_UNHEALTHY}
    verb = ("was", "were") if is_found else ("is", "are")
    return f"{verb[count > 1]} {state.replace('-', ' ')}"


class Finding(msgspec.Struct, frozen=True):
    """One finding of a preflight, with the hosts that it is about."""

    verdict: Verdict
    message: str
    hosts: list[str]


def findings(record: Record) -> list[Finding]:
    """Return each finding of a preflight once."""
    hosts: dict[tuple[Verdict, str], list[str]] = {}
    for host in record.hosts:
        for check in (check for clause in host.clauses for check in clause.checks):
            if check.verdict is not Verdict.PASSED:
                hosts.setdefault((check.verdict, check.message or check.title), []).append(host.name)
    return [Finding(verdict, message, names) for (verdict, message), names in hosts.items()]


class Planned(msgspec.Struct, frozen=True):
    """What a deploy would change on hosts, as lines; of several hosts without their own systems' paths."""

    hosts: list[str]
    lines: list[str]


def plans(record: Record) -> list[Planned]:
    """Return what a deploy would change, once for hosts on which it would change the same."""
    alike: dict[str, list[Host]] = {}
    lines = {host.name: _plan_lines(host) for host in record.hosts}
    for host in record.hosts:
        alike.setdefault(causes.anonymous(host.name, "\n".join(lines[host.name])), []).append(host)
    return [
        Planned(
            [host.name for host in group],
            [line for line in lines[group[0].name] if len(group) == 1 or not line.startswith(_OWN_PATHS)],
        )
        for group in alike.values()
    ]


_OWN_PATHS = ("runs /nix/store/", "would run /nix/store/")


def _plan_lines(host: Host) -> list[str]:
    checks = (check for clause in host.clauses if clause.id is Clause.CONVERGE for check in clause.checks)
    return [
        line for check in checks for line in f"{check.seen}\nwould run {check.expected}".splitlines() if line.strip()
    ]


_QUIET = (HostState.CONVERGED, HostState.UNCHANGED, HostState.FOUND_HEALTHY)
"""States that need no reason."""

_LEFT: dict[HostState, str] = {
    HostState.UNSAFE: "left unsafe, which needs a person now",
    HostState.FOUND_UNHEALTHY: "found unhealthy",
    HostState.UNKNOWN: "left in an unknown state",
    HostState.ROLLED_BACK: "left rolled back to the earlier system and verified there",
    HostState.CONVERGED: "left converged",
    HostState.FOUND_HEALTHY: "found healthy",
    HostState.UNCHANGED: "left unchanged",
}
"""The meaning of each host state, the worst first."""


def aftermath(record: Record) -> str:
    """Return one sentence with the state in which each host was left."""
    parts = []
    for state, outcome in _LEFT.items():
        names = [host.name for host in record.hosts if host.state is state]
        if len(names) == len(record.hosts) > 1:
            whole = "Both hosts" if len(names) == 2 else f"All {len(names)} hosts"  # noqa: PLR2004 - a pair
            return f"{whole} were {outcome}.{_and_split(record)}"
        if names:
            noun, verb = ("host", "was") if len(names) == 1 else ("hosts", "were")
            parts.append(f"{noun} {causes.named(names)} {verb} {outcome}")
    whole = "; ".join(parts) or "no host was touched"
    return f"{whole[0].upper()}{whole[1:]}.{_and_split(record)}"


def _and_split(record: Record) -> str:
    apart = split(record)
    return f" {apart[0].upper()}{apart[1:]}." if apart else ""


def split(record: Record) -> str:
    """Return which hosts run the new system and which do not, without a full stop; empty if all run the same."""
    moved = [host for host in record.hosts if host.state is HostState.CONVERGED]
    commit = record.revision.sha
    rest = [
        host
        for host in record.hosts
        if host.state is not HostState.CONVERGED and not (commit and host.before and host.before.revision == commit)
    ]
    if not moved or not rest:
        return ""
    runs = [f"{_group(moved)} {_runs(record, moved)}"]
    for state in dict.fromkeys(host.state for host in rest):
        alike = [host for host in rest if host.state is state]
        kept = state in {HostState.ROLLED_BACK, HostState.UNCHANGED}
        runs.append(f"{_group(alike)} {_runs(record, alike) if kept else f'{_be(alike)} {state}'}")
    return f"the fleet is split: {'; '.join(runs)}"


def _group(hosts: list[Host]) -> str:
    return causes.named([host.name for host in hosts])


def _be(hosts: list[Host]) -> str:
    return "is" if len(hosts) == 1 else "are"


def _runs(record: Record, hosts: list[Host]) -> str:
    """Return the system that hosts run, taken from the first: its commit, or else its store path."""
    host = hosts[0]
    new = host.state is HostState.CONVERGED
    seen = host.after if new else host.before
    commit = record.revision.sha if new else seen.revision if seen else None
    system = commit[:12] if commit else seen.toplevel if seen else None
    verb = "runs" if len(hosts) == 1 else "run"
    return f"{verb} {system or 'an unnamed system'} ({'new' if new else 'old'})"


def tally(record: Record) -> str:
    """Return one sentence with the number of checks by verdict, over all legs."""
    verdicts = [check.verdict for leg in legs_of(record) for part in leg.parts for check in part.checks]
    counts = Counter(verdicts)
    counted = [f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict]]
    return f"{text.count(len(verdicts), 'check')} on all legs: {', '.join(counted) or 'none was expected'}."


def _stopped(line: str) -> str:
    return line if line.endswith((".", "!", "?", "…")) else f"{line}."


def _lock_reason(record: Record) -> str:
    return next(
        (f"{host.name}: {text.brief(host.state_reason)}" for host in record.hosts if host.state_reason),
        "its name is not known",
    )


def _last_known(record: Record) -> str:
    within = [
        f"{host.name} was in {phase.phase}"
        for host in record.hosts
        for phase in host.phases
        if phase.finished is None
    ]
    return f" (last known: {', '.join(within)})" if within else ""
