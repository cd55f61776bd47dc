"""Target files are taken exactly or refused by file, key and value."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from switchproof.deploy.errors import UsageError
from switchproof.deploy.providers import KINDS, json_schema, load
from switchproof.deploy.providers.ssh.table import SshHost
from switchproof.deploy.target.way import patterns_of
from tests.answers import HOST_KEY
from tests.target.texts import TEXT, loaded


def test_file_is_taken_as_it_stands(tmp_path: Path) -> None:
    """What the file says is what the target is, in its order, with the defaults where it is silent."""
    target = loaded(tmp_path)
    assert [host.name for host in target.hosts] == ["a", "b"]
    assert [host.part(SshHost).address for host in target.hosts] == ["192.0.2.1", "192.0.2.2"]
    assert target.hosts[1].part(SshHost).host_keys == (HOST_KEY,)
    assert list(target.endpoints) == ["hypervisor", "dev", "live"]
    assert target.contract_units == ("hypervisor.service", "vm.service", "socat@dev.service", "socat@live.service")
    assert target.runtime["live"].listening_unit == "socat@live.service"
    assert (target.health.answers, target.health.soak_s, target.repository.checkout) == (
        5,
        15.0,
        "/opt/choiros/workspace",
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('provider = "ovh"', 'provider = "fleet"', "t.toml: transport: missing; Provider 'fleet' is one of your own"),
        (
            'provider = "ovh"',
            'provider = "ohv"',
            't.toml: transport: missing; did you mean provider = "ovh"? Provider',
        ),
        ('provider = "ovh"', 'provider = "a/b"', "t.toml:2: provider: must be a name of at most 40 letters"),
        ('provider = "ovh"', 'provider = ".x"', "t.toml:2: provider: must be a name of at most 40 letters"),
        ('provider = "ovh"', 'provider = "-x"', "t.toml:2: provider: must be a name of at most 40 letters"),
        (
            'provider = "ovh"',
            'transport = "ssm"',
            't.toml:2: transport: not allowed; did you mean "ssh"? Allowed: "ssh"',
        ),
        ('provider = "ovh"', 'provider = "x"\ntransport = "telnet"', "t.toml:3: transport: not allowed; allowed: "),
        (
            'provider = "ovh"',
            'provider = "aws"\ntransport = "ssh"',
            "t.toml:3: transport: provider 'aws' has its own transport; remove the key",
        ),
        (
            'provider = "ovh"',
            'provider = "lab"\ntransport = "ssh"',
            "t.toml:3: transport: provider 'lab' has its own transport; remove the key",
        ),
        ('provider = "ovh"', "", "t.toml: provider: missing; allowed: aws, lab, local, ovh"),
        (
            'provider = "ovh"',
            'provider = "ovh"\nproviders = 1',
            "t.toml:3: providers: unknown key; did you mean provider? Allowed: provider, ",
        ),
        ('provider = "ovh"', 'provider = "ovh', "not valid TOML"),
        (
            'provider = "ovh"',
            'provider = "local"',
            "hosts[0].address: provider 'local' does not use addresses; remove it (found '192.0.2.1')",
        ),
        ('provider = "ovh"', 'provider = "ovh"\nsecrets = ["A B"]', "secrets[0]: "),
        ('name = "b"', 'name = "a"', "hosts[1].name: 'a' is already the name of another host"),
        ('name = "b"', 'name = "B"', "(found 'B')"),
        ('name = "b"', 'name = "../b"', "hosts[1].name: "),
        ('name = "b"', 'name = "b\\n"', "hosts[1].name: "),
        ('name = "b"', "", "t.toml:11: hosts[1].name: missing; for example name = "),
        ('name = "b"', 'name = "b"\nport = 0', "t.toml:13: hosts[1].port: must be at least 1 (found 0)"),
        ('name = "b"', 'name = "b"\nport = 65536', "hosts[1].port: must be at most 65535 (found 65536)"),
        (
            'name = "b"',
            'name = "b"\nport = "22"',
            "hosts[1].port: must be a whole number, not a string in quotes (found '22'); for example port = ",
        ),
        (
            'name = "b"',
            'name = "b"\nport = true',
            "hosts[1].port: must be a whole number, not true or false (found True)",
        ),
        (
            'name = "b"',
            'name = "b"\nadress = "x"',
            "hosts[1].adress: unknown key; did you mean address? Allowed: name, ",
        ),
        ('address = "192.0.2.1"', "", "hosts[0].address: missing"),
        ('"192.0.2.1"', '"a..example.org"', "hosts[0].address: has an empty label"),
        ('"192.0.2.1"', f'"{"x" * 70}.org"', "hosts[0].address: has a label of 70 characters"),
        ('"192.0.2.1"', '"[fd00::1]"', "hosts[0].address: an address without brackets: write 'fd00::1'"),
        ('"192.0.2.1"', '"192.0.2.1:2222"', "hosts[0].address: names a port"),
        (f'["{HOST_KEY}"]', "[]", "hosts[0].host_keys: missing"),
        (f'["{HOST_KEY}"]', '["AAAA"]', "hosts[0].host_keys[0]: "),
        (
            'flake_attr = "choiros-a"',
            "",
            "hosts[0].flake_attr: missing; it is a name of the flake's nixosConfigurations",
        ),
        ('flake_attr = "choiros-a"', 'attr = "a"', "hosts[0].attr: only with repository.file"),
        ("[repository]", '[repository]\nattr = "a"', "repository.attr: only with repository.file"),
        ("[repository]", '[repository]\nfile = "default.nix"', "hosts[0].flake_attr: not with repository.file"),
        ("[repository]", '[repository]\nfile = "../default.nix"', "repository.file: "),
        ("[repository]", '[repository]\nfile = "/etc/nixos/default.nix"', "repository.file: "),
        ('"choiros-a"', '"a b"', "hosts[0].flake_attr: "),
        ('"choiros-a"', '"choiros-a\\n"', "hosts[0].flake_attr: "),
        ('"hypervisor.service"', '"hypervisor"', "hypervisor.units[0]: "),
        ('"hypervisor.service"', '"hypervisor.service\\n"', "hypervisor.units[0]: "),
        ('"hypervisor.service"', '"a b.service"', "hypervisor.units[0]: "),
        ('["hypervisor.service"]', "[]", "hypervisor.units: must have at least 1 entry; for example units = "),
        ('"https://example.org/r.git"', '""', "repository.url: "),
        ('"https://example.org/r.git"', '"ext::sh -c true"', "repository.url: ext:: makes git run a program"),
        ('"https://example.org/r.git"', '"a\\u0000b"', "repository.url: "),
        ('"https://example.org/r.git"', '"x"\ncheckout = "relative"', "repository.checkout: "),
        ('"https://example.org/r.git"', '"x"\ncheckout = "/a b"', "repository.checkout: "),
        ("[runtime.live]", "[runtime.hypervisor]", "runtime.hypervisor: the name is taken"),
        ("[runtime.live]", "[runtime.LIVE]", "runtime.LIVE: the key must be lower-case letters, digits and hyphens"),
        (
            "[runtime.live]",
            '[runtime."live\\n"]',
            "runtime.live\n: the key must be lower-case letters, digits and hyphens",
        ),
        ('"127.0.0.1:8080"', '"8080"', "runtime.live.listen: "),
        ('"127.0.0.1:8080"', '"localhost:8080"', "(found 'localhost:8080')"),
        (
            '"127.0.0.1:8080"',
            '"127.0.0.1:0"',
            "runtime.live.listen: port out of range 1 to 65535 (found '127.0.0.1:0')",
        ),
        ('"127.0.0.1:8080"', '"127.0.0.1:99999"', "runtime.live.listen: port out of range"),
        ('"127.0.0.1:8080"', '"127.0.0.1:08080"', "must be written '127.0.0.1:8080'"),
        ('"127.0.0.1:8080"', '"256.0.0.1:8080"', "runtime.live.listen: not an address"),
        ('"127.0.0.1:8080"', '"[0:0::1]:8080"', "must be written '[::1]:8080'"),
        ('"127.0.0.1:8080"', '"[::::]:8080"', "runtime.live.listen: not an address"),
        ('"127.0.0.1:8080"', '"127.0.0.1:8080\\n"', "runtime.live.listen: "),
        (
            '"127.0.0.1:8080"',
            "8080",
            "runtime.live.listen: must be a string in quotes, not a whole number (found 8080)",
        ),
        (
            '"127.0.0.1:8080"',
            '"127.0.0.1:8080"\nlistener = "x.service"',
            "runtime.live.listener: not one of runtime.live.units",
        ),
        (
            '"127.0.0.1:8080"',
            '"127.0.0.1:8080"\nmachine = { unit = "x.service" }',
            "runtime.live.machine.unit: not one of runtime.live.units",
        ),
        (
            '"127.0.0.1:8080"',
            '"127.0.0.1:8080"\nmachine = { unit = "a.service", monitor = "/run/q" }',
            "runtime.live.machine.monitor: ",
        ),
        (
            '"127.0.0.1:8080"',
            '"127.0.0.1:8080"\nmachine = { unit = "a.service", tap = "a/b" }',
            "runtime.live.machine.tap: ",
        ),
        (
            '"127.0.0.1:8080"',
            '"127.0.0.1:8080"\njson_of_system = { status = "etc/status" }',
            "runtime.live.json_of_system.status: is also in runtime.live.json",
        ),
        (
            '"127.0.0.1:8080"',
            '"127.0.0.1:8080"\njson_of_system = { version = "/etc/version" }',
            "runtime.live.json_of_system.version: ",
        ),
        (
            '"127.0.0.1:8080"',
            '"127.0.0.1:8080"\nstatus = 99',
            "runtime.live.status: must be at least 100 (found 99)",
        ),
        ('"127.0.0.1:8080"', '"127.0.0.1:8080"\nbackend = "10.0.0.1:80"', "runtime.live.backend: not a URL"),
        ('"127.0.0.1:8080"', '"127.0.0.1:8080"\ncontains = "a\\nb"', "runtime.live.contains: "),
        ('"127.0.0.1:8080"', '"127.0.0.1:8080"\ncontains = "a\\n"', "runtime.live.contains: "),
        ('"127.0.0.1:8080"', '"127.0.0.1:8080"\ninside = ["a\\u001eb"]', "runtime.live.inside[0]: "),
        (
            'status = "healthy"',
            "status = [1]",
            "runtime.live.json.status: must be true or false or a whole number or a number or a string in ",
        ),
        ('status = "healthy"', "x = 1, status = nan", "runtime.live.json.status: not a JSON number (found nan)"),
        ('status = "healthy"', "status = -inf", "runtime.live.json.status: not a JSON number (found -inf)"),
        ('status = "healthy"', '"a\\nb" = 1', "runtime.live.json.a\nb: "),
        ('status = "healthy"', "status = 1979-05-27", "runtime.live.json.status: "),
        ("[hypervisor]", "[health]\nsoak_s = nan\n[hypervisor]", "health.soak_s: "),
        ("[hypervisor]", "[health]\nsoak_s = -1\n[hypervisor]", "health.soak_s: must be at least 0 (found -1)"),
        ("[hypervisor]", "[health]\nanswers = 0\n[hypervisor]", "health.answers: must be at least 1 (found 0)"),
        ("[hypervisor]", "[health]\nanswers = 2.5\n[hypervisor]", "health.answers: "),
        (
            "[hypervisor]",
            "[health]\nsoak = 5\n[hypervisor]",
            "health.soak: unknown key; did you mean soak_s? Allowed: ready_s, ",
        ),
        (
            "[hypervisor]",
            "[converge]\ntimeout_s = 0\n[hypervisor]",
            "converge.timeout_s: must be more than 0 (found 0)",
        ),
        ("[hypervisor]", "[ssh.jump]\nport = 1\n[hypervisor]", "ssh.jump.address: missing"),
    ],
)
def test_error_names_file_key_and_value(old: str, new: str, said: str, tmp_path: Path) -> None:
    """Every mistake is told with the file, the key as it stands there, and what was found or is allowed."""
    assert old in TEXT
    with pytest.raises(UsageError) as refused:
        loaded(tmp_path, TEXT.replace(old, new, 1) if "hosts" not in said else TEXT.replace(old, new))
    assert re.match(rf"{re.escape(str(tmp_path / 't.toml'))}(:\d+)?: ", str(refused.value))
    assert said in str(refused.value)
    assert not re.search("Expected|Object |Invalid|regex|`str`", str(refused.value)), "the parser's words"


def test_line_is_that_of_the_statement(tmp_path: Path) -> None:
    """The line is right below texts and lists of several lines, in inline tables, dotted keys and tables of lists."""
    for statement, line, key in [
        ('secrets = [\n  "A",\n  "B C",\n]', 3, "secrets[1]"),
        ('health.soak_s = "x"', 3, "health.soak_s"),
        ('unit_files = ["""\nport = 1\n[hosts]\n"""]', 3, "unit_files[0]"),
        ("health = { answers = 1, soakk_s = 2 }", 3, "health.soakk_s"),
    ]:
        with pytest.raises(UsageError, match=re.escape(f"t.toml:{line}: {key}: ")):
            loaded(tmp_path, TEXT.replace('provider = "ovh"', f'provider = "ovh"\n{statement}'))
    text = TEXT.replace('url = "https', 'checkout = """/a\\\n  /b"""\nurl = "https').replace(
        'name = "b"', 'name = "B"'
    )
    with pytest.raises(UsageError, match=re.escape("t.toml:14: hosts[1].name: ")):
        loaded(tmp_path, text)


def test_every_form_of_text_has_words_and_an_example() -> None:
    """Each pattern that the types of a target file have is known in words, and its example is of that form."""
    patterns = set(re.findall(r'"pattern": ("(?:[^"\\]|\\.)*")', json.dumps(json_schema())))
    patterns = {json.loads(pattern) for pattern in patterns}
    words = patterns_of(KINDS)
    assert patterns == set(words)
    for pattern, (_, example) in words.items():
        assert re.search(pattern, example), pattern


@pytest.mark.parametrize("login", ["user:pass@", "token@", ":pass@"])
@pytest.mark.parametrize("name", ["url", "backend"])
def test_login_in_a_url_is_refused_and_never_shown(name: str, login: str, tmp_path: Path) -> None:
    """What is asked carries no password, as a URL is shown; the message says what to ask, without the secret."""
    url = f"http://{login}127.0.0.1:8080/health"
    text = TEXT.replace("http://127.0.0.1:8080/health", url)
    if name == "backend":
        text = TEXT.replace("[runtime.live]", f'[runtime.live]\nbackend = "{url}"')
    with pytest.raises(
        UsageError, match=rf"runtime\.live\.{name}: has a user or a password.*without a login.*headers_file"
    ) as refused:
        loaded(tmp_path, text)
    assert login not in str(refused.value)


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("ssh-ed25519 AAAA", "not a complete key"),
        ("ssh-ed25519 AAA", "not in base64"),
        (f"ssh-rsa {HOST_KEY.split()[1]}", "not a key of the kind ssh-rsa"),
        (HOST_KEY[:-4], "not a complete key"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5", "not a complete key of the kind ssh-ed25519"),
    ],
)
def test_a_host_key_that_is_none_is_refused_with_its_line(key: str, problem: str, tmp_path: Path) -> None:
    """A key that was cut off or is of another kind is named by file, line and key before anything is asked."""
    line = next(number for number, text in enumerate(TEXT.splitlines(), 1) if text.startswith("host_keys"))
    with pytest.raises(UsageError, match=rf"\.toml:{line}: hosts\[0\]\.host_keys\[0\]: {problem}.*\.pub"):
        loaded(tmp_path, TEXT.replace(HOST_KEY, key))


def test_unreadable_file_is_told(tmp_path: Path) -> None:
    """A file that is not there, is a folder or is no text is told by its name."""
    for path, content in {"none.toml": None, ".": None, "bytes.toml": b"\xff\xfe"}.items():
        if content:
            (tmp_path / path).write_bytes(content)
        with pytest.raises(UsageError, match=re.escape(str(tmp_path / path))) as refused:
            load(tmp_path / path, {})
        assert "Errno" not in str(refused.value)


def test_a_folder_in_place_of_a_target_file_names_a_file_in_it(tmp_path: Path) -> None:
    (tmp_path / "fleet.toml").write_text(TEXT, encoding="utf-8")
    with pytest.raises(UsageError, match=f"this is a folder; .*--targets={re.escape(str(tmp_path / 'fleet.toml'))}"):
        load(tmp_path, {})
