"""What a scenario says of a deploy path: pure, from what was seen and what the path said."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from switchproof.deploy.contract import Clause, Verdict
from switchproof.deploy.providers.lab.trial.seen import Activation, Ended, Request, System, Witness
from switchproof.trials.emitted import shows_journal, shows_sockets, shows_state
from switchproof.trials.record import Finding, FindingId, Judgement
from switchproof.trials.scenario import MOVED, Scenario, Truth

PATHS: Mapping[str, str] = {"hypervisor": "/login", "live": "/health", "dev": "/health"}
"""What each endpoint must be asked for."""
_NOT_FOUND = {126, 127}
"""Exit codes with which a shell tells that it could not run a command."""


@dataclass(frozen=True)
class Seen:
    """What a judgement is made from.

    Attributes:
        scenario: What was tried.
        ended: How the path ended; two of them for rivals, in the order in which they began.
        witness: What the host saw.
        units: The systemd units behind each of the contract's endpoints.
        limit_s: The time limit.
    """

    scenario: Scenario
    ended: tuple[Ended, ...]
    witness: Witness
    units: Mapping[str, tuple[str, ...]]
    limit_s: float

    @property
    def first(self) -> Ended:
        """The only run of the path, or the first of two."""
        return self.ended[0]


def judge(seen: Seen) -> list[Judgement]:
    """Judge what a scenario examines, clause by clause."""
    match seen.scenario.truth:
        case Truth.GOOD:
            return [_revision(seen), _converge(seen), _hypervisor(seen), _runtime(seen)]
        case Truth.BAD | Truth.HANGS:
            return list(_bad(seen))
        case Truth.REFUSED:
            return list(_refused(seen))
        case Truth.CUT:
            return [_cut(seen)]
        case Truth.IMPOSTOR:
            return [_claim(seen, ended, seen.witness.after) for ended in seen.ended if ended.succeeded]
        case Truth.RIVALS:
            return list(_rivals(seen))


def find(seen: Seen) -> list[Finding]:
    """Find what is not good about the path beyond the contract."""
    return [
        Finding(id=name, scenario=seen.scenario.name, message=message)
        for name, message in (
            *_host_keys(seen),
            *_lock(seen),
            *_rollback(seen),
            *_branch(seen),
            *_secrets(seen),
            *_limit(seen),
            *_left(seen),
        )
    ]


# ---- a good commit --------------------------------------------------------------------------------------------


def _revision(seen: Seen) -> Judgement:
    ended, asked = seen.first, seen.first.asked
    other = [each for each in seen.witness.activations if each.revision not in {asked, seen.witness.before.revision}]
    expected = f"nothing but the commit asked for, {asked}, is activated"
    if other:
        which = ", ".join(_named(each) for each in other)
        return _failed(Clause.REVISION, expected, f"it activated {which}")
    if not _activated(seen, ended):
        return _open(Clause.REVISION, expected, f"nothing was activated: the path {_how(ended, seen)}")
    return _passed(Clause.REVISION, expected, "only that commit was activated")


def _converge(seen: Seen) -> Judgement:
    ended, after = seen.first, seen.witness.after
    if ended.late or (ended.exit_code in _NOT_FOUND and not seen.witness.activations):
        return _open(Clause.CONVERGE, "it is run, ends and says success", f"it {_how(ended, seen)}")
    if not ended.succeeded:
        runs = "and the commit runs" if after.revision == ended.asked else f"and the host runs {_system(after)}"
        expected = "it deploys a good commit and says success"
        return _failed(Clause.CONVERGE, expected, f"it {_how(ended, seen)}, {runs}")
    return _claim(seen, ended, after)


def _claim(seen: Seen, ended: Ended, system: System) -> Judgement:
    """Hold a path's word that its commit was deployed against the system that was there then."""
    expected = f"what runs, what is set and what boots is the system of {ended.asked}, set by nixos-rebuild switch"
    wanted = seen.witness.expected
    if not wanted:
        return _open(Clause.CONVERGE, expected, "the trial could not build that system itself")
    said = "it said success"
    if system.running != wanted:
        return _failed(Clause.CONVERGE, expected, f"{said}, and the host runs {_system(system)}")
    if system.profile != wanted:
        return _failed(
            Clause.CONVERGE, expected, f"{said}, and the system profile points to {system.profile or 'nothing'}"
        )
    if system.boots != wanted:
        return _failed(Clause.CONVERGE, expected, f"{said}, and the host would boot {system.boots or 'nothing'}")
    if not seen.witness.nixos_rebuild:
        return _failed(Clause.CONVERGE, expected, f"{said}, and nixos-rebuild never switched the host")
    return _passed(Clause.CONVERGE, expected, f"{said}, and so it is")


