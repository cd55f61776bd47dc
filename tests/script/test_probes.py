"""Every kind of probe asks what it says, and its answer is judged alike on the host and by the checks."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from switchproof.deploy.observe.answers import Answer, is_unknown, judged, problem_of
from switchproof.deploy.target.types import Endpoint
from tests import probing
from tests.probing import GOOD, UNIT, Authority, Behaviour, answers, ask, own_group, port, resets, script, sends

TEXT = "220 web ESMTP"


class Stage:
    """Makes what is asked, and ends it at the end.

    Args:
        folder: Where files are made.
        stack: What ends at the end.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self._stack = folder, stack
        self.ours, self.foreign = Authority(folder, "ours"), Authority(folder, "foreign")
        self._count = 0

    def enter(self, context: AbstractContextManager[str]) -> str:
        return self._stack.enter_context(context)

    def file(self, text: str, mode: int = 0o755) -> str:
        """Write a file; return its path."""
        self._count += 1
        path = self.folder / f"file-{self._count}"
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return str(path)

    def tls(self, context: ssl.SSLContext | None, behave: Behaviour = answers(), **changes: object) -> Endpoint:  # noqa: B008 - it has no state
        """An endpoint that is asked over TLS, by the name web.example."""
        listen = self.enter(port(behave, context))
        given = {"name": "web.example", "ca_file": str(self.ours.file), **changes}
        url = f"https://{given.pop('name')}:{listen.rpartition(':')[2]}/health"
        return Endpoint(units=(UNIT,), probe="https", listen=listen, url=url, **given)  # type: ignore[arg-type]

    def tcp(self, behave: Behaviour | None, expect: str | None = None) -> Endpoint:
        """An endpoint to which a connection is made."""
        return Endpoint(units=(UNIT,), probe="tcp", listen=self.enter(port(behave)), expect=expect)

    def unix(self, behave: Behaviour | None, **changes: object) -> Endpoint:
        """An endpoint that is asked over a unix socket."""
        self._count += 1
        listen = self.enter(probing.path(self.folder / f"{self._count}.sock", behave))
        return self.at(listen, **changes)

    def at(self, listen: str, **changes: object) -> Endpoint:
        """An endpoint that is asked over a unix socket that is there, or is not."""
        return Endpoint(units=(UNIT,), probe="unix", listen=listen, url="http://localhost/health", **changes)  # type: ignore[arg-type]

    def run(self, script: str, *arguments: str, **changes: object) -> Endpoint:
        """An endpoint about which a program tells."""
        command = (self.file(f"#!/bin/sh\n{script}\n"), *arguments)
        return Endpoint(units=(UNIT,), **{"probe": "exec", "command": command, "user": "root", **changes})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Case:
    """What is asked, and what must come of it.

    Attributes:
        make: Makes the endpoint.
        problem: What the problem says, None where the answer is good.
        unknown: Whether nothing may be concluded from it.
    """

    make: Callable[[Stage], Endpoint]
    problem: str | None
    unknown: bool = False


def dead(stage: Stage) -> str:
    """A socket's file that nobody listens on any more."""
    path = stage.folder / "dead.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    return str(path)


def free() -> str:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


BAD = b"HTTP/1.0 503 Service Unavailable\r\n\r\nhealthy"
MOVED = b"HTTP/1.0 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n"
HEADER = "Authorization: Bearer s3cret\n"


def guarded(connection: socket.socket) -> None:
    """Answer only who sends the header."""
    connection.sendall(GOOD if b"Bearer s3cret" in connection.recv(1 << 16) else BAD)


