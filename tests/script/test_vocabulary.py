"""Verbs, variables and outcomes are those of one list: in the script, what asks it, the SSM document and pages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from switchproof.deploy.host.program import SCRIPT, health_values, whole_script
from switchproof.deploy.host.vocabulary import NUMBER, OUTCOMES, SECONDS, VARIABLES, VERBS
from switchproof.deploy.providers import load
from switchproof.deploy.providers.aws.document import VALUES, fixed_values
from switchproof.deploy.settings import TARGETS
from switchproof.deploy.target.types import Converge, Health, Repository
from tests.host_functions import run

ROOT = Path(__file__).parents[2]
SHELL = re.sub(r"(?m)^\s*#.*$| # .*$", "", whole_script())
ASKING = [ROOT / "deploy" / "host" / "dialogue.py", ROOT / "deploy" / "host" / "program.py"]
ASKING += (ROOT / "deploy" / "run").glob("*.py")
"""The modules that ask a host."""

OF_EVERY_PROGRAM = {"PATH", "HOME", "USER"}
OF_ITS_FOLDER = {"HERE"}


def given_by(*givers: str) -> set[str]:
    return {name for name, one in VARIABLES.items() if one.given_by in givers}


def asked_by(*askers: str) -> set[str]:
    return {name for name, one in VERBS.items() if one.asked_by in askers}


def constants(*names: str) -> Iterator[str]:
    """Yield the texts in the modules that ask; with names only those of the calls of such methods."""
    for path in ASKING:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not names and isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in names:
                yield from (str(arg.value) for arg in node.args[:1] if isinstance(arg, ast.Constant))


def test_the_script_knows_the_verbs_of_the_list() -> None:
    """Each verb is one of `main`, has a function, and stands in what the script says of itself; no other does."""
    main = SHELL[SHELL.index("\nmain() {") :]
    (alone,) = re.findall(r'^    ([a-z |]+)\) "verb_\$verb" ', main, re.MULTILINE)
    (framed,) = re.findall(r'^    ([a-z |]+)\)\n      "verb_\$verb"$', main, re.MULTILINE)
    assert set(framed.split(" | ")) == asked_by("run")
    assert {*alone.split(" | "), *re.findall(r'"\$verb" = (\w+)', main)} == asked_by("person", "host")
    assert set(re.findall(r"(?m)^verb_(\w+)\(\)", SHELL)) == set(VERBS)
    head, _, _ = SCRIPT.read_text(encoding="utf-8").partition("set -euo")
    (verbs,) = re.findall(r"^# Verbs: ([a-z ]+)\.", head, re.MULTILINE)
    (usage,) = re.findall(r"^ *echo \"usage: \S+ ([a-z |]+);", SHELL, re.MULTILINE)
    assert set(verbs.split()) == set(usage.split(" | ")) == asked_by("run", "person")


def test_runs_ask_the_verbs_of_the_list() -> None:
    """A run asks no verb that there is not, and each that is for runs."""
    assert set(constants("ask")) <= asked_by("run")
    assert asked_by("run") <= set(constants())


def test_the_script_takes_the_variables_of_the_list() -> None:
    """Each variable that nothing in the script sets is on the list, and the script reads each that is."""
    text = re.sub(r"'[^'\n]*'", "''", SHELL)
    read = set(re.findall(r"\$\{?#?!?([A-Z][A-Z0-9_]*)\b", text)) | set(
        re.findall(r"\(\([^()]*?\b([A-Z][A-Z_]+)\b", text)
    )
    set_here = set(re.findall(r'(?<![\w${-])([A-Z][A-Z0-9_]*)(?:\[[^]]*\])?\+?=(?!"?\$\{\1:-)', text))
    set_here |= set(re.findall(r"(?:number_to|milliseconds_to|exec) \{?([A-Z_]+)\b", text))
    of_bash = {name for name in read if re.match(r"BASH|EPOCH|REPLY|PIPESTATUS|RANDOM", name)}
    or_given = set(re.findall(r'(?<![\w$])([A-Z][A-Z0-9_]*)="?\$\{\1:-', text))
    taken = (read - set_here) | or_given | set(re.findall(r"SWITCHPROOF_[A-Z_]+", text))
    assert taken - of_bash - OF_EVERY_PROGRAM - OF_ITS_FOLDER == set(VARIABLES)


def test_runs_give_the_variables_of_the_list() -> None:
    """A run gives each that is for runs or of the target file, and none that is not on the list."""
    named = {text for text in constants() if text in VARIABLES or text.startswith("SWITCHPROOF_")}
    assert named == given_by("run", "target")


def test_the_document_takes_the_variables_of_the_list() -> None:
    """What a run gives is a parameter of the SSM document; what the target file says stands in it."""
    assert set(VALUES) == given_by("run")
    assert all(re.fullmatch(allowed, "") is not None for allowed in VALUES.values())
    assert set(fixed_values(load(TARGETS / "aws.toml", {"DEPLOY_INSTANCE_ID": "i-00000000"}))) == given_by("target")


@pytest.mark.parametrize(("allowed", "names"), [(NUMBER, 0), (SECONDS, 1)])
def test_each_number_is_looked_at(allowed: str, names: int) -> None:
    """The script refuses a caller's value for each variable that the list calls a number, and for no other."""
    looked_at = re.findall(r"^  for name in ([A-Z_ ]+); do$", SHELL, re.MULTILINE)[names].split()
    numbers = {name for name, one in VARIABLES.items() if one.allowed == allowed}
    assert {name.removeprefix("SWITCHPROOF_") for name in numbers} == set(looked_at)


