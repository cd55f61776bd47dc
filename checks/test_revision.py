"""Clause `revision`: the target revision is resolved to one full commit, before anything changes."""

import re
import shlex

import pytest

from switchproof.checks.fixtures import Show
from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.observe.earlier import Choice
from switchproof.deploy.observe.observation import Observation
from switchproof.deploy.run.results import Before

pytestmark = pytest.mark.clause("revision")


@pytest.mark.when("deploy", "plan")
def test_the_revision_is_one_full_commit(commit: str, requested_revision: str, show: Show) -> None:
    """The revision is resolved to one full commit, the same for every host.

    A branch can move during a deploy; only a commit identifies what was deployed.

    Try: give the full commit, and make sure that it has been pushed.
    """
    show(
        expected=f"one full commit for {requested_revision!r}",
        seen=commit,
        command=f"git rev-parse --verify {shlex.quote(requested_revision)}'^{{commit}}'",
    )
    assert re.fullmatch(r"[0-9a-f]{40}", commit), f"{requested_revision!r} is {commit!r}, which is not a full commit"


@pytest.mark.when("deploy", "rollback")
def test_the_host_was_noted_before_anything_changed(before: Before, show: Show) -> None:
    """The host's running system was recorded before anything changed, so there is a way back.

    A rollback restores exactly this system; without a record there is nothing to restore.

    Try: check /run/current-system on the host.
    """
    show(
        expected="the running system, noted",
        seen=before.system.running or "nothing",
        command="readlink -e /run/current-system",
    )
    assert before.system.running, (
        "the host did not report which system it runs (/run/current-system), so nothing could be restored"
    )


@pytest.mark.when("restore")
def test_the_earlier_system_is_known_and_there(choice: Choice, show: Show) -> None:
    """The requested rollback target is one system that the host still has.

    A rollback without a known target makes an emergency worse.

    Try: name one of the host's generations: nix-env -p /nix/var/nix/profiles/system --list-generations.
    """
    show(
        expected="one system of the host",
        seen=f"{choice.intent}: {choice.why}",
        command="nix-env -p /nix/var/nix/profiles/system --list-generations",
    )
    assert choice.toplevel.startswith("/nix/store/"), f"{choice.toplevel!r} is not a system"


@pytest.mark.when("audit")
def test_the_running_system_comes_from_a_known_commit(observation: Observation, show: Show) -> None:
    """The running system names the full commit it was built from, or a recorded deploy built it there.

    A system that cannot be traced to a commit cannot be reviewed, rebuilt or restored.

    Try: set system.configurationRevision in the flake, and deploy a commit.
    """
    system = observation.system
    show(
        expected="one full commit",
        seen=system.commit or system.revision or "nothing",
        command="nixos-version --configuration-revision",
    )
    if system.commit is None:
        raise Inconclusive(
            f"the running system {system.running} does not name the commit it was built from "
            f"(configurationRevision: {system.revision or 'not set'}), and no deploy of ours has built it; "
            "set system.configurationRevision in the flake"
        )
