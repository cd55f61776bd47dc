"""No value of a host, a container, a file or a caller reaches the arithmetic of the host's script as it came."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from switchproof.deploy.host.program import whole_script
from tests.host_functions import attempt

EVIL = "a[$(touch {mark})]"
UNITS = "container@box.service\x1ebox/app.service"
ENDPOINT = f"app\x1f{UNITS}\x1f\x1f\x1f\x1f200\x1f\x1f\x1f\x1f\x1f\x1fcontainer@box.service"
PROPERTIES = (
    *("MainPID", "NRestarts", "ExecMainCode", "ExecMainStatus", "ControlGroup"),
    *("InvocationID", "ActiveState", "SubState", "Id", "X"),
)
FILES = ("pending", "holder", "since", "armed", "runs/r/before", "runs/r/converge/log")


def run(tmp_path: Path, text: str, **values: str) -> subprocess.CompletedProcess[str]:
    """Run a text after the script, whatever fails in it."""
    return attempt(f"set +e\n{text}", folder=tmp_path, values={"SWITCHPROOF_ENDPOINTS": ENDPOINT, **values})


def test_what_a_container_s_systemd_answers_is_never_run(tmp_path: Path) -> None:
    """Whichever property of a unit a container spells as a command, no function of the script executes it."""
    mark = tmp_path / "mark"
    evil = EVIL.format(mark=mark)
    (tmp_path / "answer").write_text(
        "\n\n".join(f"Id=app.service\n=\n{name}={evil}\nMainPID={evil}" for name in PROPERTIES) + "\n\n"
    )
    done = run(
        tmp_path,
        f"""
        systemctl() {{ cat {tmp_path}/answer; }}
        ask_systemctl() {{ answered=$(systemctl "$@"); }}
        enter() {{ cat {tmp_path}/answer; }}
        nsenter() {{ cat {tmp_path}/answer; }}
        find_leader() {{ LEADER[$1]=$$; }}
        comes_back() {{ return 1; }}
        declare -A unit_state unit_identity
        sample_units
        declare -A base=([box/app.service]={shlex.quote(evil)}) outcome failures
        unit_state[box/app.service]='failed failed'
        count_failures box/app.service
        find_main_inside box/app.service
        find_machine "box/app.service$RS$RS$RS" ''
        find_container container@box.service box/app.service
        rows='' began='' activated=''
        find_processes
        say_diagnosable
        with_unit container@box.service/app.service show
        echo "pid ${{value["box/app.service MainPID"]}}, group <${{value["box/app.service ControlGroup"]}}>"
        """,
    )
    assert "pid 0, group <>" in done.stdout, done.stderr
    assert not mark.exists()


def test_a_container_that_says_too_much_holds_nothing_up(tmp_path: Path) -> None:
    """A megabyte of blank lines from a container is taken in at once, and says nothing of its unit."""
    done = run(
        tmp_path,
        """
        ask_systemctl() { answered=$'Id=container@box.service\\nControlGroup=/machine.slice\\n'; }
        inside() { head -c 1000000 /dev/zero | tr '\\0' '\\n'; printf 'Id=app.service\\nActiveState=active\\n'; }
        find_leader() { LEADER[$1]=$$; }
        show_units
        echo "<${value["box/app.service ActiveState"]:-}> <${value["container@box.service ControlGroup"]}>"
        """,
    )
    assert done.stdout == "<> </machine.slice>\n", done.stderr


def test_a_container_s_control_group_leads_nowhere_else(tmp_path: Path) -> None:
    """A container cannot have the host's processes counted as its own."""
    inner = r"Id=app.service\nControlGroup=/../../system.slice/sshd.service\n"
    done = run(
        tmp_path,
        f"""
        ask_systemctl() {{ answered=$'Id=container@box.service\\nControlGroup=/machine.slice\\n'; }}
        inside() {{ printf '{inner}'; }}
        find_leader() {{ LEADER[$1]=$$; }}
        show_units
        echo "<${{value["box/app.service ControlGroup"]}}>"
        """,
    )
    assert done.stdout == "<>\n", done.stderr