TLS = {
    "https": Case(lambda on: on.tls(on.ours.context()), None),
    "https by an address": Case(lambda on: on.tls(on.ours.context("127.0.0.1"), name="127.0.0.1"), None),
    "https with a header": Case(lambda on: on.tls(on.ours.context(), guarded, headers_file=on.file(HEADER)), None),
    "https with a body": Case(lambda on: on.tls(on.ours.context(), contains="healthy"), None),
    "https without the header": Case(lambda on: on.tls(on.ours.context(), guarded), "HTTP 503 instead of 200"),
    "https with another body": Case(lambda on: on.tls(on.ours.context(), contains="well"), "the body lacks 'well'"),
    "https that redirects": Case(lambda on: on.tls(on.ours.context(), answers(MOVED)), "redirects are not followed"),
    "an expired certificate": Case(lambda on: on.tls(on.ours.context(days=(-2, -1))), "its certificate has expired"),
    "a certificate of tomorrow": Case(
        lambda on: on.tls(on.ours.context(days=(1, 2))), "its certificate is not valid yet"
    ),
    "a foreign certificate": Case(
        lambda on: on.tls(on.foreign.context()), "its certificate is not signed by a trusted authority"
    ),
    "a certificate that the system does not know": Case(
        lambda on: on.tls(on.ours.context(), ca_file=None), "its certificate is not signed by a trusted authority"
    ),
    "a certificate for another name": Case(
        lambda on: on.tls(on.ours.context("other.example")), "its certificate is for another name"
    ),
    "a certificate for another address": Case(
        lambda on: on.tls(on.ours.context("10.0.0.1"), name="127.0.0.1"), "its certificate is for another name"
    ),
    "plain HTTP where TLS is due": Case(lambda on: on.tls(None), "no TLS connection"),
    "no authorities": Case(
        lambda on: on.tls(on.ours.context(), ca_file=str(on.folder / "none.pem")), "which ca_file names"
    ),
    "an empty file of authorities": Case(
        lambda on: on.tls(on.ours.context(), ca_file=on.file("")), "which ca_file names"
    ),
    "a file of something else": Case(
        lambda on: on.tls(on.ours.context(), ca_file=on.file("x")), "the certificates of ca_file could not be read"
    ),
}
TCP = {
    "tcp that holds": Case(lambda on: on.tcp(sends(hold=True)), None),
    "tcp that speaks": Case(lambda on: on.tcp(sends(b"x" * 5000)), None),
    "tcp that closes": Case(lambda on: on.tcp(sends()), None),
    "a banner": Case(lambda on: on.tcp(sends(f"{TEXT}\r\n".encode(), hold=True), TEXT), None),
    "a banner in pieces": Case(lambda on: on.tcp(sends(b"hello\n220 we", b"b ESM", b"TP", hold=True), TEXT), None),
    "a banner and the end": Case(lambda on: on.tcp(sends(TEXT.encode()), TEXT), None),
    "no banner": Case(lambda on: on.tcp(sends(), TEXT), "the banner lacks '220 web ESMTP'"),
    "a banner that never comes": Case(lambda on: on.tcp(sends(b"220", hold=True), TEXT), "the banner lacks"),
    "a banner with a NUL byte": Case(lambda on: on.tcp(sends(b"220 web\0 ESMTP"), TEXT), "the banner lacks"),
    "a banner behind too many bytes": Case(lambda on: on.tcp(sends(b"x" * 2001, TEXT.encode()), TEXT), "lacks"),
    "nobody accepts": Case(lambda on: on.tcp(None), "a connection that no process accepted in time"),
    "nobody accepts, and a banner is due": Case(lambda on: on.tcp(None, TEXT), "that no process accepted in time"),
    "a reset without a banner": Case(lambda on: on.tcp(resets), "connection reset"),
    "a reset": Case(lambda on: on.tcp(resets, TEXT), "connection reset"),
    "nobody listens": Case(
        lambda _: Endpoint(units=(UNIT,), probe="tcp", listen=free()), "connection refused or no route"
    ),
}
UNIX = {
    "unix": Case(lambda on: on.unix(answers()), None),
    "unix with a body": Case(lambda on: on.unix(answers(), contains="healthy"), None),
    "unix with a header": Case(lambda on: on.unix(guarded, headers_file=on.file(HEADER)), None),
    "unix that answers 503": Case(lambda on: on.unix(answers(BAD)), "HTTP 503 instead of 200"),
    "unix that speaks no HTTP": Case(lambda on: on.unix(answers(b"220 hello\r\n")), "no answer"),
    "unix that closes": Case(lambda on: on.unix(answers(b"")), "closed without an answer"),
    "unix that nobody accepts": Case(lambda on: on.unix(None), "no answer in time"),
    "a dead socket": Case(lambda on: on.at(dead(on)), "connection refused"),
    "no socket": Case(lambda on: on.at("/run/none.sock"), "connection refused"),
    "a file that is no socket": Case(lambda on: on.at(on.file("x")), "connection refused"),
}
LEFT_OPEN = "sleep 30 & exit 0"
EXEC = {
    "exec": Case(lambda on: on.run("exit 0"), None),
    "exec with another code": Case(lambda on: on.run("exit 3", exit_code=3), None),
    "exec with an output": Case(lambda on: on.run("echo healthy", contains="healthy"), None),
    "exec with an error's output": Case(lambda on: on.run("echo healthy >&2", contains="healthy"), None),
    "exec with JSON": Case(lambda on: on.run("""echo '{"ok": true}'""", json={"ok": True}), None),
    "exec as a user": Case(lambda on: on.run("id -un", user="nobody", contains="nobody"), None),
    "arguments, and no shell": Case(
        lambda on: on.run('printf "[%s]" "$@"', "a b", "$(id)", "*", contains="[a b][$(id)][*]"), None
    ),
    "no secrets": Case(lambda on: on.run("set | grep -q s3cret && echo leaked; echo done", contains="done"), None),
    "exec that fails": Case(lambda on: on.run("exit 1"), "exit code 1 instead of 0"),
    "exec that should fail": Case(lambda on: on.run("exit 0", exit_code=1), "exit code 0 instead of 1"),
    "exec that is killed": Case(lambda on: on.run("kill -9 $$"), "exit code 137 instead of 0"),
    "exec with another output": Case(lambda on: on.run("echo ill", contains="healthy"), "the output lacks 'healthy'"),
    "exec without JSON": Case(lambda on: on.run("echo ok", json={"ok": True}), "the output is not JSON"),
    "exec that says too much": Case(lambda on: on.run("yes"), "the program's output is too large"),
    "exec that hangs": Case(lambda on: on.run("exec sleep 30"), "the program did not end in time"),
    "exec that ignores its end": Case(lambda on: on.run("trap '' TERM; while :; do :; done"), "did not end in time"),
    "exec that leaves its output open": Case(lambda on: on.run(LEFT_OPEN), "keeps its output open"),
    "no program": Case(lambda on: on.run("", command=("/none", "x")), "/none is not a program on this host"),
    "a file that is no program": Case(
        lambda on: on.run("", command=(on.file("exit 0", 0o644),)), "is not a program on this host"
    ),
    "a folder": Case(lambda on: on.run("", command=("/usr",)), "/usr is not a program on this host"),
    "no user": Case(lambda on: on.run("", user="nobody-here"), "this host has no user 'nobody-here'"),
    "a user who may not run it": Case(
        lambda on: on.run("", command=(on.file("#!/bin/sh\nexit 1\n", 0o700),), user="nobody", exit_code=1),
        "the program could not be run",
    ),
    "a program that cannot begin": Case(
        lambda on: on.run("", command=(on.file("#!/none\n"),), exit_code=1), "the program could not be run"
    ),
}
CASES = {**TLS, **TCP, **UNIX, **EXEC}
IN_TIME = {"ANSWER_TIMEOUT_S": "20"}
ENDS = (
    "a banner that never comes",
    "nobody accepts",
    "nobody accepts, and a banner is due",
    "unix that nobody accepts",
    "exec that hangs",
    "exec that ignores its end",
    "exec that leaves its output open",
)
"""The cases whose time must be over."""


