"""What is told of a host is understood, and what is not told is inconclusive."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from switchproof.deploy.cutover.surroundings import (
    SCRIPT,
    Surroundings,
    agents,
    fingerprint,
    look_around,
    password_ways,
    read,
    strangers,
    undeclared_listeners,
)
from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.target.declared import Declared, DeclaredFile, is_declared, matches, undeclared
from tests.cutover.surroundings import GOOD, KEY, STORE, printed

DECLARED = Declared(
    listeners=("0.0.0.0:22",),
    unit_folders=("/usr/lib/systemd/system",),
    users={"hypervisor.service": "choiros"},
    files=(DeclaredFile(path="/etc/x", mode="0600"),),
)
ENDPOINTS = ("127.0.0.1:9090",)


def around(**changed: str | None) -> Surroundings:
    return read("b", printed(**changed))


def test_a_host_as_it_should_be_has_nothing_to_find() -> None:
    """A clean host has no agent, no stranger among its units, no other listener and no way in but keys."""
    seen = around()
    assert not list(agents(seen))
    assert not list(strangers(seen, DECLARED))
    assert not undeclared_listeners(seen, DECLARED, ENDPOINTS)
    assert not password_ways(seen.sshd, "prohibit-password")
    assert [(unit.name, unit.user, unit.of_aws) for unit in seen.served] == [("hypervisor.service", "choiros", ())]


@pytest.mark.parametrize(
    ("section", "text", "says"),
    [
        ("unit_files", "amazon-ssm-agent.service\n", "unit amazon-ssm-agent.service"),
        (
            "unit_files",
            "snap.amazon-ssm-agent.amazon-ssm-agent.service\n",
            "unit snap.amazon-ssm-agent.amazon-ssm-agent.service",
        ),
        ("closure", f"{STORE}-amazon-ssm-agent-3.3\n", f"{STORE}-amazon-ssm-agent-3.3 in the running system"),
        (
            "processes",
            f"9\t{STORE}-amazon-ssm-agent-3.3/bin/x\tx\n",
            f"process 9, {STORE}-amazon-ssm-agent-3.3/bin/x",
        ),
        ("processes", "9\t/opt/x\t/opt/ssm-agent-worker a\tb\n", "process 9, /opt/x"),
        ("processes", f"9\t\tssm-agent-worker {'a' * 90}\n", f"process 9, ssm-agent-worker {'a' * 63}"),
    ],
)
def test_the_agent_is_found_in_every_form(section: str, text: str, says: str) -> None:
    """A unit, a process or a member of the closure is enough; 80 characters of a command line show what it is."""
    name = section.replace("_", "-")
    assert list(agents(around(**{section: GOOD[name] + text}))) == [says]


def test_whoever_speaks_of_the_agent_is_not_the_agent() -> None:
    """A shell with the agent's name among its arguments, as ours has, is none."""
    assert not list(agents(around(processes="9\t/bin/bash\tbash -c echo amazon-ssm-agent\n")))


UNIT = "\n\nId={name}\nLoadState=loaded\nFragmentPath={path}\nDropInPaths={drop}\nTransient={transient}\n"


@pytest.mark.parametrize(
    ("name", "path", "drop", "transient", "says"),
    [
        ("x.service", "/etc/systemd/system/x.service", "", "no", "x.service from /etc/systemd/system/x.service"),
        ("x.timer", "/root/x.timer", "", "no", "x.timer from /root/x.timer"),
        (
            "dbus.service",
            "/usr/lib/systemd/system/dbus.service",
            "/etc/x.conf",
            "no",
            "dbus.service from /etc/x.conf",
        ),
        ("y.service", "/root/y.service", "/root/a=b.conf", "no", "y.service from /root/y.service"),
        ("run-u1.service", "/run/systemd/transient/run-u1.service", "", "yes", "a transient unit"),
    ],
)
def test_a_unit_from_outside_is_found(name: str, path: str, drop: str, transient: str, says: str) -> None:
    """A file by hand, a drop-in by hand or a transient unit is not of the declared system."""
    text = GOOD["units"] + UNIT.format(name=name, path=path, drop=drop, transient=transient)
    (found,) = strangers(around(units=text), DECLARED)
    assert says in found


