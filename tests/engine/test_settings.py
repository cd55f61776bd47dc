"""Where a repository keeps target files and runs: by default, and as its pyproject.toml says."""

from __future__ import annotations

from pathlib import Path

import pytest

from switchproof.deploy.errors import UsageError
from switchproof.deploy.settings import TARGETS, read_settings


def test_defaults_resolve_from_the_root_directory(tmp_path: Path) -> None:
    """The nearest pyproject.toml or .git upwards is the root, whatever folder a command runs in."""
    inner = tmp_path / "some" / "folder"
    inner.mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    settings = read_settings(inner)
    assert settings.target_file("fleet") == tmp_path / "deploy/targets/fleet.toml"
    assert settings.report_dir == tmp_path / "reports/runs"
    assert settings.home == tmp_path / "reports"


def test_the_table_of_pyproject_names_other_folders(tmp_path: Path) -> None:
    """`[tool.switchproof]` decides; the link to the newest run is then in the folder of runs itself."""
    (tmp_path / "pyproject.toml").write_text('[tool.switchproof]\ntargets = "ops/hosts"\nreport-dir = "ops/runs"\n')
    settings = read_settings(tmp_path)
    assert settings.target_file("fleet") == tmp_path / "ops/hosts/fleet.toml"
    assert settings.report_dir == settings.home == tmp_path / "ops/runs"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("lba", "did you mean --provider=lab? To write one: `switchproof init lba`."),
        ("prod", "there are fleet, lab. To write one: `switchproof init prod`."),
        ("aws", f"there are fleet, lab. To write one: start from the example {TARGETS / 'aws.toml'}."),
        ("local", f"To write one: start from the example {TARGETS / 'local.toml'}."),
    ],
)
def test_a_target_file_that_is_missing_is_answered_with_what_helps(name: str, says: str, tmp_path: Path) -> None:
    """The nearest name, or those that there are; and how to write one, which `init` does for hosts over SSH alone."""
    settings = read_settings(tmp_path)
    settings.targets.mkdir(parents=True)
    (settings.targets / "fleet.toml").touch()
    assert says in settings.missing(name, settings.target_file(name))


def test_the_lab_has_target_files_of_its_own(tmp_path: Path) -> None:
    """The package brings the lab's; a file of that name in the repository comes first."""
    assert read_settings(tmp_path).target_file("lab") == TARGETS / "lab.toml"
    own = tmp_path / "deploy/targets/lab.toml"
    own.parent.mkdir(parents=True)
    own.touch()
    assert read_settings(tmp_path).target_file("lab") == own


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[tool.switchproof]\ntarget = "x"\n', r"tool\.switchproof\.target: unknown key; known: report-dir, targets"),
        ("[tool.switchproof]\ntargets = 3\n", r"tool\.switchproof\.targets: expected the path of a folder, found 3"),
        (
            '[tool.switchproof]\ntargets = ""\n',
            r"switchproof\.targets: expected the path of a folder, found ''",
        ),
        ('[tool]\nswitchproof = "x"\n', r"tool\.switchproof: expected a table"),
        ("[tool.switchproof\n", r"not valid TOML: .*line 1"),
        (b"# switchproof \xff\n", r"cannot be read: "),
    ],
)
def test_a_wrong_table_is_named_by_file_and_key(tmp_path: Path, text: str | bytes, says: str) -> None:
    """Each mistake is one sentence that names the file, and the key if there is one."""
    file = tmp_path / "pyproject.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError, match=says) as error:
        read_settings(tmp_path)
    assert str(error.value).startswith(f"{file}: ")