def _hypervisor(seen: Seen) -> Judgement:
    return _probed(seen, Clause.HYPERVISOR, ("hypervisor",))


def _runtime(seen: Seen) -> Judgement:
    return _probed(seen, Clause.RUNTIME, ("live", "dev"))


def _probed(seen: Seen, clause: Clause, endpoints: tuple[str, ...]) -> Judgement:
    """Look for a probe of each endpoint after the activation, in its own log."""
    ended = seen.first
    wanted = " and ".join(f"{PATHS[name]} of {name}" for name in endpoints)
    expected = f"it asks for {wanted} after the activation"
    last = _activated(seen, ended)
    if last is None:
        return _open(clause, expected, f"nothing was activated: the path {_how(ended, seen)}")
    since = last.finished or last.began
    probes = [each for each in seen.witness.requests if since <= each.at <= ended.ended]
    missing = [name for name in endpoints if not any(_is_probe(each, name) for each in probes)]
    if missing and ended.late:
        return _open(clause, expected, f"it {_how(ended, seen)}, and had not asked {' and '.join(missing)} by then")
    if missing:
        return _failed(clause, expected, "; ".join(_unprobed(seen, name, probes) for name in missing))
    first = {name: next(each for each in probes if _is_probe(each, name)) for name in endpoints}
    told = ", ".join(f"{name} {_seconds(each.at, since)} s after it" for name, each in first.items())
    return _passed(clause, expected, f"asked {told}")


def _is_probe(request: Request, endpoint: str) -> bool:
    return request.endpoint == endpoint and request.path.partition("?")[0] == PATHS[endpoint]


def _unprobed(seen: Seen, name: str, probes: list[Request]) -> str:
    """Say what the path asked an endpoint instead."""
    others = {f"{each.method} {each.path}" for each in probes if each.endpoint == name}
    if others:
        return f"{name} was asked for other pages only: {', '.join(sorted(others))}"
    if any(_is_probe(each, name) for each in seen.witness.requests):
        return f"{name} was asked before the activation had finished only"
    return f"{name} was asked nothing"


# ---- a commit that is no good ---------------------------------------------------------------------------------


def _bad(seen: Seen) -> Iterator[Judgement]:
    scenario, ended = seen.scenario, seen.first
    expected = f"it says failure, as {scenario.amiss}"
    if ended.succeeded:
        yield _failed(scenario.clause, expected, f"it said success while {scenario.amiss}")
        return
    if ended.late:
        yield _open(scenario.clause, expected, f"it {_how(ended, seen)}, and had said neither by then")
        return
    if not _activated(seen, ended):
        told = f"it {_how(ended, seen)} before the commit was activated, so this was not what it failed for"
        yield _open(scenario.clause, expected, told)
        yield _open(Clause.DIAGNOSTICS, "a failure after the activation comes with diagnostics", told)
        return
    yield _passed(scenario.clause, expected, f"it {_how(ended, seen)}")
    yield _diagnosed(seen)