def test_a_job_s_unit_gets_what_the_list_says() -> None:
    """The unit of a job is given each variable that reaches jobs, and the home of whoever began it."""
    text = """
      timeout() { printf '%s\\n' "$@"; }
      dir=folder unit=unit
      run_unit converge
      echo "$stderr"
    """
    given = re.findall(r"^-E\n([A-Z_]+)=", run(text, "contract", "jobs"), re.MULTILINE)
    assert len(given) == len(set(given))
    assert set(given) == {"HOME", *(name for name, one in VARIABLES.items() if one.reaches_jobs)}


def test_the_script_s_defaults_are_those_of_target_files() -> None:
    """Without a target file a person gets the health, checkout and limit that one has which says nothing of them."""
    default = dict(re.findall(r"\b([A-Z_]+)=\$\{(?:SWITCHPROOF_)?\1:-([^}]+)\}", SHELL))
    health = health_values(Health())
    assert default["TRANSIENT_STATUS"] == health.pop("TRANSIENT_STATUS")
    assert {name: float(default[name]) for name in health} == {name: float(text) for name, text in health.items()}
    assert (default["WORKDIR"], float(default["TIMEOUT_S"])) == (Repository().checkout, Converge().timeout_s)


def test_the_script_says_the_outcomes_of_the_list() -> None:
    """Each outcome that it says is on the list, and it says each of them."""
    said = re.findall(r"\b(?:say outcome|refuse) ([a-z]+)", SHELL) + re.findall(r"\boutcome=([a-z]+)", SHELL)
    assert set(said) == set(OUTCOMES)


def test_what_a_run_makes_of_outcomes_is_on_the_list() -> None:
    """A run compares an outcome with none that no script says."""
    compared = set[str]()
    for path in [*ASKING, *(ROOT / "deploy" / "observe").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare | ast.Match) and "outcome" in ast.unparse(
                node.left if isinstance(node, ast.Compare) else node.subject
            ):
                parts = node.comparators if isinstance(node, ast.Compare) else [case.pattern for case in node.cases]
                inner = (each for part in parts for each in ast.walk(part))
                compared |= {str(each.value) for each in inner if isinstance(each, ast.Constant)}
    assert len(compared) > 10
    assert compared <= set(OUTCOMES)


def test_a_person_finds_every_variable_in_the_page() -> None:
    """What only a person gives has its row, and each row is of variables of the list."""
    page = (ROOT / "docs" / "running.md").read_text(encoding="utf-8")
    table = page.partition("The variables:\n")[2].partition("\n\n`SWITCHPROOF")[0]
    named = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall("`(.*?)`", row)}
    assert named - {"NAME_STORE_PATH"} <= set(VARIABLES)
    assert {name for name in given_by("person") if not name.startswith(("SWITCHPROOF_", "GIT_"))} <= named


def test_a_run_reads_what_the_script_says() -> None:
    """Each part of an answer has its reader, but for diagnostics, which are kept as evidence whatever they are."""
    functions = re.split(r"(?m)^(?=\w+\(\) )", SHELL)
    said = {
        name
        for function in functions
        if not re.match(r"verb_diagnose|diagnose_", function)
        for name in re.findall(r"(?m)(?:^ *|[;|&{(] *|then |do )say ([a-z_]+(?:[.-][a-z_-]+)*)[ .]", function)
    }
    rooms = [*ASKING, *(ROOT / "deploy" / "observe").rglob("*.py")]
    read = {
        part
        for path in rooms
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for part in (node.value, node.value.rstrip("."))
    }
    assert len(said) > 60
    assert said - read - {"began"} == set(), "`began` is what the host itself reads of what it noted"
