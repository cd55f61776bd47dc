"""Makes the repository of a sample adopter, with its own tests, settings and checks and one runtime unit, `web`."""

from __future__ import annotations

import re
from pathlib import Path

from switchproof.deploy.settings import TARGETS
from tests.deploys.sessions import HEALTH

CONFTEST = """
import pytest


def pytest_addoption(parser):
    parser.addoption("--host", default="theirs")
    parser.addoption("--sha")


def pytest_collection_modifyitems(items):
    assert all(item.name.startswith("test_own") for item in items), "a deploy called the hooks of their tests"


@pytest.fixture(autouse=True)
def forbidden(request):
    if request.config.option.host != "theirs":
        raise RuntimeError("a fixture of their tests ran in a deploy")
"""

OWN_TESTS = """
from checks.limits import LIMIT
from deploy.steps import STEPS
from reports.weekly import TITLE


def test_own(request):
    assert request.config.option.host == "theirs"
    assert (LIMIT, STEPS, TITLE) == (3, ["build"], "Week")


def test_own_option_of_a_name_of_ours(request):
    assert request.config.option.sha is None
"""

OWN_CHECK = """
import pytest


@pytest.mark.clause("runtime", severity="low")
def test_web_has_a_checkout(host):
    assert host.file("/opt/choiros/workspace").is_directory
"""

SETTINGS = """
[tool.pytest.ini_options]
addopts = "-ra --strict-markers"
filterwarnings = ["error"]
pythonpath = ["."]
testpaths = ["tests"]
usefixtures = ["forbidden"]
xfail_strict = true
"""


def make(folder: Path) -> Path:
    """Write the repository into an empty folder."""
    text = (TARGETS / "lab.toml").read_text(encoding="utf-8")
    text = text.replace('provider = "lab"', 'provider = "lab"\nchecks = ["../../ops/checks"]', 1)
    text = re.sub(r'\[\[hosts\]\]\nname = "b"\n(?:.+\n)+\n', "", text)
    text = re.sub(r"\[runtime\.dev\]\n(?:.*\n)*?(?=# What is on)", "", text)
    text = text.partition("# What is on")[0].replace("[runtime.live", "[runtime.web")
    files = {
        "conftest.py": CONFTEST,
        "pyproject.toml": SETTINGS,
        "checks/__init__.py": "",
        "checks/limits.py": "LIMIT = 3\n",
        "deploy/__init__.py": "",
        "deploy/steps.py": 'STEPS = ["build"]\n',
        "deploy/targets/lab.toml": text + HEALTH,
        "ops/checks/test_web.py": OWN_CHECK,
        "reports/__init__.py": "",
        "reports/weekly.py": 'TITLE = "Week"\n',
        "tests/test_own.py": OWN_TESTS,
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return folder