@pytest.fixture(scope="module")
def results() -> Iterator[dict[str, tuple[Endpoint, Answer]]]:
    """What the host's script made of every case, as root."""
    if os.geteuid() != 0:
        pytest.skip("only root may run programs as other users, as on a host")
    # pytest's own folders are closed to other users.
    with ExitStack() as stack, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        stage = Stage(folder, stack)
        wants = {name: case.make(stage) for name, case in CASES.items()}
        tags = {f"n{number}": case for number, case in enumerate(wants)}
        found: dict[str, tuple[Endpoint, Answer]] = {}
        for values, chosen in (
            (IN_TIME, [tag for tag, name in tags.items() if name not in ENDS]),
            ({"ANSWER_TIMEOUT_S": "1"}, [tag for tag, name in tags.items() if name in ENDS]),
        ):
            given = {**values, "REPO_URL": "https://s3cret@host/r.git", "CURL_CA_BUNDLE": str(stage.ours.file)}
            said = ask(folder, {tag: wants[tags[tag]] for tag in chosen}, **given)
            found |= {tags[tag]: (wants[tags[tag]], answer) for tag, answer in said.items()}
        yield found


@pytest.mark.parametrize("name", CASES)
def test_both_judge_alike_and_rightly(name: str, results: dict[str, tuple[Endpoint, Answer]]) -> None:
    """What the host makes of an answer is what the checks make of it, and says what is wrong."""
    case, (want, answer) = CASES[name], results[name]
    problem = problem_of(answer, want, want.json)
    assert (problem is None) is (case.problem is None), (problem, answer)
    assert case.problem is None or (problem and case.problem in problem), (problem, answer)
    assert answer.good is (problem is None), "judged otherwise by hand"
    assert judged((answer,), want, want.json)[0].good is answer.good
    assert is_unknown(answer, want, want.json) is case.unknown


