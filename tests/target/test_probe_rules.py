"""What the table of an endpoint says is taken or refused by the kind of its probe, with file, line and key."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from switchproof.deploy.errors import UsageError
from switchproof.deploy.providers import json_schema, load
from switchproof.deploy.target.types import Target

HEAD = """provider = "lab"
[repository]
[[hosts]]
name = "a"
flake_attr = "a"
[hypervisor]
units = ["hypervisor.service"]
listen = "127.0.0.1:9090"
url = "http://127.0.0.1:9090/login"
"""
BARE = HEAD.partition("[hypervisor]")[0]
KINDS = {
    "http": 'listen = "127.0.0.1:80"\nurl = "http://127.0.0.1/"\nstatus = 204\nheaders_file = "/run/x"',
    "https": 'listen = "0.0.0.0:443"\nurl = "https://web.example/"\nca_file = "/etc/ca.pem"\nheaders_file = "/run/x"',
    "tcp": 'listen = "127.0.0.1:25"\nexpect = "220 "\nbackend = "http://10.0.0.1/"',
    "unix": 'listen = "/run/web/web.sock"\nurl = "http://localhost/"\nheaders_file = "/run/x"',
    "exec": 'command = ["/run/current-system/sw/bin/x", "a b", "-c", "$(id)"]\nuser = "nobody"\nexit_code = 3',
}


def loaded(tmp_path: Path, text: str) -> Target:
    path = tmp_path / "t.toml"
    path.write_text(text, encoding="utf-8")
    return load(path, {})


def web(kind: str, text: str) -> str:
    return f'{HEAD}[runtime.web]\nunits = ["web.service"]\nprobe = "{kind}"\n{text}\n'


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_takes_its_own_keys(kind: str, tmp_path: Path) -> None:
    """A table of each kind is taken as it stands, by an editor's schema as well."""
    text = web(kind, KINDS[kind])
    endpoint = loaded(tmp_path, text).runtime["web"]
    assert endpoint.probe == kind
    Draft202012Validator(json_schema()).validate(tomllib.loads(text))


def changed(kind: str, old: str, new: str) -> str:
    assert old in KINDS[kind]
    return web(kind, KINDS[kind].replace(old, new))


WRONG = [
    (web("ftp", ""), 'runtime.web.probe: not allowed; did you mean "tcp"? Allowed: '),
    (
        changed("http", "status", "exit_code = 1\nstatus"),
        'exit_code: only with probe = "exec" (found probe = "http")',
    ),
    (
        changed("http", "status", 'ca_file = "/x"\nstatus'),
        'ca_file: only with probe = "https" (found probe = "http")',
    ),
    (changed("http", "status", 'expect = "x"\nstatus'), 'expect: only with probe = "tcp"'),
    (changed("http", "status", 'command = ["/x"]\nstatus'), 'command: only with probe = "exec"'),
    (changed("http", "status", 'user = "x"\nstatus'), 'user: only with probe = "exec"'),
    (changed("http", "http://127", "https://127"), 'url: probe = "http" asks http:// (found '),
    (changed("http", "http://127.0.0.1/", "https://127.0.0.1/"), 'for TLS write probe = "https"'),
    (
        changed("http", "127.0.0.1:80", "/run/web.sock"),
        'listen: must be ADDRESS:PORT; a socket\'s path needs probe = "unix"',
    ),
    (changed("https", "https://", "http://"), 'url: probe = "https" asks https:// (found '),
    (changed("https", ":443", ":8443"), "url: asks port 443, but the service listens on 0.0.0.0:8443"),
    (changed("https", "/etc/ca.pem", "ca.pem"), "ca_file: must be an absolute path (found 'ca.pem')"),
    (
        changed("https", 'url = "https://web.example/"', ""),
        'url: missing, which probe = "https" needs; for example url = "https://',
    ),
    (
        changed("tcp", "expect", "url = 'http://127.0.0.1:25/'\nexpect"),
        'url: only with probe = "http" or "https" or "unix"',
    ),
    (changed("tcp", '"220 "', '"220\\n"'), "expect: must be one line of text"),
    (changed("tcp", '"220 "', '""'), "expect: must be one line of text"),
    (
        changed("tcp", 'listen = "127.0.0.1:25"', ""),
        'listen: missing, which probe = "tcp" needs; for example listen = ',
    ),
    (
        changed("tcp", "127.0.0.1:25", "mail.example:25"),
        "listen: must be ADDRESS:PORT with a numeric address, or a unix",
    ),
    (changed("tcp", "expect", "status = 201\nexpect"), "status: only with probe = "),
    (changed("tcp", "expect", "json = { a = 1 }\nexpect"), "json: only with probe = "),
    (
        changed("unix", "/run/web/web.sock", "127.0.0.1:80"),
        'listen: probe = "unix" needs the socket\'s absolute path',
    ),
    (
        changed("unix", "/run/web/web.sock", "run/web.sock"),
        "listen: must be ADDRESS:PORT with a numeric address, or a unix",
    ),
    (changed("unix", "/run/web/web.sock", "/run/../web.sock"), "listen: must be ADDRESS:PORT"),
    (changed("unix", "http://", "https://"), 'url: probe = "unix" asks http://'),
    (
        changed("unix", "url", 'exposure = "any"\nurl'),
        'exposure: only with probe = "http" or "https" or "tcp" or "exec"',
    ),
    (
        changed("exec", 'user = "nobody"', ""),
        'user: missing, which probe = "exec" needs; for example user = "nobody"',
    ),
    (changed("exec", '"nobody"', '"a b"'), "user: must be a user's or group's name (found 'a b')"),
    (changed("exec", '"nobody"', '"-x"'), "user: must be a user's or group's name"),
    (
        changed("exec", '["/run/current-system/sw/bin/x", "a b", "-c", "$(id)"]', '"/bin/x -c"'),
        "command: must be a list, not a string",
    ),
    (
        changed("exec", "/run/current-system/sw/bin/x", "x"),
        "command[0]: must be the program's absolute path, such as",
    ),
    (changed("exec", "/run/current-system/sw/bin/x", "/bin/x -c"), "command[0]: must be the program's absolute path"),
    (changed("exec", "a b", "a\\nb"), "command[1]: must be one line of text"),
    (changed("exec", "= 3", "= 127"), "exit_code: must be at most 123 (found 127)"),
    (changed("exec", "= 3", '= "0"'), "exit_code: must be a whole number"),
    (changed("exec", "exit_code", 'exposure = "any"\nexit_code'), "listen: missing; exposure needs it"),
    (changed("exec", "exit_code", 'listen = "/run/x"\nexit_code'), "listen: must be ADDRESS:PORT; a socket's path"),
    (changed("exec", "exit_code", 'url = "http://127.0.0.1/"\nexit_code'), "url: only with probe = "),
    (
        f'{HEAD}[runtime.web]\nlisten = "127.0.0.1:80"\nurl = "http://127.0.0.1/"\n',
        "runtime.web.units: missing; for example units = ",
    ),
    (
        f'{HEAD}[runtime.web]\nabsent = "not yet"\n',
        "runtime.web.absent: only the hypervisor may be absent; remove the table",
    ),
]


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_what_does_not_fit_is_refused_by_its_line(text: str, said: str, tmp_path: Path) -> None:
    """What another kind has, what a kind needs, and a value of another form are told by file, line and key."""
    with pytest.raises(UsageError) as refused:
        loaded(tmp_path, text)
    assert re.match(rf"{re.escape(str(tmp_path / 't.toml'))}:\d+: runtime\.web", str(refused.value))
    assert said in str(refused.value)


