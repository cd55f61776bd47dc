"""Judges how far the cutover is, from kept runs, the repository and the hosts (pure)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence

import msgspec
from msgspec.structs import replace

from switchproof.deploy.contract import Clause, Verdict
from switchproof.deploy.cutover.proofs import Candidate
from switchproof.deploy.cutover.terms import HostAnswers, Terms
from switchproof.deploy.paths.survey import Kind, State, Survey
from switchproof.deploy.record.record import Record
from switchproof.deploy.record.steps import TITLES, Cutover, Lack, Missing, Proof, Step
from switchproof.deploy.trust.promotion import Demand, judge_record

OLD_RECIPE = "deploy-aws-ssm"
"""The recipe that must refuse after AWS is gone."""

_REFUSALS_SHOWN = 2
"""Runs that do not count and whose reasons are shown."""


def judge(terms: Terms, candidates: Sequence[Candidate], survey: Survey, hosts: Sequence[HostAnswers]) -> Cutover:
    """Judge how far the cutover is.

    Args:
        terms: The rules and the scope.
        candidates: The canonical kept runs, the newest first.
        survey: The deploy paths of the repository.
        hosts: The results of this audit on the hosts.
    """
    return _Judgement(terms, candidates, survey, hosts).cutover()


class _Judgement:
    def __init__(
        self, terms: Terms, candidates: Sequence[Candidate], survey: Survey, hosts: Sequence[HostAnswers]
    ) -> None:
        self._terms = terms
        self._candidates = [candidate for candidate in candidates if candidate.record.run.mode != "audit"]
        self._survey = survey
        self._hosts = {host.name: host for host in hosts}
        self._earlier = self._furthest(candidates)

    def cutover(self) -> Cutover:
        """Judge all steps, and combine them."""
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
        """Keep a step proven that an earlier audit had proven, except for what must hold now.

        Records expire, and after the last step no deploy to AWS is possible. But production must serve now.
        """
        proofs, missing = judged
        if not missing:
            return judged
        assert self._earlier is not None  # because it had proven the step
        now = list(self._serving(None)) if number == 3 else []  # noqa: PLR2004 - OVH is production
        return [*proofs, _proof(self._earlier, f"step {number}, by an earlier audit of the cutover")], now

    def _conclude(self, steps: list[Step], reached: int, before: int) -> Cutover:
        terms = self._terms
        lost = [missing for step in steps[reached:before] for missing in step.missing]
        backwards = any(missing.lack is Lack.REFUTED for missing in lost)
        demanded = [missing for step in steps[reached : terms.demanded or 0] for missing in step.missing]
        status = (
            f"step {reached} of {len(steps)} is proven: {TITLES[reached - 1]}" if reached else "no step is proven"
        )
        if backwards:
            refuted = next(missing for missing in lost if missing.lack is Lack.REFUTED)
            verdict = Verdict.FAILED
            summary = (
                f"The cutover has gone backwards: step {before} was proven, but now {status}. Cause: {refuted.words}"
            )
        elif demanded:
            sure = any(missing.lack is not Lack.UNSEEN for missing in demanded)
            verdict = Verdict.FAILED if sure else Verdict.INCONCLUSIVE
            summary = f"Step {terms.demanded} was requested and is not proven; {status}. Missing: {demanded[0].words}"
        elif lost:
            verdict = Verdict.INCONCLUSIVE
            summary = (
                f"Step {before} was proven before and could not be verified again; {status}. Missing: {lost[0].words}"
            )
        else:
            verdict = Verdict.PASSED
            lacking = steps[reached].missing[0].words if reached < len(steps) else ""
            summary = (
                f"{status[0].upper()}{status[1:]}.{f' Missing for step {reached + 1}: {lacking}' if lacking else ''}"
            )
        return Cutover(
            steps=tuple(steps),
            reached=reached,
            before=before,
            demanded=terms.demanded,
            backwards=backwards,
            verdict=verdict,
            words=summary,
            repository=terms.repository,
            records=terms.records,
            signed=terms.signed,
        )

    # The steps:

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
        for candidate in staged[1:]:
            if not missing:
                break
            other = self._of_commit(candidate, staged)
            if not other[1]:
                proofs, missing = other
        return proofs, missing

    def _of_commit(self, staged: Candidate, all_staged: list[Candidate]) -> tuple[list[Proof], list[Missing]]:
        """Judge the commit that a run deployed to staging."""
        commit = staged.record.revision.sha
        proofs = [_proof(staged, "a canonical deploy to staging")]
        missing = []
        drill = next(
            (
                candidate
                for candidate in all_staged
                if _same(candidate, commit) and candidate.record.run.mode == "drill"
            ),
            None,
        )
        if drill:
            proofs.append(_proof(drill, "a passed drill on staging"))
        else:
            missing.append(_absent(f"no passed drill of {_short(commit)} on staging: deploy it there with --drill"))
        if set(self._terms.units) != set(self._terms.units_before):
            own, other = (", ".join(units) for units in (self._terms.units, self._terms.units_before))
            difference = (
                f"the target file names other units ({own}) than that of AWS ({other}): name the same units in both"
            )
            missing.append(Missing(lack=Lack.REFUTED, words=difference))
        aws = next((candidate for candidate in self._before() if _same(candidate, commit)), None)
        if aws is None:
            missing.append(
                _absent(f"no canonical deploy of {_short(commit)} through SSM to compare with: deploy it there")
            )
        elif unlike := list(_unlike(aws.record, staged.record)):
            missing.append(
                Missing(lack=Lack.REFUTED, words=f"verdicts differ from those on AWS: {'; '.join(unlike)}")
            )
        else:
            proofs.append(_proof(aws, "the same verdicts as on AWS in every clause"))
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
        for candidate in good:
            judged = self._promoted(candidate, good)
            if best is None or len(judged[1]) < len(best[1]):
                best = judged
            if not judged[1]:
                break
        assert best is not None  # `good` has at least one
        return best

    def _promoted(self, candidate: Candidate, good: list[Candidate]) -> tuple[list[Proof], list[Missing]]:
        """Judge the commit that a run deployed to production."""
        commit = candidate.record.revision.sha
        proofs = [_proof(candidate, "a canonical deploy to production")]
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
        """Yield what is missing to prove that production serves now, and serves `commit` if given."""
        for name in sorted(self._terms.production[1]):
            seen = self._hosts.get(name)
            if seen is None:
                yield _unseen(f"host {name} of production was left out of this audit: audit every host")
            elif seen.contract is Verdict.FAILED:
                yield Missing(lack=Lack.REFUTED, words=f"host {name} of production fails the contract now")
            elif seen.contract is not Verdict.PASSED:
                yield _unseen(f"the contract on host {name} of production could not be verified")
            elif commit and seen.commit is None:
                yield _unseen(f"host {name} of production does not report which commit it runs")
            elif commit and seen.commit != commit:
                yield _absent(
                    f"host {name} of production runs {_short(seen.commit)} instead of the proven {_short(commit)}"
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
            what = f"no trace of AWS and nothing undeclared on {names}"
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
        recipes = self._survey.named(OLD_RECIPE)
        if not recipes:
            yield _absent(
                f"there is no `just {OLD_RECIPE}` that refuses and says what to use instead, like deploy-ec2"
            )
        for entry in recipes:
            if entry.state is State.ACTIVE:
                yield Missing(lack=Lack.REFUTED, words=f"{entry.id} still deploys: make it refuse, like deploy-ec2")
            elif entry.state is not State.REFUSES:
                yield _absent(
                    f"{entry.id} does not refuse: make it fail and say what to use instead, like deploy-ec2"
                )

    def _on_hosts(self) -> Iterator[Missing]:
        for name in sorted(self._terms.hosts):
            seen = self._hosts.get(name)
            if seen is None or not seen.answers:
                yield _unseen(f"host {name} was left out of this audit: audit every host")
                continue
            for answer in seen.answers:
                reason = answer.message.partition("\n")[0]
                if answer.verdict is Verdict.FAILED:
                    yield Missing(lack=Lack.REFUTED, words=f"{name}: {answer.title}: {reason}")
                elif answer.verdict is not Verdict.PASSED:
                    yield _unseen(f"{name}: {answer.title}: {reason or answer.verdict}")

    # Proofs in the kept runs:

    def _own(self, names: frozenset[str]) -> list[Candidate]:
        """Return the runs over SSH that include all of these hosts."""
        return [
            candidate
            for candidate in self._candidates
            if candidate.record.provider == self._terms.provider
            and {host.name for host in candidate.record.hosts} >= names
            and _reached(candidate.record) == {"ssh"}
        ]

    def _through_ssm(self) -> list[Candidate]:
        return [
            candidate
            for candidate in self._candidates
            if candidate.record.provider == self._terms.before and _reached(candidate.record) == {"ssm"}
        ]

    def _before(self) -> list[Candidate]:
        return [
            candidate
            for candidate in self._through_ssm()
            if not self._against(candidate, self._demand_before(candidate))
        ]

    def _good(self, group: str, names: frozenset[str]) -> list[Candidate]:
        return [
            candidate
            for candidate in self._own(names)
            if not self._against(candidate, self._demand(group)(candidate))
        ]

    def _source(self, candidate: Candidate) -> Candidate | None:
        """Return the run on staging from which a run was promoted, if it is valid; its age does not matter."""
        source = candidate.record.promoted_from
        group, names = self._terms.staging
        if source is None:
            return None
        for staged in self._own(names):
            if staged.record.run.id == source.run and _same(staged, candidate.record.revision.sha):
                demand = self._demand(group)(staged)
                fresh = demand if staged.record.run.finished is None else _at(demand, staged.record.run.finished)
                return None if self._against(staged, fresh) else staged
        return None

    def _demand(self, group: str | None) -> _Demands:
        return _Demands(self._terms, self._terms.contract, self._terms.units, group)

    def _demand_before(self, candidate: Candidate) -> Demand:
        return _Demands(self._terms, self._terms.contract_before, self._terms.units_before, None)(candidate)

    def _against(self, candidate: Candidate, demand: Demand) -> list[str]:
        if candidate.distrust:
            return [candidate.distrust]
        return [refusal.sentence for refusal in judge_record(candidate.record, demand)]

    def _lacks(self, what: str, candidates: list[Candidate], demand: Callable[[Candidate], Demand]) -> Missing:
        """Return a missing proof, with the reasons why the newest runs do not count."""
        refusals = [
            f"{candidate.folder}: {self._against(candidate, demand(candidate))[0]}"
            for candidate in candidates[:_REFUSALS_SHOWN]
        ]
        why = f"; {'; '.join(refusals)}" if refusals else f"; none is in {self._terms.records}"
        return _absent(f"{what}{why}")

    def _furthest(self, candidates: Sequence[Candidate]) -> Candidate | None:
        """Return the earlier audit that had proven most steps, the newest of several."""
        terms = self._terms
        audits = [
            candidate
            for candidate in candidates
            if candidate.record.run.mode == "audit"
            and candidate.record.cutover is not None
            and candidate.record.cutover.verdict is Verdict.PASSED
            and candidate.record.provider == terms.provider
            and candidate.distrust is None
            and (terms.emulated or not candidate.record.emulated)
            and candidate.ended <= terms.now
        ]
        return max(
            audits,
            key=lambda candidate: candidate.record.cutover.reached if candidate.record.cutover else 0,
            default=None,
        )


class _Demands(msgspec.Struct, frozen=True):
    """Makes the demand on a record, for the record's own commit."""

    terms: Terms
    contract: str
    units: tuple[str, ...]
    group: str | None

    def __call__(self, candidate: Candidate) -> Demand:
        return Demand(
            commit=candidate.record.revision.sha or "a commit",
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
    """Return the kinds of connections of a run's hosts."""
    return {host.connection.kind if host.connection else "" for host in record.hosts}


def _same(candidate: Candidate, commit: str | None) -> bool:
    return commit is not None and candidate.record.revision.sha == commit


def _short(commit: str | None) -> str:
    return (commit or "no commit")[:12]


def _unlike(aws: Record, own: Record) -> Iterator[str]:
    """Yield each clause whose verdicts differ between the two providers."""
    for clause in Clause:
        verdicts = [
            {result.verdict for host in record.hosts for result in host.clauses if result.id is clause}
            for record in (aws, own)
        ]
        if verdicts[0] != verdicts[1]:
            shown = [" and ".join(sorted(results)) or "nothing" for results in verdicts]
            yield f"clause {clause} is {shown[0]} on AWS and {shown[1]} here"


def _proof(candidate: Candidate, what: str) -> Proof:
    return Proof(
        what=what,
        run=candidate.record.run.id,
        folder=candidate.folder,
        when=candidate.ended,
        commit=candidate.record.revision.sha,
        signer=candidate.signer,
        emulated=candidate.record.emulated,
    )


def _absent(reason: str) -> Missing:
    return Missing(lack=Lack.ABSENT, words=reason)


def _unseen(reason: str) -> Missing:
    return Missing(lack=Lack.UNSEEN, words=reason)
