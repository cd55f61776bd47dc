"""Errors for people: each message says what happened and what to do."""

from __future__ import annotations

from typing import ClassVar


class SwitchproofError(Exception):
    """Any expected error."""


class UsageError(SwitchproofError):
    """An option, a target file, a host or a revision is wrong; nothing was touched.

    Attributes:
        refused: The kind of refusal, to follow "nothing was touched: ".
    """

    refused: ClassVar[str] = "an option, or a file that it names, cannot be used"


class HostUnready(UsageError):
    """A host lacks something that every deploy needs."""

    refused = "a host cannot be deployed to"


class Inconclusive(SwitchproofError):
    """A fact could not be observed, so nothing may be concluded about it.

    Attributes:
        remedy: A remedy for this problem; empty if unknown.
    """

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.remedy = remedy


class BuildFailed(Inconclusive):
    """The runner could not build or send the system; no host was touched.

    Attributes:
        configuration: The configuration that nix could not build, which is a certain failure; empty for any other
            problem.
        log: The log of nix.
        log_path: The path of the log in the evidence.
    """

    def __init__(self, what: str, *, configuration: str = "", log: str = "", log_path: str = "") -> None:
        super().__init__(what)
        self.configuration, self.log, self.log_path = configuration, log, log_path
