"""What was found of a repository's deploy paths, as data, and what follows from it (pure)."""

from __future__ import annotations

import enum
from typing import Literal

import msgspec

from switchproof.deploy.contract import ExitCode


class Kind(enum.StrEnum):
    """What can be found of a deploy path."""

    NOT_SHARED = "not-shared"
    INLINE = "inline-shell"
    FLOATING = "floating-revision"
    HOST_KEY = "host-key-unchecked"
    AWS = "aws-only"
    HOST_SCRIPT = "host-script"


BREAKING = frozenset({Kind.NOT_SHARED, Kind.INLINE, Kind.FLOATING, Kind.HOST_KEY, Kind.HOST_SCRIPT})
"""What no active path may have. That one is for AWS alone is known and no fault before the cutover."""


class State(enum.StrEnum):
    """What an entry point does, as far as deploying goes."""

    ACTIVE = "active"
    REFUSES = "refuses"
    NO_DEPLOY = "no-deploy"
    NOT_UNDERSTOOD = "not-understood"


class SurveyVerdict(enum.StrEnum):
    """What the survey comes to."""

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
        text: What stands there.
    """

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something about a deploy path that matters.

    Attributes:
        kind: What it is.
        breaks: Whether the contract is broken by it.
        place: The line that shows it.
        words: What it is, in a sentence.
    """

    kind: Kind
    breaks: bool
    place: Place
    words: str


class NotUnderstood(msgspec.Struct, frozen=True, kw_only=True):
    """A construct whose meaning could not be told by reading.

    Attributes:
        place: Where it stands.
        words: What it is and why it was not followed.
    """

    place: Place
    words: str


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """Something that changes a host.

    Attributes:
        what: The command, by name.
        place: The line that runs it.
        shared: Whether it goes through the shared host-side script.
    """

    what: str
    place: Place
    shared: bool


class EntryPoint(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a person or a service runs by name.

    Attributes:
        id: The file and the name, such as `justfile:deploy-ovh-ssh`.
        kind: What it is.
        name: The recipe's, target's or job's.
        place: Where it begins.
        state: Whether it deploys; `refuses` is one that ends in a failure before it has done anything.
        providers: Where it deploys to: `ovh`, `aws`, `lab`, `local`, `ssh` for a host reached over SSH of which no
            more is known, or `any` where the caller says so.
        shared_script: Whether all that changes a host goes through the shared host-side script.
        actions: What changes a host.
        findings: What matters about it.
        not_understood: What could not be followed.
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
        repository: The folder that was read.
        commit: The commit that it is a working copy of, None if that is not known. It may hold changes besides.
        verdict: What it comes to. A break that was found counts before what was not understood. A repository in
            which no deploy path was found is not clean: nothing was found.
        entry_points: All that were found, in order of their files.
        not_understood: What belongs to no entry point, such as a file that cannot be parsed.
        vouched: What was passed over because the caller vouched for it.
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
        """The entry points of a name."""
        return [entry for entry in self.entry_points if entry.name == name]

    @property
    def exit_code(self) -> ExitCode:
        """With which code the command ends."""
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
    """Judge what was found."""
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