@pytest.mark.parametrize("kind", KINDS)
def test_an_editor_misses_what_a_kind_needs(kind: str, tmp_path: Path) -> None:
    """The schema for editors asks for the same keys as the code, kind by kind."""
    validator = Draft202012Validator(json_schema())
    for line in KINDS[kind].splitlines():
        text = web(kind, KINDS[kind].replace(line, ""))
        try:
            loaded(tmp_path, text)
        except UsageError:
            assert not validator.is_valid(tomllib.loads(text)), line
        else:
            assert validator.is_valid(tomllib.loads(text)), line


def test_hosts_without_a_hypervisor_say_why(tmp_path: Path) -> None:
    """With its reason the hypervisor is no endpoint and has no units; the schema takes it as well."""
    text = f'{BARE}[hypervisor]\nabsent = "sandboxes are plain processes"\n{web("http", KINDS["http"])[len(HEAD) :]}'
    target = loaded(tmp_path, text)
    assert list(target.endpoints) == ["web"]
    assert target.contract_units == ("web.service",)
    assert target.hypervisor.absent == "sandboxes are plain processes"
    Draft202012Validator(json_schema()).validate(tomllib.loads(text))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("", 'hypervisor: missing; describe it, or write [hypervisor] and absent = "why there is none"'),
        ("[hypervisor]\n", "hypervisor.units: missing; for example units = "),
        ("[hypervisor]\n", 'or only absent = "why there is none"'),
        ('[hypervisor]\nabsent = ""\n', "hypervisor.absent: must be one line of text, not empty (found '')"),
        ('[hypervisor]\nabsent = "  "\n', "hypervisor.absent: must say why there is none (found '  ')"),
        ("[hypervisor]\nabsent = true\n", "hypervisor.absent: must be a string in quotes, not true or false"),
        (
            '[hypervisor]\nabsent = "none"\nunits = ["x.service"]\n',
            "hypervisor.units: hypervisor.absent says that there is none; remove one of them",
        ),
    ],
)
def test_no_hypervisor_without_a_reason(table: str, said: str, tmp_path: Path) -> None:
    """A table that is missing, empty, or says nothing of why is refused."""
    with pytest.raises(UsageError) as refused:
        loaded(tmp_path, BARE + table + web("http", KINDS["http"])[len(HEAD) :])
    assert said in str(refused.value)


@pytest.mark.parametrize("names", [["web"], ["a", "b", "c-1", "4", "live"]])
def test_any_number_and_names_of_units(names: list[str], tmp_path: Path) -> None:
    """A target file has as many runtime units as it likes, by the names that it gives them."""
    tables = [
        f'[runtime.{name}]\nunits = ["{name}.service"]\nlisten = "127.0.0.1:{8000 + at}"\n'
        f'url = "http://127.0.0.1:{8000 + at}/"\n'
        for at, name in enumerate(names)
    ]
    target = loaded(tmp_path, HEAD + "".join(tables))
    assert list(target.endpoints) == ["hypervisor", *names]