def test_what_stands_in_files_is_never_run(tmp_path: Path) -> None:
    """Lock, pending return, countdown and what a run wrote down before are read as numbers or not at all."""
    mark = tmp_path / "mark"
    evil = EVIL.format(mark=mark)
    fields = "".join(f"{name} {evil}\n" for name in ("seconds", "lease", "seen", "since", "boot_id"))
    for name in FILES:
        path = tmp_path / "state" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"run r\n{fields}began 5\n{evil}\nsystem.generation 9\n{evil}\n")
    lock = tmp_path / "run" / "lock"
    lock.mkdir(parents=True)
    (lock / "holder").write_text(f"run other\nowner o\n{fields}")
    (tmp_path / "run" / "since").write_text(f"{evil}\n")
    (tmp_path / "state" / "runs" / "r" / "armed").write_text("converge\n")
    done = run(
        tmp_path,
        """
        comes_back() { return 1; }
        systemctl() { :; }
        journalctl() { :; }
        rebooted() { return 1; }
        foreign_switch() { :; }
        say_guard
        due
        : >"$LOCK/../since"; due
        take_lock
        hold now "$(held_by seen)"
        number_to PATIENCE_S "$(pending seconds)" 600
        restore /nowhere boot
        timeout() { :; }
        verb_diagnose >/dev/null
        JOB=converge SWITCHPROOF_WAIT_S=0 verb_status
        echo "patience $PATIENCE_S"
        """,
    )
    assert "patience 600" in done.stdout, done.stderr
    assert not mark.exists()


GIVEN = (
    *("SWITCHPROOF_LEASE_S", "SWITCHPROOF_TIMEOUT_S", "SWITCHPROOF_DEADMAN_S", "SWITCHPROOF_PATIENCE_S"),
    "SWITCHPROOF_RECONNECT_S",
    *("SWITCHPROOF_OFFSET", "SWITCHPROOF_WAIT_S", "READY_S", "ANSWERS", "INTERVAL_S", "SOAK_S"),
    *("ANSWER_TIMEOUT_S", "MAX_BYTES", "SAME_FAILURES", "SAME_ANSWERS"),
)


def test_a_caller_s_value_that_is_no_number_is_refused(tmp_path: Path) -> None:
    """Each number that a caller gives is refused by name, before anything is looked at, if it is not one."""
    evil = EVIL.format(mark=tmp_path / "mark")
    for name in GIVEN:
        done = run(tmp_path, "lacking() { :; }; main status", **{name: evil})
        assert (done.returncode, done.stdout) == (64, ""), name
        assert f"{name.removeprefix('SWITCHPROOF_')} is '{evil}', which is not a" in done.stderr
    assert not (tmp_path / "mark").exists()


def test_which_values_are_refused(tmp_path: Path) -> None:
    """What looks much like a number is refused like anything else."""
    say = 'lacks=; find_given_problem; echo "$lacks"'
    for name in ("ANSWERS", "SOAK_S"):
        tries = [f"{name}={shlex.quote(value)}; {say}" for value in ("2m", "-1", "1e3", " 1", "1\n2", "")]
        done = run(tmp_path, "\n".join(tries))
        assert done.stdout.count("which is not a") == len(tries), done.stdout
    assert run(tmp_path, f"ANSWERS=08; {say}").stdout.startswith("ANSWERS is '08'")
    assert run(tmp_path, f"SOAK_S=08.5; {say}").stdout == "\n"


def test_what_counts_as_a_number(tmp_path: Path) -> None:
    """Digits are a number, also behind zeros; anything else is what the caller puts in its place."""
    wanted = {
        "0": ("0", "0"),
        "08": ("8", "8000"),
        "12.5": ("-", "12500"),
        "7.": ("-", "7000"),
        "0.0019": ("-", "1"),
        **dict.fromkeys(("-3", "", "1 2", "9" * 20, "1.a[0]", "1\n2"), ("-", "none")),
    }
    text = "".join(
        f'number_to n {shlex.quote(value)} -; milliseconds_to m {shlex.quote(value)} || m=none; echo "$n $m"\n'
        for value in wanted
    )
    assert run(tmp_path, text).stdout.splitlines() == [f"{number} {ms}" for number, ms in wanted.values()]


# What is said to a person, and how much of it stands in memory.


def test_a_log_of_any_length_takes_little_memory(tmp_path: Path) -> None:
    """Of a text only its end ever stands in a variable, and its first line says that there was more."""
    text = "ulimit -v 200000; { head -c 300000000 /dev/zero | tr '\\0' x; echo; echo last; } | tail_of 1000"
    done = run(tmp_path, text)
    assert done.stdout.startswith("[what came before these 1000 bytes is left out]\nxxx"), done.stderr
    assert done.stdout.endswith("x\nlast\n")
    assert len(done.stdout) < 1100
    assert run(tmp_path, "printf 'a\\nb\\n' | tail_of 4").stdout == "a\nb\n"


