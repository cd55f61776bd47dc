"""A survey of deploy paths as published data, and its verdict (pure)."""

from __future__ import annotations

import enum
from typing import Literal

import msgspec

from switchproof.deploy.contract import ExitCode


class Kind(enum.StrEnum):
    """The kind of a finding."""

    NOT_SHARED = "not-shared"
    INLINE = "inline-shell"
    FLOATING = "floating-revision"
    HOST_KEY = "host-key-unchecked"
    AWS = "aws-only"
    HOST_SCRIPT = "host-script"
    BY_HAND = "by-hand"


SESSION = "opens a session, in which a person works by hand"
"""The finding about an interactive session, which is no deploy path."""

BREAKING = frozenset({Kind.NOT_SHARED, Kind.INLINE, Kind.FLOATING, Kind.HOST_KEY, Kind.HOST_SCRIPT})
"""Kinds that break the contract on an active path. A path for AWS only is no break before the cutover."""


class State(enum.StrEnum):
    """Whether an entry point deploys."""

    ACTIVE = "active"
    REFUSES = "refuses"
    NO_DEPLOY = "no-deploy"
    NOT_UNDERSTOOD = "not-understood"


class SurveyVerdict(enum.StrEnum):
    """The verdict of a survey."""

    CLEAN = "clean"
    BREAKS = "breaks-the-contract"
    NOT_UNDERSTOOD = "not-understood"
    NOTHING = "nothing-found"


EntryKind = Literal["just-recipe", "make-target", "github-job", "gitlab-job"]


class Place(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A line of the repository.

    Attributes:
        file: Its path from the repository's root.
        line: Its number, from 1.
        text: Its content.
    """

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A property of a deploy path that matters for the contract.

    Attributes:
        kind: Its kind.
        breaks: Whether it breaks the contract.
        place: The line that shows it.
        words: The finding as a sentence.
    """

    kind: Kind
    breaks: bool
    place: Place
    words: str


class NotUnderstood(msgspec.Struct, frozen=True, kw_only=True):
    """A construct that could not be understood by reading.

    Attributes:
        place: Its line.
        words: The construct, and why it was not followed.
    """

    place: Place
    words: str


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """A command that changes a host.

    Attributes:
        what: The command's name.
        place: The line that runs it.
        shared: Whether it goes through the shared host-side script.
    """

    what: str
    place: Place
    shared: bool


class EntryPoint(msgspec.Struct, frozen=True, kw_only=True):
    """An entry point: a recipe, target or job that a person or a service runs by name.

    Attributes:
        id: The file and the name, such as `justfile:deploy-ovh-ssh`.
        kind: Its kind.
        name: Name of the recipe, target or job.
        place: Its first line.
        state: Whether it deploys; `refuses` if it fails before it does anything.
        providers: Providers of the hosts: `ovh`, `aws`, `lab`, `local`, `ssh` for any other host over SSH, or `any`
            if the caller chooses.
        shared_script: Whether every change of a host goes through the shared host-side script.
        actions: The commands that change a host.
        findings: Its findings.
        not_understood: Constructs that could not be followed.
    """

    id: str
    kind: EntryKind
    name: str
    place: Place
    state: State
    providers: tuple[str, ...] = ()
    shared_script: bool = False
    actions: tuple[Action, ...] = ()
    findings: tuple[Finding, ...] = ()
    not_understood: tuple[NotUnderstood, ...] = ()


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """The deploy paths of a repository.

    Attributes:
        schema: The version of this format.
        repository: The folder of the working copy.
        commit: The checked-out commit; None if unknown. The working copy may contain further changes.
        verdict: The verdict. A break counts before a construct that was not understood. Without a deploy path, a
            repository is not clean.
        entry_points: All entry points, in order of their files.
        not_understood: Constructs outside any entry point, such as a file that cannot be parsed.
        vouched: Names that were skipped because the caller vouches for them.
    """

    schema: Literal["switchproof/paths/v1"] = "switchproof/paths/v1"
    repository: str
    commit: str | None
    verdict: SurveyVerdict
    entry_points: tuple[EntryPoint, ...]
    not_understood: tuple[NotUnderstood, ...] = ()
    vouched: tuple[str, ...] = ()

    @property
    def active(self) -> list[EntryPoint]:
        """The entry points that deploy."""
        return [entry for entry in self.entry_points if entry.state is State.ACTIVE]

    def named(self, name: str) -> list[EntryPoint]:
        """Return the entry points with a name."""
        return [entry for entry in self.entry_points if entry.name == name]

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the command."""
        return {
            SurveyVerdict.CLEAN: ExitCode.CANONICAL,
            SurveyVerdict.BREAKS: ExitCode.SAFE_FAILURE,
            SurveyVerdict.NOT_UNDERSTOOD: ExitCode.INCONCLUSIVE,
            SurveyVerdict.NOTHING: ExitCode.INCONCLUSIVE,
        }[self.verdict]


def make_survey(
    repository: str,
    entry_points: list[EntryPoint],
    not_understood: list[NotUnderstood],
    vouched: list[str],
    commit: str | None = None,
) -> Survey:
    """Make a survey with its verdict."""
    if any(finding.breaks for entry in entry_points for finding in entry.findings):
        verdict = SurveyVerdict.BREAKS
    elif not_understood or any(entry.not_understood for entry in entry_points):
        verdict = SurveyVerdict.NOT_UNDERSTOOD
    elif not any(entry.state is State.ACTIVE for entry in entry_points):
        verdict = SurveyVerdict.NOTHING
    else:
        verdict = SurveyVerdict.CLEAN
    return Survey(
        repository=repository,
        commit=commit,
        verdict=verdict,
        entry_points=tuple(entry_points),
        not_understood=tuple(not_understood),
        vouched=tuple(vouched),
    )