def _refused(seen: Seen) -> Iterator[Judgement]:
    scenario, ended, witness = seen.scenario, seen.first, seen.witness
    expected = f"it says failure, as {scenario.amiss}, and changes nothing"
    changes = [
        f"{what} became {_short(after)}"
        for what, before, after in (
            ("what runs", witness.before.running, witness.after.running),
            ("the system profile", witness.before.profile, witness.after.profile),
            ("what boots", witness.before.boots, witness.after.boots),
        )
        if before != after
    ]
    changes += [f"it activated {_named(each)}" for each in witness.activations if not changes]
    if scenario.clause is Clause.REVISION:
        changes += [f"{unit} was stopped or restarted" for unit in witness.restarted if not changes]
    if changes:
        yield _failed(scenario.clause, expected, f"the host was changed: {', '.join(changes)}")
    elif ended.succeeded:
        yield _failed(scenario.clause, expected, f"it said success while {scenario.amiss}")
    elif ended.late:
        yield _open(scenario.clause, expected, f"it {_how(ended, seen)}, and had said neither by then")
        return
    elif ended.exit_code in _NOT_FOUND:
        yield _open(scenario.clause, expected, f"it {_how(ended, seen)}, so this was not what it failed for")
        return
    else:
        yield _passed(scenario.clause, expected, f"it {_how(ended, seen)}, and nothing changed")
    if scenario.diagnosed and not ended.succeeded and not ended.late:
        yield _diagnosed(seen)


def _diagnosed(seen: Seen) -> Judgement:
    """Look in what the path said for the state, the journal and the sockets."""
    text, unit = seen.first.output, seen.scenario.unit
    names = [unit] if unit else list(seen.units)
    units = [each for name in names for each in seen.units[name]]
    words = [seen.witness.words[name] for name in names]
    whose = f"of {unit}" if unit else "of one of the contract's units"
    expected = f"its output holds the state {whose}, its journal, and the sockets"
    have = {
        f"the state {whose} (systemctl)": shows_state(text, units),
        f"the journal {whose} (journalctl)": shows_journal(text, words),
        "the sockets (ss)": shows_sockets(text),
    }
    missing = [what for what, there in have.items() if not there]
    if missing and seen.first.cut:
        return _open(Clause.DIAGNOSTICS, expected, f"not in what is kept of a very long output: {', '.join(missing)}")
    if missing:
        return _failed(Clause.DIAGNOSTICS, expected, f"missing: {', '.join(missing)}")
    return _passed(Clause.DIAGNOSTICS, expected, "all three are there")


# ---- losses and rivals ----------------------------------------------------------------------------------------


def _cut(seen: Seen) -> Judgement:
    ended, after = seen.first, seen.witness.after
    if not seen.witness.cut:
        told = f"no activation began that could be cut: the path {_how(ended, seen)}"
        return _open(Clause.CONVERGE, "it goes on or says failure", told)
    if ended.late:
        return _open(Clause.CONVERGE, "it goes on or says failure", f"it {_how(ended, seen)}")
    if ended.succeeded:
        return _claim(seen, ended, after)
    return _passed(
        Clause.CONVERGE, "it says success only if it is so", f"it {_how(ended, seen)}; the host runs {_system(after)}"
    )


def _rivals(seen: Seen) -> Iterator[Judgement]:
    expected = "who says success has deployed the system that runs then, and that is set and boots at the end"
    if not any(ended.succeeded for ended in seen.ended):
        told = f"neither said success: the first {', the second '.join(_how(ended, seen) for ended in seen.ended)}"
        tried = seen.witness.activations and not any(ended.late for ended in seen.ended)
        yield (_passed if tried else _open)(Clause.CONVERGE, expected, told)
        return
    for number, ended in zip(("first", "second"), seen.ended, strict=True):
        if not ended.succeeded:
            continue
        if other := _overtaken(seen, ended):
            told = f"the {number} said success for {_short(ended.asked)}, and what it looked at was {_named(other)}"
            yield _failed(Clause.CONVERGE, expected, told)
    last = max((ended for ended in seen.ended if ended.succeeded), key=lambda ended: ended.ended)
    after = seen.witness.after
    if after.revision != last.asked or not after.whole:
        told = (
            f"{_short(last.asked)} was said to be deployed last, and in the end {_short(after.revision)} runs, "
            f"{_short(after.profile)} is set and {_short(after.boots)} boots"
        )
        yield _failed(Clause.CONVERGE, expected, told)
    else:
        yield _passed(Clause.CONVERGE, expected, f"the host is of {_short(last.asked)}, which was said last")


def _overtaken(seen: Seen, ended: Ended) -> Activation | None:
    """Return the other's activation that came between a path's own and the last probe before its end.

    An activation after the last probe does not count: who waited for a lock may begin before the first has ended.
    """
    began = [each for each in seen.witness.activations if each.began <= ended.ended]
    if not began or began[-1].revision == ended.asked:
        return None
    probed = any(began[-1].began <= each.at <= ended.ended for each in seen.witness.requests)
    return began[-1] if probed else None


