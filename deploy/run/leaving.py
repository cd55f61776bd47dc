"""Derives the state in which a run leaves a host (pure)."""

from __future__ import annotations

import msgspec

from switchproof.deploy.contract import HostState, Verdict


def audited_state(verdict: Verdict) -> tuple[HostState, str]:
    """Return the state of an audited host, and the reason as a sentence.

    Args:
        verdict: The verdict of the audit on this host.
    """
    if verdict.accepted:
        but = "" if verdict is Verdict.PASSED else ", except those waived"
        return HostState.FOUND_HEALTHY, f"Every clause passed{but}; nothing was changed."
    if verdict is Verdict.FAILED:
        return HostState.FOUND_UNHEALTHY, "Not every clause passed; nothing was changed."
    return HostState.UNKNOWN, "Not every clause could be checked; nothing was changed."


class Departure(msgspec.Struct, frozen=True):
    """Everything that decides a host's state.

    Attributes:
        verdict: The verdict of the run on this host.
        back: The verdict of the restored system; None if none was to be restored.
        kept: Whether the host has confirmed that it keeps the new system.
        returned: Whether the host went back by itself.
        same: Whether the last observation shows the system and profile from before the run.
        running: The system that it runs, by the last observation.
    """

    verdict: Verdict
    back: Verdict | None
    kept: bool
    returned: bool
    same: bool
    running: str

    @property
    def state(self) -> tuple[HostState, str]:
        """The state, and the reason as a sentence."""
        if self.verdict.accepted and self.kept:
            held = "passed" if self.verdict is Verdict.PASSED else "passed, except those waived"
            return HostState.CONVERGED, f"Every clause {held}, and the host keeps the system."
        if self.back is not None and self.back.accepted and self.same:
            how = " by itself" if self.returned else ""
            but = "" if self.back is Verdict.PASSED else ", except those waived"
            return (
                HostState.ROLLED_BACK,
                f"The host went back{how}: the earlier system is restored and passed every clause{but}.",
            )
        if self.back is not None and self.back.accepted:
            changed = "the host changed after that: its system, profile or programs differ from before the run"
            return (
                HostState.UNSAFE,
                f"The earlier system passed every clause, but {changed}. It runs {self.running}.",
            )
        if self.back is not None:
            return HostState.UNSAFE, "The earlier system was to be restored, but did not pass every clause."
        if self.returned:
            return HostState.UNKNOWN, f"The host went back by itself and runs {self.running}, which was not verified."
        if self.same:
            return (
                HostState.UNCHANGED,
                "The host runs the same system as before the run, and its system profile is unchanged.",
            )
        if self.verdict is Verdict.FAILED:
            return HostState.UNSAFE, f"The host was switched to {self.running}, which did not pass every clause."
        return HostState.UNKNOWN, f"The host was switched to {self.running}, but not every clause could be checked."
