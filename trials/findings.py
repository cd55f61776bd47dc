"""Finds weaknesses of a deploy path outside the contract, which change no verdict (pure)."""

from __future__ import annotations

from collections.abc import Iterator

from switchproof.deploy.providers.lab.trial.seen import Activation
from switchproof.trials import output
from switchproof.trials.case import Seen, short, state
from switchproof.trials.record import Finding, FindingId
from switchproof.trials.scenario import MOVED, Truth

_Found = Iterator[tuple[FindingId, str]]


def find(seen: Seen) -> list[Finding]:
    """Return the weaknesses of a path outside the contract."""
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


def _host_keys(seen: Seen) -> _Found:
    if seen.scenario.truth is Truth.IMPOSTOR and seen.witness.logins:
        yield FindingId.HOST_KEYS, "it logged in to a host with an unknown key"


def _lock(seen: Seen) -> _Found:
    if seen.scenario.truth is not Truth.RIVALS:
        return
    first, second = seen.ended
    ours = _activations(seen, first.asked)
    theirs = _activations(seen, second.asked)
    if any(each.began < first.ended for each in theirs) and any(each.began < second.ended for each in ours):
        yield FindingId.LOCK, "the second deploy switched the host while the first was still running"
    elif not seen.witness.after.whole:
        yield FindingId.LOCK, f"two deploys left the host between two systems: it {state(seen.witness.after)}"


def _activations(seen: Seen, commit: str) -> list[Activation]:
    return [each for each in seen.witness.activations if each.revision == commit]


def _rollback(seen: Seen) -> _Found:
    """Find a failed path that left the failed system on the host, and compare what it reported about a rollback."""
    before, after = seen.witness.before, seen.witness.after
    if seen.first.succeeded or seen.scenario.truth in {Truth.RIVALS, Truth.GOOD, Truth.IMPOSTOR}:
        return
    if not seen.ran(seen.first) and seen.others:
        return  # the failed system never ran
    back = after.running == before.running and after.boots == before.boots
    if back or (seen.scenario.truth is Truth.CUT and after.whole):
        return
    left = f"the host {state(after)}"
    claim = output.reported_rollback(seen.first.output)
    if claim is not None and claim.done:
        yield FindingId.UNTRUE, f"it reported {claim.line!r}, but {left}"
    elif claim is not None and not seen.first_by_path:
        yield (
            FindingId.ROLLBACK_OPEN,
            f"it reported {claim.line!r}, but {left}; it had not deployed {short(before.revision)}",
        )
    elif seen.scenario.truth is Truth.CUT:
        yield FindingId.ROLLBACK, f"after the cut {left}"
    else:
        yield FindingId.ROLLBACK, f"it failed, and {left}"


def _branch(seen: Seen) -> _Found:
    if seen.scenario.name == MOVED:
        known = {seen.first.asked, seen.witness.before.revision}
        if others := [each for each in seen.witness.checkouts if each not in known]:
            yield FindingId.BRANCH, f"the checkout on the host followed the branch to {short(others[-1])}"


def _secrets(seen: Seen) -> _Found:
    for exposure in seen.witness.exposed:
        yield FindingId.SECRETS, exposure


def _limit(seen: Seen) -> _Found:
    if any(ended.late for ended in seen.ended):
        yield FindingId.LIMIT, f"it did not end within {seen.limit_s:g} s"


def _left(seen: Seen) -> _Found:
    for process in seen.witness.leftovers:
        yield FindingId.LEFTOVERS, f"on the {process.where}: `{process.command}`"
