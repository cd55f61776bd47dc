"""Secrets planted in every place that a host or a user can put text are found in no output."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from switchproof.deploy.redact.redactor import Redactor
from switchproof.process.redaction import Redaction
from switchproof.reports.__main__ import main
from switchproof.reports.kept.runs import read_kept
from tests.leaks.planted import ALL, BRANCH, KINDS, NAMED, NEEDLES, PASSWORD, TOOL, found_in
from tests.reports import stories
from tests.reports.runs import keep
from tests.schema import validate

ROOT = Path(__file__).parents[2]

TARGET = f"""
provider = "ovh"
secrets = ["LEAKY_SECRET"]
[repository]
url = "https://deploy:{PASSWORD}@example.org/choiros.git"
checkout = "/opt/choiros/workspace"
[ssh]
known_hosts = "known_hosts"
[[hosts]]
name = "a"
flake_attr = "choiros-a"
address = "192.0.2.1"
[hypervisor]
units = ["hypervisor.service"]
listen = "127.0.0.1:9090"
url = "http://127.0.0.1:9090/login?token=abcdefgh12345"
contains = {{ env = "LEAKY_SECRET" }}
[runtime.live]
units = ["cloud-hypervisor@live.service", "socat-sandbox@live.service"]
listen = "127.0.0.1:8080"
url = "http://127.0.0.1:8080/health"
json = {{ status = "healthy", api_key = "k3y-of-live" }}
[health]
ready_s = 0.0
answers = 1
soak_s = 0.0
"""


OWN = f'''
import pytest

TOKEN = {BRANCH.removeprefix("feature/")!r}

@pytest.mark.clause("revision")
@pytest.mark.parametrize("header", [TOKEN])
def test_own(header, record_property, record_testsuite_property):
    """A check of the team's own."""
    record_property(f"to {{TOKEN}}", TOKEN)
    record_testsuite_property(f"for {{TOKEN}}", TOKEN)
    print(TOKEN)
    assert header == "", TOKEN
