"""A preflight: what would keep a deploy from beginning, while nothing changes."""

from collections.abc import Sequence

import pytest

from switchproof.checks.fixtures import Show
from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.observe.preflight import Readiness, describe
from switchproof.deploy.target.types import Finding

pytestmark = [pytest.mark.clause("converge"), pytest.mark.when("preflight")]


def test_no_run_holds_the_host(readiness: Readiness, show: Show) -> None:
    """No other run and no switch by hand holds the host.

    Two switches at the same time would each restart what the other has just started.

    Try: wait until the other run has ended.
    """
    show(expected="no lock and no switch at work", seen=readiness.holder or "the host is free")
    assert not readiness.holder, f"the host is locked: {readiness.holder}"


def test_the_host_has_the_commands(readiness: Readiness, show: Show) -> None:
    """The host has every command that a deploy calls there.

    Without them the host cannot say what it runs, or cannot fetch the revision.

    Try: add the packages to environment.systemPackages, as docs/hosts.md describes.
    """
    show(expected="every command of docs/hosts.md", seen=f"lacks {' '.join(readiness.commands) or 'none'}")
    assert not readiness.commands, f"the host lacks the commands: {' '.join(readiness.commands)}"


def test_the_disks_have_room(readiness: Readiness, show: Show) -> None:
    """The disks have room for a new system, and inodes for its files.

    A build that fills the disk takes running services down.

    Try: delete old generations and collect garbage.
    """
    _judge(readiness, show, ("store", "var", "boot", "inodes"))


def test_the_memory_suffices(readiness: Readiness, show: Show) -> None:
    """Enough memory is available for an evaluation.

    When the memory ends, the kernel kills whatever it chooses.

    Try: let the runner build, with --build=runner.
    """
    _judge(readiness, show, ("memory",))


def test_nix_is_new_enough(readiness: Readiness, show: Show) -> None:
    """The host's nix is as new as the target file demands.

    An older nix fails in the middle of a deploy.

    Try: nix --version
    """
    _judge(readiness, show, ("nix",))


def test_the_clock_is_right(readiness: Readiness, show: Show) -> None:
    """The host's clock agrees with the runner's.

    With a wrong clock, certificates and signatures are refused, and times in logs mislead.

    Try: timedatectl
    """
    _judge(readiness, show, ("clock",))


def test_no_reboot_is_pending(readiness: Readiness, show: Show) -> None:
    """The host runs the kernel of its current system.

    What a reboot brings besides the deploy is not part of what the deploy verifies.

    Try: reboot the host at a time that suits its services.
    """
    _judge(readiness, show, ("reboot",))


def test_no_unit_has_failed(readiness: Readiness, show: Show) -> None:
    """No unit of the host has failed already.

    Failures from before the deploy hide those that it causes.

    Try: systemctl --failed
    """
    _judge(readiness, show, ("failed",))


def test_the_secrets_decrypt(readiness: Readiness, show: Show) -> None:
    """The host can decrypt the secrets of the system that it runs.

    A key that was lost shows only when the next switch, or the next boot, decrypts again.

    Try: encrypt them for this host's key, or put the old key back.
    """
    _judge(readiness, show, ("secrets",))


def _judge(readiness: Readiness, show: Show, findings: Sequence[Finding]) -> None:
    """Fail for what refuses a deploy. A finding that only warns passes, and is shown."""
    problems, refuse = readiness.of(findings), readiness.limits.refuse
    refused = [problem for problem in problems if problem.finding in refuse]
    texts = [f"{problem.text}{'' if problem in refused else ' (warns)'}" for problem in problems]
    unseen = [readiness.unseen[finding] for finding in findings if finding in readiness.unseen]
    show(expected="no finding", seen="; ".join([*texts, *unseen]) or "no finding")
    assert not refused, f"the host cannot be deployed to: {describe(refused)}"
    if unseen:
        raise Inconclusive("; ".join(unseen))
