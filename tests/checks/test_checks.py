"""The folder shows the contract and nothing else, and checks tell a reader why they matter and what to try."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

CHECKS = Path(__file__).parents[2] / "checks"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param(node.name, ast.get_docstring(node) or "", id=f"{path.stem}-{node.name}")
        for path in sorted(CHECKS.glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ],
)
def test_every_check_says_why_and_what_to_try(name: str, words: str) -> None:
    """A check's docstring is its title, why it matters, and what to try, each a paragraph."""
    title, *why, remedy = words.split("\n\n")
    assert title.count("\n") == 0, name
    assert why, name
    assert remedy.startswith("Try: "), name


def test_folder_holds_the_contract_and_what_checks_use() -> None:
    """A reader finds the ordered checks, those of every endpoint, and their types; the rest is the session's."""
    others = {path.name for path in CHECKS.glob("*.py") if not path.name.startswith("test_")}
    assert others == {"__init__.py", "endpoints.py", "fixtures.py"}