def test_what_an_endpoint_says_does_not_command_a_terminal(tmp_path: Path) -> None:
    """By hand, control characters of a body, a log or a clause are taken out; text stays."""
    text = r"""body=$'\e]0;x\a\x9b5n\xc2\x9b31m\xe2\x80\xaeevil\xe2\x81\xa6 caf\xc3\xa9\tok\n'
    say answer.live "$body"; parts=(answer.live); tell diagnose; clause runtime FAILED "$body" """
    done = run(tmp_path, text)
    assert not {char for char in done.stdout if ord(char) < 32 and char not in "\t\n"}, done.stdout
    assert not set(done.stdout) & set("\x7f\x9b\u202e\u2066")
    assert "caf\u00e9\tok" in done.stdout


# The lint: whatever stands in arithmetic has come through one of the readers.

_ARITHMETIC = re.compile(
    r"\(\((?P<plain>(?:[^()]|\((?:[^()]|\([^()]*\))*\))*)\)\)|\$\{\w+:\s*(?P<cut>[^-=+?}][^}]*)\}"
)
_COMPARED = re.compile(r"\[\[[^\]]*-(?:eq|ne|lt|le|gt|ge)\s[^\]]*\]\]")
_NAME = re.compile(r"(?<![\w}#])(?:\$\{?)?([A-Za-z_]\w*)")
_CLEAN = re.compile(r"""^"?(?:\d+|\$\(\(|\$[?]|\$EPOCHSECONDS|\(\)|'')"?$""")


def strays(script: str) -> Iterator[str]:
    """Yield each variable in a script's arithmetic that gets a value which no reader has seen, with its function."""
    script = re.sub(r"(?m)^\s*#.*$|'[^']*'", "''", script)
    given = set(" ".join(re.findall(r"^  for name in ([A-Z_ ]+); do$", script, re.MULTILINE)).split())
    for part in re.split(r"^(?=\w+\(\) )", script, flags=re.MULTILINE):
        where = part.partition("(")[0]
        used: set[str] = set()
        for found in _ARITHMETIC.finditer(part):
            inner = re.sub(r"\[\$\w+\]", "", found["plain"] or found["cut"])
            inner = re.sub(r"\$\([^(].*?\)|\$\{#[^}]*\}|\b10#", "0", inner)
            used |= set(_NAME.findall(inner)) - {"EPOCHSECONDS"} - given
        for array in re.findall(r"(?<=-a )[\w =()]+", part):
            if re.search(rf"\b(?:{'|'.join(re.findall(r'[a-z]+', array))})\[\$", part):
                yield f"{where}: {array}"
        if _COMPARED.search(part):
            yield f"{where}: [[ -eq ]]"
        for name in sorted(used):
            values, read = _values(name, part)
            if not values and not read:  # a variable of the caller
                values, read = _values(name, script)
            wrong = [value for value in values if not _CLEAN.match(value) and not _is_clean(value, part)]
            if wrong or not (read or values):
                yield f"{where}: {name}{'=' + wrong[0] if wrong else ''}"


def _is_clean(value: str, text: str) -> bool:
    """Whether a value is another variable that is only ever given numbers."""
    named = re.fullmatch(r'"?\$(\w+)"?', value)
    values, read = _values(named[1], text) if named else ([value], False)
    return all(map(_CLEAN.match, values)) and bool(values or read)


def _values(name: str, text: str) -> tuple[list[str], bool]:
    """The values that a text gives a variable, and whether a reader gives it one."""
    read = re.search(rf"(?:number_to|milliseconds_to) {name} ", text)
    return re.findall(rf"(?<![\w$\"{{-]){name}(?:\[[^]]*\])?\+?=(?!,)(\$\(\(|[^\s;]*)", text), bool(read)


def test_arithmetic_takes_no_value_that_no_reader_has_seen() -> None:
    """Every variable in the script's arithmetic is a number by the way that it got its value."""
    assert list(strays(whole_script())) == []


@pytest.mark.parametrize(
    "body",
    [
        "x=$(cat /proc/1/x); ((x))",
        "x=${value[MainPID]:-0}; echo $((x + 1))",
        "local x=$1; if ((${x} > 1)); then :; fi",
        "((unknown))",
        'read -r x <f; echo "$((x))"',
        "x=$1; echo ${text:x:2}",
        "[[ $1 -eq 1 ]]",
        "number_to x 1; x=$2; ((x > 3))",
        "local -a list; echo ${list[$1]}",
    ],
)
def test_the_lint_finds(body: str) -> None:
    """A value that came from elsewhere is found wherever bash would calculate with it."""
    assert list(strays(f"f() {{\n  {body}\n}}\n"))


def test_the_lint_lets_pass() -> None:
    """What a reader has seen, and what is made of numbers, is let pass."""
    assert not list(strays('f() {\n  number_to x "$1" 0\n  y=$((x + 1)) z=0\n  ((y > ${#text} - z))\n}\n'))
