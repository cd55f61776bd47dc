"""How far the cutover is: what records, repository and hosts prove of each step, and what the next lacks (pure)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from switchproof.deploy.contract import Clause, Verdict
from switchproof.deploy.cutover.proofs import Candidate
from switchproof.deploy.paths.survey import Kind, State, Survey
from switchproof.deploy.record.record import Record
from switchproof.deploy.record.steps import TITLES, Cutover, Lack, Missing, Proof, Step
from switchproof.deploy.trust.promotion import Demand, judge_record

OLD_RECIPE = "deploy-aws-ssm"
"""The recipe that must refuse once AWS is gone."""

_TOLD = 2
"""Reasons that are told of runs that do not count."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """By what the cutover is decided.

    Attributes:
        provider: Where the hosts are that everything moves to.
        before: The provider that is left behind.
        contract: The contract that those hosts are held to, by its digest.
        contract_before: Likewise for what is left behind.
        units: The runtime units of the hosts.
        units_before: Likewise for what is left behind.
        staging: The group on which a commit is proven first, and its hosts.
        production: The group that serves, and its hosts.
        hosts: Every host of the target file.
        max_age: How old a record may be.
        emulated: Whether emulated records count, as they do for the lab alone.
        demanded: The step that must be proven, None for none.
        repository: Where the deploy paths were read.
        records: Where the records are.
        signed: Whether only signed records count.
        now: The time.
    """

    provider: str
    before: str
    contract: str
    contract_before: str
    units: tuple[str, ...]
    units_before: tuple[str, ...]
    staging: tuple[str, frozenset[str]]
    production: tuple[str, frozenset[str]]
    hosts: frozenset[str]
    max_age: dt.timedelta
    emulated: bool
    demanded: int | None
    repository: str
    records: str
    signed: bool
    now: dt.datetime


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a check of the cutover came to on a host."""

    title: str
    verdict: Verdict
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class HostAnswers:
    """What this audit saw of a host.

    Attributes:
        name: The host.
        contract: What came of the contract's own checks.
        commit: The commit that it runs, None if it did not say.
        answers: What came of the checks of the cutover.
    """

    name: str
    contract: Verdict
    commit: str | None
    answers: tuple[Answer, ...]


def judge(terms: Terms, candidates: Sequence[Candidate], survey: Survey, hosts: Sequence[HostAnswers]) -> Cutover:
    """Say how far the cutover is.

    Args:
        terms: By what it is decided.
        candidates: The canonical runs that there are, the newest first.
        survey: The deploy paths of the repository.
        hosts: What this audit saw.
    """
    return _Judgement(terms, candidates, survey, hosts).cutover()


