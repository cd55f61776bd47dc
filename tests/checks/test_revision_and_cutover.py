"""Each check of the revision, of a plan and of the cutover passes where all is well, and fails on its own matter."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from switchproof.checks import test_declared, test_gone, test_hypervisor, test_plan, test_revision
from switchproof.checks.fixtures import Shown
from switchproof.deploy.cutover.surroundings import Surroundings, fingerprint, read
from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.observe.earlier import Choice
from switchproof.deploy.observe.observation import Observation, read_observation
from switchproof.deploy.observe.parts.system import read_system
from switchproof.deploy.observe.parts.units import read_units
from switchproof.deploy.observe.planned import Differences
from switchproof.deploy.run.results import Before
from switchproof.deploy.target.declared import Declared, DeclaredFile
from tests.answers import SHA, TOPLEVEL, frame
from tests.cutover.surroundings import GOOD, KEY, printed

DECLARED = Declared(
    listeners=("0.0.0.0:22",),
    unit_folders=("/usr/lib/systemd/system",),
    users={"hypervisor.service": "choiros"},
    files=(DeclaredFile(path="/etc/x", mode="0600"), DeclaredFile(path="/etc/y", mode="644", user="u", group="g")),
)
ENDPOINTS = ("127.0.0.1:9090",)
PINNED = fingerprint(KEY)


def observed(**changes: str | None) -> Observation:
    return read_observation(frame({name.replace("__", "."): text for name, text in changes.items()}))


def around(**changes: str | None) -> Surroundings:
    return read("b", printed(**changes))


# The revision.


def test_revision_is_one_full_commit() -> None:
    """A name, a short commit and a commit with something behind it are none."""
    show = Shown()
    test_revision.test_the_revision_is_one_full_commit(SHA, "main", show)
    assert (show.expected, show.seen) == ("one full commit for 'main'", SHA)
    for commit in ("main", SHA[:39], f"{SHA}0", SHA.upper()):
        with pytest.raises(AssertionError, match="which is not a full commit"):
            test_revision.test_the_revision_is_one_full_commit(commit, "main", Shown())


def test_host_must_be_noted_before_anything_changes() -> None:
    """Without its running system nothing could be restored."""
    noted = Before(read_system(frame({})), read_units(frame({})), ())
    show = Shown()
    test_revision.test_the_host_was_noted_before_anything_changed(noted, show)
    assert show.seen == TOPLEVEL
    nothing = replace(noted, system=replace(noted.system, running=""))
    with pytest.raises(AssertionError, match="did not report which system it runs"):
        test_revision.test_the_host_was_noted_before_anything_changed(nothing, show)
    assert show.seen == "nothing"


def test_system_to_go_back_to_must_be_one() -> None:
    """Anything outside the store is no system."""
    test_revision.test_the_earlier_system_is_known_and_there(Choice(TOPLEVEL, SHA, "why", "what"), Shown())
    for toplevel in ("", "/var/x"):
        with pytest.raises(AssertionError, match="is not a system"):
            test_revision.test_the_earlier_system_is_known_and_there(Choice(toplevel, SHA, "why", "what"), Shown())


@pytest.mark.parametrize(
    ("revision", "built_from", "seen", "reported"),
    [(SHA, "", SHA, ""), ("", SHA, SHA, ""), ("dirty", "", "dirty", "dirty"), ("", "", "nothing", "not set")],
)
def test_running_system_must_come_from_a_known_commit(
    revision: str, built_from: str, seen: str, reported: str
) -> None:
    """The system names it, or this host noted it when it built the system; else it is inconclusive."""
    show = Shown()
    observation = observed(system__revision=revision, system__built_from=built_from)
    if not reported:
        test_revision.test_the_running_system_comes_from_a_known_commit(observation, show)
    else:
        with pytest.raises(Inconclusive, match=rf"\(configurationRevision: {reported}\)"):
            test_revision.test_the_running_system_comes_from_a_known_commit(observation, show)
    assert show.seen == seen


def test_absent_hypervisor_needs_a_reason_and_a_plan_a_system() -> None:
    """Blanks are no reason, and without a system to switch to nothing was compared."""
    test_hypervisor.test_there_is_none("a container host", Shown())
    with pytest.raises(AssertionError, match="does not say why"):
        test_hypervisor.test_there_is_none("  ", Shown())
    test_plan.test_the_system_can_be_built_and_compared(Differences("/old", "/new"), Shown())
    with pytest.raises(AssertionError, match="did not report which system it would switch to"):
        test_plan.test_the_system_can_be_built_and_compared(Differences("/old", ""), Shown())


# The cutover.


def test_nothing_of_aws_is_left() -> None:
    """The agent as a unit, a credential of a unit and one in a home are each told; silence is inconclusive."""
    show = Shown()
    test_gone.test_the_agent_of_aws_is_gone(around(), show)
    assert show.seen == "none among 3 units and 3 paths"
    left = around(unit_files=f"{GOOD['unit-files']}amazon-ssm-agent.service\n")
    with pytest.raises(AssertionError, match=r"left of AWS's agent: unit amazon-ssm-agent\.service"):
        test_gone.test_the_agent_of_aws_is_gone(left, show)
    assert show.seen == "unit amazon-ssm-agent.service"
    check = test_gone.test_no_unit_of_the_contract_knows_aws
    check(around(), show)
    assert show.seen == "nothing in 1 units"
    knows = around(contract_units="a.service\tu\tAWS_X\tAWS_Y\n", credentials="/root/.aws\n")
    with pytest.raises(AssertionError, match=r"for AWS: a\.service: AWS_X, AWS_Y; /root/\.aws"):
        check(knows, show)
    assert show.seen == "a.service: AWS_X, AWS_Y; /root/.aws"
    with pytest.raises(Inconclusive, match="reported nothing about the contract's units"):
        check(around(contract_units=""), Shown())


def test_units_sockets_and_ways_in_are_the_declared_ones() -> None:
    """Each finding is told, and shown beside what was expected."""
    show = Shown()
    test_declared.test_no_unit_is_from_outside_the_system(around(), DECLARED, show)
    assert show.seen == "3 units, none from outside"
    strange = msgspec.structs.replace(DECLARED, unit_folders=())
    with pytest.raises(AssertionError, match=r"not of the declared system: dbus\.service from"):
        test_declared.test_no_unit_is_from_outside_the_system(around(), strange, show)
    assert show.seen.startswith("dbus.service from")
    test_declared.test_only_declared_sockets_are_listened_on(around(), DECLARED, ENDPOINTS, show)
    assert (show.expected, show.seen) == ("127.0.0.1:9090, 0.0.0.0:22", "nothing else")
    with pytest.raises(AssertionError, match=r"not declared: tcp 127\.0\.0\.1:9090 by hypervisor"):
        test_declared.test_only_declared_sockets_are_listened_on(around(), DECLARED, (), show)
    assert show.seen == "tcp 127.0.0.1:9090 by hypervisor"
    test_declared.test_nobody_gets_in_with_a_password(around(), DECLARED, show)
    assert show.seen == "as expected"
    opened = around(sshd=GOOD["sshd"].replace("passwordauthentication no", "passwordauthentication yes"))
    with pytest.raises(AssertionError, match="the SSH server says passwordauthentication yes"):
        test_declared.test_nobody_gets_in_with_a_password(opened, DECLARED, show)
    assert show.seen == "passwordauthentication yes"


def test_host_keys_are_pinned() -> None:
    """A key without a pin is told; where no pin or no key is known, nothing is concluded."""
    check = test_declared.test_every_host_key_is_the_pinned_one
    check(around(), [PINNED], Shown())
    with pytest.raises(AssertionError, match="shown and not pinned: "):
        check(around(), ["ssh-rsa SHA256:x"], Shown())
    for seen, pinned in ((around(), []), (around(host_keys=""), [PINNED])):
        with pytest.raises(Inconclusive, match="it is not known which key is pinned"):
            check(seen, pinned, Shown())


def test_units_run_as_their_users() -> None:
    """Another user fails; a unit without a main process is inconclusive."""
    show = Shown()
    check = test_declared.test_units_run_as_their_declared_users
    check(around(), DECLARED, show)
    assert (show.expected, show.seen) == ("hypervisor.service as choiros", "hypervisor.service as choiros")
    with pytest.raises(AssertionError, match=r"hypervisor\.service runs as root, not choiros"):
        check(around(contract_units="hypervisor.service\troot\t\n"), DECLARED, Shown())
    with pytest.raises(Inconclusive, match=r"no main process was seen of hypervisor\.service"):
        check(around(contract_units="hypervisor.service\t\t\n"), DECLARED, show)
    assert show.seen == "hypervisor.service as nobody"


@dataclass
class Files:
    """A host's files, in testinfra's words."""

    files: dict[str, dict[str, Any]]

    def file(self, path: str) -> SimpleNamespace:
        """One of them."""
        plain = {"is_symlink": False, "linked_to": "", "exists": True, "user": "root", "group": "root", "mode": 0o600}
        return SimpleNamespace(**{**plain, **self.files.get(path, {})})


Y = {"user": "u", "group": "g", "mode": 0o644}


@pytest.mark.parametrize(
    ("files", "seen"),
    [
        ({"/etc/y": Y}, ""),
        ({"/etc/y": {"is_symlink": True, "linked_to": "/store/y", "mode": 0o777}, "/store/y": Y}, ""),
        ({"/etc/y": Y, "/etc/x": {"exists": False}}, "/etc/x is not there"),
        ({"/etc/y": Y | {"mode": 0o640}}, "/etc/y is 0640 of u:g, not 644 of u:g"),
        ({"/etc/y": Y | {"user": "root"}}, "/etc/y is 0644 of root:g, not 644 of u:g"),
        ({"/etc/y": Y | {"group": "root"}}, "/etc/y is 0644 of u:root, not 644 of u:g"),
    ],
)
def test_files_have_their_modes_and_owners(files: dict[str, dict[str, Any]], seen: str) -> None:
    """Mode, user and group count, of what a link leads to as well."""
    show = Shown()
    host: Any = Files(files)
    if not seen:
        test_declared.test_files_have_their_declared_modes(host, DECLARED, show)
        assert show.seen == "all as declared"
        return
    with pytest.raises(AssertionError, match=seen):
        test_declared.test_files_have_their_declared_modes(host, DECLARED, show)
    assert show.seen == seen


def test_reboot_that_is_due_fails() -> None:
    """The parts that wait are named with the kernels' versions."""
    show = Shown()
    test_declared.test_nothing_waits_for_a_reboot(observed(), show)
    assert show.seen == "all of it is in use"
    with pytest.raises(AssertionError, match="A reboot is needed before this system's kernel is in use"):
        test_declared.test_nothing_waits_for_a_reboot(observed(system__reboot="kernel"), show)
    assert show.seen.startswith("A reboot is needed")
