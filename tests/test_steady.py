"""The tests are run again and again, without load and with load, and a failure says which run it was."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LONGEST_S = 60.0
NOTES = """
printf '%s\\n' "$(pgrep -c -f -P "$PPID" '[-]m bench.load')" >>"$1"
[ "$(wc -l <"$1")" != "$2" ] || exit 3
"""
"""Notes how many processes of the load there are, and fails in one run."""


def steady(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command again and again."""
    return subprocess.run(
        [ROOT / "setup" / "test-steady.sh", *command],
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )


def busy(parent: int) -> list[int]:
    """The processes that have this parent."""
    return [
        int(stat.parent.name)
        for stat in Path("/proc").glob("[0-9]*/stat")
        if (fields := words_of(stat)) and fields[1] == str(parent)
    ]


def words_of(stat: Path) -> list[str]:
    """What the kernel says of a process after its name; nothing of one that has ended."""
    try:
        return stat.read_text("utf-8").rpartition(") ")[2].split()
    except OSError:
        return []


def wait_until_gone(numbers: list[int]) -> None:
    """Wait until none of these processes is at work."""
    deadline = time.monotonic() + LONGEST_S
    while any(words_of(Path(f"/proc/{number}/stat"))[:1] not in ([], ["Z"]) for number in numbers):
        assert time.monotonic() < deadline, f"still there: {numbers}"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("failing", "runs", "named"),
    [(2, 2, "run 2 of 5 without load"), (7, 7, "run 2 of 5 with every core busy"), (0, 10, "")],
)
def test_the_first_failure_ends_it_and_is_named(tmp_path: Path, failing: int, runs: int, named: str) -> None:
    """Ten runs, of which the last five have a load that is gone in the end; a failure in any of them counts."""
    notes = tmp_path / "notes"
    done = steady("bash", "-c", NOTES, "notes", notes, str(failing))
    loads = [int(line) for line in notes.read_text("utf-8").split()]
    assert len(loads) == runs
    assert set(loads[:5]) == {0}
    assert all(loads[5:])
    assert done.returncode == (1 if failing else 0)
    assert (f"test-steady: {named} ended with exit code 3" in done.stderr) == bool(failing)
    assert done.stdout.endswith("All 10 runs succeeded.\n") == (not failing)


def test_a_command_is_needed() -> None:
    assert (steady().returncode, steady().stderr.startswith("test-steady: name the command")) == (1, True)


@pytest.mark.parametrize("by", ["kill", "terminate", "its parent"])
def test_the_load_ends_with_whoever_began_it(by: str) -> None:
    """As many processes as cores are asked for, none of which outlives the first or its parent."""
    shell = subprocess.Popen(
        ["sh", "-c", f"{sys.executable} -m bench.load 3 >/dev/null & echo $!; wait"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert shell.stdout
    load = int(shell.stdout.readline())
    deadline = time.monotonic() + LONGEST_S
    while len(cores := busy(load)) < 3:
        assert time.monotonic() < deadline, "the load did not begin"
        time.sleep(0.05)
    if by == "its parent":
        shell.kill()
    else:
        os.kill(load, 9 if by == "kill" else 15)
    shell.wait(LONGEST_S)
    wait_until_gone([load, *cores])


@pytest.mark.parametrize("cores", ["0", "-1", "many", "2000"])
def test_a_number_of_cores_that_makes_no_sense_is_refused(cores: str) -> None:
    """In a sentence, and not by a machine that is kept busy for nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.load", "--", cores],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    assert done.returncode == 2
    assert re.search(rf"CORES: (found {cores}, must be from 1 to 1024|invalid int value: 'many')\n", done.stderr)
