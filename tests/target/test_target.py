"""Target files are taken exactly or refused by file, key and value."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from switchproof.deploy.errors import UsageError
from switchproof.deploy.host.program import endpoints
from switchproof.deploy.providers import KINDS, json_schema, load
from switchproof.deploy.providers.ssh.table import SshHost
from switchproof.deploy.settings import TARGETS
from switchproof.deploy.target.types import Target
from switchproof.deploy.target.way import patterns_of
from tests.answers import HOST_KEY

SHIPPED = sorted(TARGETS.glob("*.toml"))
TEXT = f"""
provider = "ovh"
[repository]
url = "https://example.org/r.git"
[[hosts]]
name = "a"
flake_attr = "choiros-a"
address = "192.0.2.1"
host_keys = ["{HOST_KEY}"]
groups = ["production"]
[[hosts]]
name = "b"
flake_attr = "choiros-b"
address = {{ env = "B_HOST" }}
host_keys = [{{ env = "B_KEY" }}]
[hypervisor]
units = ["hypervisor.service"]
listen = "127.0.0.1:9090"
url = "http://127.0.0.1:9090/login"
[runtime.dev]
units = ["vm.service", "socat@dev.service"]
listen = "127.0.0.1:8081"
url = "http://127.0.0.1:8081/health"
[runtime.live]
units = ["vm.service", "socat@live.service"]
listen = "127.0.0.1:8080"
url = "http://127.0.0.1:8080/health"
json = {{ status = "healthy" }}
"""
ENVIRON = {"B_HOST": "192.0.2.2", "B_KEY": HOST_KEY}


def loaded(folder: Path, text: str = TEXT, environ: Mapping[str, str] = ENVIRON, *select: str) -> Target:
    path = folder / "t.toml"
    path.write_text(text, encoding="utf-8")
    return load(path, environ, select)


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


def test_a_file_of_headers_is_a_path_on_the_host(tmp_path: Path) -> None:
    """The probe is sent the path and never a value, and the endpoint behind a forward is asked without it."""
    key = 'headers_file = "/run/secrets/health-headers"'
    target = loaded(tmp_path, TEXT.replace("[runtime.live]", f"[runtime.live]\n{key}"))
    sent = next(line.split("\x1f") for line in endpoints(target).split("\n") if line.startswith("live\x1f"))
    assert sent[4] == "http\x1ehttp://127.0.0.1:8080/health\x1e/run/secrets/health-headers"
    with pytest.raises(UsageError, match=r"runtime\.live\.headers_file.*absolute path"):
        loaded(tmp_path, TEXT.replace("[runtime.live]", '[runtime.live]\nheaders_file = "secrets/x"'))


@pytest.mark.parametrize(
    "url",
    [
        "x",
        "/health",
        "127.0.0.1:8080/x",
        "ftp://h/",
        "file:///etc/passwd",
        "http://",
        "http:///x",
        "http://h:0/",
        "http://h:99999/",
        "http://h:x/",
        "http://h/a b",
        "http://h/\\u0009",
        "http://h/\\u001f",
        "http://h/\\u0000",
        "http://h/\\u007f",
        "http://h/\\n",
        "http://[::1/",
        "http://h/'",
        'http://h/\\"',
        "http://h/\\\\",
    ],
)
def test_url_that_cannot_be_asked_is_refused(url: str, tmp_path: Path) -> None:
    """An endpoint's URL has a scheme of HTTP, a host, a port in range and no character that needs an escape."""
    with pytest.raises(UsageError, match=r"runtime\.live\.url: .* \(found "):
        loaded(tmp_path, TEXT.replace("http://127.0.0.1:8080/health", url))


@pytest.mark.parametrize("listen", ["[::1]:8080", "[fe80::1]:1", "0.0.0.0:65535", "[::]:80"])
def test_address_is_taken_as_ss_writes_it(listen: str, tmp_path: Path) -> None:
    """An IPv4 or IPv6 address in its one spelling is taken."""
    text = TEXT.replace("http://127.0.0.1:8080", f"http://{listen}").replace("127.0.0.1:8080", listen)
    assert loaded(tmp_path, text).runtime["live"].listen == listen


