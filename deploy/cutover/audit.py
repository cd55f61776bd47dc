"""Prepares an audit of the cutover before any host is asked, and judges it from the run's record."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from switchproof.deploy.contract import Verdict, combine
from switchproof.deploy.cutover.judgement import judge
from switchproof.deploy.cutover.proofs import Candidate, gather
from switchproof.deploy.cutover.terms import Answer, HostAnswers, Terms
from switchproof.deploy.extras import require
from switchproof.deploy.paths.survey import Survey
from switchproof.deploy.plan import Plan
from switchproof.deploy.planning import own_checks
from switchproof.deploy.record.journal import Journal
from switchproof.deploy.record.record import Host, Record
from switchproof.deploy.record.steps import Cutover
from switchproof.deploy.settings import read_settings
from switchproof.deploy.target.loading import load_contract, roster
from switchproof.deploy.target.types import Contract, Target

ON_HOSTS = (
    "converge/no-unit-is-from-outside-the-system",
    "converge/only-declared-sockets-are-listened-on",
    "converge/nobody-gets-in-with-a-password",
    "converge/every-host-key-is-the-pinned-one",
    "converge/units-run-as-their-declared-users",
    "converge/files-have-their-declared-modes",
    "converge/nothing-waits-for-a-reboot",
    "converge/the-agent-of-aws-is-gone",
    "converge/no-unit-of-the-contract-knows-aws",
)
"""The ids of the checks of the cutover. Each must run on every host; a missing one is inconclusive."""

SURVEY = "paths.json"
"""The name of the survey in the evidence of the run."""


class Prepared(msgspec.Struct, frozen=True):
    """The input of an audit of the cutover that does not come from hosts.

    Attributes:
        terms: The rules and the scope of the judgement.
        candidates: The kept runs that may prove a step.
        survey: The deploy paths of the repository.
    """

    terms: Terms
    candidates: tuple[Candidate, ...]
    survey: Survey

    def judge(self, record: Record, commits: Mapping[str, str | None]) -> Cutover:
        """Judge how far the cutover is.

        Args:
            record: The run so far.
            commits: The commit that each host runs, by host name; None if a host did not report it.
        """
        hosts = [_answers(host, commits.get(host.name)) for host in record.hosts]
        return judge(self.terms, self.candidates, self.survey, hosts)

    def keep_survey(self, journal: Journal) -> None:
        """Write the survey to the evidence of the run."""
        text = msgspec.json.format(msgspec.json.encode(self.survey), indent=2).decode()
        journal.keep(None, SURVEY, "The deploy paths of the repository", f"{text}\n")


def prepare(
    plan: Plan, contract_sha256: Callable[[Target | Contract, Sequence[Path]], str], environ: Mapping[str, str]
) -> Prepared | None:
    """Read the kept runs and the repository.

    Args:
        plan: The plan of the run.
        contract_sha256: Returns the contract digest of a target file with folders of a team's own checks.
        environ: Environment variables, for the target file of the old provider.

    Returns:
        The input of the audit; None if the run is not an audit of the cutover.

    Raises:
        UsageError: A folder or the old provider's target file cannot be read, or an extra is missing.
    """
    asked, target = plan.cutover, plan.target
    if asked is None:
        return None
    require("paths", "--cutover")
    from switchproof.deploy.paths.sources import Surveyor

    ruled = target.cutover
    path = _before(plan)
    before = load_contract(path, environ)
    groups = roster(plan.targets_file)
    terms = Terms(
        provider=target.provider,
        before="lab" if target.provider == "lab" else "aws",
        contract=contract_sha256(target, plan.checks),
        contract_before=contract_sha256(before, own_checks(asked.checks, before.checks, path)),
        units=tuple(target.runtime),
        units_before=tuple(before.runtime),
        staging=(ruled.staging, _of_group(groups, ruled.staging)),
        production=(ruled.production, _of_group(groups, ruled.production)),
        hosts=frozenset(groups),
        max_age=ruled.longest,
        emulated=target.provider == "lab",
        demanded=asked.step,
        repository=str(asked.repository),
        records=str(asked.records),
        signed=asked.allowed_signers is not None,
        now=dt.datetime.now(dt.UTC),
    )
    return Prepared(
        terms,
        tuple(gather(asked.records, asked.allowed_signers, asked.revoked_signers)),
        Surveyor(asked.repository, ruled.vouched).survey(),
    )


def _before(plan: Plan) -> Path:
    """Return the path of the old provider's target file."""
    given = plan.target.cutover.before
    if given:
        return plan.targets_file.parent / given
    name = "lab-aws.toml" if plan.target.provider == "lab" else "aws.toml"
    beside = plan.targets_file.parent / name
    return beside if beside.exists() else read_settings(Path.cwd()).target_file(beside.stem)


def _of_group(groups: Mapping[str, tuple[str, ...]], group: str) -> frozenset[str]:
    return frozenset(name for name, own in groups.items() if group in own)


def _answers(host: Host, commit: str | None) -> HostAnswers:
    checks = [check for part in host.parts for check in part.checks]
    contract: list[Verdict] = [check.verdict for check in checks if check.id not in ON_HOSTS]
    made = {check.id for check in checks}
    return HostAnswers(
        name=host.name,
        contract=combine(contract),
        commit=commit,
        answers=tuple(
            Answer(title=check.title, verdict=check.verdict, message=check.message)
            for check in checks
            if check.id in ON_HOSTS
        )
        + tuple(
            Answer(title=missing, verdict=Verdict.INCONCLUSIVE, message="the check was left out")
            for missing in ON_HOSTS
            if missing not in made
        ),
    )
