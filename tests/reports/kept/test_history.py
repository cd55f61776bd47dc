"""How a host or a check fared over the kept runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from switchproof.deploy.contract import Clause, ExitCode, Verdict
from switchproof.deploy.errors import UsageError
from switchproof.reports.kept import history
from tests.reports import stories
from tests.reports.runs import keep
from tests.reports.story import Story


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A canonical run of a and b, then one in which a failed and went back."""
    keep(tmp_path, stories.canonical("a", "b"), 1)
    keep(tmp_path, stories.rolled_back(), 2)
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert history.command([*arguments]) == ExitCode.CANONICAL
    return capsys.readouterr().out.splitlines()


def test_a_host_has_a_line_for_each_run_and_what_it_failed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The newest run comes first; under it stands each check that is to blame, and no check that was only blocked."""
    lines = shown(capsys, "a", str(folder))
    heads = [line for line in lines if not line.startswith(" ")]
    assert [head.split()[2:4] for head in heads] == [["deploy", "non-canonical"], ["deploy", "canonical"]]
    assert [head.split()[-1] for head in heads] == ["rolled-back", "converged"]
    blamed = [line.strip() for line in lines if line.startswith(" ")]
    assert blamed
    assert lines.index(heads[1]) == len(lines) - 1
    assert all(": failed: " in line for line in blamed)


@pytest.mark.parametrize("name", ["hypervisor/answers", "answers"])
def test_a_check_has_its_hosts_under_each_run(folder: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Hosts with one verdict share a line, and the way back is told apart from the way forward."""
    lines = shown(capsys, name, str(folder))
    assert lines[-1] == "    a, b: passed"
    assert any(": failed: " in line and "a" in line.partition(":")[0] for line in lines)
    assert any("a (rollback)" in line and line.endswith(": passed") for line in lines)


def of_the_contract() -> Story:
    """A run whose checks have ids as the contract's own have: with the clause, and with the endpoint."""
    story = Story("a").resolved()
    for check, verdict in (("it-answers", Verdict.FAILED), ("its-units-are-active", Verdict.PASSED)):
        story.check("a", Clause.RUNTIME, f"runtime/live/{check}", verdict, "no answer", title=check)
    return story.ended(ExitCode.SAFE_FAILURE)


@pytest.mark.parametrize("name", ["runtime/live", "runtime", "runtime/live/it-answers", "live/it-answers"])
def test_ids_of_the_contract_begin_with_their_clause(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """The clause is said once, and an endpoint's name means all of its checks."""
    keep(tmp_path, of_the_contract(), 1)
    assert "    runtime/live/it-answers: failed: no answer" in shown(capsys, "a", str(tmp_path))
    lines = shown(capsys, name, str(tmp_path))
    which = "" if name.endswith("answers") else "runtime/live/it-answers, "
    assert f"    {which}a: failed: no answer" in lines
    assert ("    runtime/live/its-units-are-active, a: passed" in lines) == bool(which)


def test_only_the_newest_runs_are_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder may have thousands."""
    assert len([line for line in shown(capsys, "a", str(folder), "--runs=1") if not line.startswith(" ")]) == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hypervisor/answer", "neither a host nor a check of the 2 runs in .*; did you mean hypervisor/answers?"),
        ("nothing like it at all", "neither a host nor a check of the 2 runs in [^;]*$"),
    ],
)
def test_a_name_that_nothing_has_is_answered_with_the_nearest(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    """One sentence, and the exit code of wrong usage."""
    assert history.command([name, str(folder)]) == ExitCode.USAGE
    with pytest.raises(UsageError, match=said):
        history.render(name, list(history._past(folder, 9)), folder)
    assert capsys.readouterr().err.startswith(f"{name}: neither a host nor a check")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is no empty history."""
    assert history.command(["a", str(tmp_path / "none")]) == ExitCode.USAGE
    assert capsys.readouterr().err == f"{tmp_path / 'none'}: no such folder\n"


def test_what_cannot_be_read_is_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A damaged run hides no other one."""
    damaged = folder / "20261124T000000Z-deploy-ovh-0000000"
    damaged.mkdir()
    (damaged / "record.json").write_text("{")
    assert len([line for line in shown(capsys, "a", str(folder)) if not line.startswith(" ")]) == 2


def test_what_a_host_says_is_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No control character of a message reaches the terminal."""
    keep(tmp_path, story := stories.hostile(), 1)
    output = "\n".join(shown(capsys, story.record().hosts[0].name, str(tmp_path)))
    assert ": failed: " in output
    assert "\x1b" not in output
    assert "\u202e" not in output
