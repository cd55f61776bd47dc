"""A release is prepared only from a clean main with something to release, and a failed build leaves no trace."""

from __future__ import annotations

import datetime as dt
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = '[project]\nname = "switchproof"\nversion = "0.1.0"\n\n[tool.other]\nversion = "7"\n'
CHANGES = "# Changelog\n\n## Unreleased\n\n- A change.\n\n## 0.0.9 (2026-01-01)\n\n- An older one.\n"


def git(folder: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with the script, and a build that only shows what it would build."""
    (tmp_path / "setup").mkdir()
    shutil.copy(ROOT / "setup" / "release.sh", tmp_path / "setup")
    build = tmp_path / "setup" / "build-package.sh"
    build.write_text("#!/bin/sh\nexec grep -m1 '^version' pyproject.toml\n", encoding="utf-8")
    build.chmod(0o755)
    (tmp_path / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    (tmp_path / "CHANGELOG.md").write_text(CHANGES, encoding="utf-8")
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message=All")
    return tmp_path


def release(folder: Path, version: str) -> subprocess.CompletedProcess[str]:
    command = ["setup/release.sh", version]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=30)


def test_a_release_sets_version_and_date_and_commits_nothing(repository: Path) -> None:
    """The version and the changelog's heading change, the packages are built of that, and the rest is a person's."""
    done = release(repository, "0.2.0rc1")
    assert done.returncode == 0, done.stderr
    assert 'version = "0.2.0rc1"' in done.stdout
    assert "git tag --annotate v0.2.0rc1" in done.stdout
    assert (repository / "pyproject.toml").read_text("utf-8") == PROJECT.replace("0.1.0", "0.2.0rc1")
    today = dt.datetime.now(dt.UTC).date()
    heading = re.search(r"^## 0\.2\.0rc1 \((\S+)\)$", (repository / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert heading
    assert today - dt.date.fromisoformat(heading[1]) <= dt.timedelta(days=1)
    assert git(repository, "status", "--porcelain").split() == ["M", "CHANGELOG.md", "M", "pyproject.toml"]
    assert git(repository, "tag") == ""


def dirty(folder: Path) -> None:
    (folder / "new").touch()


def on_a_branch(folder: Path) -> None:
    git(folder, "switch", "--quiet", "--create", "topic")


def tagged(folder: Path) -> None:
    git(folder, "tag", "v1.0.0")


def without_changes(folder: Path) -> None:
    (folder / "CHANGELOG.md").write_text(CHANGES.replace("- A change.\n\n", ""), encoding="utf-8")
    git(folder, "commit", "--quiet", "--all", "--message=Nothing")


def nothing(_: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("version", "arrange", "message"),
    [
        ("1.0", nothing, "'1.0' is not a version"),
        ("v1.0.0", nothing, "'v1.0.0' is not a version"),
        ("1.0.0/x", nothing, "'1.0.0/x' is not a version"),
        ("1.0.0", dirty, "the working copy has changes"),
        ("1.0.0", on_a_branch, "this is 'topic'"),
        ("1.0.0", tagged, "tag v1.0.0 exists"),
        ("1.0.0", without_changes, "nothing to release"),
    ],
)
def test_what_cannot_be_released_is_refused(
    repository: Path, version: str, arrange: Callable[[Path], None], message: str
) -> None:
    """One sentence says why, and no file has changed."""
    arrange(repository)
    before = git(repository, "status", "--porcelain")
    done = release(repository, version)
    assert done.returncode == 1
    assert message in done.stderr
    assert git(repository, "status", "--porcelain") == before


def test_a_failed_build_leaves_the_files_as_they_were(repository: Path) -> None:
    """Version and changelog are put back, so that the next attempt begins from a clean tree."""
    (repository / "setup" / "build-package.sh").write_text("#!/bin/sh\nexit 7\n", encoding="utf-8")
    git(repository, "commit", "--quiet", "--all", "--message=Break the build")
    assert release(repository, "0.2.0").returncode == 7
    assert git(repository, "status", "--porcelain") == ""


def test_recipes_call_the_scripts() -> None:
    """`just build` and `just release` are what the documents say."""
    recipes = (ROOT / "justfile").read_text(encoding="utf-8")
    assert "\nbuild:\n    setup/build-package.sh\n" in recipes
    assert "\nrelease version:\n    setup/release.sh {{ quote(version) }}\n" in recipes