class _Judgement:
    def __init__(
        self, terms: Terms, candidates: Sequence[Candidate], survey: Survey, hosts: Sequence[HostAnswers]
    ) -> None:
        self._terms = terms
        self._candidates = [one for one in candidates if one.record.run.mode != "audit"]
        self._survey = survey
        self._hosts = {host.name: host for host in hosts}
        self._earlier = self._furthest(candidates)

    def cutover(self) -> Cutover:
        """Put the steps together."""
        before = self._earlier.record.cutover.reached if self._earlier and self._earlier.record.cutover else 0
        steps: list[Step] = []
        reached = 0
        for number, judged in enumerate([self._aws(), self._ready(), self._production(), self._gone()], start=1):
            proofs, missing = judged if number > before or number == len(TITLES) else self._again(number, judged)
            proven = not missing and reached == number - 1
            reached += proven
            if not missing and not proven:
                first = f"step {reached + 1} comes first: {TITLES[reached]}"
                missing = [Missing(lack=Lack.ABSENT, words=first)]
            steps.append(
                Step(
                    number=number,
                    title=TITLES[number - 1],
                    proven=proven,
                    proofs=tuple(proofs),
                    missing=tuple(missing),
                )
            )
        return self._conclude(steps, reached, before)

    def _again(self, number: int, judged: tuple[list[Proof], list[Missing]]) -> tuple[list[Proof], list[Missing]]:
        """Hold a step that an earlier audit had proven for proven, as far as it is about what has been.

        Records grow old, and after the last step nobody can deploy to AWS any more. But what serves must do so now.
        """
        proofs, missing = judged
        if not missing:
            return judged
        assert self._earlier is not None  # it had proven the step
        now = list(self._serving(None)) if number == 3 else []  # noqa: PLR2004 - OVH is production
        return [*proofs, _proof(self._earlier, f"step {number}, by an earlier audit of the cutover")], now

    def _conclude(self, steps: list[Step], reached: int, before: int) -> Cutover:
        terms = self._terms
        lost = [lack for step in steps[reached:before] for lack in step.missing]
        backwards = any(one.lack is Lack.REFUTED for one in lost)
        demanded = [lack for step in steps[reached : terms.demanded or 0] for lack in step.missing]
        where = f"step {reached} of {len(steps)} is proven: {TITLES[reached - 1]}" if reached else "no step is proven"
        if backwards:
            refuted = next(one for one in lost if one.lack is Lack.REFUTED)
            verdict = Verdict.FAILED
            words = f"The cutover has gone backwards: step {before} was proven, now {where}. Found: {refuted.words}"
        elif demanded:
            sure = any(one.lack is not Lack.UNSEEN for one in demanded)
            verdict = Verdict.FAILED if sure else Verdict.INCONCLUSIVE
            words = f"Step {terms.demanded} was asked for and is not proven; {where}. Missing: {demanded[0].words}"
        elif lost:
            verdict = Verdict.INCONCLUSIVE
            words = f"Step {before} was proven and could not be seen again; {where}. Missing: {lost[0].words}"
        else:
            verdict = Verdict.PASSED
            lacking = steps[reached].missing[0].words if reached < len(steps) else ""
            words = (
                f"{where[0].upper()}{where[1:]}.{f' Missing for step {reached + 1}: {lacking}' if lacking else ''}"
            )
        return Cutover(
            steps=tuple(steps),
            reached=reached,
            before=before,
            demanded=terms.demanded,
            backwards=backwards,
            verdict=verdict,
            words=words,
            repository=terms.repository,
            records=terms.records,
            signed=terms.signed,
        )

    # The steps.

    def _aws(self) -> tuple[list[Proof], list[Missing]]:
        good = self._before()
        if good:
            return [_proof(good[0], "a canonical deploy through SSM")], []
        what = "a canonical deploy through SSM"
        return [], [self._lacks(what, self._through_ssm(), self._demand_before)]

    def _ready(self) -> tuple[list[Proof], list[Missing]]:
        terms = self._terms
        group, names = terms.staging
        if not names:
            return [], [_absent(f"no host of the target file is in group {group}, which is staging")]
        staged = self._good(group, names)
        what = f"a canonical deploy to all of group {group} ({', '.join(sorted(names))})"
        if not staged:
            return [], [self._lacks(what, self._own(names), self._demand(group))]
        proofs, missing = self._of_commit(staged[0], staged)
        for one in staged[1:]:
            if not missing:
                break
            other = self._of_commit(one, staged)
            if not other[1]:
                proofs, missing = other
        return proofs, missing

    def _of_commit(self, staged: Candidate, all_staged: list[Candidate]) -> tuple[list[Proof], list[Missing]]:
        """What is proven of the commit that one run deployed to staging."""
        commit = staged.record.revision.sha
        proofs = [_proof(staged, "a canonical deploy to staging")]
        missing = []
        drill = next((one for one in all_staged if _same(one, commit) and one.record.run.mode == "drill"), None)
        if drill:
            proofs.append(_proof(drill, "a passed drill on staging"))
        else:
            missing.append(_absent(f"no passed drill of {_short(commit)} on staging: deploy it there with --drill"))
        if set(self._terms.units) != set(self._terms.units_before):
            own, other = (", ".join(units) for units in (self._terms.units, self._terms.units_before))
            words = (
                f"the hosts are held to other units ({own}) than AWS ({other}): make both target files name the same"
            )
            missing.append(Missing(lack=Lack.REFUTED, words=words))
        aws = next((one for one in self._before() if _same(one, commit)), None)
        if aws is None:
            missing.append(
                _absent(f"no canonical deploy of {_short(commit)} through SSM to hold it against: deploy it there")
            )
        elif unlike := list(_unlike(aws.record, staged.record)):
            missing.append(Missing(lack=Lack.REFUTED, words=f"not the same as on AWS: {'; '.join(unlike)}"))
        else:
            proofs.append(_proof(aws, "the same verdicts as on AWS, clause by clause"))
        return proofs, missing

    def _production(self) -> tuple[list[Proof], list[Missing]]:
        terms = self._terms
        group, names = terms.production
        if not names:
            return [], [_absent(f"no host of the target file is in group {group}, which is production")]
        good = self._good(group, names)
        if not good:
            what = f"a canonical deploy to all of group {group} ({', '.join(sorted(names))})"
            return [], [self._lacks(what, self._own(names), self._demand(group))]
        best: tuple[list[Proof], list[Missing]] | None = None
        for one in good:
            found = self._promoted(one, good)
            if best is None or len(found[1]) < len(best[1]):
                best = found
            if not found[1]:
                break
        assert best is not None  # there is one at least
        return best

    def _promoted(self, one: Candidate, good: list[Candidate]) -> tuple[list[Proof], list[Missing]]:
        """What is proven of the commit that one run deployed to production."""
        commit = one.record.revision.sha
        proofs = [_proof(one, "a canonical deploy to production")]
        missing = []
        source = next((run for run in good if _same(run, commit) and self._source(run)), None)
        if source and (staged := self._source(source)):
            proofs.append(_proof(staged, "the run on staging that it was promoted from"))
        else:
            missing.append(
                _absent(
                    f"the deploy of {_short(commit)} to production was not promoted from a canonical run of it on "
                    f"staging whose record is in {self._terms.records}: deploy it with --require-record"
                )
            )
        drills = [run for run in good if _same(run, commit) and run.record.run.mode == "drill"]
        dead = next((run for run in drills if run.record.run.options.get("drill") == "dead-man"), None)
        if dead:
            proofs.append(_proof(dead, "a passed drill on production, the dead man's switch included"))
        else:
            which = "a drill without the dead man's switch" if drills else "no drill"
            missing.append(
                _absent(f"{which} of {_short(commit)} passed on production: deploy it there with --drill=dead-man")
            )
        return proofs, [*missing, *self._serving(commit)]

    def _serving(self, commit: str | None) -> Iterator[Missing]:
        """Say what keeps production from being seen to serve now; and to serve a commit, if one is given."""
        for name in sorted(self._terms.production[1]):
            seen = self._hosts.get(name)
            if seen is None:
                yield _unseen(f"host {name} of production was not looked at in this audit: audit every host")
            elif seen.contract is Verdict.FAILED:
                yield Missing(lack=Lack.REFUTED, words=f"host {name} of production does not keep to the contract now")
            elif seen.contract is not Verdict.PASSED:
                yield _unseen(f"what came of the contract on host {name} of production could not be seen")
            elif commit and seen.commit is None:
                yield _unseen(f"host {name} of production does not say which commit it runs")
            elif commit and seen.commit != commit:
                yield _absent(
                    f"host {name} of production runs {_short(seen.commit)}, and not {_short(commit)}, which is proven"
                )

    def _gone(self) -> tuple[list[Proof], list[Missing]]:
        terms, survey = self._terms, self._survey
        missing = [*self._paths(), *self._old_recipe()]
        proofs = []
        if not missing:
            what = f"no logic for AWS in {len(survey.active)} active deploy paths; {OLD_RECIPE} refuses"
            proofs.append(Proof(what=what, when=terms.now, commit=survey.commit))
        seen = list(self._on_hosts())
        if not seen:
            names = ", ".join(sorted(terms.hosts))
            what = f"nothing of AWS and nothing undeclared on {names}"
            proofs.append(Proof(what=what, when=terms.now, emulated=terms.emulated))
        return proofs, [*missing, *seen]

    def _paths(self) -> Iterator[Missing]:
        for entry in self._survey.active:
            for finding in entry.findings:
                if finding.kind is Kind.AWS:
                    yield Missing(
                        lack=Lack.REFUTED,
                        words=f"{entry.id} is for AWS: {finding.words} ({finding.place}: {finding.place.text})",
                    )
        for entry in self._survey.entry_points:
            for unclear in entry.not_understood:
                yield _unseen(f"{entry.id} was not understood: {unclear.words} ({unclear.place})")
        for unclear in self._survey.not_understood:
            yield _unseen(f"{unclear.place}: {unclear.words}")
        if not self._survey.active:
            yield _absent(f"no active deploy path was found in {self._terms.repository}: name the right repository")

    def _old_recipe(self) -> Iterator[Missing]:
        found = self._survey.named(OLD_RECIPE)
        if not found:
            yield _absent(
                f"there is no `just {OLD_RECIPE}` that refuses and says what to use instead, like deploy-ec2"
            )
        for entry in found:
            if entry.state is State.ACTIVE:
                yield Missing(lack=Lack.REFUTED, words=f"{entry.id} still deploys: let it refuse, like deploy-ec2")
            elif entry.state is not State.REFUSES:
                yield _absent(f"{entry.id} does not refuse: let it fail and say what to use instead, like deploy-ec2")

    def _on_hosts(self) -> Iterator[Missing]:
        for name in sorted(self._terms.hosts):
            seen = self._hosts.get(name)
            if seen is None or not seen.answers:
                yield _unseen(f"host {name} was not looked at in this audit: audit every host")
                continue
            for answer in seen.answers:
                told = answer.message.partition("\n")[0]
                if answer.verdict is Verdict.FAILED:
                    yield Missing(lack=Lack.REFUTED, words=f"{name}: {answer.title}: {told}")
                elif answer.verdict is not Verdict.PASSED:
                    yield _unseen(f"{name}: {answer.title}: {told or answer.verdict}")

    # What the records prove.

    def _own(self, names: frozenset[str]) -> list[Candidate]:
        """The runs over SSH that all of some hosts took part in."""
        return [
            one
            for one in self._candidates
            if one.record.provider == self._terms.provider
            and {host.name for host in one.record.hosts} >= names
            and _reached(one.record) == {"ssh"}
        ]

    def _through_ssm(self) -> list[Candidate]:
        return [
            one
            for one in self._candidates
            if one.record.provider == self._terms.before and _reached(one.record) == {"ssm"}
        ]

    def _before(self) -> list[Candidate]:
        return [one for one in self._through_ssm() if not self._against(one, self._demand_before(one))]

    def _good(self, group: str, names: frozenset[str]) -> list[Candidate]:
        return [one for one in self._own(names) if not self._against(one, self._demand(group)(one))]

    def _source(self, one: Candidate) -> Candidate | None:
        """The run on staging that a run was promoted from, if that is what it claims to be; it may be old by now."""
        source = one.record.promoted_from
        group, names = self._terms.staging
        if source is None:
            return None
        for staged in self._own(names):
            if staged.record.run.id == source.run and _same(staged, one.record.revision.sha):
                demand = self._demand(group)(staged)
                fresh = demand if staged.record.run.finished is None else _at(demand, staged.record.run.finished)
                return None if self._against(staged, fresh) else staged
        return None

    def _demand(self, group: str | None) -> _Demands:
        return _Demands(self._terms, self._terms.contract, self._terms.units, group)

    def _demand_before(self, one: Candidate) -> Demand:
        return _Demands(self._terms, self._terms.contract_before, self._terms.units_before, None)(one)

    def _against(self, one: Candidate, demand: Demand) -> list[str]:
        if one.distrust:
            return [one.distrust]
        return [refusal.sentence for refusal in judge_record(one.record, demand)]

    def _lacks(self, what: str, candidates: list[Candidate], demand: Callable[[Candidate], Demand]) -> Missing:
        """Say that nothing proves something, and why the newest runs do not count."""
        told = [f"{one.folder}: {self._against(one, demand(one))[0]}" for one in candidates[:_TOLD]]
        why = f"; {'; '.join(told)}" if told else f"; none stands in {self._terms.records}"
        return _absent(f"{what}{why}")

    def _furthest(self, candidates: Sequence[Candidate]) -> Candidate | None:
        """The earlier audit that had proven most, the newest of several."""
        terms = self._terms
        found = [
            one
            for one in candidates
            if one.record.run.mode == "audit"
            and one.record.cutover is not None
            and one.record.cutover.verdict is Verdict.PASSED
            and one.record.provider == terms.provider
            and one.distrust is None
            and (terms.emulated or not one.record.emulated)
            and one.ended <= terms.now
        ]
        return max(found, key=lambda one: one.record.cutover.reached if one.record.cutover else 0, default=None)


