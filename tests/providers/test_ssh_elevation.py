"""A login user without root rights becomes root on a lab host, or one sentence says what it may not do."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from switchproof.deploy.connection import NotRoot, RootRefused
from switchproof.deploy.providers import load, open_provider
from switchproof.deploy.providers.elevation import How
from switchproof.deploy.providers.kind import Opening
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.kinds import LabOptions
from tests.logins import COMMAND, PASSWORD, allow, login_user
from tests.providers.ways import LAB_TARGET, SOON_S, connect, inside, provider, run, target

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
PASSWORDLESS = f"deploy ALL=(root) NOPASSWD: {COMMAND}"
WITH_PASSWORD = f"deploy ALL=(root) {COMMAND}"
ECHO = 'id -u; echo oops >&2; read line; echo "$line"; exit 7\nnot a command\n'


@pytest.fixture(scope="module", autouse=True)
def _user(machine: LabHost) -> Iterator[None]:
    with login_user(machine):
        yield


@pytest.fixture(autouse=True)
def _no_rules(machine: LabHost) -> Iterator[None]:
    yield
    inside(machine, "rm -f /etc/sudoers.d/deploy /etc/doas.conf; rm -rf /run/sudo/ts")


@pytest.fixture
def password(tmp_path: Path) -> str:
    """Where the password comes from."""
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    file.chmod(0o600)
    return f"file:{file}"


def test_a_user_without_root_rights_is_refused_at_once(machine: LabHost) -> None:
    """The message says who the user is there and what to set; it is a refusal, before anything was asked."""
    with pytest.raises(RootRefused, match=r"deploy is not root there \(its user id is \d+\).*ssh.become is missing"):
        run(machine, "true", ssh={"user": "deploy"})


def test_a_program_runs_as_root_with_its_own_input_and_ending(machine: LabHost) -> None:
    """Output, errors, standard input and exit status are those of the program, as for root."""
    allow(machine, PASSWORDLESS)
    as_root = run(machine, ECHO)
    done = run(machine, ECHO, ssh={"user": "deploy", "become": "sudo"})
    assert (done.stdout, done.stderr, done.exit_status) == (as_root.stdout, as_root.stderr, as_root.exit_status)
    assert done.exit_status == 7


@pytest.mark.parametrize("rule", [WITH_PASSWORD, PASSWORDLESS])
def test_the_password_goes_to_sudo_and_nowhere_else(machine: LabHost, password: str, rule: str) -> None:
    """Where sudo asks for it, it gets it; where it does not, the password never becomes the program's input."""
    allow(machine, "Defaults lecture=always", rule)
    as_root = run(machine, ECHO)
    done = run(machine, ECHO, ssh={"user": "deploy", "become": "sudo", "become_password": password})
    assert (done.stdout, done.stderr, done.exit_status) == (as_root.stdout, as_root.stderr, as_root.exit_status)
    assert inside(machine, f"journalctl -b | grep -cF '{PASSWORD}' || true") == "0"


def test_much_passes_through_sudo_whole(machine: LabHost, password: str) -> None:
    """A long program and a long answer arrive as they are, byte for byte."""
    allow(machine, WITH_PASSWORD)
    text = f": '{'x' * 500_000}'\nhead -c 3000000 /dev/zero | tr '\\0' '\\377'; printf '\\r\\n\\004'\n"
    done = run(machine, text, ssh={"user": "deploy", "become": "sudo", "become_password": password})
    assert done.stdout == b"\xff" * 3_000_000 + b"\r\n\x04"


@pytest.mark.parametrize("rule", [WITH_PASSWORD, PASSWORDLESS])
def test_a_stream_passes_through_sudo_whole(machine: LabHost, password: str, rule: str) -> None:
    """Root's command gets every byte of it, and neither the password nor the shell before it takes any."""
    allow(machine, rule)
    connection = connect(machine, ssh={"user": "deploy", "become": "sudo", "become_password": password})
    chunks = [bytes(range(256)) * 4096 for _ in range(3)]
    done = connection.feed("/bin/sh -c 'id -u; sha256sum; exit 3'", chunks, stall_s=60)
    digest = hashlib.sha256(b"".join(chunks)).hexdigest()
    assert (done.stdout.decode().split()[:2], done.exit_status) == (["0", digest], 3)


@pytest.mark.parametrize("rule", [WITH_PASSWORD, PASSWORDLESS])
def test_an_output_is_drawn_through_sudo_whole(machine: LabHost, password: str, rule: str) -> None:
    """It is root's, byte for byte, and the program's own words and ending are told."""
    allow(machine, rule)
    connection = connect(machine, ssh={"user": "deploy", "become": "sudo", "become_password": password})
    program = b"work() { id -u; head -c 3000000 /dev/zero; echo words >&2; exit 3; }\nwork\n"
    output, drawn = connection.draw(program, timeout_s=60), bytearray()
    while chunk := output.read(60):
        drawn += chunk
    done = output.end()
    assert (bytes(drawn), done.stderr, done.exit_status) == (b"0\n" + bytes(3_000_000), b"words\n", 3)


