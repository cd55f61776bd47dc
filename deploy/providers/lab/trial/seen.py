"""What was seen of a deploy path on trial, on the host and beside it, as typed data."""

from __future__ import annotations

import datetime as dt

import msgspec


class System(msgspec.Struct, frozen=True, kw_only=True):
    """What a host was at one time.

    Attributes:
        running: Toplevel of what runs.
        profile: Toplevel that the system profile points to, or that the folder of links there was made from.
        boots: Toplevel that the host would boot.
        generation: Number of the profile's newest link that is set.
        revision: Commit that the running system says it was built from.
        profile_revision: Commit of what the profile points to.
        boots_revision: Commit of what the host would boot.
        wrapper: What the profile itself points to, where that is a folder of links to a toplevel; empty if not.
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
        """Whether what runs, what is set and what boots are one system."""
        return self.running == self.profile == self.boots


class Activation(msgspec.Struct, frozen=True, kw_only=True):
    """A switch of the host to a system, as switch-to-configuration told the journal.

    Attributes:
        began: When it began.
        finished: When it told that it had finished, None if it never did.
        toplevel: The system.
        revision: Commit that this system was built from.
    """

    began: dt.datetime
    finished: dt.datetime | None
    toplevel: str
    revision: str


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP request that one of the host's programs answered, as it logged it.

    Attributes:
        endpoint: `hypervisor`, `live` or `dev`.
        at: When it was logged.
        method: Of HTTP.
        path: What was asked for.
        status: What was answered.
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
        pid: Its number there.
        command: Its command line.
    """

    where: str
    pid: int
    command: str


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How the path itself ended.

    Attributes:
        asked: The commit that it was asked to deploy.
        began: When it was started.
        ended: When it had ended, or was ended at its time limit.
        exit_code: Its exit code; None if it was ended.
        output: What it said and left in its folder for artifacts, cut in the middle if it is very long.
        cut: Whether something of that is missing.
    """

    asked: str
    began: dt.datetime
    ended: dt.datetime
    exit_code: int | None
    output: str
    cut: bool = False

    @property
    def late(self) -> bool:
        """Whether the time limit ended it."""
        return self.exit_code is None

    @property
    def succeeded(self) -> bool:
        """Whether it said success."""
        return self.exit_code == 0


class Witness(msgspec.Struct, frozen=True, kw_only=True):
    """What there was to see of one scenario.

    Attributes:
        before: What the host was before.
        after: What it was when everything had come to rest.
        expected: The system of the commit that was asked for, built by the trial itself; empty if it cannot be built.
        activations: Every switch, in order.
        nixos_rebuild: Whether nixos-rebuild did one.
        requests: What the endpoints were asked, in order.
        restarted: The contract's units that do not run any more as they did.
        logins: How often SSH let the path in.
        checkouts: The commits that the host's checkout was set to meanwhile.
        leftovers: What still ran when the path had ended.
        exposed: Secrets that stood in a command line, with whose.
        words: The random words that each unit logged.
        cut: Whether the connection was really cut, for a scenario that does so.
        limits: What a stand-in of the lab was asked for and cannot do, though the real program can.
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
