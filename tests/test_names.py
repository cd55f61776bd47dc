"""Nothing but target files and the lab's sample knows the names of one team's units, hosts and programs."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from switchproof.deploy.host.by_hand import by_hand, defaults
from switchproof.deploy.host.program import SCRIPT
from switchproof.deploy.settings import TARGETS
from switchproof.deploy.target.loading import load_contract

ROOT = Path(__file__).parents[1]
ROOMS = ("deploy", "checks", "reports", "src/switchproof")
SAMPLE = ("deploy/targets/", "deploy/providers/lab/", "deploy/paths/")
"""Target files, the lab with its sample, and what finds deploy paths of any team by words that are usual in them."""

NAME = re.compile(r"\b(?:live|dev|sandbox(?:-live|-dev)?|dioxus-desktop)\b(?!/)")
WORD = re.compile(rf"(?<![-/.$\w]){NAME.pattern}(?!:\(| \"\$)")
"""A name in a line of shell; `ip … dev "$link"` and `dev:` of ss are words of theirs."""
UNITS = re.compile(
    r"(?:cloud-hypervisor|socat-sandbox)@|tap-(?:live|dev)|br-choiros|choiros-[ab]\b|:(?:8080|8081|9090)\b"
)


def code() -> Iterator[tuple[str, str]]:
    """Each file of code, by its name."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*")):
            name = str(path.relative_to(ROOT))
            if not path.is_symlink() and path.suffix in {".py", ".sh"} and not name.startswith(SAMPLE):
                yield name, path.read_text(encoding="utf-8")


def texts(source: str) -> Iterator[str]:
    """The texts of a module that are neither documentation nor the examples that a message gives."""
    tree = ast.parse(source)
    shown = {
        id(part)
        for node in ast.walk(tree)
        for part in (
            ast.walk(node.value)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            else ast.walk(node)
            if isinstance(node, ast.Assign | ast.AnnAssign) and is_example(node)
            else ()
        )
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in shown:
            yield node.value


def is_example(node: ast.Assign | ast.AnnAssign) -> bool:
    """Whether a value holds examples for the reader of a message."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return any(isinstance(one, ast.Name) and one.id in EXAMPLES for one in targets)


EXAMPLES = {"PATTERNS", "_EXAMPLES", "_EXAMPLES_OF_KIND"}


def strays(name: str, text: str) -> list[str]:
    """Name what a file says of one team's units."""
    if name.endswith(".py"):
        words: list[str] = [one for one in texts(text) if len(one) < 80]
        return [word for word in words if re.fullmatch(NAME, word) or re.search(UNITS, word)]
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return [line for line in lines if re.search(UNITS, line) or re.search(WORD, line)]


def test_the_names_of_one_team_are_nowhere_in_the_code() -> None:
    """Units, ports and bridges of the shipped target files are values, and no file of code has them."""
    assert {name: stray for name, text in code() if (stray := strays(name, text))} == {}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.py", 'UNITS = ("live", "dev")'),
        ("x.py", 'if unit == "socat-sandbox@live.service":\n    pass'),
        ("x.py", 'port = "127.0.0.1:9090"'),
        ("x.sh", "for unit in live dev; do :; done"),
        ("x.sh", "systemctl status cloud-hypervisor@x.service"),
        ("x.sh", "bridged sandbox bin/sandbox"),
    ],
)
def test_the_search_finds(name: str, text: str) -> None:
    """A name that stands in code is found."""
    assert strays(name, text)


def asked(script: str, variables: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """What the script takes its variables to be."""
    head = script.partition("# What this script writes")[0]
    shown = "".join(f"printf '%s\\0' \"${{{name}:-}}\"\n" for name in variables)
    done = subprocess.run(
        ["bash", "-c", head + shown],
        env={"PATH": "/usr/bin:/bin", **values},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(zip(variables, done.stdout.split("\0"), strict=False))


@pytest.mark.parametrize("name", ["ovh", "aws", "lab", "lab-aws", "local"])
def test_the_script_for_people_has_what_the_target_file_says(name: str) -> None:
    """Each value of the file is the script's default, character by character, and one that the caller sets counts."""
    contract = load_contract(TARGETS / f"{name}.toml", {})
    said = defaults(contract)
    script = by_hand(contract)
    assert asked(script, said, {}) == said
    assert asked(script, said, {"READY_S": "7", "UNIT_FILES": ""}) == {**said, "READY_S": "7", "UNIT_FILES": ""}
    assert len(script) < 128 * 1024 + 64 * 1024


def test_without_a_target_file_nothing_is_touched(tmp_path: Path) -> None:
    """The script alone says where healthy is written down, before it asks or changes anything."""
    for verb in ("deploy", "observe", "diagnose"):
        done = subprocess.run(
            ["bash", str(SCRIPT), verb], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (64, "")
        assert "nothing says what healthy means on this host" in done.stderr
        assert "switchproof script deploy/targets/NAME.toml > host-switch.sh; nothing was touched" in done.stderr
    assert list(tmp_path.iterdir()) == []
