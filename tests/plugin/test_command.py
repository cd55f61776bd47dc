"""The command `switchproof` fronts the options of pytest, and its sessions have nothing of a user's tests in them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from switchproof import command, options
from switchproof.deploy.record.record import read_record
from tests.answers import SHA
from tests.own.sessions import Scenario, prepare
from tests.plugin.test_plugin import HOSTILE, SETTINGS

ROOT = Path(__file__).parents[2]
GOOD_CHECK = """
import pytest

@pytest.mark.clause("runtime")
def test_good(host, tmpdir, caplog):
    assert host.check_output("echo 17") == "17"
"""


@pytest.mark.parametrize(
    ("words", "translated"),
    [
        ("deploy --provider=p --sha v1", "--sha=v1 --provider=p"),
        (
            "deploy --provider p --sha v1 --host a --host @b --soak 5 --take-lock --on-failure keep",
            "--sha=v1 --provider=p --host=a --host=@b --soak=5.0 --on-failure=keep --take-lock",
        ),
        ("audit --provider=p --cutover --repo=. --records=r", "--audit --provider=p --cutover --repo=. --records=r"),
        ("audit --provider=p --cutover=3", "--audit --provider=p --cutover=3"),
        ("plan --provider=p --sha=v1 --collect-only", "--plan --collect-only --sha=v1 --provider=p"),
        ("audit --provider=p -v", "--audit --verbose --provider=p"),
        ("audit --provider=p -q", "--audit --quiet --provider=p"),
        ("rollback --provider=p", "--rollback --provider=p"),
        ("rollback --provider=p 41", "--rollback=41 --provider=p"),
        ("drill --provider=p --sha=v1", "--drill --sha=v1 --provider=p"),
        ("drill --provider=p --sha=v1 dead-man", "--drill=dead-man --sha=v1 --provider=p"),
        ("trial --subject='./x y' --scenario=good", "--provider=lab '--subject=./x y' --scenario=good"),
    ],
)
def test_a_verb_stands_for_options_of_pytest(words: str, translated: str) -> None:
    verb, *rest = shlex.split(words)
    assert command.arguments(verb, rest) == shlex.split(translated)


def test_plugins_that_only_own_checks_use_are_loaded_for_them_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take part in every phase of every check, which an audit of a thousand hosts feels."""
    given = list[list[str]]()

    def run(words: list[str], plugins: list[object]) -> int:
        given.append(words)
        return len(plugins)

    monkeypatch.setattr(pytest, "main", run)
    monkeypatch.setenv("PYTEST_ADDOPTS", "")
    monkeypatch.setenv("PYTEST_PLUGINS", "")
    command.main(["audit", "--provider=lab"])
    command.main(["audit", "--provider=lab", "--checks=tests"])
    without, loaded = ({word for word in words if word.startswith("no:")} for words in given)
    assert without - loaded == {"no:logging", "no:subtests", "no:unittest", "no:tmpdir", "no:legacypath"}
    assert loaded < without


