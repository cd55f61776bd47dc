"""Holds what was seen in a scenario, and phrases it for judgements."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from switchproof.deploy.providers.lab.trial.seen import Activation, Ended, System, Witness
from switchproof.trials.record import Cause
from switchproof.trials.scenario import Scenario

NOT_FOUND = frozenset({126, 127})
"""Exit codes with which a shell reports that it could not run a command."""
_COMMIT = 40
"""Characters of a full commit."""


class Seen(msgspec.Struct, frozen=True):
    """What was seen in a scenario, from which judgements are made.

    Attributes:
        scenario: The scenario.
        ended: The runs of the path; two for rivals, in the order in which they began.
        witness: The host's account.
        units: The systemd units behind each of the contract's endpoints.
        limit_s: The time limit of the path, in seconds.
        first_by_path: Whether the path itself deployed the system that the host had before.
        fails_anyway: Whether the path activated a good commit in another scenario, and reported failure for it.
    """

    scenario: Scenario
    ended: tuple[Ended, ...]
    witness: Witness
    units: Mapping[str, tuple[str, ...]]
    limit_s: float
    first_by_path: bool = False
    fails_anyway: bool = False

    @property
    def first(self) -> Ended:
        """The only run of the path, or the first of two."""
        return self.ended[0]

    @property
    def others(self) -> tuple[Activation, ...]:
        """Activations of systems that were neither requested nor there before."""
        known = {self.witness.before.revision, *(ended.asked for ended in self.ended)}
        return tuple(each for each in self.witness.activations if each.revision not in known)

    def activation(self, ended: Ended) -> Activation | None:
        """Return the last activation of the requested commit."""
        return next((each for each in reversed(self.witness.activations) if each.revision == ended.asked), None)

    def ran(self, ended: Ended) -> bool:
        """Whether the requested commit ran, after a switch or a reboot."""
        return self.activation(ended) is not None or self.witness.after.revision == ended.asked

    def unshown(self, ended: Ended) -> tuple[Cause, str] | None:
        """Return why this run shows nothing about its commit; None if the commit ran."""
        if self.ran(ended):
            return None
        if self.witness.limits:
            return Cause.LAB, f"the lab cannot do what the path asked for: {self.witness.limits[0]}"
        if ended.exit_code in NOT_FOUND and not self.witness.activations:
            return Cause.CANNOT_RUN, f"it {how(ended, self.limit_s)}"
        if self.others:
            return Cause.OTHER_COMMIT, f"it activated {named(self.others)}, not the requested commit"
        return Cause.NOT_ACTIVATED, f"it {how(ended, self.limit_s)}, and the requested commit was never activated"


def how(ended: Ended, limit_s: float) -> str:
    """Return how a run of the path ended, as a predicate after "it"."""
    if ended.late:
        return f"did not end within {limit_s:g} s (--subject-timeout)"
    if ended.exit_code in NOT_FOUND:
        return f"ended with exit code {ended.exit_code}, the exit code of a shell that cannot run a command"
    return f"ended with exit code {ended.exit_code}"


def named(activations: tuple[Activation, ...]) -> str:
    """Return the commits of activated systems, each once."""
    return ", ".join(dict.fromkeys(commit(each.revision, each.toplevel) for each in activations))


def commit(revision: str, path: str) -> str:
    """Return the short commit of a system, or its path if it has none."""
    return short(revision) if revision else f"a system without a commit ({path or 'none'})"


def state(system: System) -> str:
    """Return what a host runs, its profile and its boot default, as a predicate after "the host"."""
    runs = commit(system.revision, system.running)
    if system.whole:
        return f"runs {runs}"
    is_set = commit(system.profile_revision, system.profile)
    boots = commit(system.boots_revision, system.boots)
    return f"runs {runs}, has the profile {is_set} and boots {boots}"


def short(text: str) -> str:
    """Return a full commit shortened, and any other text unchanged."""
    return text[:12] if len(text) == _COMMIT else text
