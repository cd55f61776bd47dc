"""Every option of a deploy works as `--option VALUE` and as `--option=VALUE`, and in this repository alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from switchproof.options import join_values

ROOT = Path(__file__).parents[2]


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder as it is where Switchproof is installed."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:hypothesispytest", "-p", "no:cacheprovider", *words],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def test_paths_may_stand_after_a_blank(tmp_path: Path) -> None:
    """Files and folders outside of the repository are read as values, and never as paths of tests."""
    target = tmp_path / "elsewhere.toml"
    target.write_bytes((ROOT / "deploy/targets/lab.toml").read_bytes())
    checks, runs = tmp_path / "own", tmp_path / "runs"
    runs.mkdir()
    checks.mkdir()
    (checks / "test_own.py").write_text(
        'import pytest\n\n@pytest.mark.audit(severity="low", rationale="why", remedy="it")\ndef test_own(): pass\n'
    )
    folders = ("--report-dir", str(runs), "--checks", str(checks))
    done = run(ROOT, "--provider", "lab", "--targets", str(target), *folders, "--audit", "--collect-only", "-q")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_own.py::test_own[a]" in done.stdout
    assert "checks/test_boots.py" in done.stdout


def test_another_repository_is_left_alone(tmp_path: Path) -> None:
    """A repository with options of these names and a layout like ours keeps them where Switchproof is installed."""
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "conftest.py").write_text(
        "def pytest_addoption(parser):\n    parser.addoption('--host')\n    parser.addoption('--provider')\n"
    )
    (tmp_path / "test_theirs.py").write_text("def test(request): assert request.config.getoption('--host') == 'x'\n")
    done = run(tmp_path, "--host", "x", "--provider=y", "-q")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "joined"),
    [
        (["--targets", "a b.toml", "--audit", "x"], ["--targets=a b.toml", "--audit", "x"]),
        (["--audit", "x", "--sha=y"], ["--audit", "x", "--sha=y"]),
        (["--rollback", "--host", "a"], ["--rollback", "--host=a"]),
        (["-k", "x", "--", "--host", "a"], ["-k", "x", "--", "--host", "a"]),
        (["--targets"], ["--targets"]),
    ],
)
def test_values_are_joined_to_their_options_alone(words: list[str], joined: list[str]) -> None:
    """Switches, options of pytest and what stands after two dashes stay as they are."""
    assert join_values(words) == joined
