"""The tests of what judges are judged themselves: by the mistakes in it that they notice."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path
from typing import Any

import pytest

from bench.mistakes import ROOT, Mutant, mutants_of
from bench.mutants import LIST, judge, name_of, results, write
from switchproof.deploy.trust.contract_digest import JUDGING

EMPTY = compile("", "x", "exec")
KNOWN = tomllib.loads(LIST.read_text(encoding="utf-8"))


def mutant(number: int, path: str = "x.py") -> Mutant:
    return Mutant(path, "f", range(1, 2), 1, f"a{number}", f"b{number}", EMPTY)


def equivalent(number: int) -> dict[str, str]:
    return {"in": "x.py", "at": "f", "was": f"a{number}", "becomes": f"b{number}", "why": "nobody sees it"}


@pytest.mark.parametrize(
    ("living", "equal", "code"),
    [
        (range(5), (), 0),
        (range(6), (), 1),
        (range(6), range(2), 0),
        (range(100), range(99), 1),
        (range(4), (99,), 1),
    ],
    ids=["just enough", "one too many", "two are equivalent", "none of the others", "an equivalent one is noticed"],
)
def test_enough_mistakes_must_be_noticed(
    living: range, equal: range | tuple[int, ...], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Below the share, or with an equivalent mistake on the list that a test does notice, the recipe fails."""
    all_of_them = [mutant(number) for number in range(100)]
    known: dict[str, Any] = {"at_least": 95.0, "equivalent": [equivalent(number) for number in equal]}
    assert judge(known, all_of_them, [mutant(number) for number in living]) == code
    told = capsys.readouterr()
    assert ("take it off mutants.toml" in told.err) == (equal == (99,))
    assert told.out.count("→") == len(set(living) - set(equal))


def test_each_module_must_reach_the_share_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """A small module that nothing holds is not outweighed by a large one that is held well."""
    of_both = [mutant(number) for number in range(1000)] + [mutant(number, "y.py") for number in range(10)]
    assert judge({"at_least": 95.0}, of_both, [mutant(0, "y.py")]) == 1
    assert "less than 95 % of the mutants of y.py are killed" in capsys.readouterr().err


def test_module_without_anything_to_mistake_is_held(capsys: pytest.CaptureFixture[str]) -> None:
    """A module that only names what it shows has no mistakes, and none of them lives."""
    assert judge({"at_least": 95.0}, [], []) == 0
    assert "100.0 % of 0 mutants killed" in capsys.readouterr().out


def test_page_has_a_row_for_each_module_and_one_for_all(tmp_path: Path) -> None:
    """Equivalent mistakes are counted apart; a module that is not tried keeps its row as long as it is listed."""
    page = tmp_path / "mutants.md"
    head = "# Title\n\n<!-- what follows is written by `python -m bench.mutants --write` -->\n\n"
    columns = "| module | mutants | equivalent | killed | share |\n|---|---|---|---|---|\n"
    page.write_text(f"{head}old\n", "utf-8")
    of_both = [mutant(number) for number in range(10)] + [mutant(number, "y.py") for number in range(4)]
    known = {"at_least": 95.0, "equivalent": [equivalent(0), equivalent(1)]}
    tried = results(known, of_both, [mutant(0), mutant(1), mutant(2), mutant(0, "y.py")])
    write(page, tried, ["x.py", "y.py"])
    x = "| `x.py` | 10 | 2 | 7 | 87.5 % |\n"
    assert page.read_text("utf-8") == (
        f"{head}{columns}{x}| `y.py` | 4 | 0 | 3 | 75.0 % |\n| all | 14 | 2 | 10 | 83.3 % |\n"
    )
    write(page, results(known, [mutant(0, "z.py")], []), ["z.py", "x.py"])
    assert page.read_text("utf-8") == (
        f"{head}{columns}| `z.py` | 1 | 0 | 1 | 100.0 % |\n{x}| all | 11 | 2 | 8 | 88.9 % |\n"
    )


def test_mistake_is_made_in_one_place_and_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every mistake is made in the text as it stands, to its last line, whatever mistakes were made before it."""
    pytest.importorskip("cosmic_ray")
    lines = ["def f(a, b=1):", "    if a == 2:", "        return not b", "    return a < 3"]
    (tmp_path / "x.py").write_text("\n".join(lines) + "\n", "utf-8")
    monkeypatch.setattr("bench.mistakes.ROOT", tmp_path)
    made = {(one.where, one.line, one.was, one.becomes) for one in mutants_of("x.py")}
    assert {becomes for _, _, was, becomes in made if was == "return a < 3"} == {
        "return a <= 3",
        "return a >= 3",
        "return a < 4",
        "return a < 2",
    }
    assert ("f", 2, "if a == 2:", "if not a == 2:") in made
    assert ("f", 3, "return not b", "return b") in made
    assert not any("b=" in was for _, _, was, _ in made)


def test_list_names_files_that_are_there() -> None:
    """Every module has tests that hold it, and every equivalent mistake is in one of them and has a reason."""
    modules = {module for group in KNOWN["held"] for module in group["modules"]}
    named = [*modules, *(test.partition("::")[0] for group in KNOWN["held"] for test in group["tests"])]
    assert [name for name in named if not (ROOT / name).is_file()] == []
    assert all(group["tests"] for group in KNOWN["held"])
    assert all(one["in"] in modules and one["why"] for one in KNOWN.get("equivalent", []))


def test_each_listed_module_is_the_one_that_is_imported() -> None:
    """A mistake in a module by another name could not be put in place, and would count as noticed."""
    listed = [module for group in KNOWN["held"] for module in group["modules"]]
    loaded = {module: Path(importlib.import_module(name_of(module)).__file__ or "").resolve() for module in listed}
    assert loaded == {module: ROOT / module for module in listed}


def test_every_module_that_can_change_a_verdict_is_listed() -> None:
    """What counts for the contract digest is held by tests of its own, or the next change of it is held by none."""
    listed = {module.removeprefix("src/switchproof/") for group in KNOWN["held"] for module in group["modules"]}
    assert {name for name in JUDGING if name.endswith(".py")} - listed == set()
