"""Builds a cutover from its first step to its last, as records, a survey and answers of hosts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from switchproof.deploy.connection import ConnectionFacts
from switchproof.deploy.contract import Verdict
from switchproof.deploy.cutover.judgement import judge
from switchproof.deploy.cutover.proofs import Candidate
from switchproof.deploy.cutover.terms import Answer, HostAnswers, Terms
from switchproof.deploy.paths.survey import (
    Action,
    EntryPoint,
    Finding,
    Kind,
    NotUnderstood,
    Place,
    State,
    Survey,
    make_survey,
)
from switchproof.deploy.record.events import PromotedFrom
from switchproof.deploy.record.record import Record
from switchproof.deploy.record.steps import Cutover
from tests.promotion.runs import staging
from tests.reports import stories
from tests.reports.story import BEGIN, SHA

COMMIT = SHA
OTHER = "f" * 40
OVH, AWS = "0" * 64, "1" * 64
"""The contracts of the hosts that everything moves to, and of those left behind."""
NOW = BEGIN + dt.timedelta(days=30)

TERMS = Terms(
    provider="ovh",
    before="aws",
    contract=OVH,
    contract_before=AWS,
    units=("live", "dev"),
    units_before=("live", "dev"),
    staging=("staging", frozenset({"b"})),
    production=("production", frozenset({"a"})),
    hosts=frozenset({"a", "b"}),
    max_age=dt.timedelta(days=7),
    emulated=False,
    demanded=None,
    repository="/repository",
    records="/records",
    signed=False,
    now=NOW,
)


def run(
    name: str,
    host: str,
    group: str,
    *,
    drill: str | None = None,
    ssm: bool = False,
    hours_ago: float = 1.0,
    promoted_from: str | None = None,
) -> Record:
    """A canonical run of the commit."""
    record = staging(stories.drill(host) if drill else stories.canonical(host))
    record.run.id = name
    record.run.finished = NOW - dt.timedelta(hours=hours_ago)
    if drill:
        record.run.options["drill"] = drill
    record.provider = "aws" if ssm else "ovh"
    record.contract_sha256 = AWS if ssm else OVH
    for each in record.hosts:
        each.groups = (group,)
        each.connection = ConnectionFacts(kind="ssm" if ssm else "ssh")
    if promoted_from:
        record.promoted_from = PromotedFrom(record="r", run=promoted_from, signer="ci", statement_sha256="s")
    return record


def entry(name: str, state: State, *findings: Finding, unclear: str = "") -> EntryPoint:
    place = Place(file="justfile", line=1, text=f"{name}:")
    return EntryPoint(
        id=f"justfile:{name}",
        kind="just-recipe",
        name=name,
        place=place,
        state=state,
        providers=("ovh",) if state is State.ACTIVE else (),
        shared_script=state is State.ACTIVE,
        actions=(Action(what="pytest --provider=ovh", place=place, shared=True),) if state is State.ACTIVE else (),
        findings=findings,
        not_understood=(NotUnderstood(place=place, words=unclear),) if unclear else (),
    )


OF_AWS = Finding(
    kind=Kind.AWS,
    breaks=False,
    place=Place(file="justfile", line=7, text="aws ssm send-command"),
    words="aws only works with AWS",
)
WITH_AWS = [entry("deploy-ovh-ssh", State.ACTIVE), entry("deploy-aws-ssm", State.ACTIVE, OF_AWS)]
WITHOUT_AWS = [entry("deploy-ovh-ssh", State.ACTIVE), entry("deploy-aws-ssm", State.REFUSES)]


def surveyed(entries: list[EntryPoint]) -> Survey:
    return make_survey("/repository", entries, [], [])


def host(
    name: str, *, contract: Verdict = Verdict.PASSED, commit: str | None = COMMIT, **bad: Verdict
) -> HostAnswers:
    """What a host answered: all as it must be, but for the checks that are named."""
    titles = {"agent": "There is no agent", "listeners": "Nothing else listens"}
    return HostAnswers(
        name=name,
        contract=contract,
        commit=commit,
        answers=tuple(
            Answer(title=title, verdict=bad.get(key, Verdict.PASSED), message="" if key not in bad else "seen: x")
            for key, title in titles.items()
        ),
    )


@dataclass
class Story:
    """All that the cutover is decided by."""

    terms: Terms = TERMS
    records: dict[str, Record] = field(default_factory=dict)
    entries: list[EntryPoint] = field(default_factory=lambda: list(WITH_AWS))
    hosts: list[HostAnswers] = field(default_factory=lambda: [host("a"), host("b")])
    distrusted: dict[str, str] = field(default_factory=dict)

    def decide(self, demanded: int | None = None) -> Cutover:
        candidates = [
            Candidate(name, record, distrust=self.distrusted.get(name)) for name, record in self.records.items()
        ]
        candidates.sort(key=lambda candidate: candidate.ended, reverse=True)
        return judge(replace(self.terms, demanded=demanded), candidates, surveyed(self.entries), self.hosts)

    def change(self, name: str, change: Callable[[Record], object]) -> Story:
        change(self.records[name])
        return self


def step(number: int) -> Story:
    """The story up to where a step is proven."""
    story = Story()
    if number >= 1:
        story.records["aws"] = run("aws", "aws", "production", ssm=True)
    if number >= 2:
        story.records["staging"] = run("staging", "b", "staging")
        story.records["staging-drill"] = run("staging-drill", "b", "staging", drill="orderly")
    if number >= 3:
        story.records["production"] = run("production", "a", "production", promoted_from="staging")
        story.records["production-drill"] = run("production-drill", "a", "production", drill="dead-man")
    if number >= 4:
        story.entries = list(WITHOUT_AWS)
    return story


def audited(cutover: Cutover, *, name: str = "audit", hours_ago: float = 0.5) -> Record:
    """The record of an earlier audit that came to this."""
    record = staging(stories.canonical("a", "b"))
    record.run.id, record.run.mode = name, "audit"
    record.run.finished = NOW - dt.timedelta(hours=hours_ago)
    record.cutover = msgspec.structs.replace(cutover)
    return record


def stale(record: Record) -> None:
    record.run.finished = NOW - dt.timedelta(days=8)


def after(number: int) -> Story:
    """A later audit, when the records of the deploys have grown old and an earlier audit had proven a step."""
    story = step(number)
    proven = story.decide()
    for record in story.records.values():
        stale(record)
    story.records["audit"] = audited(proven)
    return story


def missing_at(cutover: Cutover, number: int) -> str:
    """What is missing of a step."""
    return "; ".join(missing.words for missing in cutover.steps[number - 1].missing)


def lacks(cutover: Cutover, number: int) -> Sequence[str]:
    return [missing.lack.value for missing in cutover.steps[number - 1].missing]