def test_a_mere_builder_is_not_made_root(machine: LabHost, tmp_path: Path) -> None:
    """Its login user is enough, as for any user of the Nix daemon, and no rule is asked for."""
    file = tmp_path / "lab.toml"
    file.write_text(f'{LAB_TARGET.read_text(encoding="utf-8")}\n[[builders]]\nname = "big"\n', encoding="utf-8")
    (builder,) = load(file, {}, ["a"], "big").builders
    builder = msgspec.structs.replace(builder, address=machine.address, host_keys=(machine.host_key,))
    whole = msgspec.structs.replace(target(machine, ssh={"user": "deploy"}), builders=(builder,))
    opening = Opening(changes_hosts=True, lab=LabOptions(), say=print, emulated=lambda *_: None, secrets={})
    opened = open_provider(whole, opening)
    assert opened.connect("big").run(b"id -un\n", timeout_s=SOON_S).stdout == b"deploy\n"
    with pytest.raises(RootRefused):
        opened.connect("a")


def test_a_stream_of_a_user_who_does_not_become_root_is_not_sent(machine: LabHost) -> None:
    """The refusal is sudo's sentence, as for a program."""
    allow(machine, PASSWORDLESS)
    connection = connect(machine, ssh={"user": "deploy", "become": "sudo"})
    allow(machine)
    with pytest.raises(NotRoot, match="sudo there asks deploy for a password"):
        connection.feed("/bin/sh -c cat", iter([b"x"]), stall_s=60)


def test_a_wrong_password_is_tried_once(machine: LabHost, tmp_path: Path) -> None:
    """Accounts get locked: the host counts one attempt, however often the run comes back to it."""
    allow(machine, "Defaults passwd_tries=3", WITH_PASSWORD)
    file = tmp_path / "wrong"
    file.write_text("not the password")
    file.chmod(0o600)
    since = inside(machine, "date '+%F %T'")
    way = provider(machine, ssh={"user": "deploy", "become": "sudo", "become_password": f"file:{file}"})
    for _ in range(3):
        with pytest.raises(RootRefused, match="refused the password of deploy"):
            way.connect("a")
    failures = inside(machine, f"journalctl --since '{since}' | grep -c 'sudo.*authentication failure;' || true")
    assert failures == "1"


@pytest.mark.parametrize(
    ("rules", "has_password", "cause"),
    [
        ((WITH_PASSWORD,), False, "asks deploy for a password"),
        (("deploy ALL=(root) NOPASSWD: /bin/true",), False, "asks deploy for a password"),
        ((), True, "does not allow deploy"),
        (("Defaults requiretty", WITH_PASSWORD), True, "requiretty"),
        (("Defaults targetpw", WITH_PASSWORD), True, "asks for the password of 'root'"),
    ],
)
def test_what_sudo_refuses_is_told(
    machine: LabHost, password: str, rules: tuple[str, ...], has_password: bool, cause: str
) -> None:
    """Each way in which a rule can fall short has its own sentence, in the words of the problem."""
    allow(machine, *rules)
    given = {"become_password": password} if has_password else {}
    with pytest.raises(RootRefused, match=cause):
        run(machine, "true", ssh={"user": "deploy", "become": "sudo", **given})


def test_an_expired_password_is_told(machine: LabHost, password: str) -> None:
    """An account whose password has to be changed first is named as such, and gets no further input."""
    allow(machine, WITH_PASSWORD)
    inside(machine, "chage --lastday 0 deploy")
    try:
        with pytest.raises(RootRefused, match="locked or expired"):
            run(machine, "true", ssh={"user": "deploy", "become": "sudo", "become_password": password})
    finally:
        inside(machine, 'chage --lastday "$(date +%F)" deploy')


def test_doas_without_a_password_makes_root(machine: LabHost) -> None:
    """A rule that names the one command is enough for doas as well."""
    with pytest.raises(RootRefused, match="doas there does not allow deploy"):
        run(machine, "true", ssh={"user": "deploy", "become": "doas"})
    args = '-c "echo switchproof-is-root; exec /bin/sh -s"'
    inside(machine, f"echo 'permit nopass deploy as root cmd /bin/sh args {args}' >/etc/doas.conf")
    assert run(machine, "id -u", ssh={"user": "deploy", "become": "doas"}).stdout == b"0\n"
    inside(machine, "sed -i 's/ nopass//' /etc/doas.conf")
    with pytest.raises(RootRefused, match="doas there asks deploy for a password"):
        run(machine, "true", ssh={"user": "deploy", "become": "doas"})


