"""Observations of a deploy path on trial, on the host and beside it, as typed data (pure)."""

from __future__ import annotations

import datetime as dt

import msgspec


class System(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a host at one time.

    Attributes:
        running: Toplevel of the running system.
        profile: Toplevel of the system profile, or the one that its folder of links was made from.
        boots: Toplevel of the next boot.
        generation: Number of the profile's current generation.
        revision: Commit that the running system reports.
        profile_revision: Commit of the profile's system.
        boots_revision: Commit of the system of the next boot.
        wrapper: The target of the profile if it is a folder of links to a toplevel; else empty.
    """

    running: str
    profile: str
    boots: str
    generation: str
    revision: str
    profile_revision: str = ""
    boots_revision: str = ""
    wrapper: str = ""

    @property
    def whole(self) -> bool:
        """Whether the running, the set and the booting system are the same."""
        return self.running == self.profile == self.boots


class Activation(msgspec.Struct, frozen=True, kw_only=True):
    """A switch of the host to a system, as switch-to-configuration logged it.

    Attributes:
        began: When it began.
        finished: When it reported its end or its failure; None if it never did.
        toplevel: The system.
        revision: Commit of this system.
        failed: The exit status of a failure that it reported; else None.
    """

    began: dt.datetime
    finished: dt.datetime | None
    toplevel: str
    revision: str
    failed: int | None = None


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP request that one of the host's programs answered and logged.

    Attributes:
        endpoint: `hypervisor`, `live` or `dev`.
        at: When it was logged.
        method: The HTTP method.
        path: The requested path.
        status: The status of the answer.
    """

    endpoint: str
    at: dt.datetime
    method: str
    path: str
    status: str


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """A process that the path left running.

    Attributes:
        where: `runner`, or `host`.
        pid: Its process id there.
        command: Its command line.
    """

    where: str
    pid: int
    command: str


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """The end of the path itself.

    Attributes:
        asked: The commit that it was asked to deploy.
        began: When it was started.
        ended: When it ended, or was killed at its time limit.
        exit_code: Its exit code; None if it was killed.
        output: Its output and artifacts; the middle of a very long text is cut.
        cut: Whether a part of the output is missing.
    """

    asked: str
    began: dt.datetime
    ended: dt.datetime
    exit_code: int | None
    output: str
    cut: bool = False

    @property
    def late(self) -> bool:
        """Whether it was killed at the time limit."""
        return self.exit_code is None

    @property
    def succeeded(self) -> bool:
        """Whether it reported success."""
        return self.exit_code == 0


class Witness(msgspec.Struct, frozen=True, kw_only=True):
    """All observations of one scenario.

    Attributes:
        before: The state of the host before.
        after: The state of the host when nothing changed any more.
        expected: The system of the requested commit, built by the trial itself; empty if it cannot be built.
        activations: Every switch, in order.
        nixos_rebuild: Whether nixos-rebuild made one of them.
        requests: The requests to the endpoints, in order.
        restarted: The contract's units that stopped or were restarted.
        logins: The number of successful SSH logins.
        checkouts: The commits that the host's checkout was set to meanwhile.
        leftovers: Processes that still ran after the path's end.
        exposed: Secrets that appeared in a command line, with the process.
        words: The random words that each unit logged.
        cut: Whether the connection was really cut, in a scenario that does so.
        limits: Requests that a stand-in of the lab cannot serve, although the real program can.
    """

    before: System
    after: System
    expected: str = ""
    activations: tuple[Activation, ...] = ()
    nixos_rebuild: bool = False
    requests: tuple[Request, ...] = ()
    restarted: tuple[str, ...] = ()
    logins: int = 0
    checkouts: tuple[str, ...] = ()
    leftovers: tuple[Process, ...] = ()
    exposed: tuple[str, ...] = ()
    words: dict[str, str] = {}
    cut: bool = False
    limits: tuple[str, ...] = ()
