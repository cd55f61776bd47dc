"""Judges a deploy path in one scenario, from what was seen and what the path reported (pure)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from switchproof.deploy.contract import Clause, Verdict
from switchproof.deploy.providers.lab.trial.seen import Activation, Ended, Request, System
from switchproof.trials import output
from switchproof.trials.case import NOT_FOUND, Seen, commit, how, named, short, state
from switchproof.trials.emitted import shows_journal, shows_sockets, shows_state
from switchproof.trials.record import Cause, Judgement
from switchproof.trials.scenario import Truth

PATHS: Mapping[str, str] = {"hypervisor": "/login", "live": "/health", "dev": "/health"}
"""The page that a probe of each endpoint must request."""
LOG_DELAY_S = 2.0
"""Seconds by which a program's log may follow its answer, so that a path's last probe still counts."""


def judge(seen: Seen) -> list[Judgement]:
    """Return the judgements of the clauses that a scenario examines."""
    match seen.scenario.truth:
        case Truth.GOOD:
            return [_revision(seen), _converge(seen), _hypervisor(seen), _runtime(seen)]
        case Truth.BAD | Truth.HANGS:
            return [*_other_commit(seen), *_bad(seen)]
        case Truth.REFUSED if seen.scenario.clause is Clause.REVISION:
            return list(_refused(seen))
        case Truth.REFUSED:
            return [*_other_commit(seen), *_refused(seen)]
        case Truth.CUT:
            return [*_other_commit(seen), _cut(seen)]
        case Truth.IMPOSTOR:
            return [_impostor(seen)]
        case Truth.RIVALS:
            return [*_other_commit(seen), *_rivals(seen)]


# ---- a good commit --------------------------------------------------------------------------------------------


def _other_commit(seen: Seen) -> Iterator[Judgement]:
    """Judge clause `revision` if another commit was activated, whatever the scenario examines."""
    if seen.others:
        asked = " or ".join(short(ended.asked) for ended in seen.ended)
        expected = f"only the requested commit, {asked}, is activated"
        activated = f"it activated {named(seen.others)}"
        yield _failed(Clause.REVISION, expected, activated, Cause.OTHER_COMMIT)


def _revision(seen: Seen) -> Judgement:
    if others := list(_other_commit(seen)):
        return others[0]
    expected = f"only the requested commit, {short(seen.first.asked)}, is activated"
    if unshown := seen.unshown(seen.first):
        return _open(Clause.REVISION, expected, *unshown)
    return _passed(Clause.REVISION, expected, "only that commit was activated")


def _converge(seen: Seen) -> Judgement:
    ended, after = seen.first, seen.witness.after
    unshown = seen.unshown(ended)
    if ended.late or (unshown and unshown[0] in {Cause.LAB, Cause.CANNOT_RUN}):
        why = unshown or (None, "")
        ending = f"it {how(ended, seen.limit_s)}" if ended.late else why[1]
        return _open(Clause.CONVERGE, "it runs, ends and reports success", why[0], ending)
    if not ended.succeeded:
        runs = "and the commit runs" if after.revision == ended.asked else f"and the host {state(after)}"
        runs += ", after the commit had been activated" if after.revision != ended.asked and not unshown else ""
        expected = "it deploys a good commit and reports success"
        return _failed(Clause.CONVERGE, expected, f"it {how(ended, seen.limit_s)}, {runs}")
    return _claim(seen, ended, after)


def _claim(seen: Seen, ended: Ended, system: System) -> Judgement:
    """Compare a reported success with the system that the host had at that time."""
    asked = short(ended.asked)
    expected = (
        f"the running system, the profile and the boot default are that of {asked}, set by nixos-rebuild switch"
    )
    wanted = seen.witness.expected
    if not wanted:
        return _open(Clause.CONVERGE, expected, None, "the trial could not build that system itself")
    for path, revision, subject in (
        (system.running, system.revision, "the host runs"),
        (system.profile, system.profile_revision, "the system profile points to"),
        (system.boots, system.boots_revision, "the host would boot"),
    ):
        if path != wanted:
            which = f"another system of {asked} ({path})" if revision == ended.asked else commit(revision, path)
            return _failed(Clause.CONVERGE, expected, f"it reported success, but {subject} {which}")
    if not seen.witness.nixos_rebuild:
        partly = (
            "it reported success, and the right system runs, is the profile and boots, "
            "but nixos-rebuild did not switch to it"
        )
        return replace(_failed(Clause.CONVERGE, expected, partly), letter=True)
    return _passed(Clause.CONVERGE, expected, "it reported success, and that is true")


def _hypervisor(seen: Seen) -> Judgement:
    return _probed(seen, Clause.HYPERVISOR, ("hypervisor",))


def _runtime(seen: Seen) -> Judgement:
    return _probed(seen, Clause.RUNTIME, ("live", "dev"))


def _probed(seen: Seen, clause: Clause, endpoints: tuple[str, ...]) -> Judgement:
    """Judge whether each endpoint's own log has a probe after the activation."""
    ended = seen.first
    wanted = " and ".join(f"{PATHS[name]} of {name}" for name in endpoints)
    expected = f"it asks for {wanted} after the activation"
    if unshown := seen.unshown(ended):
        return _open(clause, expected, *unshown)
    last = seen.activation(ended)
    if last is None:
        return _open(clause, expected, None, "the commit runs, but no switch to it was seen, so its time is unknown")
    since = last.finished or last.began
    until = ended.ended + dt.timedelta(seconds=LOG_DELAY_S)
    probes = [each for each in seen.witness.requests if since <= each.at <= until]
    missing = [name for name in endpoints if not any(_is_probe(each, name) for each in probes)]
    if missing and ended.late:
        ending = f"it {how(ended, seen.limit_s)}, and had not probed {' and '.join(missing)} by then"
        return _open(clause, expected, None, ending)
    if missing:
        return _failed(clause, expected, "; ".join(_unprobed(seen, name, probes, last) for name in missing))
    first = {name: next(each for each in probes if _is_probe(each, name)) for name in endpoints}
    times = ", ".join(f"{name} {_seconds(each.at, since)} s after it" for name, each in first.items())
    return _passed(clause, expected, f"asked {times}")


