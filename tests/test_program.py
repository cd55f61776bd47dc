"""The text that a host is given says to the script exactly what we mean, on every shell."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from switchproof.deploy.host import program as module
from switchproof.deploy.host.program import (
    SCRIPT,
    carried_script,
    endpoints,
    fragments,
    health_values,
    pack,
    question,
    whole_script,
)
from switchproof.deploy.target.types import Endpoint, Health, Host, Machine, Repository, Target

SHELLS = [shell for shell in ("dash", "bash") if shutil.which(shell)]
HOSTILE = [
    "",
    "a b  c",
    "it's",
    "'\"'\"'",
    '"',
    "$HOME ${x} $(id) `id`",
    "a\nb\n\nc",
    "ends with line feeds\n\n",
    "\n",
    "\\",
    "\\\n\\n\\t",
    "!x !! ^a^b",
    "~ * ? [a]",
    "a;b|c&d>e<f(g){h}",
    "# no comment",
    "-n -e --",
    "x=1",
    "\x1f\x1e\t\x01\x7f",
    "é → 漢字 🚀",
    "\r\n",
    "END-OF-HOST-SWITCH\n",
    "EOF\nexit 1\n",
    "'; exit 1; '",
    "x" * 100_000,
]


def ran(shell: str, text: bytes) -> str:
    done = subprocess.run([shell, "-s"], input=text, capture_output=True, check=False, timeout=20)
    assert done.stderr == b""
    assert done.returncode == 0
    return done.stdout.decode()


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script in the place of the host's."""
    path = tmp_path / "script.sh"
    monkeypatch.setattr(module, "SCRIPT", path)
    return path


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("value", HOSTILE)
def test_value_reaches_the_script_as_it_is(value: str, shell: str, script: Path) -> None:
    """Quotes, line feeds, expansions and separators in a value are nothing but its text."""
    script.write_text('printf \'%s.%s.%s\' "$VALUE" "$SWITCHPROOF_NONCE" "$1"\n')
    assert ran(shell, question("observe", "n0nce", {"VALUE": value}).text()) == f"{value}.n0nce.observe"


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("value", HOSTILE)
def test_script_is_given_as_it_is(value: str, shell: str, script: Path) -> None:
    """Whatever the script's text is, the host's bash runs just that, but for lines of comment."""
    script.write_text(f": <<'the end of this'\n{value}\nthe end of this\nprintf '%s' \"${{BASH_EXECUTION_STRING}}\"")
    assert ran(shell, question("observe", "n", {}).text()).rstrip("\n") == carried_script()


@pytest.mark.parametrize("shell", SHELLS)
def test_nothing_secret_stands_in_an_argument_list(shell: str, script: Path) -> None:
    """No process of the program has a value in its arguments, where every user of the host could read it."""
    script.write_text("[ -n \"$REPO_URL\" ] && tr '\\0' ' ' </proc/$$/cmdline && tr '\\0' ' ' </proc/$PPID/cmdline\n")
    text = question("resolve", "n0nce", {"REPO_URL": "https://x:s3cr3t@h/r", "OTHER": "s3cr3t"}).text()
    assert all(line.startswith(b"export ") for line in text.splitlines() if b"s3cr3t" in line or b"n0nce" in line)
    said = ran(shell, text)
    assert "host-switch.sh resolve" in said
    assert "s3cr3t" not in said
    assert "n0nce" not in said


@pytest.mark.parametrize("shell", SHELLS)
def test_script_reads_nothing_and_may_read_in_vain(shell: str, script: Path) -> None:
    """The script's standard input is empty, so a command in it cannot swallow what follows."""
    script.write_text("cat; printf done\n")
    assert ran(shell, question("observe", "n", {}).text() + b"echo more\n") == "done"


@pytest.mark.parametrize("shell", SHELLS)
def test_script_s_end_is_the_program_s_end(shell: str, script: Path) -> None:
    """The program ends with the script's exit status."""
    script.write_text("exit 75\n")
    done = subprocess.run([shell, "-s"], input=question("observe", "n", {}).text(), check=False, timeout=20)
    assert done.returncode == 75


@pytest.mark.parametrize("shell", SHELLS)
def test_program_is_not_read_byte_by_byte(shell: str, script: Path) -> None:
    """Bash reads its input at one system call a byte; 100 KB would cost a host more than the answer."""
    script.write_text(f": {'x' * 100_000}\ngrep syscr /proc/$$/io\n")
    name, calls = ran(shell, question("observe", "n", {"VALUE": "x" * 5000}).text()).split()
    assert name == "syscr:"
    assert int(calls) < 1000