@dataclass(frozen=True)
class _Demands:
    """What is demanded of a record, whichever commit it is of."""

    terms: Terms
    contract: str
    units: tuple[str, ...]
    group: str | None

    def __call__(self, one: Candidate) -> Demand:
        return Demand(
            commit=one.record.revision.sha or "a commit",
            contract_sha256=self.contract,
            units=self.units,
            emulated=self.terms.emulated,
            group=self.group,
            max_age=self.terms.max_age,
            drill=False,
            signer=None,
            now=self.terms.now,
        )


def _at(demand: Demand, now: dt.datetime) -> Demand:
    return replace(demand, now=now)


def _reached(record: Record) -> set[str]:
    """The ways in which the hosts of a run were reached."""
    return {host.connection.kind if host.connection else "" for host in record.hosts}


def _same(one: Candidate, commit: str | None) -> bool:
    return commit is not None and one.record.revision.sha == commit


def _short(commit: str | None) -> str:
    return (commit or "no commit")[:12]


def _unlike(aws: Record, own: Record) -> Iterator[str]:
    """Name each clause whose verdicts on the two providers are not the same."""
    for clause in Clause:
        verdicts = [
            {result.verdict for host in record.hosts for result in host.clauses if result.id is clause}
            for record in (aws, own)
        ]
        if verdicts[0] != verdicts[1]:
            told = [" and ".join(sorted(found)) or "nothing" for found in verdicts]
            yield f"clause {clause} is {told[0]} on AWS and {told[1]} here"


def _proof(one: Candidate, what: str) -> Proof:
    return Proof(
        what=what,
        run=one.record.run.id,
        folder=one.folder,
        when=one.ended,
        commit=one.record.revision.sha,
        signer=one.signer,
        emulated=one.record.emulated,
    )


def _absent(words: str) -> Missing:
    return Missing(lack=Lack.ABSENT, words=words)


def _unseen(words: str) -> Missing:
    return Missing(lack=Lack.UNSEEN, words=words)