def _is_probe(request: Request, endpoint: str) -> bool:
    return request.endpoint == endpoint and request.path.partition("?")[0] == PATHS[endpoint]


def _unprobed(seen: Seen, name: str, probes: list[Request], last: Activation) -> str:
    """Return which other pages of an endpoint the path requested, or at which other time."""
    others = {f"{each.method} {each.path}" for each in probes if each.endpoint == name}
    if others:
        return f"{name} was asked only for other pages: {', '.join(sorted(others))}"
    times = [each.at for each in seen.witness.requests if _is_probe(each, name)]
    when = list(dict.fromkeys(_when(at, last) for at in times))
    return f"{name} was asked {' and '.join(when)} only" if when else f"{name} was not asked"


def _when(at: dt.datetime, last: Activation) -> str:
    """Return the time of a request relative to the last activation and the path's end."""
    if at < last.began:
        return "before the activation"
    if last.finished is not None and at < last.finished:
        return "during the activation"
    return "after the path's end"


# ---- a bad commit ---------------------------------------------------------------------------------------------


def _bad(seen: Seen) -> Iterator[Judgement]:
    scenario, ended = seen.scenario, seen.first
    expected = f"it reports failure, because {scenario.amiss}"
    if ended.late:
        ending = f"it {how(ended, seen.limit_s)}, and had reported neither success nor failure by then"
        yield _open(scenario.clause, expected, None, ending)
    elif unshown := seen.unshown(ended):
        yield _open(scenario.clause, expected, *unshown)
        if not ended.succeeded:
            yield _open(Clause.DIAGNOSTICS, "a failure after the activation comes with diagnostics", *unshown)
    elif ended.succeeded:
        runs = seen.witness.after.revision == ended.asked
        ending = f" while {scenario.amiss}" if runs else f", but the host {state(seen.witness.after)}"
        yield _failed(scenario.clause, expected, f"it reported success{ending}")
    else:
        ending = f"it {how(ended, seen.limit_s)}"
        if seen.fails_anyway:
            yield _open(scenario.clause, expected, Cause.FAILS_ANYWAY, f"{ending}, as it did for a good commit")
        else:
            yield _passed(scenario.clause, expected, ending)
        yield _diagnosed(seen)


