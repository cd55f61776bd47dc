"""Each fragment of the host's script can be sourced by itself, and has tests of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from switchproof.deploy.host.program import SCRIPT, fragments, whole_script
from tests.host_functions import attempt

FOLDER = SCRIPT.parent / "script"
NAMES = [Path(name).stem for name in fragments()]


@pytest.mark.parametrize("name", NAMES)
def test_a_fragment_can_be_sourced_by_itself(name: str) -> None:
    """It says nothing and ends well without any other, as all that it does is in functions and plain assignments."""
    done = attempt("type -t main", name)
    assert (done.returncode, done.stdout, done.stderr) == (0, "function\n", "")
    text = (FOLDER / f"{name}.sh").read_text(encoding="utf-8")
    outside = [line for line in re.sub(r"(?ms)^\w+\(\) [{(]\n.*?^[})]$", "", text).splitlines() if line]
    plain = r"(?:readonly|declare) .*|\w+=.*|\w+\(\) \{ .* \}|list_units|#.*|  -p \"[\w,]+\"\)"
    assert [line for line in outside if not re.fullmatch(plain, line)] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_fragment_has_tests_of_its_own(name: str) -> None:
    """They stand in the module that has its name, and name it where they run it."""
    tests = (Path(__file__).parent / f"test_{name}.py").read_text(encoding="utf-8")
    assert "\ndef test_" in tests


def test_a_function_is_defined_once_and_called() -> None:
    """No fragment has a function of another's name, and none that nobody calls."""
    script = re.sub(r"(?m)^\s*#.*$", "", whole_script())
    functions = re.findall(r"(?m)^(\w+)\(\) ", script)
    assert len(functions) == len(set(functions))
    by_name = re.compile(r"^(?:verb|job)_")
    unused = [name for name in functions if len(re.findall(rf"(?<![\w-]){name}(?![\w-])", script)) < 2]
    assert [name for name in unused if not by_name.match(name)] == []
    jobs = {name.removeprefix("job_") for name in functions if name.startswith("job_")} - {"dir", "unit"}
    assert jobs == set(re.findall(r"\b(?:launch|conduct) ([a-z]+)", script))


@pytest.mark.parametrize("name", NAMES)
def test_a_fragment_says_what_it_is_about(name: str) -> None:
    """Its first line is a sentence, and it is small enough to be read at once."""
    lines = (FOLDER / f"{name}.sh").read_text(encoding="utf-8").splitlines()
    assert re.fullmatch(r"# [A-Z].*\.", lines[0])
    assert len(lines) < 400
