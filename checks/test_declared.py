"""For the cutover: a host has only what the target file declares, and all of it is in use."""

import pytest
import testinfra.host

from switchproof.checks.fixtures import Show
from switchproof.deploy.cutover.surroundings import Surroundings, password_ways, strangers, undeclared_listeners
from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.observe.observation import Observation
from switchproof.deploy.target.declared import Declared

pytestmark = [pytest.mark.clause("converge"), pytest.mark.when("cutover")]


def test_no_unit_is_from_outside_the_system(surroundings: Surroundings, declared: Declared, show: Show) -> None:
    """Every unit comes from the running system or from a place that the target file declares.

    A unit installed by hand is in no commit, and the next host will not have it.

    Try: move the unit into the configuration or remove its file; declared.units lists exceptions.
    """
    foreign_units = list(strangers(surroundings, declared))
    show(
        expected="no unit from outside",
        seen="; ".join(foreign_units) or f"{len(surroundings.units)} units, none from outside",
        command="systemctl show -p Id,FragmentPath,DropInPaths '*'",
    )
    assert not foreign_units, f"not of the declared system: {'; '.join(foreign_units)}"


def test_only_declared_sockets_are_listened_on(
    surroundings: Surroundings, declared: Declared, listened_on: tuple[str, ...], show: Show
) -> None:
    """Nothing listens except the contract's endpoints and what the target file declares.

    An unknown open port is an entry point that nobody watches.

    Try: stop the process that listens there, or declare it under declared.listeners (TCP) or declared.udp.
    """
    undeclared = undeclared_listeners(surroundings, declared, listened_on)
    show(
        expected=", ".join([*listened_on, *declared.listeners, *declared.udp]),
        seen="; ".join(undeclared) or "nothing else",
        command="ss -Hlntup",
    )
    assert not undeclared, f"not declared: {'; '.join(undeclared)}"


def test_nobody_gets_in_with_a_password(surroundings: Surroundings, declared: Declared, show: Show) -> None:
    """The SSH server accepts only keys, and root logins only as the target file declares.

    A password can be guessed from anywhere; a key cannot.

    Try: set services.openssh.settings.PasswordAuthentication and KbdInteractiveAuthentication to false.
    """
    problems = password_ways(surroundings.sshd, declared.root_login)
    show(
        expected=f"keys only, root: {declared.root_login}",
        seen="; ".join(problems) or "as expected",
        command="sshd -T",
    )
    assert not problems, f"the SSH server says {'; '.join(problems)}"


def test_every_host_key_is_the_pinned_one(surroundings: Surroundings, pinned_keys: list[str], show: Show) -> None:
    """The SSH server offers only pinned host keys.

    A client that negotiates a key type without a pin cannot tell this host from an impostor.

    Try: pin each key under the host's host_keys, or have the server offer only the pinned one.
    """
    unpinned = [key for key in surroundings.host_keys if key not in pinned_keys]
    show(
        expected=", ".join(pinned_keys),
        seen=", ".join(surroundings.host_keys),
        command="ssh-keygen -lf of each HostKey",
    )
    if not pinned_keys or not surroundings.host_keys:
        raise Inconclusive("it is not known which key is pinned, or which ones the server shows")
    assert not unpinned, f"shown and not pinned: {', '.join(unpinned)}"


def test_units_run_as_their_declared_users(surroundings: Surroundings, declared: Declared, show: Show) -> None:
    """The main process of each unit of the contract runs as the declared user.

    A workload that runs as another user has rights that nobody intended.

    Try: set the unit's User= in the configuration, or declare its user under declared.users.
    """
    seen = {unit.name: unit.user for unit in surroundings.served}
    show(
        expected=", ".join(f"{unit} as {user}" for unit, user in declared.users.items()),
        seen=", ".join(f"{unit} as {user or 'nobody'}" for unit, user in seen.items()),
        command="ps -o user= of each MainPID",
    )
    if unseen := [unit for unit in declared.users if not seen.get(unit)]:
        raise Inconclusive(f"no main process was seen of {', '.join(unseen)}, so nobody knows as whom it runs")
    wrong = [
        f"{unit} runs as {seen[unit]}, not {user}" for unit, user in declared.users.items() if seen[unit] != user
    ]
    assert not wrong, "; ".join(wrong)


def test_files_have_their_declared_modes(host: testinfra.host.Host, declared: Declared, show: Show) -> None:
    """Every declared file exists with the declared owner and mode.

    A key that others can read is not secret.

    Try: find out what writes the file, and with which mode.
    """
    wrong = []
    for want in declared.files:
        file = host.file(want.path)
        if file.is_symlink:  # whoever opens it gets what it leads to
            file = host.file(file.linked_to)
        if not file.exists:
            wrong.append(f"{want.path} is not there")
        elif (file.user, file.group, file.mode) != (want.user, want.group, want.bits):
            seen = f"{file.mode:04o} of {file.user}:{file.group}"
            wrong.append(f"{want.path} is {seen}, not {want.mode} of {want.user}:{want.group}")
    show(
        expected=", ".join(f"{want.path} {want.mode} {want.user}:{want.group}" for want in declared.files),
        seen="; ".join(wrong) or "all as declared",
        command="stat -c '%a %U:%G' of each",
    )
    assert not wrong, "; ".join(wrong)


def test_nothing_waits_for_a_reboot(observation: Observation, show: Show) -> None:
    """The booted kernel, its modules, initrd and parameters are those of the running system.

    What boots has a check of its own in every audit; only a reboot shows that the host comes up with it.

    Try: reboot the host and audit it again.
    """
    waits = observation.system.awaits_reboot
    show(
        expected="the running system's kernel is booted",
        seen=waits or "all of it is in use",
        command="readlink -e /run/booted-system/kernel /run/current-system/kernel",
    )
    assert not waits, waits