def _refused(seen: Seen) -> Iterator[Judgement]:
    scenario, ended = seen.scenario, seen.first
    expected = f"it reports failure, because {scenario.amiss}, and changes nothing"
    unshown = seen.unshown(ended)
    cause = unshown[0] if unshown else None
    changes = _changes(seen)
    if scenario.clause is Clause.REVISION:
        changes += _activated(seen) if not changes else []
        changes += [f"{unit} was stopped or restarted" for unit in seen.witness.restarted if not changes]
    elif unshown and cause is Cause.OTHER_COMMIT:
        yield _open(scenario.clause, expected, *unshown)
        return
    if changes:
        why = Cause.OTHER_COMMIT if seen.others else None
        yield _failed(scenario.clause, expected, f"the host was changed: {', '.join(changes)}", why)
    elif unshown and cause in {Cause.LAB, Cause.CANNOT_RUN}:
        yield _open(scenario.clause, expected, *unshown)
        return
    elif ended.late:
        ending = f"it {how(ended, seen.limit_s)}, and had reported neither success nor failure by then"
        yield _open(scenario.clause, expected, None, ending)
        return
    elif ended.succeeded:
        yield _failed(scenario.clause, expected, f"it reported success while {scenario.amiss}")
    else:
        yield _passed(scenario.clause, expected, f"it {how(ended, seen.limit_s)}, and nothing changed")
    if scenario.diagnosed and not ended.succeeded and not ended.late:
        yield _diagnosed(seen)


def _changes(seen: Seen) -> list[str]:
    """Return which system of the host is another than before."""
    before, after = seen.witness.before, seen.witness.after
    return [
        f"{what} became {commit(revision, path)}"
        for what, was, path, revision in (
            ("the running system", before.running, after.running, after.revision),
            ("the system profile", before.profile, after.profile, after.profile_revision),
            ("the boot default", before.boots, after.boots, after.boots_revision),
        )
        if was != path
    ]


def _activated(seen: Seen) -> list[str]:
    """Return the activations in between."""
    return [f"it activated {named((each,))}" for each in seen.witness.activations]


def _diagnosed(seen: Seen) -> Judgement:
    """Judge whether the path's output has the unit's state, its journal and the sockets."""
    text, unit, beside = output.readable(seen.first.output), seen.scenario.unit, seen.scenario.beside
    names = [unit] if unit else list(seen.units)
    units = [each for name in names for each in seen.units[name]]
    log_texts = [seen.witness.words[name] for name in names]
    of_unit = f"of {unit}" if unit else "of one of the contract's units"
    if beside:
        units.append(f"{beside}.service")
        log_texts.append(seen.witness.words[beside])
        of_unit = f"of {beside} or {of_unit.removeprefix('of ')}"
    expected = f"its output has the state {of_unit}, its journal, and the sockets"
    have = {
        f"the state {of_unit} (systemctl)": shows_state(text, units),
        f"the journal {of_unit} with its own lines (journalctl)": shows_journal(text, log_texts),
        "the sockets (ss)": shows_sockets(text),
    }
    missing = [what for what, there in have.items() if not there]
    if missing and seen.first.cut:
        incomplete = f"not in the kept part of a very long output: {', '.join(missing)}"
        return _open(Clause.DIAGNOSTICS, expected, None, incomplete)
    if missing:
        return _failed(Clause.DIAGNOSTICS, expected, f"missing: {', '.join(missing)}")
    return _passed(Clause.DIAGNOSTICS, expected, "all three are in the output")


# ---- losses, impostors and rivals -----------------------------------------------------------------------------


def _cut(seen: Seen) -> Judgement:
    ended, after = seen.first, seen.witness.after
    unshown = seen.unshown(ended)
    if not seen.witness.cut:
        cause, ending = unshown or (None, f"it {how(ended, seen.limit_s)}")
        return _open(
            Clause.CONVERGE, "it continues or reports failure", cause, f"no activation could be cut: {ending}"
        )
    if unshown and unshown[0] is Cause.OTHER_COMMIT:
        return _open(Clause.CONVERGE, "it continues or reports failure", *unshown)
    if ended.late:
        return _open(Clause.CONVERGE, "it continues or reports failure", None, f"it {how(ended, seen.limit_s)}")
    if ended.succeeded:
        return _claim(seen, ended, after)
    ending = f"it {how(ended, seen.limit_s)}; the host {state(after)}"
    return _passed(Clause.CONVERGE, "it reports success only if that is true", ending)


