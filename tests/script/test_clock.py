"""Nothing waits for a time that cannot be read."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest

from tests.host_functions import run


@pytest.mark.parametrize(
    ("seconds", "since", "gone"),
    [
        ("5", "995.5", True),
        ("5", "995.51", False),
        ("0", "1000.5", True),
        ("0.25", "1000.25", True),
        ("600", "5000.0", False),
        ("600", "", True),
        ("600", "a[$(exit 1)]", True),
        ("ever", "1000.0", True),
        ("-1", "1000.0", True),
    ],
)
def test_what_has_gone_by(seconds: str, since: str, gone: bool) -> None:
    """A deadline is over when its seconds are, or when one of its numbers is none."""
    text = """
      uptime_to() { printf -v "$1" 1000.50; }
      if gone_by "$SECONDS_GIVEN" "$SINCE_GIVEN"; then echo gone; else echo not; fi
    """
    values = {"SECONDS_GIVEN": seconds, "SINCE_GIVEN": since}
    assert run(text, "numbers", "clock", values=values) == ("gone\n" if gone else "not\n")


def test_times_are_utc() -> None:
    """A time is written in UTC, whatever zone the host is in, and the uptime is a number of seconds."""
    output = run('now; uptime_to up; echo "$up"', "clock", values={"TZ": "Pacific/Auckland"})
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\n\d+\.\d+\n", output)


@pytest.mark.parametrize(
    ("program", "status", "answer"),
    [
        ("echo word", "0", "word"),
        ("printf 'two\\nlines\\n\\n'", "0", "two\nlines"),
        ("true", "0", ""),
        ("sh -c 'echo part; exit 3'", "3", "part"),
        ("sh -c 'echo part; exec sleep 60'", "124", "part"),
        ("sh -c 'echo nobody hears this >&2'", "0", ""),
        ("/nonexistent/program", "127", ""),
    ],
)
def test_a_program_ends_by_itself_or_in_time(program: str, status: str, answer: str) -> None:
    """Its exit status and its words are known; one that does not end counts as `timeout` counts it."""
    text = f'rc=0; ask_within 2 {program} || rc=$?; echo "$rc"; printf %s "$answered"'
    assert run(text, "clock") == f"{status}\n{answer}"
    with tempfile.TemporaryDirectory() as folder:
        assert run(f"SCRATCH={folder}; {text}", "clock") == f"{status}\n{answer}"


@pytest.mark.parametrize(("lost", "told"), [(1, "3 word 2"), (9, "3 word 10"), (1000, "1 word 10")])
def test_a_program_whose_end_bash_has_lost_is_asked_again(tmp_path: Path, lost: int, told: str) -> None:
    """On a busy machine, bash 5.2 has -1 for some programs that ended well: journals seemed not to work."""
    text = f"""
      waits=0
      wait() {{ if ((waits++ < {lost})); then rc=-1; else builtin wait "$@"; fi; }}
      rc=0; ask_within 2 sh -c 'echo asked >>{tmp_path}/asked; echo word; exit 3' || rc=$?
      echo "$rc $answered $(grep -c asked {tmp_path}/asked)"
    """
    assert run(text, "clock") == f"{told}\n"


def test_a_program_that_says_much_is_read_whole() -> None:
    """No answer is cut that ends in time, and one without end does not count."""
    text = "ask_within 30 seq 1 10000; echo ${#answered}; rc=0; ask_within 1 yes || rc=$?; echo $rc"
    assert run(text, "clock").split() == ["48893", "124"]


@pytest.mark.parametrize("port", ["/dev/udp/127.0.0.1/9", "/nonexistent/port"])
def test_waiting_costs_no_process(port: str) -> None:
    """Nothing ever comes on the file that is waited on, also where bash opens no socket."""
    text = 'open_idle; rc=0; read -r -t 0.1 -u "$idle" || rc=$?; echo "$((rc > 128)) ${!:+process}"'
    waited = run(text, "clock", replace={"/dev/udp/127.0.0.1/9": port})
    assert waited.split() == (["1"] if "udp" in port else ["1", "process"])
