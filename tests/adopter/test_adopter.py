"""What is built here installs elsewhere, judges as the clone does, and deploys from any repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from switchproof.deploy.contract import Clause
from switchproof.deploy.providers import load
from switchproof.deploy.providers.lab.recipe import Recipe
from switchproof.deploy.record.record import read_record
from switchproof.deploy.settings import TARGETS
from switchproof.deploy.trust.contract_digest import contract_sha256_of
from tests.adopter import repository

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.lab, pytest.mark.long]

DIGESTS = """
import json
from switchproof.deploy.providers.lab.recipe import Recipe
from switchproof.deploy.settings import TARGETS
from switchproof.deploy.providers import load
from switchproof.deploy.trust.contract_digest import contract_sha256_of
contract = contract_sha256_of(load(TARGETS / "lab.toml", {}), ())
print(json.dumps([contract, Recipe().digest(), str(TARGETS)]))
"""
DIGESTS_HERE = [contract_sha256_of(load(TARGETS / "lab.toml", {}), ()), Recipe().digest()]


def run(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command without what this process has in its environment for its own tests."""
    ours = ("PYTEST_", "PYTHON", "GITHUB_")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environ |= {"PIP_CONSTRAINT": str(ROOT / "requirements.lock"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=400,
        check=False,
    )


def succeed(*command: str | Path, folder: Path) -> str:
    """Run a command that must succeed, and return its output."""
    done = run(*command, folder=folder)
    assert done.returncode == 0, done.stdout
    return done.stdout


def environment(folder: Path, *packages: str | Path) -> Path:
    """Make a fresh environment with packages, and return its folder of programs."""
    succeed(sys.executable, "-m", "venv", folder, folder=ROOT)
    succeed(folder / "bin" / "pip", "install", "--quiet", *packages, folder=folder)
    return folder / "bin"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel and the sdist of this working copy, and the wheel that is built from the sdist in `again`."""
    folder = tmp_path_factory.mktemp("built")
    hatchling = environment(folder / "environment", "hatchling") / "hatchling"
    succeed(hatchling, "build", "--directory", folder, folder=ROOT)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    unpacked = folder / sdist.name.removesuffix(".tar.gz")
    succeed(hatchling, "build", "-t", "wheel", "-d", folder / "again", folder=unpacked)
    return folder


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has the wheel and what it depends on."""
    (wheel,) = built.glob("*.whl")
    return environment(tmp_path_factory.mktemp("installed") / "environment", wheel)


@pytest.fixture(scope="module")
def adopter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository that adopts Switchproof."""
    return repository.make(tmp_path_factory.mktemp("adopter"))


def test_the_sdist_builds_the_same_wheel(built: Path) -> None:
    """Both have the same files, with the same bytes and modes, under one name; runs are in neither."""
    wheels = [zipfile.ZipFile(next(folder.glob("*.whl"))) for folder in (built, built / "again")]
    first, second = ({each.filename: (each.CRC, each.external_attr) for each in wheel.infolist()} for wheel in wheels)
    assert first == second
    tops = {name.partition("/")[0] for name in first}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"switchproof"}
    command = ["git", "ls-files", "deploy", "checks", "reports", "trials", "src/switchproof"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    rooms = {"deploy", "checks", "reports", "trials"}
    ours = {f"switchproof/{name.removeprefix('src/switchproof/')}" for name in listed}
    expected = ours - {f"switchproof/{room}" for room in rooms} | {"switchproof/justfile"}
    assert {name for name in first if name.startswith("switchproof/")} == expected


def test_an_installed_package_judges_as_the_clone_does(installed: Path, adopter: Path) -> None:
    """The digest of the contract and that of the lab's image are those of the working copy."""
    contract, image, targets = json.loads(succeed(installed / "python", "-c", DIGESTS, folder=adopter))
    assert [contract, image] == DIGESTS_HERE
    assert Path(targets) != TARGETS


def test_the_adopters_own_tests_run_as_before(installed: Path, adopter: Path) -> None:
    """Options of our names are the adopter's in its own runs, and its folders of our names are its own modules."""
    done = run(installed / "pytest", "-q", "--host=theirs", folder=adopter)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
    assert not (adopter / "reports" / "runs").exists()


def test_the_adopter_deploys(installed: Path, adopter: Path) -> None:
    """A deploy to a lab host is canonical, with the adopter's own check, and none of the adopter's tests run."""
    options = ("--provider=lab", "--sha=main", "--lab-runtime=netns")
    refused = run(installed / "pytest", *options, folder=adopter)
    assert refused.returncode == 4, refused.stdout
    assert "your conftest.py or a plugin also defines an option of this name" in refused.stdout
    done = run(installed / "switchproof", "deploy", *options, folder=adopter)
    assert done.returncode == 0, done.stdout
    record = read_record(adopter / "reports" / "latest" / "record.json")
    assert record.verdict == "canonical"
    parts = {part.id: part.checks for part in record.host("a").parts}
    checks = [check for part in parts.values() for check in part]
    assert [check.source for check in checks if check.source] == ["checks/test_web.py"]
    assert {check.id.split("/")[1] for check in parts[Clause.RUNTIME] if not check.source} == {"web"}
    assert not any("test-own" in check.id for check in checks)


def test_the_sdist_installs(built: Path, installed: Path, tmp_path: Path) -> None:
    """Pip builds the sdist, and the package judges as the clone does. It borrows the dependencies of the wheel."""
    (sdist,) = built.glob("*.tar.gz")
    programs = environment(tmp_path / "environment", "--no-deps", sdist)
    (shared,) = (installed.parent / "lib").glob("python*/site-packages")
    (own,) = (tmp_path / "environment" / "lib").glob("python*/site-packages")
    (own / "shared.pth").write_text(f"{shared}\n", encoding="utf-8")
    assert json.loads(succeed(programs / "python", "-c", DIGESTS, folder=tmp_path))[:2] == DIGESTS_HERE
    said = succeed(programs / "switchproof", "--version", folder=tmp_path)
    assert sdist.name == f"{said.strip().replace(' ', '-')}.tar.gz"