@pytest.mark.parametrize(
    ("listen", "url", "found"),
    [
        (
            "127.0.0.1:8080",
            "http://127.0.0.1:9999/health",
            "asks port 9999, but the service listens on 127.0.0.1:8080",
        ),
        ("127.0.0.1:8080", "http://127.0.0.1/health", "asks port 80, but"),
        (
            "127.0.0.1:8080",
            "http://10.0.0.100:8080/health",
            "asks 10.0.0.100, but the service listens on 127.0.0.1:8080",
        ),
        ("127.0.0.1:8080", "http://[::1]:8080/health", "asks ::1, but"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080/health", None),
        ("127.0.0.1:80", "http://example.org/health", None),
        ("0.0.0.0:8080", "http://10.0.0.1:8080/health", None),
        ("[::]:8080", "http://127.0.0.1:8080/health", None),
    ],
)
def test_url_that_leads_elsewhere_is_refused(listen: str, url: str, found: str | None, tmp_path: Path) -> None:
    """What is asked is what is listened on; where a name leads is seen when it is asked."""
    text = TEXT.replace("http://127.0.0.1:8080/health", "URL").replace("127.0.0.1:8080", listen).replace("URL", url)
    if found is None:
        assert loaded(tmp_path, text).runtime["live"].url == url
        return
    with pytest.raises(UsageError, match=re.escape(f"runtime.live.url: {found}")):
        loaded(tmp_path, text)


def test_time_to_confirm_is_by_default_longer_than_the_checks(tmp_path: Path) -> None:
    """Unless the file says otherwise, an unconfirmed host waits longer than all its answers may take."""
    target = loaded(tmp_path)
    assert target.rollback.confirm_s is None
    assert target.confirm_s > target.health.ready_s + target.health.soak_s + 120
    assert target.confirm_s >= target.health.longest_s + 240


@pytest.mark.parametrize(("given", "means"), [("0", 0.0), ("135", 135.0), ("3600.5", 3600.5)])
def test_time_to_confirm_may_be_chosen_or_turned_off(given: str, means: float, tmp_path: Path) -> None:
    """The time may be any that outlasts readiness and soak; none at all turns the dead man's switch off."""
    assert loaded(tmp_path, f"{TEXT}\n[rollback]\nconfirm_s = {given}\n").confirm_s == means


@pytest.mark.parametrize("given", ["134.9", "-1", "1e9"])
def test_time_to_confirm_that_cannot_be_kept_is_refused(given: str, tmp_path: Path) -> None:
    """A time in which no system could show that it is healthy is refused by name."""
    with pytest.raises(UsageError, match=r"rollback\.confirm_s"):
        loaded(tmp_path, f"{TEXT}\n[rollback]\nconfirm_s = {given}\n")


@pytest.mark.parametrize(
    ("given", "means"), [("45m", 2700), ("12h", 43200), ("7d", 604_800), ("2w", 1_209_600), (None, 604_800)]
)
def test_age_of_a_record_is_a_number_and_a_unit(given: str | None, means: int, tmp_path: Path) -> None:
    """How old the record before a deploy may be is written in minutes, hours, days or weeks; a week by default."""
    age = f'max_age = "{given}"' if given else ""
    requires = loaded(tmp_path, f'{TEXT}\n[requires]\ngroup = "staging"\n{age}\n').requires
    assert requires is not None
    assert (requires.longest.total_seconds(), requires.drill, requires.signer) == (means, False, None)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ('max_age = "7d"', "requires.group: missing"),
        ('group = "Staging!"', r"requires\.group: "),
        ('group = "b"\nmax_age = "7"', r"requires\.max_age: .*\(found '7'\)"),
        ('group = "b"\nmax_age = "0d"', r"requires\.max_age: "),
        ('group = "b"\nmax_age = 7', r"requires\.max_age: "),
        ('group = "b"\ndrill = "yes"', r"requires\.drill: "),
        ('group = "b"\nfresh = true', "requires.fresh: unknown key"),
    ],
)
def test_demand_that_cannot_be_understood_is_refused(given: str, says: str, tmp_path: Path) -> None:
    """A mistake in what production demands is told by its key, and opens no gate."""
    with pytest.raises(UsageError, match=says):
        loaded(tmp_path, f"{TEXT}\n[requires]\n{given}\n")


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


# The environment.


@pytest.mark.parametrize("environ", [{"B_HOST": "x"}, {"B_HOST": "x", "B_KEY": ""}])
def test_missing_variable_is_named(environ: dict[str, str], tmp_path: Path) -> None:
    """A variable that is not set, or empty, is named with the key that asks for it."""
    with pytest.raises(
        UsageError, match=r"t\.toml:15: hosts\[1\]\.host_keys\[0\]: the environment variable B_KEY is not set"
    ):
        loaded(tmp_path, TEXT, environ)


