"""The plugin is inert in the runs of other repositories, and what they have for their own tests is in no deploy."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

HEAVY = {"boto3", "botocore", "paramiko", "jinja2", "testinfra", "msgspec", "rich", "tomllib"}

HOSTILE = """
import pytest

collect_ignore_glob = ["*"]
pytest_plugins = ["tests.brought"]

def pytest_configure(config):
    raise RuntimeError("their configure")

def pytest_collection_modifyitems(items):
    items.clear()

@pytest.fixture(autouse=True)
def hostile():
    raise RuntimeError("their fixture")
"""

SETTINGS = """
[tool.pytest.ini_options]
addopts = "--strict-markers -ra"
filterwarnings = ["error"]
norecursedirs = ["*"]
python_classes = "Check"
python_files = "check_*.py"
python_functions = "check_*"
pythonpath = ["."]
testpaths = ["tests"]
usefixtures = ["nothing_there"]
xfail_strict = true
"""


def run(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder as it is where Switchproof is installed."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *words],
        cwd=folder,
        env=os.environ | environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=400,
        check=False,
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with folders of our names, and modules in them that nobody may import."""
    for name in ("checks", "deploy", "reports", "trials", "switchproof_targets"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise RuntimeError('their {name}')\n", encoding="utf-8")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_own.py").write_text("raise RuntimeError('their tests')\n", encoding="utf-8")
    (tmp_path / "pyproject.toml").touch()
    return tmp_path


def test_it_loads_nothing_in_the_runs_of_others(tmp_path: Path) -> None:
    """Without --provider and --subject the plugin is two small modules, and imports nothing heavy."""
    (tmp_path / "test_theirs.py").write_text(
        "import json, sys\ndef test():\n    open('modules.json', 'w').write(json.dumps(sorted(sys.modules)))\n"
    )
    done = run(tmp_path, "-p", "switchproof.plugin", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert done.returncode == 0, done.stdout
    modules = set(json.loads((tmp_path / "modules.json").read_text()))
    assert {name for name in modules if name.partition(".")[0] == "switchproof"} == {
        "switchproof",
        "switchproof.options",
        "switchproof.plugin",
    }
    assert modules & HEAVY == set()


def test_a_deploy_keeps_the_messages_of_its_checks() -> None:
    """Pytest would rewrite the assertions of the whole package, which indents the lines of messages."""
    asked = ["--provider=lab", "--sha=main", "--collect-only", "-q", "-p", "no:cacheprovider"]
    script = (
        f"import sys, pytest; pytest.main({asked!r}); "
        "print('loaded by', type(sys.modules['switchproof.checks.endpoints'].__loader__).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "loaded by SourceFileLoader" in done.stdout, done.stdout


@pytest.mark.parametrize("option", ["--host", "--provider", "--sha", "--plan", "--checks"])
@pytest.mark.parametrize("brings", ["conftest", "early_plugin", "late_plugin"])
def test_an_option_of_theirs_is_theirs_in_their_own_runs(tmp_path: Path, option: str, brings: str) -> None:
    """Whether a conftest.py brings it or a plugin, and whether that is loaded before or after ours, it works."""
    (tmp_path / f"{brings}.py").write_text(f"def pytest_addoption(parser): parser.addoption({option!r})\n")
    name = option.removeprefix("--")
    (tmp_path / "test_theirs.py").write_text(f"def test(request): assert request.config.option.{name} == 'x'\n")
    ours = "switchproof.plugin"
    loaded = {"conftest": (ours,), "early_plugin": (brings, ours), "late_plugin": (ours, brings)}[brings]
    plugins = [word for plugin in loaded for word in ("-p", plugin)]
    environ = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(tmp_path)}
    done = run(tmp_path, *plugins, f"{option}=x", **environ)
    assert done.returncode == 0, done.stdout


def test_a_deploy_says_whose_option_is_in_its_way(repository: Path) -> None:
    """Where a conftest.py has an option of ours, a deploy by pytest ends with 4 and names option and command."""
    (repository / "conftest.py").write_text("def pytest_addoption(parser): parser.addoption('--host')\n")
    done = run(repository, "--provider=lab", "--sha=main")
    assert done.returncode == 4
    assert "ERROR: --host: your conftest.py or a plugin also defines an option of this name" in done.stdout
    assert "`switchproof`" in done.stdout


@pytest.mark.parametrize("asked", [("--sha=main",), ("--audit",), ("--preflight",), ("--sha=main", "--plan")])
def test_a_list_of_checks_counts_what_it_lists(tmp_path: Path, asked: tuple[str, ...]) -> None:
    """Checks of other modes, and those of a way back, are neither listed nor counted."""
    done = run(tmp_path, "--provider=lab", *asked, "--collect-only")
    listed = sum("::" in line for line in done.stdout.splitlines())
    assert f"\n{listed} tests collected in " in done.stdout


def test_a_list_counts_what_is_left_out(tmp_path: Path) -> None:
    """Of selected checks pytest says how many of all that is."""
    done = run(tmp_path, "--provider=lab", "--audit", "--collect-only", "-k", "hypervisor")
    listed = sum("::" in line for line in done.stdout.splitlines())
    counted = re.search(rf"\n{listed}/(\d+) tests collected \((\d+) deselected\)", done.stdout)
    assert counted, done.stdout
    assert int(counted[1]) == listed + int(counted[2])


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("--help", "--sha=REV"),
        ("--version", "pytest"),
        ("--markers", "@pytest.mark."),
        ("--fixtures", "capsys"),
    ],
)
def test_help_is_given_whatever_else_is_missing(tmp_path: Path, word: str, says: str) -> None:
    """An incomplete command line gets the help that it asks for, and the options of a deploy are in it."""
    done = run(tmp_path, "--provider=ovh", word)
    assert done.returncode == 0, done.stdout
    assert says in done.stdout


