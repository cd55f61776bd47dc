"""Without the packages of an extra, whatever needs them is refused in one sentence that says how to install them."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from switchproof.deploy import extras
from switchproof.deploy.errors import UsageError
from switchproof.deploy.paths.__main__ import main as paths
from switchproof.deploy.plan import Options
from switchproof.deploy.planning import make_plan
from switchproof.deploy.settings import read_settings

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"provider": "aws"}, "--provider=aws needs the Python module boto3"),
        ({"provider": "lab", "shape": "aws"}, "--shape=aws needs the Python module boto3"),
    ],
)
def test_aws_is_refused_without_boto3(given: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    options = Options(**{"sha": "main", **given})  # type: ignore[arg-type]
    environ = {"DEPLOY_INSTANCE_ID": "i-0123456789abcdef0"}
    with pytest.raises(
        UsageError,
        match=rf"{says}, .*: install Switchproof with the extra aws, as in pip install '/path/to/switchproof\[aws\]'",
    ):
        make_plan(options, environ, read_settings(ROOT))
    monkeypatch.undo()
    assert make_plan(options, environ, read_settings(ROOT)).target


@pytest.mark.parametrize("module", extras.MODULES["paths"])
def test_reading_a_repository_is_refused_without_its_parsers(
    module: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A parser that is missing is said at once, and not once for each file that cannot be read."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SystemExit) as ended:
        paths([str(tmp_path)])
    assert ended.value.code == 4
    assert f"needs the Python module {module}" in capsys.readouterr().err


def test_an_extra_brings_its_modules() -> None:
    """The modules that are looked for are those of the packages that pyproject.toml names for the extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extra, modules in extras.MODULES.items():
        brought = {package.partition(">")[0].replace("-", "_") for package in project["optional-dependencies"][extra]}
        assert brought == set(modules)