def test_all_missing_variables_are_named_at_once(tmp_path: Path) -> None:
    """A line for each variable that the run needs: those of the whole file, and those of the selected hosts."""
    shared = TEXT.replace('"https://example.org/r.git"', '{ env = "URL" }')
    selections: list[tuple[tuple[str, ...], list[str]]] = [((), ["URL", "B_HOST", "B_KEY"]), (("a",), ["URL"])]
    for select, names in selections:
        with pytest.raises(UsageError) as refused:
            loaded(tmp_path, shared, {}, *select)
        assert re.findall(r"the environment variable (\w+) is not set", str(refused.value)) == names
        assert all(line.startswith(f"{tmp_path / 't.toml'}:") for line in str(refused.value).splitlines())


def test_variables_of_other_hosts_are_not_needed(tmp_path: Path) -> None:
    """Only the chosen hosts' variables are looked up; those of the whole file always are."""
    assert [host.name for host in loaded(tmp_path, TEXT, {}, "a").hosts] == ["a"]
    assert [host.name for host in loaded(tmp_path, TEXT, {}, "@production").hosts] == ["a"]
    with pytest.raises(UsageError, match="B_HOST"):
        loaded(tmp_path, TEXT, {}, "b")
    shared = TEXT.replace('"https://example.org/r.git"', '{ env = "URL" }')
    with pytest.raises(UsageError, match=r"repository\.url: the environment variable URL is not set"):
        loaded(tmp_path, shared, {}, "a")


def test_value_from_the_environment_is_checked_like_any_other(tmp_path: Path) -> None:
    """A wrong value from a variable is told by its place in the file, even if only that host is chosen."""
    with pytest.raises(UsageError, match=r"hosts\[1\]\.host_keys\[0\]: .*\(found 'garbage'\)"):
        loaded(tmp_path, TEXT, {"B_HOST": "x", "B_KEY": "garbage"}, "b")


@pytest.mark.parametrize(
    ("old", "value"),
    [
        ('"127.0.0.1:8080"', "127.0.0.1:8080"),
        ('"http://127.0.0.1:8080/health"', "http://127.0.0.1:8080/health"),
        ('"socat@live.service"', "socat@live.service"),
        ('"healthy"', "healthy"),
    ],
)
def test_any_text_may_come_from_the_environment(old: str, value: str, tmp_path: Path) -> None:
    """Every text of the file may be a variable's value, as the schema says."""
    text = TEXT.replace(old, '{ env = "V" }')
    assert loaded(tmp_path, text, ENVIRON | {"V": value}) == loaded(tmp_path)


def test_key_of_a_body_may_be_called_env(tmp_path: Path) -> None:
    """A body that must say `"env": "production"` is not taken for a variable."""
    target = loaded(tmp_path, TEXT.replace('status = "healthy"', 'env = "production"'))
    assert target.runtime["live"].json == {"env": "production"}


# Which hosts.


@pytest.mark.parametrize(
    ("select", "names"),
    [
        ((), "ab"),
        (("a",), "a"),
        (("b", "a"), "ab"),
        (("*",), "ab"),
        (("?",), "ab"),
        (("[!a]",), "b"),
        (("@production",), "a"),
        (("@production", "b", "a"), "ab"),
    ],
)
def test_names_globs_and_groups_choose(select: tuple[str, ...], names: str, tmp_path: Path) -> None:
    """Hosts are chosen by name, glob or group, each once, in the order of the file."""
    assert "".join(host.name for host in loaded(tmp_path, TEXT, ENVIRON, *select).hosts) == names


@pytest.mark.parametrize("select", ["c", "A", "", "@", "@staging", "@*", "aa", "a "])
def test_choice_of_nothing_is_refused(select: str, tmp_path: Path) -> None:
    """A choice that matches no host is refused, with the names that there are, even beside one that matches."""
    with pytest.raises(
        UsageError, match=re.escape(f"--host={select} selects no host; hosts: a, b; groups: @production")
    ):
        loaded(tmp_path, TEXT, ENVIRON, "a", select)


# The shipped files and the schema.