def test_a_conftest_that_breaks_is_named(repository: Path) -> None:
    """A deploy by pytest cannot leave out a conftest.py that cannot be imported, and says what can."""
    (repository / "conftest.py").write_text("1 / 0\n")
    done = run(repository, "--provider=lab", "--sha=main")
    assert done.returncode == 4
    said = (
        f"ERROR: {repository / 'conftest.py'} cannot be imported (ZeroDivisionError: division by zero): use the comm"
    )
    assert said in done.stdout
    assert "Traceback" not in done.stdout


def test_what_a_user_has_for_tests_is_in_no_deploy(repository: Path) -> None:
    """A hostile conftest.py, hostile settings and folders of our names change nothing in what is collected."""
    (repository / "conftest.py").write_text(HOSTILE)
    (repository / "tests" / "__init__.py").touch()
    (repository / "tests" / "brought.py").write_text(HOSTILE.replace("pytest_plugins", "_"))
    (repository / "pyproject.toml").write_text(SETTINGS)
    done = run(repository, "--provider=lab", "--sha=main", "--collect-only", "-q")
    assert done.returncode == 0, done.stdout
    clean = run(Path(__file__).parents[2], "--provider=lab", "--sha=main", "--collect-only", "-q")
    collected = [[line.partition("test_")[2] for line in each.stdout.splitlines()] for each in (done, clean)]
    assert collected[0][:100] == collected[1][:100]
    assert "their" not in done.stdout


@pytest.mark.parametrize(
    ("settings", "words", "says"),
    [
        ('empty_parameter_set_mark = "fail_at_collect"', (), "empty_parameter_set_mark (in the configuration file)"),
        ("", ("-W", "error"), "-W error: not allowed in a deploy"),
    ],
)
def test_what_would_change_a_deploy_is_refused(
    repository: Path, settings: str, words: tuple[str, ...], says: str
) -> None:
    """Settings that cannot be overridden end a deploy with 4."""
    (repository / "pyproject.toml").write_text(f"[tool.pytest.ini_options]\n{settings}\n")
    done = run(repository, "--provider=lab", "--sha=main", "--collect-only", *words)
    assert done.returncode == 4
    assert says in done.stdout


def test_a_plugin_that_acts_on_every_check_is_refused(repository: Path) -> None:
    """An automatic fixture of a plugin is named with its file before anything is touched."""
    acting = "import pytest\n\n@pytest.fixture(autouse=True)\ndef acts(): pass\n\n"
    acting += "prints = pytest.fixture(autouse=True)(print)\n"
    (repository / "acting.py").write_text(acting)
    done = run(repository, "-p", "acting", "--provider=lab", "--sha=main", "--co", PYTHONPATH=str(repository))
    assert done.returncode == 4, done.stdout
    assert f"{repository / 'acting.py'} has a fixture 'acts' that acts on every check" in done.stdout
    assert "builtins has a fixture 'prints' that acts on every check" in done.stdout


def test_an_own_check_with_the_node_id_of_the_contract_s_is_refused(tmp_path: Path) -> None:
    """Outside the root directory a file's name is all of its node id, and one of two equal checks would be lost."""
    own, outside = tmp_path / "own", tmp_path / "elsewhere"
    own.mkdir()
    outside.mkdir()
    (outside / "pyproject.toml").touch()
    (own / "test_revision.py").write_text(
        "import pytest\n\n@pytest.mark.clause('revision')\ndef test_the_revision_is_one_full_commit(host): pass\n"
    )
    done = run(outside, "--provider=lab", "--sha=main", "--co", f"--checks={own}")
    assert done.returncode == 4, done.stdout
    assert "also has a check of this name: rename the file or the check" in done.stdout


def test_a_missing_target_file_is_one_sentence(repository: Path) -> None:
    """The target files that the package brings are nobody's default but the lab's."""
    done = run(repository, "--provider=ovh", "--sha=main")
    assert done.returncode == 4
    assert f"ERROR: {repository / 'deploy/targets/ovh.toml'}: no such target file" in done.stdout
    assert "`switchproof init ovh`" in done.stdout