@pytest.mark.parametrize(
    ("name", "path", "transient"),
    [
        ("x.service", "/run/systemd/generator/x.service", "no"),
        ("x.mount", "/etc/fstab.d/x.mount", "no"),
        ("session-1.scope", "/run/systemd/transient/session-1.scope", "yes"),
        ("switchproof-converge-1.service", "/run/systemd/transient/s.service", "yes"),
        ("backup@a.service", "/root/b.service", "no"),
    ],
)
def test_what_belongs_there_is_no_stranger(name: str, path: str, transient: str) -> None:
    """What systemd generates, what a session makes, our own and what is declared may be there."""
    declared = Declared(listeners=(), units=("backup@*.service",), users={}, files=DECLARED.files)
    text = UNIT.format(name=name, path=path, drop="", transient=transient)
    assert not list(strangers(around(units=text), declared))


def test_every_stranger_is_found() -> None:
    """Neither a unit that belongs there nor another stranger hides those that follow, and each is named once."""
    paths = {name: f"/etc/systemd/system/{name}.service" for name in ("a", "switchproof-x", "b", "c")}
    text = "".join(
        UNIT.format(name=f"{name}.service", path=path, drop="", transient="yes" if name == "b" else "no")
        for name, path in paths.items()
    )
    placed = "".join(f"{path}\t{path}\n" for name, path in paths.items() if name != "b")
    assert list(strangers(around(units=text, placed=placed), DECLARED)) == [
        "a.service from /etc/systemd/system/a.service",
        "b.service, a transient unit",
        "c.service from /etc/systemd/system/c.service",
    ]


def test_unit_that_systemd_does_not_find_is_no_unit() -> None:
    """systemd also tells of units that others only name; and a block without a name is of none."""
    missing = "\n\nId=x.service\nLoadState=not-found\nFragmentPath=/root/x\n\nLoadState=loaded\nTransient=yes\n"
    seen = around(units=GOOD["units"] + missing)
    assert [unit.name for unit in seen.units] == ["hypervisor.service", "dbus.service", "proc.mount"]
    assert not list(strangers(seen, DECLARED))


def test_path_may_contain_what_separates_the_fields() -> None:
    """A file whose name has a tab is found, not taken for something else."""
    real = "/etc/systemd/system/x.service\t/root/a\tb\n"
    text = UNIT.format(name="x.service", path="/etc/systemd/system/x.service", drop="", transient="no")
    loaded = around(units=text, real_paths=real, placed="")
    assert list(strangers(loaded, DECLARED)) == ["x.service from /root/a\tb"]
    assert around(placed=real).placed == {"/etc/systemd/system/x.service": "/root/a\tb"}


@pytest.mark.parametrize("real", ["/etc/systemd/system/x.service", ""])
def test_a_unit_that_only_lies_there_is_found(real: str) -> None:
    """A unit file by hand that nothing has loaded yet, or a link that leads nowhere, waits for the next boot."""
    seen = around(placed=f"{GOOD['placed']}/etc/systemd/system/x.service\t{real}\n")
    assert list(strangers(seen, DECLARED)) == ["x.service from /etc/systemd/system/x.service, which is not loaded"]


def test_a_masked_unit_is_no_stranger() -> None:
    """A unit that is masked leads to /dev/null, and nothing of it can run."""
    text = UNIT.format(name="x.service", path="/etc/systemd/system/x.service", drop="", transient="no")
    real = "/etc/systemd/system/x.service\t/dev/null\n"
    assert not list(strangers(around(units=GOOD["units"] + text, real_paths=GOOD["real-paths"] + real), DECLARED))


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('tcp LISTEN 0 1 0.0.0.0:8080 0.0.0.0:* users:(("nc",pid=1,fd=1))', "tcp 0.0.0.0:8080 by nc"),
        ("tcp LISTEN 0 1 [::]:22 [::]:*", "tcp [::]:22 by the kernel"),
        ("udp UNCONN 0 0 0.0.0.0:22 0.0.0.0:*", "udp 0.0.0.0:22 by the kernel"),
        ('tcp LISTEN 0 1 [::1]:7 [::]:* users:(("a b c",pid=1,fd=1))', "tcp [::1]:7 by a b c"),
        ('tcp LISTEN 0 1 *:9090 *:* users:(("x",pid=1,fd=1))', "tcp *:9090 by x"),
    ],
)
def test_another_listener_is_found(line: str, found: str) -> None:
    """Another port, another address of the same port, or another protocol is not what was declared."""
    assert undeclared_listeners(around(sockets=GOOD["sockets"] + line), DECLARED, ENDPOINTS) == [found]


def test_line_that_ss_does_not_print_is_inconclusive() -> None:
    """A socket without a peer was cut off, so others may be missing; 80 characters of the line show what it was."""
    with pytest.raises(Inconclusive) as error:
        _ = around(sockets=f"tcp LISTEN 0 1 {'1' * 90}").listeners
    told = f"b: the host's list of sockets has a line that ss does not print: 'tcp LISTEN 0 1 {'1' * 65}'"
    assert str(error.value) == told