def test_secrets_of_the_run_reach_no_program(results: dict[str, tuple[Endpoint, Answer]]) -> None:
    """A program that is run to ask sees none of the script's variables."""
    assert results["no secrets"][1].body == b"done\n"


@pytest.mark.parametrize("behave", [sends(hold=True), sends(TEXT.encode(), hold=True)])
def test_a_connection_that_another_unit_accepts_is_none_of_the_endpoint(behave: Behaviour, tmp_path: Path) -> None:
    """Who accepts is seen: a process outside the unit's control group is told with its own."""
    with port(behave) as listen:
        want = Endpoint(units=(UNIT,), probe="tcp", listen=listen)
        answer = ask(tmp_path, {"web": want}, group="/system.slice/web.service", **IN_TIME)["web"]
    problem = problem_of(answer, want, {})
    assert problem == f"no answer: a connection that another unit accepted (process {os.getpid()} of {own_group()})"
    assert not answer.good


def test_nothing_is_concluded_where_ss_is_silent(tmp_path: Path) -> None:
    """Without ss nobody knows whether a connection was accepted, unless something was received."""
    (tmp_path / "ss").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (tmp_path / "ss").chmod(0o755)
    values = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for behave, unknown in ((None, True), (sends(hold=True), True), (sends(b"x", hold=True), False)):
        with port(behave) as listen:
            want = Endpoint(units=(UNIT,), probe="tcp", listen=listen)
            answer = ask(tmp_path, {"web": want}, **values)["web"]
        assert is_unknown(answer, want, {}) is unknown, answer
        assert answer.good is not unknown


LISTENING = """
declare -A LEADER=()
value['web.service ControlGroup']={group}
rows=''; add_unix_listeners ''; printf '%s' "$rows"
"""


def heard(tmp_path: Path, wants: dict[str, Endpoint], group: str = "") -> list[str]:
    """Who listens on the sockets that are asked, as the host sees it."""
    return script(tmp_path, LISTENING.format(group=group or own_group()), wants).split("\n")[1:]


def test_who_listens_on_a_socket_is_found_by_its_inode(tmp_path: Path) -> None:
    """Of several sockets that were made at one path, the one that is there counts, whatever path leads to it."""
    file = tmp_path / "web.sock"
    want = Endpoint(units=(UNIT,), probe="unix", listen=str(file), url="http://localhost/")
    with probing.path(file, None):
        assert heard(tmp_path, {"web": want}) == [f"{file} {os.getpid()} {UNIT}"]
        assert heard(tmp_path, {"web": want}, "/other.slice") == [f"{file} {os.getpid()} {own_group()}"]
        file.rename(tmp_path / "renamed.sock")
        assert heard(tmp_path, {"web": want}) == []
        file.symlink_to("renamed.sock")
        assert heard(tmp_path, {"web": want}) == [f"{file} {os.getpid()} {UNIT}"]
        file.unlink()
        stranger = subprocess.Popen(
            [sys.executable, "-c", STRANGER, str(file)], stdout=subprocess.PIPE, start_new_session=True
        )
        with stranger:
            assert stranger.stdout is not None
            stranger.stdout.readline()
            assert heard(tmp_path, {"web": want}) == [f"{file} {stranger.pid} {UNIT}"]
            stranger.kill()
    assert heard(tmp_path, {"web": want}) == []


STRANGER = """
import socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
print("listening", flush=True)
server.accept()
"""


def test_where_a_program_comes_from_is_seen(tmp_path: Path) -> None:
    """The file behind a program's path is of the closure, installed by the bridge, or somebody's."""
    store = "/nix/store/9z8x7c6v5b4n3m2l1k0j9h8g7f6d5s4a-"
    text = f"""
    readlink() {{
      case $3 in /link/*) echo "{store}${{3#/link/}}/bin/x" ;; /none) return 1 ;; *) echo "$3" ;; esac
    }}
    INSTALLED=([web]={store}installed)
    rows=
    in_closure() {{ [[ $1 =~ -(a|system|system-b)$ ]]; }}
    find_probing_programs
    printf %s "$rows"
    """
    paths = {"a": "/link/system", "b": "/link/installed", "c": "/link/system-", "d": "/usr/bin/x", "e": "/none"}
    wants = {
        name: Endpoint(units=(UNIT,), probe="exec", command=(path, "y"), user="root") for name, path in paths.items()
    }
    assert script(tmp_path, text, wants).splitlines() == [
        f"a system {store}system/bin/x",
        f"b installed {store}installed/bin/x",
        f"c other {store}system-/bin/x",
        "d other /usr/bin/x",
        "e other ",
    ]


