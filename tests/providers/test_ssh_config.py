"""An ssh_config means for us what it means for ssh, or is refused by file and line."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from switchproof.deploy.errors import UsageError
from switchproof.deploy.providers.ssh.openssh.config import HostConfig, read_host
from switchproof.deploy.providers.ssh.openssh.directives import HONOURED, IGNORED, ONLY

ROOT = Path(__file__).parents[2]
USER = pwd.getpwuid(os.getuid()).pw_name
DEFAULTS = {"hostname": "node-a", "user": USER, "port": "22", "identityfile": "", "proxyjump": "none"}
FAMILIES = {socket.AF_UNSPEC: "any", socket.AF_INET: "inet", socket.AF_INET6: "inet6"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, in whose .ssh included files lie."""
    (tmp_path / ".ssh").mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def written(home: Path, text: str, name: str = "config") -> Path:
    path = home / ".ssh" / name
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    path.chmod(0o600)
    return path


def told_by_ssh(path: Path, host: str) -> dict[str, str] | None:
    """Return what `ssh -G` makes of a file, in our words; None if it refuses the file."""
    done = subprocess.run(
        ["ssh", "-G", "-F", str(path), host], capture_output=True, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        return None
    lines = [line.partition(" ") for line in done.stdout.decode("utf-8", "surrogateescape").splitlines()]
    found: dict[str, list[str]] = {}
    for key, _, value in lines:
        found.setdefault(key, []).append(value)
    files = [name for name in found.get("identityfile", []) if name != "none" and not name.startswith("~")]
    return {
        "hostname": found["hostname"][0],
        "user": found["user"][0],
        "port": found["port"][0],
        "identityfile": " ".join(dict.fromkeys(files)),
        "proxyjump": found.get("proxyjump", ["none"])[0].replace("[", "").replace("]", ""),
        "hostkeyalias": found.get("hostkeyalias", [""])[0],
        "userknownhostsfile": found["userknownhostsfile"][0] if "ls" in found["userknownhostsfile"][0] else "",
        "identitiesonly": found["identitiesonly"][0],
        "addressfamily": found["addressfamily"][0],
    }


def told_by_us(path: Path, host: str) -> dict[str, str] | None:
    """Return the same of our own reading."""
    try:
        config = read_host(path, host)
    except UsageError as error:
        assert str(path.parent) in str(error)  # noqa: PT017 - both ends are right
        return None
    return {
        "hostname": config.hostname,
        "user": config.user or USER,
        "port": str(config.port or 22),
        "identityfile": " ".join(map(str, config.identity_files)),
        "proxyjump": _jumps(config),
        "hostkeyalias": config.host_key_alias,
        "userknownhostsfile": " ".join(map(str, config.known_hosts)),
        "identitiesonly": "yes" if config.identities_only else "no",
        "addressfamily": FAMILIES[config.family],
    }


def _jumps(config: HostConfig) -> str:
    parts = [
        f"{jump.user}@" * bool(jump.user) + jump.host + f":{jump.port}" * bool(jump.port)
        for jump in config.jumps or ()
    ]
    return ",".join(parts) or "none"


SAME = {
    "empty": "",
    "first-wins": "User a\nUser b\nPort 1\nPort 2\n",
    "host-patterns": "Host node-? !node-b\n User a\nHost NODE-*\n User b\nHost *\n Port 7\n",
    "negation-first": "Host !node-a *\n User a\nHost * !node-a\n User b\nHost !x\n User c\n",
    "equals": "HostName=real\nPort = 2\nUser\t=\tbob\n",
    "quotes": 'HostName "real"\nIdentityFile \'/a b\'\nIdentityFile "/c\\"d"\nIdentityFile /e\\ f\n',
    "comments": "# one\nHostName real # two\n\tPort 22 #three\n  #four\nUser a#b\n",
    "carriage-returns": "HostName real\r\nUser bob\r\n",
    "no-newline": "HostName real",
    "latin-1": "# caf\udce9\nHostName real\n",
    "latin-1-path": "IdentityFile /caf\udce9\n",
    "latin-1-pattern": "Host n\udce9\n User a\nHost *\n User b\n",
    "nul": "User a\0b\nPort 3\n",
    "form-feed": "User bob\f\n",
    "vertical-tab-is-no-line": "# x\x0bUser a\n# \x85User b\nPort 4\n",
    "hostname-token": "HostName %h.example.ORG\n",
    "hostname-percent": "HostName fe80::1%%eth0\n",
    "uppercase-host": "HostName REAL.example.org\n",
    "address": "HostName FD00::A\n",
    "port-name": "Port ssh\n",
    "port-plus": "Port +23\n",
    "identity-files": "IdentityFile /a\nIdentityFile /b\nIdentityFile none\nIdentityFile /a\n",
    "identity-tokens": "HostName real\nUser u\nIdentityFile /k/x\n",
    "older-name": "IdentityFile2 /a\n",
    "known-hosts": "UserKnownHostsFile /ls/a /ls/b\nUserKnownHostsFile /ls/c\n",
    "alias": "HostKeyAlias other\n",
    "family": "AddressFamily INET6\nIdentitiesOnly YES\n",
    "jump": "ProxyJump root@bastion:2222\n",
    "jump-ipv6": "ProxyJump root@[::1]:22\n",
    "jump-uri": "ProxyJump ssh://root@bastion:22\n",
    "jump-several": "ProxyJump a,b@c,[fd00::1]:3 # far\n",
    "jump-none-first": "ProxyJump none\nProxyJump a\n",
    "jump-before-command": "ProxyJump a\nProxyCommand nc %h %p\n",
    "command-none-first": "ProxyCommand none\nProxyJump a\n",
    "command-elsewhere": "Host other\n ProxyCommand nc %h %p\nHost *\n User a\n",
    "match-all": "Match all\n User a\n",
    "match-host": "HostName real\nMatch host node-a\n User a\nMatch host REAL,x\n User b\n",
    "match-host-token": "HostName %h.lan\nMatch host *.lan\n User b\n",
    "match-original": "HostName real\nMatch originalhost node-*\n User a\n",
    "match-user": "Match user bob\n Port 1\nHost *\nUser bob\nMatch user bob\n Port 2\n",
    "match-localuser": f"Match localuser {USER}\n User a\nMatch !localuser {USER}\n User b\n",
    "match-negated-list": "Match host !node-a,*\n User a\nMatch !host x\n User b\n",
    "match-final": "HostName real\nHost real\n User a\nMatch final host real\n Port 5\n",
    "match-not-final": "Match !final\n User a\nMatch final\n User b\n Port 6\n",
    "match-canonical": "Match canonical\n User a\nMatch final all\n Port 6\n",
    "match-comment": "Match host node-a # why\n User a\n",
    "match-equals": "Match host=node-a user=*\n User a\n",
    "match-exec-undecided": 'Match host other exec "false"\n User a\nMatch all\n User b\n',
    "ignore-unknown": "IgnoreUnknown Use*,Foo\nUseKeychain yes\nfoo bar\nUser a\n",
    "harmless": "Compression yes\nForwardAgent yes\nControlMaster auto\nServerAliveInterval 5\nUser a\n",
    "include": "Include one two\nUser last\n",
    "include-glob": "Include conf.d/*\nInclude none*\n",
    "include-in-block": "Host other\n Include one\nHost *\n Include two\n",
    "include-keeps-block": "Host node-a\n Include two\n Port 9\n",
    "include-home": "Include ~/.ssh/one\n",
}
"""Files, by what is tried in them, that ssh reads."""

REFUSED_BY_SSH = {
    "bad-option": "Nonsense yes\n",
    "bad-option-elsewhere": "Host other\n Nonsense yes\n",
    "bad-port": "Port 70000\n",
    "bad-port-elsewhere": "Host other\n Port x\n",
    "bad-flag": "IdentitiesOnly perhaps\n",
    "bad-family": "AddressFamily 6\n",
    "bad-quote": 'User "a\n',
    "bad-jump": "ProxyJump a:b:c\n",
    "bad-jump-elsewhere": "Host other\n ProxyJump @\n",
    "no-value": "User\n",
    "empty-value": 'User ""\n',
    "extra": "User a b\n",
    "match-nothing": "Match\n",
    "match-unknown": "Match colour blue\n User a\n",
    "match-lacks-value": "Match host\n User a\n",
    "match-all-and-more": "Match all host x\n User a\n",
    "none-not-alone": "UserKnownHostsFile /a none\n",
    "include-itself": "Include config\n",
    "include-writable": "Include writable\n",
}
"""Files that ssh refuses as well."""


def laid_out(home: Path, text: str) -> Path:
    """Write a file beside others that it may include."""
    written(home, "User one\nMatch host x\n User never\n", "one")
    written(home, "Host node-a\n User two\nHost x\n Port 1\n", "two")
    written(home, "User w\n", "writable").chmod(0o666)
    (home / ".ssh/conf.d/folder").mkdir(parents=True)
    written(home, "User b\nPort 8\n", "conf.d/b")
    written(home, "User a\n", "conf.d/a")
    written(home, "User hidden\n", "conf.d/.hidden")
    return written(home, text)


@pytest.mark.parametrize("case", SAME)
def test_a_file_means_what_it_means_for_ssh(home: Path, case: str) -> None:
    """What `ssh -G -F FILE HOST` makes of a file is what we make of it."""
    path = laid_out(home, SAME[case])
    expected = told_by_ssh(path, "node-a")
    assert expected is not None
    assert told_by_us(path, "node-a") == expected


@pytest.mark.parametrize("case", REFUSED_BY_SSH)
def test_what_ssh_refuses_is_refused(home: Path, case: str) -> None:
    """A file that ssh does not take is refused with its name and the line, also where the line does not count."""
    path = laid_out(home, REFUSED_BY_SSH[case])
    assert told_by_ssh(path, "node-a") is None
    assert told_by_us(path, "node-a") is None


REFUSED_BY_US = {
    "ProxyCommand nc %h %p": "ProxyCommand: not supported",
    "Host *\n ProxyCommand nc %h %p": "ProxyCommand: not supported",
    "BindAddress 10.0.0.1": "BindAddress: not supported",
    "BindInterface eth0": "BindInterface: not supported",
    "CanonicalizeHostname yes": "CanonicalizeHostname: not supported",
    "CheckHostIP yes": "CheckHostIP: not supported",
    "NoHostAuthenticationForLocalhost yes": "NoHostAuthenticationForLocalhost: not supported",
    "KnownHostsCommand /bin/keys %H": "KnownHostsCommand: not supported",
    "RevokedHostKeys /etc/ssh/revoked": "RevokedHostKeys: not supported",
    "PKCS11Provider /usr/lib/p11.so": "PKCS11Provider: not supported",
    "PubkeyAuthentication no": "PubkeyAuthentication: not supported",
    "PreferredAuthentications password": "PreferredAuthentications: not supported",
    "PubkeyAcceptedAlgorithms ssh-ed25519": "PubkeyAcceptedAlgorithms: not supported",
    "RequiredRSASize 4096": "RequiredRSASize: not supported",
    "RefuseConnection because": "RefuseConnection: not supported",
    'Match exec "true"\n User a': "Match exec: this criterion is not supported",
    'Match host node-a exec "false"': "Match exec: this criterion is not supported",
    "Match localnetwork 10.0.0.0/8\n User a": "Match localnetwork: this criterion is not supported",
    "Match tagged prod\n User a": "Match tagged: this criterion is not supported",
    "Match !tagged prod host node-a": "Match !tagged: this criterion is not supported",
    "Include %d/x": "Include: variables and tokens are not supported",
    "Include ${HOME}/x": "Include: variables and tokens are not supported",
    "HostName a..b": "HostName: has an empty label",
    "HostName %n": "HostName: the token '%n' is not supported",
    "HostName [::1]": "HostName: an address without brackets",
    "IdentityFile /k/%C": "IdentityFile: the token '%C' is not supported",
    "IdentityFile ${NO_SUCH_VARIABLE}/k": "IdentityFile: the environment variable NO_SUCH_VARIABLE is not set",
    "IdentityFile ~nobody-of-that-name/k": "IdentityFile: no user 'nobody-of-that-name'",
    "IdentityAgent $NO_SUCH_VARIABLE": "IdentityAgent: the environment variable NO_SUCH_VARIABLE is not set",
    "User \udcff": "User: not a user's name",
}
"""What is refused because it is not supported, with the directive and the reason."""


@pytest.mark.parametrize("text", REFUSED_BY_US)
def test_what_is_not_supported_is_refused_by_file_line_and_directive(home: Path, text: str) -> None:
    """A directive that changes where or how ssh connects is refused where it counts, and only there."""
    path = written(home, f"# first\n{text}\n")
    line = 2 + (text.count("\n") if text.startswith("Host ") else 0)
    with pytest.raises(UsageError) as refused:
        read_host(path, "node-a")
    assert str(refused.value).startswith(f"{path}:{line}: {REFUSED_BY_US[text]}")
    written(home, "Host other\n" + text.replace("Match ", "Match host other ").replace("Host *\n", ""))
    if not text.startswith("Include"):
        assert read_host(path, "node-a").hostname == "node-a"


@pytest.mark.parametrize("text", ["ProxyCommand none", "CheckHostIP no", "KnownHostsCommand none"])
def test_a_value_that_changes_nothing_is_taken(home: Path, text: str) -> None:
    """The default value of a directive that is not supported is no reason to refuse the file."""
    assert read_host(written(home, f"{text}\nUser a\n"), "node-a").user == "a"


def test_what_was_given_otherwise_comes_first(home: Path) -> None:
    """A user and port of the target file count like `ssh -l USER -p PORT`: the file does not change them."""
    path = written(home, "User a\nPort 3\nMatch user given\n IdentityFile /k/%r-%p\n")
    config = read_host(path, "node-a", user="given", port=7)
    assert (config.user, config.port, config.identity_files) == ("given", 7, (Path("/k/given-7"),))


def test_tokens_and_variables_of_paths(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~`, tokens and variables stand for what they stand for in ssh."""
    monkeypatch.setenv("KEYS", "/keys")
    path = written(home, "HostName real\nIdentityFile ${KEYS}/%h-%n-%%\nIdentityFile ~/%u\nIdentityAgent $KEYS\n")
    config = read_host(path, "node-a")
    passwd = pwd.getpwuid(os.getuid())
    assert config.identity_files == (Path("/keys/real-node-a-%"), Path(f"{passwd.pw_dir}/{USER}"))
    assert config.identity_agent == "/keys"


def test_a_file_that_is_no_file_is_refused(home: Path) -> None:
    """A FIFO is not waited for, and a folder or a missing file is named."""
    os.mkfifo(home / "fifo")
    for name, reason in [("fifo", "not a regular file"), (".ssh", "not a regular file"), ("none", "cannot be read")]:
        with pytest.raises(UsageError, match=f"{home / name}: .*{reason}"):
            read_host(home / name, "node-a")
    assert read_host(Path(os.devnull), "node-a").hostname == "node-a"


def test_files_that_include_many_are_refused_in_time(home: Path) -> None:
    """Files that include others twice, sixteen deep, are not followed to the end."""
    for number in range(16):
        written(home, f"Include f{number + 1} f{number + 1}\n", f"f{number}")
    written(home, "User a\n", "f16")
    with pytest.raises(UsageError, match="more than 1000 files"):
        read_host(home / ".ssh/f0", "node-a")


WORDS = [
    *HONOURED.values(),
    *(name for name, _ in ONLY.values()),
    "Host *",
    "Host",
    "Match",
    "Match host",
    "all",
    "final",
]
TEXT = st.lists(
    st.one_of(
        st.sampled_from(
            [*WORDS, "=", " ", "\t", "\n", "\n", '"', "'", "\\", "#", "!", "*", "%h", "${", "[", "]", ",", "ssh://"]
        ),
        st.text(max_size=8),
        st.binary(max_size=4).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    ),
    max_size=30,
).map("".join)


@settings(
    derandomize=True,
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)
@given(text=TEXT)
def test_any_text_is_read_or_refused(home: Path, text: str) -> None:
    """Whatever stands in a file, it is read or refused with its name; nothing else escapes."""
    path = home / "any"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        read_host(path, "node-a")
    except UsageError as error:
        assert str(error).startswith(str(path))  # noqa: PT017 - both ends are right
        str(error).encode()


def test_the_page_lists_the_directives() -> None:
    """docs/ssh.md has a row for each directive that is honoured or refused, and names each without effect."""
    page = (ROOT / "docs/ssh.md").read_text(encoding="utf-8")
    rows = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `")}
    assert rows == {*HONOURED.values(), *(name for name, _ in ONLY.values())}
    for name in IGNORED.values():
        assert f"`{name}`" in page
    assert not HONOURED.keys() & ONLY.keys() | IGNORED.keys() & (HONOURED.keys() | ONLY.keys())