def test_units_of_the_contract_are_told_with_their_users_and_settings() -> None:
    """A unit without a main process has no user; a line without its second field is of no unit."""
    text = "a.service\tchoiros\tAWS_REGION\t\tAWS_PROFILE\nb.service\t\t\nc.service\troot\nd.service\n"
    assert [(unit.name, unit.user, unit.of_aws) for unit in around(contract_units=text).served] == [
        ("a.service", "choiros", ("AWS_REGION", "AWS_PROFILE")),
        ("b.service", None, ()),
        ("c.service", "root", ()),
    ]


@pytest.mark.parametrize(
    ("socket", "allowed", "is_one"),
    [
        ("0.0.0.0:22", ("0.0.0.0:22",), True),
        ("0.0.0.0:22", ("127.0.0.1:22",), False),
        ("[::]:22", ("*:22",), True),
        ("127.0.0.1:40000", ("127.0.0.1:*",), True),
        ("0.0.0.0:222", ("0.0.0.0:22",), False),
    ],
)
def test_sockets_are_matched_whole(socket: str, allowed: tuple[str, ...], is_one: bool) -> None:
    """An address and a port each match as a whole, or by `*`."""
    assert is_declared(socket, allowed) == is_one


def test_units_are_matched_whole() -> None:
    """A pattern stands for the whole name."""
    assert matches("run-1.service", ("run-?.service",))
    assert not matches("xrun-1.service", ("run-?.service",))


@pytest.mark.parametrize(
    ("setting", "root_login"),
    [
        ("passwordauthentication yes", "prohibit-password"),
        ("kbdinteractiveauthentication yes", "prohibit-password"),
        ("permitemptypasswords yes", "prohibit-password"),
        ("permitrootlogin yes", "prohibit-password"),
        ("permitrootlogin without-password", "no"),
        ("permitrootlogin prohibit-password", "forced-commands-only"),
        ("permitrootlogin forced-commands-only", "no"),
        ("permitrootlogin whatever", "prohibit-password"),
    ],
)
def test_every_way_in_without_a_key_is_found(setting: str, root_login: str) -> None:
    """Passwords of any kind, and root otherwise than declared, are ways in."""
    key, _, value = setting.partition(" ")
    (found,) = password_ways(around().sshd | {key: value}, root_login)
    assert found.startswith(key)


@pytest.mark.parametrize("value", ["no", "forced-commands-only", "prohibit-password", "yes", "whatever"])
def test_root_that_may_log_in_in_every_way_is_no_problem_where_it_is_declared(value: str) -> None:
    """A value that nobody knows counts as the widest one, which is what was declared."""
    assert password_ways(around().sshd | {"permitrootlogin": value}, "yes") == []


@pytest.mark.parametrize(
    "missing", ["passwordauthentication", "kbdinteractiveauthentication", "permitemptypasswords", "permitrootlogin"]
)
def test_a_setting_that_was_not_reported_is_inconclusive(missing: str) -> None:
    """A setting that the SSH server did not report is neither good nor bad; a bad one beside it still fails."""
    settings = {key: value for key, value in around().sshd.items() if key != missing}
    with pytest.raises(Inconclusive, match=missing):
        password_ways(settings, "prohibit-password")
    other = "permitrootlogin" if missing != "permitrootlogin" else "passwordauthentication"
    assert len(password_ways(settings | {other: "yes"}, "no" if other == "permitrootlogin" else "yes")) == 1


def test_keywords_of_the_ssh_server_are_read_in_any_case() -> None:
    """OpenSSH 10.6 prints `PasswordAuthentication no` where earlier ones print it in lower case."""
    printed_now = (
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitEmptyPasswords no\nPermitRootLogin no\n"
    )
    assert password_ways(around(sshd=printed_now).sshd, "no") == []


@pytest.mark.parametrize("section", [name.replace("-", "_") for name in GOOD])
def test_what_was_not_told_is_inconclusive(section: str) -> None:
    """A section that the host could not tell is no empty one."""
    seen = around(**{section: None})
    asked: dict[str, Callable[[], object]] = {
        "units": lambda: seen.units,
        "unit_files": lambda: seen.unit_names,
        "real_paths": lambda: seen.units,
        "placed": lambda: seen.placed,
        "closure": lambda: seen.closure,
        "processes": lambda: seen.processes,
        "sockets": lambda: seen.listeners,
        "sshd": lambda: seen.sshd,
        "host_keys": lambda: seen.host_keys,
        "contract_units": lambda: seen.served,
        "credentials": lambda: seen.credentials,
    }
    with pytest.raises(Inconclusive, match="did not report"):
        asked[section]()