'''


@dataclass(frozen=True)
class Told:
    """What a session left: its exit code, the folder of runs, and every output by name."""

    status: int
    runs: Path
    outputs: dict[str, str]


def leak(folder: Path, way: str, *arguments: str, target: str = TARGET) -> Told:
    """Run a session whose host tells secrets, with all outputs that a user can ask for."""
    (folder / "target.toml").write_text(target, encoding="utf-8")
    (folder / "summary").touch()
    (folder / "output").touch()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.leaks.session", way),
            *(
                "--provider=ovh",
                f"--sha={BRANCH}",
                f"--targets={folder / 'target.toml'}",
                f"--report-dir={folder}/runs",
            ),
            *(
                f"--junitxml={folder}/own.xml",
                f"--log-file={folder}/own.log",
                "--log-file-level=DEBUG",
                "--showlocals",
            ),
            *("-p", "no:cacheprovider", *arguments),
        ],
        cwd=ROOT,
        env=os.environ
        | {"LEAKY_SECRET": NAMED, "CI_JOB_TOKEN": TOOL}
        | {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": f"{folder}/summary", "GITHUB_OUTPUT": f"{folder}/output"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        check=False,
    )
    # Python keeps a compiled copy of a team's own check, which holds the secrets that the check itself holds.
    paths = (path for path in folder.rglob("*") if path.is_file() and path.parent.name != "__pycache__")
    files = {str(path.relative_to(folder)): path for path in paths}
    outputs = {name: path.read_text(encoding="utf-8") for name, path in files.items() if name != "target.toml"}
    names = {f"name of {name}": name for name in outputs}
    return Told(
        done.returncode,
        folder / "runs",
        outputs | names | {"stdout": done.stdout.decode(), "stderr": done.stderr.decode()},
    )


def leaks(told: Told) -> dict[str, list[str]]:
    return {name: found for name, said in told.outputs.items() if (found := found_in(said))}


def test_the_planted_secrets_would_be_found() -> None:
    """Each of at least twenty kinds is found in what is planted, so that finding none means something."""
    assert len(KINDS) >= 20
    assert set(found_in(ALL)) == set(NEEDLES)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_taken_out(kind: str) -> None:
    """Each kind of secret is taken out of a text where it stands alone, and counted."""
    said, needles = KINDS[kind]
    redact = Redactor()
    shown = redact(f"before it\n{said}\nafter it")
    assert not [needle for needle in needles if needle in shown]
    assert shown.startswith("before it\n")
    assert shown.endswith("\nafter it")
    assert redact.counts.total()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """A whole session, rollback and diagnostics included."""
    folder = tmp_path_factory.mktemp("leak")
    keep(folder / "runs", stories.unsafe(), -1)
    key = tmp_path_factory.mktemp("key") / "sign"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True, timeout=30)
    shown = ("-vv", "-rA", "--log-cli-level=DEBUG", "--tb=long")
    return leak(folder, "tell", *shown, "--keep-runs=1", f"--sign-key={key}")


def test_no_output_of_a_session_has_a_secret(told: Told) -> None:
    """Terminal, live log, report, record, JUnit, events, evidence, logs and CI outputs have none of them."""
    assert told.status == 10, told.outputs["stdout"]
    assert leaks(told) == {}
    assert [name for name in told.outputs if name.endswith("/statement.json.sig") and name.startswith("runs/")]
    for name in ("report.html", "record.json", "junit.xml", "events.jsonl", "evidence/a/converge.log"):
        (path,) = [path for path in told.outputs if path.startswith("runs/2") and path.endswith(name)]
        assert "[redacted" in told.outputs[path], path
    for name in ("own.xml", "own.log", "summary", "stdout", "runs/index.html", "runs/.digests.json"):
        assert "[redacted" in told.outputs[name], name


def test_the_page_made_again_is_the_report_s_and_has_no_secret(told: Told) -> None:
    """From the run's files alone comes the very conformance part that the run's own report has."""
    record, report = (next(told.runs.glob(f"2*/{name}")) for name in ("record.json", "report.html"))
    for name in ("record.json", "events.jsonl"):
        again = told.runs.parent / f"{name}.html"
        assert main(["render", str(record.with_name(name)), f"--output={again}"]) == 0
        page = again.read_text(encoding="utf-8")
        assert re.findall("<main.*</main>", page, re.DOTALL) == re.findall(
            "<main.*</main>", report.read_text(encoding="utf-8"), re.DOTALL
        )
        assert found_in(page) == []


def test_a_run_is_known_to_go_on_while_it_does(told: Told) -> None:
    """For as long as a session lasts, whoever lists the runs sees that it goes on, and afterwards that it is over."""
    assert "while it goes on: ['going-on', 'over']" in told.outputs["stdout"]
    assert [run.end for run in read_kept(told.runs)] == ["over"]


def test_older_runs_are_removed_and_that_is_said(told: Told) -> None:
    """With --keep-runs=1 the run before is gone from folder and index at the session's end."""
    old = "20261123T141203Z-deploy-lab-1a2b3c4"
    assert f"Removed 1 run: {old}." in told.outputs["stdout"]
    assert not (told.runs / old).exists()
    assert old not in told.outputs["runs/index.html"]
    assert "non-canonical" in told.outputs["runs/index.html"]


def test_what_was_taken_out_is_counted_by_rule(told: Told) -> None:
    """The record says how much was taken out by which rule, and knows named secrets by their names."""
    (record,) = [said for name, said in told.outputs.items() if name.startswith("runs/2") and "record.json" in name]
    validate(record.encode())
    for rule in ("LEAKY_SECRET", "CI_JOB_TOKEN", "repository.url", "private-key", "aws-secret", "token", "cookie"):
        assert f'"{rule}":' in record


def test_a_crash_of_the_harness_tells_no_secret(tmp_path: Path) -> None:
    """An exception of the harness with secrets in its message and its variables is shown without them."""
    told = leak(tmp_path, "crash", "--full-trace")
    assert told.status == 3, told.outputs["stdout"]
    assert "INTERNALERROR" in told.outputs["stdout"]
    assert leaks(told) == {}


@pytest.mark.parametrize("ending", ["", "-x"])
def test_names_and_properties_of_checks_hold_no_secret(ending: str, tmp_path: Path) -> None:
    """A secret in the parameter of a team's own check, in a property's name or in one of the session is taken out."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "test_own.py").write_text(OWN, encoding="utf-8")
    told = leak(tmp_path, "tell", f"--checks={own}", *([ending] if ending else []))
    said = {name: text for name, text in told.outputs.items() if not name.endswith("test_own.py")}
    assert {name: found for name, text in said.items() if (found := found_in(text))} == {}
    assert "test_own" in said["own.xml"]


def test_a_target_file_that_is_wrong_is_told_without_its_secrets(tmp_path: Path) -> None:
    """A message about a value that is wrong does not show it if it is a secret."""
    target = TARGET.replace('listen = "127.0.0.1:8080"', 'listen = { env = "LEAKY_SECRET" }')
    told = leak(tmp_path, "tell", target=target)
    assert told.status == 4
    assert "runtime.live.listen" in told.outputs["stderr"]
    assert leaks(told) == {}


@pytest.mark.parametrize(
    "option", ["--pdb", "--trace", "--debug", "--pastebin=all", "--capture=tee-sys", "--capture=no", "--capture=sys"]
)
def test_options_that_go_around_redaction_are_refused(
    option: str, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    """What pytest would show or send away unredacted is refused by its name, before anything is touched."""
    name, _, value = option.removeprefix("--").partition("=")
    monkeypatch.setattr(pytestconfig.option, {"pdb": "usepdb"}.get(name, name), value or True)
    with pytest.raises(pytest.UsageError, match=option.removesuffix("=all").replace("=", "[= ]")):
        Redaction(Redactor()).install(pytestconfig)