@pytest.mark.parametrize("shell", SHELLS)
def test_program_that_is_cut_runs_nothing(shell: str, script: Path) -> None:
    """A connection that is lost while the program is sent leaves no part of the script to run."""
    script.write_text('touch "$VALUE"\n' * 9)
    there = script.with_name("touched")
    text = question("observe", "n", {"VALUE": str(there)}).text()
    for end in range(1, text.rindex(b"'"), 9):
        subprocess.run([shell, "-s"], input=text[:end], capture_output=True, check=False, timeout=20)
    assert not there.exists()


def test_nothing_of_the_user_s_shell_changes_the_script(script: Path, tmp_path: Path) -> None:
    """Start-up files and exported functions of the user are none of the script's, whoever the shell takes us for."""
    (tmp_path / ".bashrc").write_text("echo from bashrc; readlink() { echo lie; }\n")
    (tmp_path / "env").write_text("echo from BASH_ENV\n")
    script.write_text("readlink -f /; type -t readlink\n")
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "BASH_ENV": str(tmp_path / "env"),
        "SSH_CLIENT": "192.0.2.1 1 22",
        "BASH_FUNC_readlink%%": "() { echo lie; }",
    }
    text = question("observe", "n", {}).text()
    done = subprocess.run(["sh", "-s"], input=text, env=environ, capture_output=True, check=False, timeout=20)
    assert (done.stdout, done.stderr) == (b"/\nfile\n", b"")


def test_real_script_fits_into_an_argument() -> None:
    """Linux takes one argument of at most 128 KiB, and the script is given as one."""
    assert len(carried_script().encode()) < 128 * 1024 - 4096


@pytest.mark.parametrize("shell", SHELLS)
def test_real_script_is_whole_on_every_shell(shell: str) -> None:
    """The host's script is read whole on every shell, and ends in its own words: usage, or what this host lacks."""
    done = subprocess.run(
        [shell, "-s"], input=question("no-such-verb", "n", {}).text(), capture_output=True, check=False, timeout=20
    )
    assert done.returncode in {64, 69}
    assert b"host-switch.sh" in done.stderr


def target(**endpoint: object) -> Target:
    plain = {"units": ("a.service", "b.service"), "listen": "127.0.0.1:80", "url": "http://127.0.0.1/x"}
    return Target(
        provider="lab",
        repository=Repository(url="x"),
        hosts=(Host(name="a", flake_attr="a"),),
        hypervisor=Endpoint(**plain),  # type: ignore[arg-type]
        runtime={"live": Endpoint(**(plain | endpoint))},  # type: ignore[arg-type]
    )


def test_endpoints_are_one_line_each() -> None:
    """Each endpoint is a line of twelve fields, the hypervisor first, empty where nothing is asked."""
    told = endpoints(
        target(
            listener="a.service",
            status=204,
            backend="http://10.0.0.1/",
            inside=("ip a", "ss -l"),
            machine=Machine(unit="a.service", tap="tap0", monitor="qmp:/run/q"),
            json_of_system={"version": "etc/version", "id": "etc/id"},
            container="a.service",
        )
    )
    assert [line.split("\x1f") for line in told.split("\n")] == [
        [
            "hypervisor",
            "a.service\x1eb.service",
            "127.0.0.1:80",
            "b.service",
            "http\x1ehttp://127.0.0.1/x\x1e",
            "200",
            "",
            "",
            "",
            "",
            "",
            "",
        ],
        [
            "live",
            "a.service\x1eb.service",
            "127.0.0.1:80",
            "a.service",
            "http\x1ehttp://127.0.0.1/x\x1e",
            "204",
            "http://10.0.0.1/",
            "",
            "ip a\x1ess -l",
            "a.service\x1etap0\x1e\x1eqmp:/run/q",
            '"version"\x1eetc/version\x1e"id"\x1eetc/id',
            "a.service",
        ],
    ]


@pytest.mark.parametrize(
    ("endpoint", "asked"),
    [
        ({"headers_file": "/run/h"}, ["http", "http://127.0.0.1/x", "/run/h"]),
        (
            {"probe": "https", "headers_file": "/run/h", "ca_file": "/run/ca"},
            ["https", "http://127.0.0.1/x", "/run/h", "::127.0.0.1:80", "/run/ca"],
        ),
        ({"probe": "https"}, ["https", "http://127.0.0.1/x", "", "::127.0.0.1:80", ""]),
        (
            {"probe": "unix", "listen": "/run/s", "headers_file": "/run/h"},
            ["unix", "http://127.0.0.1/x", "/run/h", "/run/s"],
        ),
        ({"probe": "unix", "listen": "/run/s"}, ["unix", "http://127.0.0.1/x", "", "/run/s"]),
        ({"probe": "tcp", "listen": "[::]:80"}, ["tcp", "::1", "80"]),
        ({"probe": "exec", "command": ("/bin/x", "-y"), "user": "nobody"}, ["exec", "nobody", "/bin/x", "-y"]),
        ({"probe": "exec", "command": ("/bin/x",)}, ["exec", "", "/bin/x"]),
    ],
)
def test_question_of_each_probe_is_told(endpoint: dict[str, object], asked: list[str]) -> None:
    """The host reads the kind of the probe, then what that kind needs; what is left out is empty."""
    assert endpoints(target(**endpoint)).split("\n")[1].split("\x1f")[4].split("\x1e") == asked