def needed(raw: object) -> set[str]:
    match raw:
        case {"env": str(name), **rest} if not rest:
            return {name}
        case {"env": [str(name), *_], **rest} if not rest:
            return {name}
        case dict():
            return set().union(*map(needed, raw.values()))
        case list():
            return set().union(*map(needed, raw))
    return set()


def values(names: set[str]) -> dict[str, str]:
    given = {"FLAKE_ATTR": "x", "DEPLOY_INSTANCE_ID": "i-0123456789abcdef0"}
    shaped = {"KEY": HOST_KEY, "HOST": "host.example.org"}
    return {name: shaped.get(name.rpartition("_")[2]) or given.get(name, "https://example.org/x") for name in names}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_file_loads(path: Path) -> None:
    """Every target file that we ship loads once its variables are set, and says so when one is not."""
    names = needed(tomllib.loads(path.read_text()))
    target = load(path, values(names))
    assert target.provider == path.stem.partition("-")[0]
    assert {"live", "dev"} <= target.runtime.keys()
    for name in names:
        with pytest.raises(UsageError, match=rf"the environment variables? {name} .*not set"):
            load(path, values(names - {name}))


def problems(text: str) -> list[str]:
    """Hold a target file against the schema that editors use."""
    wire = msgspec.json.decode(msgspec.json.encode(tomllib.loads(text)))
    schema = msgspec.json.decode(msgspec.json.encode(json_schema()))
    return [error.message for error in Draft202012Validator(schema).iter_errors(wire)]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_file_is_as_the_schema_says(path: Path) -> None:
    """Every target file that we ship is valid by the schema that editors use, variables included."""
    assert problems(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('provider = "ovh"', 'provider = "azure"'),
        ('provider = "ovh"', ""),
        ('name = "b"', 'name = "B"'),
        ('name = "b"', 'name = "b"\nport = 65536'),
        ('name = "b"', 'name = "b"\nadress = "x"'),
        ('{ env = "B_HOST" }', '{ env = "B_HOST", other = "x" }'),
        ('"hypervisor.service"', '"hypervisor"'),
        ("[runtime.live]", "[runtime.LIVE]"),
        ('status = "healthy"', "status = [1]"),
    ],
)
def test_schema_refuses_what_loading_refuses(old: str, new: str, tmp_path: Path) -> None:
    """What the schema forbids is what loading forbids."""
    assert problems(TEXT) == []
    assert problems(TEXT.replace(old, new)) != []
    with pytest.raises(UsageError):
        loaded(tmp_path, TEXT.replace(old, new))


def test_schema_can_be_written() -> None:
    """The schema is plain JSON, and its patterns are such that JavaScript reads them as Python does."""
    text = msgspec.json.encode(json_schema()).decode()
    patterns = re.findall(r'"pattern":"((?:[^"\\]|\\.)*)"', text)
    assert patterns
    assert all(not re.search(r"\\\\[AZz]|\(\?P|\(\?<|\(\?[a-z]", pattern) for pattern in patterns)


toml_values = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = ["provider", "repository", "ssh", "hosts", "hypervisor", "runtime", "health", "converge", "secrets", "x"]
INNER = ["name", "units", "listen", "url", "json", "address", "host_keys", "jump", "env", "live", "answers"]


@given(st.sampled_from(KEYS), st.none() | st.sampled_from(INNER), toml_values)
def test_any_value_anywhere_is_taken_or_refused(key: str, inner: str | None, value: object) -> None:
    """Whatever stands under whatever key, the file is taken or refused with a message, and nothing else happens."""
    raw = tomllib.loads(TEXT)
    spot = raw
    if inner is not None and isinstance(raw.get(key), dict | list):
        spot, key = (raw[key][0] if isinstance(raw[key], list) else raw[key]), inner
    spot[key] = value
    path = _Raw(raw)
    with suppress(UsageError):
        load(path, ENVIRON)  # type: ignore[arg-type]


class _Raw:
    """A file whose content is known already."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self._raw = raw

    def __str__(self) -> str:
        return "raw.toml"

    def read_text(self, encoding: str) -> str:
        assert encoding == "utf-8"
        return _toml(self._raw)


def _toml(raw: dict[str, Any]) -> str:
    return "\n".join(f"{_value(key)} = {_value(item)}" for key, item in raw.items())


def _value(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return '"' + "".join(f"\\U{ord(char):08x}" for char in value) + '"'
        case dict():
            return "{" + ", ".join(f"{_value(key)} = {_value(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_value, value)) + "]"
        case _:
            return str(value)