# ---- beyond the contract --------------------------------------------------------------------------------------

_Found = Iterator[tuple[FindingId, str]]


def _host_keys(seen: Seen) -> _Found:
    if seen.scenario.truth is Truth.IMPOSTOR and seen.witness.logins:
        yield FindingId.HOST_KEYS, "it logged in to a host whose key is not the known one"


def _lock(seen: Seen) -> _Found:
    if seen.scenario.truth is not Truth.RIVALS:
        return
    first, second = seen.ended
    ours = [each for each in seen.witness.activations if each.revision == first.asked]
    theirs = [each for each in seen.witness.activations if each.revision == second.asked]
    if any(each.began < first.ended for each in theirs) and any(each.began < second.ended for each in ours):
        yield FindingId.LOCK, "the second deploy switched the host while the first was still at work"
    elif not seen.witness.after.whole:
        yield FindingId.LOCK, "two deploys left the host between two systems"


def _rollback(seen: Seen) -> _Found:
    before, after = seen.witness.before, seen.witness.after
    if seen.first.succeeded or seen.scenario.truth in {Truth.RIVALS, Truth.GOOD, Truth.IMPOSTOR}:
        return
    if seen.scenario.truth is Truth.CUT:
        if not after.whole:
            yield FindingId.ROLLBACK, f"after the cut the host runs {_system(after)}, and boots another system"
    elif after.running != before.running or after.boots != before.boots:
        yield FindingId.ROLLBACK, f"it failed, and the host was left running {_system(after)}"


def _branch(seen: Seen) -> _Found:
    if seen.scenario.name == MOVED:
        asked = seen.first.asked
        others = [each for each in seen.witness.checkouts if each not in {asked, seen.witness.before.revision}]
        if others:
            yield FindingId.BRANCH, f"the checkout on the host followed the branch to {_short(others[-1])}"


def _secrets(seen: Seen) -> _Found:
    for told in seen.witness.exposed:
        yield FindingId.SECRETS, told


def _limit(seen: Seen) -> _Found:
    if any(ended.late for ended in seen.ended):
        yield FindingId.LIMIT, f"it had not ended after {seen.limit_s:g} s"


def _left(seen: Seen) -> _Found:
    for process in seen.witness.leftovers:
        yield FindingId.LEFTOVERS, f"on the {process.where}: `{process.command}`"


# ---- words ----------------------------------------------------------------------------------------------------


def _activated(seen: Seen, ended: Ended) -> Activation | None:
    """Return the last activation of the commit that was asked for."""
    return next((each for each in reversed(seen.witness.activations) if each.revision == ended.asked), None)


def _how(ended: Ended, seen: Seen) -> str:
    if ended.late:
        return f"had not ended after {seen.limit_s:g} s (--subject-timeout)"
    if ended.exit_code in _NOT_FOUND:
        return f"ended with exit code {ended.exit_code}, as a shell does that cannot run a command"
    return f"ended with exit code {ended.exit_code}"


def _named(each: Activation) -> str:
    return f"{_short(each.revision)} ({each.toplevel})" if each.revision else each.toplevel


def _system(system: System) -> str:
    return f"{_short(system.revision) or 'a system of no commit'} ({system.running})"


def _short(text: str) -> str:
    return text[:12] if len(text) == 40 else text  # noqa: PLR2004 - a commit


def _seconds(at: dt.datetime, since: dt.datetime) -> str:
    return f"{(at - since).total_seconds():.1f}"


def _passed(clause: Clause, expected: str, seen: str) -> Judgement:
    return Judgement(clause=clause, verdict=Verdict.PASSED, expected=expected, seen=seen)


def _failed(clause: Clause, expected: str, seen: str) -> Judgement:
    return Judgement(clause=clause, verdict=Verdict.FAILED, expected=expected, seen=seen)


def _open(clause: Clause, expected: str, seen: str) -> Judgement:
    return Judgement(clause=clause, verdict=Verdict.INCONCLUSIVE, expected=expected, seen=seen)