def _impostor(seen: Seen) -> Judgement:
    ended, witness = seen.first, seen.witness
    expected = "nothing is done to a host with an unknown key"
    changes = _changes(seen) or _activated(seen)
    changes += [f"{unit} was stopped or restarted" for unit in witness.restarted if not changes]
    changes += [f"its checkout was set to {short(each)}" for each in witness.checkouts[-1:] if not changes]
    if changes:
        return _failed(Clause.CONVERGE, expected, f"the host was changed: {', '.join(changes)}")
    if witness.limits or ended.exit_code in NOT_FOUND:
        cause, ending = seen.unshown(ended) or (None, f"it {how(ended, seen.limit_s)}")
        return _open(Clause.CONVERGE, expected, cause, ending)
    if ended.late:
        return _open(Clause.CONVERGE, expected, None, f"it {how(ended, seen.limit_s)}")
    if ended.succeeded:
        return _failed(Clause.CONVERGE, expected, "it reported success, and nothing was done")
    return _passed(Clause.CONVERGE, expected, f"it {how(ended, seen.limit_s)}, and nothing was done")


def _rivals(seen: Seen) -> Iterator[Judgement]:
    expected = (
        "the host runs the commit of each reported success at that time; the last one is also its profile and boots"
    )
    if not any(ended.succeeded for ended in seen.ended):
        ends = ", the second ".join(how(ended, seen.limit_s) for ended in seen.ended)
        outcome = f"neither reported success: the first {ends}"
        if seen.witness.activations and not any(ended.late for ended in seen.ended):
            yield _passed(Clause.CONVERGE, expected, outcome)
        else:
            cause, _ = seen.unshown(seen.first) or (None, "")
            yield _open(Clause.CONVERGE, expected, cause, outcome)
        return
    for number, ended in zip(("first", "second"), seen.ended, strict=True):
        if not ended.succeeded:
            continue
        if other := _overtaken(seen, ended):
            outcome = (
                f"the {number} reported success for {short(ended.asked)}, but its last probes saw {named((other,))}"
            )
            yield _failed(Clause.CONVERGE, expected, outcome)
    last = max((ended for ended in seen.ended if ended.succeeded), key=lambda ended: ended.ended)
    after = seen.witness.after
    if after.revision != last.asked or not after.whole:
        outcome = f"success was reported last for {short(last.asked)}, but in the end the host {state(after)}"
        yield _failed(Clause.CONVERGE, expected, outcome, None if seen.ran(last) else Cause.OTHER_COMMIT)
    else:
        yield _passed(
            Clause.CONVERGE, expected, f"the host runs {short(last.asked)}, for which success was reported last"
        )


def _overtaken(seen: Seen, ended: Ended) -> Activation | None:
    """Return the rival's activation between a path's own and its last probe.

    An activation after the last probe does not count: a path that waited for a lock may begin before the first ends.
    """
    began = [each for each in seen.witness.activations if each.began <= ended.ended]
    if not began or began[-1].revision == ended.asked or not seen.ran(ended):
        return None
    probed = any(began[-1].began <= each.at <= ended.ended for each in seen.witness.requests)
    return began[-1] if probed else None


# ---- judgements -----------------------------------------------------------------------------------------------


def _seconds(at: dt.datetime, since: dt.datetime) -> str:
    return f"{(at - since).total_seconds():.1f}"


def _passed(clause: Clause, expected: str, seen: str) -> Judgement:
    return Judgement(clause=clause, verdict=Verdict.PASSED, expected=expected, seen=seen)


def _failed(clause: Clause, expected: str, seen: str, cause: Cause | None = None) -> Judgement:
    return Judgement(clause=clause, verdict=Verdict.FAILED, expected=expected, seen=seen, cause=cause)


def _open(clause: Clause, expected: str, cause: Cause | None, seen: str) -> Judgement:
    return Judgement(clause=clause, verdict=Verdict.INCONCLUSIVE, expected=expected, seen=seen, cause=cause)
