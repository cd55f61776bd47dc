"""Each check of a preflight passes on a ready host, and fails or is inconclusive on the very thing it is for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import get_args

import pytest
from msgspec.structs import replace

from switchproof.checks import test_preflight
from switchproof.checks.fixtures import Shown
from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.observe.preflight import Problem, Readiness
from switchproof.deploy.target.types import Finding, Preflight

READY = Readiness(problems=(), unseen={}, holder="", commands=(), limits=Preflight(refuse=get_args(Finding)))
CHECKS: list[Callable[[Readiness, Shown], None]] = [
    check for name, check in vars(test_preflight).items() if name.startswith("test_")
]


def verdict(check: Callable[[Readiness, Shown], None], readiness: Readiness) -> str:
    try:
        check(readiness, Shown())
    except AssertionError:
        return "failed"
    except Inconclusive:
        return "inconclusive"
    return "passed"


def verdicts(readiness: Readiness) -> list[str]:
    """The verdicts that are no pass."""
    return [found for check in CHECKS if (found := verdict(check, readiness)) != "passed"]


def test_a_ready_host_passes_every_check() -> None:
    """Nothing was found and everything was seen."""
    assert len(CHECKS) == 9
    assert verdicts(READY) == []


@pytest.mark.parametrize("finding", get_args(Finding))
def test_each_finding_fails_one_check_if_it_refuses(finding: Finding) -> None:
    """No finding of the target file is without a check; one that only warns passes, and is shown."""
    found = replace(READY, problems=(Problem(finding, "it is too little"),))
    assert verdicts(found) == ["failed"]
    warns = replace(found, limits=Preflight(refuse=()))
    assert verdicts(warns) == []
    shown = [Shown() for _ in CHECKS]
    for check, each in zip(CHECKS, shown, strict=True):
        check(warns, each)
    assert [each.seen for each in shown].count("it is too little (warns)") == 1


@pytest.mark.parametrize("finding", get_args(Finding))
def test_what_was_not_seen_is_inconclusive_unless_something_refuses(finding: Finding) -> None:
    """A host is not called ready for what it did not say; what is certainly wrong counts more."""
    assert verdicts(replace(READY, unseen={finding: "no answer"})) == ["inconclusive"]
    both = replace(READY, unseen={finding: "no answer"}, problems=(Problem(finding, "too little"),))
    assert verdicts(both) == ["failed"]


def test_a_held_host_and_missing_commands_refuse_whatever_the_table_says() -> None:
    """No target file lets a deploy begin there."""
    lax = replace(READY, limits=Preflight(refuse=()), holder="run r of Ada", commands=("git", "ss"))
    for readiness, told in (
        (READY, ["the host is free", "lacks none"]),
        (lax, ["run r of Ada", "lacks git ss"]),
    ):
        shown = [Shown(), Shown()]
        for check, each in zip(CHECKS[:2], shown, strict=True):
            with contextlib.suppress(AssertionError):
                check(readiness, each)
        assert [each.seen for each in shown] == told
    with pytest.raises(AssertionError, match="the host is locked: run r of Ada"):
        test_preflight.test_no_run_holds_the_host(lax, Shown())
    with pytest.raises(AssertionError, match="the host lacks the commands: git ss"):
        test_preflight.test_the_host_has_the_commands(lax, Shown())
    assert verdicts(lax) == ["failed", "failed"]
