"""Notes taken while an entry point is followed, and the `EntryPoint` that they result in."""

from __future__ import annotations

import msgspec

from switchproof.deploy.paths.meaning import sounds_like_deploy
from switchproof.deploy.paths.survey import (
    BREAKING,
    Action,
    EntryKind,
    EntryPoint,
    Finding,
    Kind,
    NotUnderstood,
    Place,
    State,
)


class Trail(msgspec.Struct):
    """The notes on one entry point.

    Attributes:
        id: See `EntryPoint`.
        kind: See `EntryPoint`.
        name: See `EntryPoint`.
        place: See `EntryPoint`.
        refused: Whether it failed before it did anything.
        did: Whether it ran anything besides harmless first commands such as echo.
        strings: Lines whose texts mention the shared host-side script.
        copied: Files that were copied to a host, by their base name.
        fetched_branch: Whether the last git fetch took a branch.
        cloned: The line of a clone whose commit was not chosen yet; None without one.
        vouched: Whether a part was skipped because the caller vouches for it.
        hosted: Whether it runs on a machine of the CI service, which is not a host.
        published: Whether it deploys to a registry or service that is no host.
        own_runner: Whether it runs on a machine of the team's own, which may be a host.
        remote: The commands that change a host over a network, past the shared host-side script.
    """

    id: str
    kind: EntryKind
    name: str
    place: Place
    providers: list[str] = msgspec.field(default_factory=list)
    actions: dict[tuple[str, Place], Action] = msgspec.field(default_factory=dict)
    findings: dict[tuple[Kind, Place], Finding] = msgspec.field(default_factory=dict)
    not_understood: dict[tuple[str, Place], NotUnderstood] = msgspec.field(default_factory=dict)
    refused: bool = False
    did: bool = False
    strings: list[Place] = msgspec.field(default_factory=list)
    copied: dict[str, str] = msgspec.field(default_factory=dict)
    fetched_branch: bool = False
    cloned: Place | None = None
    vouched: bool = False
    hosted: bool = False
    published: bool = False
    own_runner: bool = False
    remote: list[Action] = msgspec.field(default_factory=list)

    @property
    def deploys_to_runner(self) -> bool:
        """Whether its name says that the machine on which it runs is the host, and not only where tests run."""
        return self.own_runner and sounds_like_deploy(self.name)

    def act(self, what: str, place: Place, provider: str, *, shared: bool, inline: bool) -> None:
        """Note a command that changes a host; units of the CI service's own machine do not count.

        Args:
            what: The command, for readers.
            place: Its line.
            provider: The provider of the host.
            shared: Whether it goes through the shared host-side script.
            inline: Whether the entry point itself contains it.
        """
        self.did = True
        if self.hosted and provider == "local" and what.startswith(("systemctl ", "service")):
            return
        action = self.actions.setdefault((what, place), Action(what=what, place=place, shared=shared))
        if provider not in {"local", "lab"} and not shared:
            self.remote.append(action)
        if provider not in self.providers:
            self.providers.append(provider)
        if not shared:
            self.find(Kind.NOT_SHARED, place, f"{what} changes a host without the shared host-side script")
            if inline:
                self.find(
                    Kind.INLINE,
                    place,
                    f"{what} is written in the entry point itself; move it to a script that people and CI share",
                )
        if provider == "aws":
            self.find(Kind.AWS, place, f"{what} deploys to AWS")

    def find(self, kind: Kind, place: Place, message: str) -> None:
        """Note a finding; a dependency on AWS only once."""
        if kind is Kind.AWS and any(known is Kind.AWS for known, _ in self.findings):
            return
        finding = Finding(kind=kind, breaks=kind in BREAKING, place=place, words=message)
        self.findings.setdefault((kind, place), finding)

    def unknown(self, place: Place, message: str) -> None:
        """Note a construct that could not be followed."""
        self.did = True
        self.not_understood.setdefault((message, place), NotUnderstood(place=place, words=message))

    def entry(self) -> EntryPoint:
        """Return the entry point with everything noted."""
        actions = tuple(self.actions.values())
        active = bool(actions)
        lab_only = active and set(self.providers) == {"lab"}
        if active and self.cloned:
            self.find(Kind.FLOATING, self.cloned, "the clone is the head of its branch at that time")
        explained = active or self.not_understood or self.refused or self.vouched or self.published
        if not explained and sounds_like_deploy(self.name):
            self.unknown(self.place, "its name says that it deploys, but it was not found how")
        if active:
            state = State.ACTIVE
        elif self.not_understood:
            state = State.NOT_UNDERSTOOD
        else:
            state = State.REFUSES if self.refused else State.NO_DEPLOY
        findings = [
            finding
            for finding in self.findings.values()
            if finding.kind is Kind.BY_HAND or (active and not (lab_only and finding.kind is Kind.FLOATING))
        ]
        return EntryPoint(
            id=self.id,
            kind=self.kind,
            name=self.name,
            place=self.place,
            state=state,
            providers=tuple(self.providers),
            shared_script=active and all(action.shared for action in actions),
            actions=actions,
            findings=tuple(findings),
            not_understood=tuple(self.not_understood.values()),
        )