def test_no_authority_counts_beside_those_of_the_file(tmp_path: Path) -> None:
    """With `ca_file`, curl is told to look in no folder either: its default one has the system's authorities."""
    (tmp_path / "curl").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/arguments\n', encoding="utf-8")
    (tmp_path / "curl").chmod(0o755)
    authority = Authority(tmp_path, "ours")
    want = Endpoint(
        units=(UNIT,),
        probe="https",
        listen="0.0.0.0:8443",
        url="https://web.example:8443/",
        ca_file=str(authority.file),
    )
    ask(tmp_path, {"web": want}, PATH=f"{tmp_path}:{os.environ['PATH']}")
    arguments = (tmp_path / "arguments").read_text(encoding="utf-8").splitlines()
    assert arguments[arguments.index("--cacert") + 1] == str(authority.file)
    folder = arguments[arguments.index("--capath") + 1]
    assert folder.endswith("/no-authorities")
    assert arguments[arguments.index("--connect-to") + 1] == "::127.0.0.1:8443"


def test_a_program_that_was_never_begun_exits_with_nothing(tmp_path: Path) -> None:
    """The code of what should have begun the program is not the program's, even if it is the wanted one."""
    if os.geteuid() != 0:
        pytest.skip("only root may run programs as other users, as on a host")
    (tmp_path / "setpriv").write_text("#!/bin/sh\necho no such capability\nexit 1\n", encoding="utf-8")
    (tmp_path / "setpriv").chmod(0o755)
    want = Endpoint(units=(UNIT,), probe="exec", command=("/bin/false",), user="root", exit_code=1)
    assert ask(tmp_path, {"web": want}, **IN_TIME)["web"].good
    answer = ask(tmp_path, {"web": want}, **IN_TIME, PATH=f"{tmp_path}:{os.environ['PATH']}")["web"]
    assert not answer.good
    assert problem_of(answer, want, {}) == "no answer: the program could not be run (no such capability)"


BOX = """
import http.server, socket, subprocess, threading
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
server = socket.create_server(("127.0.0.1", 2525))
def serve():
    while True:
        connection, _ = server.accept()
        connection.sendall(b"220 inside")
        threading.Timer(20, connection.close).start()
threading.Thread(target=serve, daemon=True).start()
pages = http.server.HTTPServer(("127.0.0.1", 8080), http.server.SimpleHTTPRequestHandler)
print("listening", flush=True)
pages.serve_forever()
"""


def test_every_kind_asks_in_the_network_of_a_container(tmp_path: Path) -> None:
    """A port inside a container is reached there and nowhere else, and a program sees that network."""
    with subprocess.Popen(
        ["unshare", "--net", sys.executable, "-c", BOX],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    ) as box:
        assert box.stdout is not None
        if not box.stdout.readline():
            pytest.skip("this machine makes no network of its own")

        def within(**details: object) -> Endpoint:
            return Endpoint(units=("box.service", UNIT), container="box.service", **details)  # type: ignore[arg-type]

        count = ("/bin/sh", "-c", "wc -l </proc/net/dev")  # two lines of titles, and lo
        wants = {
            "http": within(listen="127.0.0.1:8080", url="http://127.0.0.1:8080/"),
            "tcp": within(probe="tcp", listen="127.0.0.1:2525", expect="220 "),
            "still": within(probe="tcp", listen="127.0.0.1:2525"),
            "exec": within(probe="exec", command=count, user="root", contains="3"),
        }
        inside = ask(tmp_path, wants, leader=str(box.pid), **IN_TIME)
        outside = ask(tmp_path, wants, **IN_TIME)
        box.kill()
    assert {name: problem_of(answer, wants[name], {}) for name, answer in inside.items()} == dict.fromkeys(wants)
    assert all(answer.good for answer in inside.values())
    for answer in outside.values():
        assert (answer.curl, answer.words) == (7, "its container is not up")
