"""A benchmark fails loudly, keeps only results that count, and says what has moved since the last one."""

from __future__ import annotations

import importlib
import subprocess
from pathlib import Path

import msgspec
import pytest

from bench.__main__ import NAMES, main
from bench.contenders import Floor, Sample
from bench.ground import Ground
from bench.result import DOCS, MOVED, ROOT, Bench, Given, Kept, Result, moved
from bench.verify import Series, problems

PAGE = "# How fast\n\n<!-- what follows is written by `python -m bench.fast --write` -->\n\nold\n"


def bench(docs: Path) -> Bench:
    """A benchmark with a page that somebody has written before."""
    (docs / "bench-fast.md").write_text(PAGE, encoding="utf-8")
    return Bench("fast", None, rounds=5, docs=docs)


def test_result_is_written_for_people_and_for_programs(tmp_path: Path) -> None:
    """The page keeps what stands above its mark; the numbers say when, where and how often."""
    assert bench(tmp_path).run(["--write", "--rounds=2"], lambda _: Result("new\n", {"command": 1.23456})) == 0
    page = (tmp_path / "bench-fast.md").read_text(encoding="utf-8")
    assert page == PAGE.replace("old", "new")
    kept = msgspec.json.decode((tmp_path / "bench-fast.json").read_bytes(), type=Kept)
    assert (kept.rounds, kept.numbers) == (2, {"command": 1.235})
    assert "CPUs" in kept.machine


def test_contender_that_does_not_do_its_work_ends_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit status is 1, an error names the contender, and the page stays as it was."""
    result = Result("new\n", {"command": 1.0}, ["floor, 1 host: 8 of 10 right"])
    assert bench(tmp_path).run(["--write"], lambda _: result) == 1
    assert "error: bench.fast: floor, 1 host: 8 of 10 right\n" in capsys.readouterr().err
    assert (tmp_path / "bench-fast.md").read_text(encoding="utf-8") == PAGE
    assert not (tmp_path / "bench-fast.json").exists()


def test_benchmark_that_cannot_measure_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What breaks while it measures is one line and exit status 1."""

    def measure(_: Given) -> Result:
        raise TimeoutError("not within 120 s")

    assert bench(tmp_path).run([], measure) == 1
    assert capsys.readouterr().err == "error: bench.fast: not within 120 s\n"


def test_floor_with_a_wrong_answer_is_named(tmp_path: Path) -> None:
    """One wrong sample of the floor makes a problem with its name and what was wrong."""
    ground = Ground((), 0.0, tmp_path / "key", tmp_path)
    series = Series(ground, Floor(), [Sample(0.3, 0.3), Sample(0.3, problem="h1: 8 of 10 right")])
    assert problems([series]) == ["floor: ssh bash -s, 0 host, 0 ms: failed: h1: 8 of 10 right"]


def test_numbers_that_moved_are_said() -> None:
    """A line for each number that differs by more than a fifth, is new or is gone; and one if none has."""
    last = Kept("2026-11-26", "here", 5, {"a": 1.0, "b": 1.0, "c": 1.0, "d": 0.0})
    now = Kept("2026-11-27", "here", 5, {"a": 1.0 + MOVED, "b": 2.0, "d": 0.0, "e": 3.0})
    assert moved(last, now) == [
        "Since 2026-11-26: b: 1 → 2 (2.00 times)",
        "Since 2026-11-26: e: new, 3",
        "Since 2026-11-26: c: gone, was 1",
    ]
    assert moved(last, last) == ["Since 2026-11-26 nothing has moved by a fifth."]
    assert "another machine: here" in moved(last, Kept("2026-11-27", "there", 5, last.numbers))[0]


def test_smallest_ground_has_one_round_and_is_not_kept(tmp_path: Path) -> None:
    """In seconds a benchmark shows that it runs, which is no result to keep."""
    seen: list[int] = []

    def measure(given: Given) -> Result:
        seen.append(given.rounds)
        return Result("", {})

    assert bench(tmp_path).run(["--smallest"], measure) == 0
    assert bench(tmp_path).run([], measure) == 0
    assert seen == [1, 5]
    with pytest.raises(SystemExit):
        bench(tmp_path).run(["--smallest", "--write"], measure)


def test_all_run_and_one_that_fails_fails_the_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The benchmarks after a failed one still run, and the last line names those that failed."""
    commands = run_by(monkeypatch, failing="hostile")
    assert main(["--write"]) == 1
    assert [command[0] for command in commands] == [f"bench.{name}" for name in NAMES]
    assert capsys.readouterr().err.endswith("error: these benchmarks failed and wrote nothing: hostile\n")


def test_each_gets_the_options_that_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer of one and the program of two do not end the others, however a value is given."""
    commands = run_by(monkeypatch)
    argv = ["--peer", "colmena=/bin/sh", "--rounds=2", "--pyinfra=/bin/true", "--peer=morph=/bin/sh"]
    assert main(argv) == 0
    options = {command[0].removeprefix("bench."): command[1:] for command in commands}
    peers = {"deploy": ["--peer", "colmena=/bin/sh", "--rounds=2", "--peer=morph=/bin/sh"]}
    pyinfra = {name: ["--rounds=2", "--pyinfra=/bin/true"] for name in ("verify", "fleet")}
    assert options == {name: ["--rounds=2"] for name in NAMES} | peers | pyinfra


def test_option_that_no_benchmark_knows_is_one_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing runs, and the error names the option and where the options are."""
    commands = run_by(monkeypatch)
    with pytest.raises(SystemExit, match="2"):
        main(["--write", "--peers=morph=/bin/sh"])
    assert not commands
    assert "no benchmark knows --peers=morph=/bin/sh; see `python -m bench.NAME --help`" in capsys.readouterr().err


def run_by(monkeypatch: pytest.MonkeyPatch, failing: str = "") -> list[list[str]]:
    """Have `python -m bench` run nothing; return the list that gets each benchmark with its options."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        commands.append(command[2:])
        return subprocess.CompletedProcess(command, command[2] == f"bench.{failing}")

    monkeypatch.setattr("subprocess.run", run)
    return commands


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_has_a_page_and_a_recipe(name: str) -> None:
    """Each has its page with the mark below which it writes, and a recipe of its own."""
    assert importlib.import_module(f"bench.{name}").BENCH.name == name
    assert f"python -m bench.{name} --write` -->" in (DOCS / f"bench-{name}.md").read_text(encoding="utf-8")
    assert f"\nbench-{name} *options:" in (ROOT / "justfile").read_text(encoding="utf-8")


def test_every_page_of_a_benchmark_is_made_by_one_that_runs() -> None:
    """No page and no numbers are left of a benchmark that `just bench` does not run."""
    assert {path.stem.removeprefix("bench-") for path in DOCS.glob("bench-*.*")} == set(NAMES)