@pytest.mark.parametrize("verb", command.SESSIONS)
def test_help_lists_the_options_of_the_verb_alone(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Help of a verb has each option that it takes, and none of the others."""
    with pytest.raises(SystemExit) as ended:
        command.main([verb, "--help"])
    assert ended.value.code == 0
    shown = set(capsys.readouterr().out.replace("[", " ").split())
    names: list[str] = []
    options.declare(lambda name, **_: names.append(name))
    session = command.SESSIONS[verb]
    assert {name for name in names if name in shown} == set(session.takes)
    assert set(session.needs) <= set(session.takes)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("", "a verb is missing"),
        ("deplyo", "'deplyo' is not a verb; did you mean `switchproof deploy`?"),
        ("remove", "'remove' is not a verb"),
        ("deploy --sha=main", "--provider"),
        ("deploy --provider=lab --sha=main --audit", "--audit"),
        ("deploy --provider=lab --bogus", "unknown option --bogus"),
        ("deploy --provider=lab --sha=main --hots=a", "unknown option --hots; did you mean --host?"),
        ("lab up --nmae=x", "switchproof lab up: unknown option --nmae; did you mean --name?"),
        ("lab up x", "unrecognized arguments: x\nSee `switchproof lab up --help`."),
        ("lab --bogus up", "unrecognized arguments: --bogus\nSee `switchproof lab --help`."),
        ("lab upp", "invalid choice: 'upp'"),
        ("reports show", "required: RUN"),
        ("paths", "the repository is missing"),
        ("init --bogus", "unknown option --bogus"),
        ("deploy --provider=lab --sha=main tests", "tests"),
        ("drill --provider=lab --sha=main sideways", "orderly|dead-man: found 'sideways'"),
        ("schema", "name"),
        ("schema ssm-document", "FILE: needed with ssm-document"),
        ("schema ssm-document nowhere.toml", "nowhere.toml: no such target file"),
    ],
)
def test_a_wrong_command_line_is_one_sentence(words: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 4, the word that is wrong, and no traceback."""
    try:
        code: object = command.main(shlex.split(words))
    except SystemExit as ended:
        code = ended.code
    assert code == 4
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("name", ["target", "record", "trial", "paths"])
def test_schemas_are_the_published_ones(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["schema", name]) == 0
    assert capsys.readouterr().out == (ROOT / "docs" / f"{name}.schema.json").read_text(encoding="utf-8")


_MADE_UP = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import switchproof.deploy.providers, tests.own.sessions
switchproof.deploy.providers.open_provider = lambda *_, **__: tests.own.sessions.Hosts()
for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
    del sys.modules[name]
del sys.path[0]
from switchproof.command import run
run()
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose tests, settings, options and folders would break any session that loaded them."""
    for name in ("checks", "deploy", "reports", "tests", "trials"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise RuntimeError('their {name}')\n", encoding="utf-8")
    (tmp_path / "tests" / "test_own.py").write_text("raise RuntimeError('their tests')\n", encoding="utf-8")
    (tmp_path / "conftest.py").write_text(f"raise RuntimeError('their conftest')\n{HOSTILE}", encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(SETTINGS, encoding="utf-8")
    return tmp_path


def run(folder: Path, verb: str, scenario: Scenario, around: str = "{}") -> subprocess.CompletedProcess[str]:
    """Run the command in a repository against hosts that are made up, with its output as bash makes it."""
    words = [word for word in prepare(folder / "session", scenario) if word != "-p" and not word.startswith("no:")]
    called = shlex.join([sys.executable, "-c", _MADE_UP, str(ROOT), verb, *words])
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {around.format(called)}"],
        cwd=folder,
        env=os.environ | {"PYTEST_ADDOPTS": "-n 2 --nothing-of-ours", "PYTEST_PLUGINS": "not_there"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=400,
        check=False,
    )


def test_a_deploy_has_nothing_of_the_users_tests(repository: Path) -> None:
    """A hostile repository gets a canonical deploy with its own checks, and a record of the command as typed."""
    done = run(repository, "deploy", Scenario(checks={"test_good.py": GOOD_CHECK}))
    assert done.returncode == 0, done.stdout
    (folder,) = (repository / "session" / "runs").glob("2*")
    record = read_record(folder / "record.json")
    assert record.verdict == "canonical"
    assert record.run.options["args"].startswith("switchproof deploy --provider=ovh ")
    assert [check.source for part in record.hosts[0].parts for check in part.checks if check.source] == [
        "own/test_good.py"
    ]
    assert (folder / "report.html").exists()


@pytest.mark.parametrize("how", ["-v", "-q"])
def test_verbose_shows_each_check_and_quiet_the_verdict_alone(repository: Path, how: str) -> None:
    """As people who know pytest expect of -v and -q."""
    done = run(repository, "deploy", Scenario(options=(f"--sha={SHA}", how)))
    assert done.returncode == 0, done.stdout
    passed = [line for line in done.stdout.splitlines() if "Z a PASSED " in line]
    if how == "-v":
        assert any(" PASSED revision: " in line for line in passed)
        assert any(" PASSED diagnostics: " in line for line in passed)
    else:
        first, *_, last = done.stdout.strip().splitlines()
        assert first.startswith("CANONICAL  deploy of ")
        assert last == "Exit 0: canonical: the contract held on every host"
        assert "converge" not in done.stdout


@pytest.mark.parametrize("around", ["{} >&-", "{} >/dev/full", "{} | true"])
def test_the_exit_code_is_the_verdict_whatever_becomes_of_the_output(repository: Path, around: str) -> None:
    """A closed, full or broken standard output leaves the code of an unhealthy host what it is."""
    done = run(repository, "audit", Scenario(options=(), status="degraded"), around)
    assert done.returncode == 1, done.stdout
