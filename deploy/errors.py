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
