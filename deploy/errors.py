"""Errors that people are meant to read: each says what happened and what to do."""

from __future__ import annotations

from typing import ClassVar


class SwitchproofError(Exception):
    """Anything that goes wrong in a way that we foresaw."""


class UsageError(SwitchproofError):
    """An option, a target file, a host or a revision is wrong; nothing was touched.

    Attributes:
        refused: What kind of thing was refused, in words that follow "nothing was touched: ".
    """

    refused: ClassVar[str] = "an option, or a file that it names, cannot be used"


class HostUnready(UsageError):
    """A host lacks something that every deploy needs."""

    refused = "a host cannot be deployed to"


class Inconclusive(SwitchproofError):
    """What was asked could not be seen, so nothing may be said about it.

    Attributes:
        remedy: What to try for this very trouble; empty where that is not known.
    """

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.remedy = remedy


class BuildFailed(Inconclusive):
    """The runner could not build or send what the hosts were to be switched to; no host was touched.

    Attributes:
        configuration: What nix itself could not build, which is no doubt but a failure; empty for any other trouble.
        log: What nix said of it.
        log_path: Where that stands among the evidence.
    """

    def __init__(self, what: str, *, configuration: str = "", log: str = "", log_path: str = "") -> None:
        super().__init__(what)
        self.configuration, self.log, self.log_path = configuration, log, log_path