@pytest.mark.parametrize(
    "text", ["", "units\n", printed().removesuffix("end\n"), f"hello\n{printed()}", "sshd ***\nend\n"]
)
def test_an_answer_that_is_not_whole_is_inconclusive(text: str) -> None:
    """Cut off, spoilt or with something else in it, an answer is none."""
    with pytest.raises(Inconclusive):
        read("b", text)


def test_line_of_no_section_is_quoted_shortly() -> None:
    """60 characters of what came between the sections show what it was."""
    with pytest.raises(Inconclusive) as error:
        read("b", f"{'motd ' * 20}\nend\n")
    told = f"b: the host's answer about its surroundings has an unknown section: '{'motd ' * 12}'"
    assert str(error.value) == told


def test_host_is_asked_with_the_script_and_the_units_of_the_contract() -> None:
    """The script that lies beside those of a switch is run by the host's bash; a unit's name stays one word."""
    asked: list[str] = []

    def run(command: str) -> SimpleNamespace:
        asked.append(command)
        return SimpleNamespace(stdout=printed())

    host: Any = SimpleNamespace(run=run)
    assert look_around("b", host, ("hypervisor.service", "a\\x20b $x.service")).host_keys == [fingerprint(KEY)]
    words = [
        "exec",
        "bash",
        "-c",
        SCRIPT.read_text("utf-8"),
        "look-around.sh",
        "hypervisor.service",
        "a\\x20b $x.service",
    ]
    assert [shlex.split(command) for command in asked] == [words]


def looked_around(folder: Path, end: str) -> Surroundings:
    """Run the script here, with a `find` that ends so after it has found all."""
    find = folder / "find"
    find.write_text(f'#!/bin/sh\n{shutil.which("find")} "$@"; {end}\n', encoding="utf-8")
    find.chmod(0o755)
    env = {"PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", SCRIPT], capture_output=True, text=True, env=env, check=True, timeout=60)
    return read("b", done.stdout)


def test_a_process_that_ends_meanwhile_hides_no_other(tmp_path: Path) -> None:
    """A host starts and ends processes all the time, and find fails where one is gone when it comes to it."""
    assert os.getpid() in [process.pid for process in looked_around(tmp_path, "exit 1").processes]


def test_a_list_of_processes_that_was_cut_off_is_none(tmp_path: Path) -> None:
    """What find had not come to when it was killed may be what must be gone."""
    with pytest.raises(Inconclusive, match="did not report its processes"):
        _ = looked_around(tmp_path, "kill -9 $$").processes


@pytest.mark.parametrize("section", ["units", "closure", "processes"])
def test_what_cannot_be_empty_is_not_taken_for_clean(section: str) -> None:
    """No unit, no process or no closure at all is no host."""
    seen = around(**{section: ""})
    with pytest.raises(Inconclusive):
        list(agents(seen))


def test_fingerprints_are_those_of_openssh(tmp_path: Path) -> None:
    """A key is called as ssh-keygen calls it."""
    file = tmp_path / "key.pub"
    file.write_text(f"{KEY}\n", encoding="utf-8")
    done = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(file)], capture_output=True, text=True, check=True, timeout=30
    )
    assert fingerprint(KEY) == f"ssh-ed25519 {done.stdout.split()[1]}"


@pytest.mark.parametrize("key", ["", "ssh-ed25519", "ssh-ed25519 AAAA!", "ssh-ed25519 AAA"])
def test_what_is_no_key_has_no_fingerprint(key: str) -> None:
    """A file that is empty, cut off or spoilt is never taken for a key that somebody may know."""
    assert fingerprint(key) == "no key"


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        (None, "declared: missing"),
        (Declared(listeners=(), users={}, files=DECLARED.files), "missing hypervisor.service"),
        (
            Declared(listeners=(), users={"hypervisor.service": "a", "x.service": "b"}, files=DECLARED.files),
            "x.service: not a unit of the contract",
        ),
        (DECLARED, None),
    ],
)
def test_what_must_be_declared_is_asked_for(declared: Declared | None, says: str | None) -> None:
    """Each of the contract's units has a declared user, and no other unit has."""
    problem = undeclared(declared, ("hypervisor.service",))
    assert (problem is None) if says is None else (problem is not None and says in problem)
