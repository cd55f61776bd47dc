"""Types that a judgement of the cutover takes: its terms, and the answers of the hosts (pure)."""

from __future__ import annotations

import datetime as dt

import msgspec

from switchproof.deploy.contract import Verdict


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """The rules and the scope of a judgement of the cutover.

    Attributes:
        provider: The new provider.
        before: The old provider.
        contract: The contract digest of the new provider's hosts.
        contract_before: The contract digest of the old provider's hosts.
        units: The runtime units of the new provider's hosts.
        units_before: The runtime units of the old provider's hosts.
        staging: The group that proves a commit first, and its hosts.
        production: The group that serves users, and its hosts.
        hosts: All hosts of the target file.
        max_age: The greatest age of a record that counts.
        emulated: Whether emulated records count, which is for the lab alone.
        demanded: The number of the step that must be proven; None for none.
        repository: The repository whose deploy paths were read.
        records: The folder of kept runs.
        signed: Whether only signed records count.
        now: The time of the judgement.
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


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a check of the cutover on a host."""

    title: str
    verdict: Verdict
    message: str = ""


class HostAnswers(msgspec.Struct, frozen=True, kw_only=True):
    """The results of this audit on a host.

    Attributes:
        name: The host's name.
        contract: The combined verdict of the contract's own checks.
        commit: The commit that it runs; None if it did not report one.
        answers: The results of the checks of the cutover.
    """

    name: str
    contract: Verdict
    commit: str | None
    answers: tuple[Answer, ...]
