"""What a host's own journal says is read as what happened, each thing once."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

from switchproof.deploy.providers.lab.trial.witness import Host
from tests.trials.seeing import ASKED, BEFORE, toplevel

TOP, OLD = toplevel(ASKED), toplevel(BEFORE)


def host(*messages: str) -> Host:
    """A host whose journal holds these messages, a second apart."""
    lines = [
        json.dumps({"MESSAGE": message, "__REALTIME_TIMESTAMP": str(int((1000 + second) * 1e6))})
        for second, message in enumerate(messages)
    ]
    answers = {"journalctl": "\n".join(lines), TOP: ASKED, OLD: BEFORE}

    def run(argv: list[str], **_: Any) -> SimpleNamespace:
        name = argv[1].removesuffix("/configuration-revision") if argv[0] == "cat" else argv[0]
        return SimpleNamespace(returncode=0, stdout=answers.get(name, ""), stderr="")

    return Host(cast(Any, SimpleNamespace(run=run)), "ovh", "file:///srv/sample.git", "choiros-a", ())


def test_a_switch_that_fails_is_one_activation() -> None:
    """The message of its failure names the system again, and begins no other one."""
    failed = host(
        f"switching to system configuration {TOP}",
        f"switching to system configuration {TOP} failed (status 2)",
        f"switching to system configuration {OLD}",
        f"finished switching to system configuration {OLD}",
    )
    first, second = failed.activations()
    assert first.finished is not None
    assert (first.revision, first.failed, (first.finished - first.began).total_seconds()) == (ASKED, 2, 1.0)
    assert second.finished is not None
    assert (second.revision, second.failed) == (BEFORE, None)
    assert (second.finished - second.began).total_seconds() == 1.0


def test_a_switch_that_never_reports_its_end_is_not_finished() -> None:
    """Neither success nor failure is made up for it."""
    (only,) = host(f"switching to system configuration {TOP}").activations()
    assert (only.finished, only.failed) == (None, None)


def test_two_switches_of_one_system_are_two() -> None:
    """Each end belongs to the beginning before it."""
    twice = host(*(f"{word} to system configuration {TOP}" for word in ("switching", "finished switching") * 2))
    assert [(each.finished is not None, each.toplevel) for each in twice.activations()] == [(True, TOP)] * 2
