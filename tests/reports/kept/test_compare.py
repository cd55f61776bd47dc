"""Two runs are held against each other clause by clause, whatever they went through."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from switchproof.deploy.errors import UsageError
from switchproof.deploy.record.record import Record, write_record
from switchproof.reports.__main__ import main
from switchproof.reports.kept.compare import ABSENT, Comparison, Row, compare, render
from tests.reports import stories


def rows(comparison: Comparison) -> dict[str, Row]:
    """The rows of all parts, by part and name."""
    return {f"{part.title}: {row.what}": row for part in comparison.parts for row in part.rows}


def through(provider: str, record: Record) -> Record:
    """The same run through another provider."""
    record.provider = provider
    return record


def test_same_behaviour_through_two_providers_is_the_same() -> None:
    """What a provider is called, and which contract file it has, makes no difference by itself."""
    one, other = stories.canonical().record(), through("aws", stories.canonical().record())
    other.contract_sha256 = "0" * 64
    comparison = compare(one, other, {})
    assert comparison.same
    assert not rows(comparison)["run: provider"].same
    assert "differs; does not count" in render(comparison, colour=False)


def test_every_difference_of_a_verdict_is_told() -> None:
    """A clause that fails on one side only makes the runs different, and the check that did it is named."""
    comparison = compare(stories.canonical().record(), stories.rolled_back().record(), {})
    assert not comparison.same
    differing = {name for name, row in rows(comparison).items() if not row.same and row.decides}
    assert "run: verdict" in differing
    assert any("/" not in name and "host" in name for name in differing)
    text = render(comparison, colour=False)
    assert text.startswith("DIFFERENT\n")
    assert all(name.partition(": ")[2] in text for name in differing)


def test_check_that_only_one_run_has_is_a_difference() -> None:
    """A check that is missing from one run is never the same as one that passed."""
    one, other = stories.canonical().record(), stories.canonical().record()
    gone = other.hosts[0].clauses[1].checks.pop()
    comparison = compare(one, other, {})
    assert not comparison.same
    assert rows(comparison)[f"host {other.hosts[0].name}: {gone.id}"].right == ABSENT


def test_another_commit_is_another_thing() -> None:
    """Runs of two commits are not the same, however well both went."""
    one, other = stories.canonical().record(), stories.canonical().record()
    other.revision.sha = "f" * 40
    assert not compare(one, other, {}).same


def test_hosts_of_other_names_are_paired() -> None:
    """Single hosts are held against each other; several need the same names, or to be paired."""
    one, other = stories.canonical().record(), stories.canonical().record()
    for host in other.hosts:
        host.name = f"{host.name}-new"
    with pytest.raises(UsageError, match=r"host a, b, a-new, b-new is in one of the runs only; pair them"):
        compare(one, other, {})
    with pytest.raises(UsageError, match=r"--pair=a=c: the run has no host 'c'; it has a-new, b-new"):
        compare(one, other, {"a": "c"})
    assert compare(one, other, {"a": "a-new", "b": "b-new"}).same
    one.hosts, other.hosts = one.hosts[:1], other.hosts[1:]
    assert [part.title for part in compare(one, other, {}).parts] == ["run", "host a against b-new"]


def test_command_says_it_by_its_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Same is 0, different is 1, and what cannot be read is a usage error that names it."""
    for name, story in {"good": stories.canonical(), "bad": stories.rolled_back()}.items():
        (tmp_path / name).mkdir()
        write_record(story.record(), tmp_path / name / "record.json")
    good, bad = str(tmp_path / "good"), str(tmp_path / "bad")
    assert main(["compare", good, good]) == 0
    assert capsys.readouterr().out.startswith("SAME\n")
    assert main(["compare", good, f"{bad}/record.json", "--format=json"]) == 1
    assert json.loads(capsys.readouterr().out)["same"] is False
    assert main(["compare", good, good, "--format=markdown"]) == 0
    with pytest.raises(SystemExit, match="4"):
        main(["compare", good, str(tmp_path / "none")])
    assert "no run's folder, record.json or events.jsonl is there" in capsys.readouterr().err