@pytest.mark.parametrize(
    ("endpoint", "wants"),
    [
        ({}, []),
        ({"contains": "Sign in"}, ["Sign in"]),
        ({"json": {"n": 1}}, ["", '"n"', "1"]),
        ({"json": {"é\n": "\x1f\x1e", "ok": True}}, ["", '"\\u00e9\\n"', '"\\u001f\\u001e"', '"ok"', "true"]),
        ({"contains": "x", "json": {"n": 1.5}}, ["x", '"n"', "1.5"]),
    ],
)
def test_wants_of_a_body_are_told(endpoint: dict[str, object], wants: list[str]) -> None:
    """A text and the keys and values of JSON reach the host, whatever characters they have."""
    told = endpoints(target(**endpoint)).split("\n")[1].split("\x1f")[7]
    assert (told.split("\x1e") if told else []) == wants


def test_health_is_told_in_plain_numbers() -> None:
    """Every limit is a plain decimal number, as awk and sleep read it."""
    told = health_values(Health(ready_s=86400.0, soak_s=0.00001, interval_s=0.1, answers=1000, max_bytes=1_000_000))
    assert told.pop("TRANSIENT_STATUS") == "408 425 429 502 503 504"
    numbers = {"ANSWERS", "MAX_BYTES", "SAME_FAILURES", "SAME_ANSWERS"}
    assert told.keys() == {"READY_S", "INTERVAL_S", "SOAK_S", "ANSWER_TIMEOUT_S", *numbers}
    assert all(value.replace(".", "", 1).isdecimal() for value in told.values())
    assert (told["READY_S"], told["ANSWERS"]) == ("86400.000000", "1000")


def test_the_script_in_its_folder_sends_the_same_text_as_the_runner(tmp_path: Path) -> None:
    """Run with its fragments beside it, it gives a job the one text that a session sends."""
    end = 'main "$@"\n'
    text = SCRIPT.read_text(encoding="utf-8")
    assert text.endswith(end)
    file = tmp_path / "host-switch.sh"
    file.write_text(text.removesuffix(end) + "find_script; printf '%s\\n' \"$script\"\n", encoding="utf-8")
    (tmp_path / "script").symlink_to(SCRIPT.parent / "script")
    done = subprocess.run(["bash", str(file)], capture_output=True, text=True, check=True)
    assert done.stdout == whole_script().removesuffix(end) + "find_script; printf '%s\\n' \"$script\"\n"
    assert {f"script/{path.name}" for path in SCRIPT.parent.glob("script/*.sh")} == set(fragments())


def functions(text: str) -> dict[str, list[str]]:
    """The lines of each function as bash reads it: commands are indented anew, texts in quotes stay as they are."""
    given = text.rsplit('main "$@"', 1)[0] + "\ndeclare -f"
    shown = subprocess.run(["bash"], input=given, capture_output=True, text=True, check=True).stdout
    # A program of awk's has comments of its own, which travel as little.
    lines = [line for line in shown.splitlines() if not line.lstrip().startswith("#")]
    starts = [number for number, line in enumerate(lines) if line.endswith(" () ")]
    return {lines[at]: lines[at:end] for at, end in zip(starts, [*starts[1:], None], strict=True)}


def test_script_that_travels_is_the_script_to_the_last_command() -> None:
    """Each function is the same, but for the indentation of programs that awk or another shell reads.

    Only what a person asks for by hand stays behind.
    """
    carried, whole = functions(pack(SCRIPT)), functions(whole_script())
    by_hand = SCRIPT.with_name("script") / "by_hand.sh"
    left = set(re.findall(r"(?m)^[a-z_]+ \(\) ", "\n".join(functions(by_hand.read_text() + '\nmain "$@"'))))
    assert {name for name in whole if name not in carried} == left
    whole = {name: lines for name, lines in whole.items() if name in carried}
    for name, lines in whole.items():
        assert [line.lstrip() for line in carried[name]] == [line.lstrip() for line in lines], name
        assert carried[name] == lines or re.search(r"\bawk |\"\$BASH\" -c ", "\n".join(lines)), name


def test_the_script_is_read_once_for_all_hosts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script, together, carried = tmp_path / "host-switch.sh", threading.Barrier(8), list[str]()
    script.write_text("echo once\n", encoding="utf-8")
    monkeypatch.setattr(module, "SCRIPT", script)

    def ask() -> None:
        together.wait(10)
        carried.append(question("observe", "n", {}).script)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert carried == ["echo once\n"] * 8
    assert {id(text) for text in carried} == {id(carried[0])}