@pytest.mark.parametrize(
    ("user", "become", "command"),
    [
        ("root", None, "/bin/sh -s"),
        ("deploy", "sudo", "sudo -n -H -u root -- /bin/sh -c 'echo switchproof-is-root; exec /bin/sh -s'"),
    ],
)
def test_a_key_that_is_tied_to_the_one_command_is_enough(
    machine: LabHost, user: str, become: How | None, command: str
) -> None:
    """The forced commands of docs/least-privilege.md run every program of a run, and take its streams."""
    allow(machine, PASSWORDLESS)
    keys = f"~{user}/.ssh/authorized_keys"
    inside(
        machine, f"cp -p {keys} {keys}.kept; sed -i 's|^|restrict,command=\"{shlex.quote(command)[1:-1]}\" |' {keys}"
    )
    try:
        done = run(machine, "id -u; exit 7", ssh={"user": user, "become": become})
        connection = connect(machine, ssh={"user": user, "become": become})
        fed = connection.feed("/bin/sh -c 'id -u; cat; exit 3'", [b"echo read by no shell\n"], stall_s=60)
    finally:
        inside(machine, f"mv {keys}.kept {keys}")
    assert (done.stdout, done.exit_status) == (b"0\n", 7)
    assert (fed.stdout, fed.exit_status) == (b"0\necho read by no shell\n", 3)


def test_run0_that_asks_for_a_password_is_told(machine: LabHost) -> None:
    """Without a polkit rule, nobody can answer run0."""
    with pytest.raises(RootRefused, match="run0 there asks deploy to authenticate"):
        run(machine, "true", ssh={"user": "deploy", "become": "run0"})


POLKIT_RULE = """\
polkit.addRule(function(action, subject) {
  if (action.id == "org.freedesktop.systemd1.manage-units" && subject.user == "deploy") return polkit.Result.YES;
});
"""


def test_run0_works_with_a_polkit_rule(machine: LabHost) -> None:
    """The rule of docs/least-privilege.md is enough: programs run as root, and streams reach them whole."""
    assert POLKIT_RULE in (ROOT / "docs" / "least-privilege.md").read_text(encoding="utf-8")
    rule = "/etc/polkit-1/rules.d/50-switchproof.rules"
    inside(machine, f"printf %s {shlex.quote(POLKIT_RULE)} >{rule}; chmod 644 {rule}; systemctl restart polkit")
    try:
        done = run(machine, "id -u; exit 7", ssh={"user": "deploy", "become": "run0"})
        connection = connect(machine, ssh={"user": "deploy", "become": "run0"})
        fed = connection.feed("/bin/sh -c 'id -u; cat; exit 3'", [b"echo read by no shell\n"], stall_s=60)
    finally:
        inside(machine, f"rm {rule}; systemctl restart polkit")
    assert (done.stdout, done.exit_status) == (b"0\n", 7)
    assert (fed.stdout, fed.exit_status) == (b"0\necho read by no shell\n", 3)


@pytest.mark.parametrize("how", ["sudo", "doas"])
def test_a_program_that_is_not_there_is_told(machine: LabHost, how: How) -> None:
    """The program is looked for on the login user's PATH."""
    inside(machine, f"mv /usr/bin/{how} /usr/bin/{how}.kept")
    try:
        with pytest.raises(RootRefused, match=f"{how} is not installed there"):
            run(machine, "true", ssh={"user": "deploy", "become": how})
    finally:
        inside(machine, f"mv /usr/bin/{how}.kept /usr/bin/{how}")


def test_a_user_who_was_root_and_is_not_any_more_is_lost(machine: LabHost) -> None:
    """What a new system takes away is no refusal of what was asked: the host is tried again, as it may go back."""
    allow(machine, PASSWORDLESS)
    way = provider(machine, ssh={"user": "deploy", "become": "sudo"})
    connection = way.connect("a")
    try:
        allow(machine, "deploy ALL=(root) NOPASSWD: /bin/true")
        with pytest.raises(NotRoot, match="asks deploy for a password"):
            connection.run(b"true\n", timeout_s=SOON_S)
        with pytest.raises(NotRoot):
            way.connect("a")
        allow(machine, PASSWORDLESS)
        assert connection.run(b"id -u\n", timeout_s=SOON_S).stdout == b"0\n"
    finally:
        connection.close()


def test_a_host_that_says_nothing_is_given_up_in_time(machine: LabHost) -> None:
    """A sudo that waits for something else, such as a second factor, is not waited for beyond the limit."""
    inside(
        machine,
        "mv /usr/bin/doas /usr/bin/doas.kept; printf '#!/bin/sh\\nsleep 60\\n' >/usr/bin/doas; "
        "chmod +x /usr/bin/doas",
    )
    try:
        with pytest.raises(RootRefused, match=r"did not become root there with doas .within 1 s"):
            run(machine, "true", ssh={"user": "deploy", "become": "doas", "connect_timeout_s": 1.0})
    finally:
        inside(machine, "mv /usr/bin/doas.kept /usr/bin/doas")
