"""The command says by its exit code, its text and its JSON what was found."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
from jsonschema import Draft202012Validator

from switchproof.deploy.paths.__main__ import main, paths_schema
from switchproof.deploy.paths.sources import Surveyor
from switchproof.deploy.paths.survey import Kind, State, Survey
from tests.paths.repositories import INCIDENT, make

ROOT = Path(__file__).parents[2]


@functools.cache
def own() -> Survey:
    """Survey this repository; `.ci/run` takes its command from the README, which reading the script does not tell."""
    return Surveyor(ROOT, [".ci/run", "bench/*", "deploy/providers/lab/*", "tests/*", "trials/*"]).survey()


def test_our_own_repository_is_clean() -> None:
    """Our deploys go through the shared script, and our old one refuses."""
    assert own().exit_code == 0
    assert {"deploy-aws-ssm", "deploy-ovh-ssh", "drill", "rollback"} <= {entry.name for entry in own().active}
    assert [entry.state for entry in own().named("deploy-ec2")] == [State.REFUSES]


@pytest.mark.parametrize("example", ["github-aws", "github-ovh", "gitlab-aws", "gitlab-ovh"])
def test_the_examples_are_clean(tmp_path: Path, example: str) -> None:
    """The pipelines that our documents show deploy to their provider through Switchproof, and nothing else."""
    service, _, provider = example.partition("-")
    place = tmp_path / (".github/workflows/deploy.yml" if service == "github" else ".gitlab-ci.yml")
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "docs" / "examples" / f"{example}.yml", place)
    found = Surveyor(tmp_path).survey()
    assert found.exit_code == 0
    assert {entry.name: entry.providers for entry in found.active} == {
        "staging": (provider,),
        "production": (provider,),
    }
    of_aws = any(finding.kind is Kind.AWS for entry in found.active for finding in entry.findings)
    assert of_aws == (provider == "aws")


@pytest.mark.parametrize(
    ("example", "old", "new", "code"),
    [
        ("github-ovh", "sha: ${{ env.SHA }}", "sha: main", 1),
        ("github-ovh", "vars.SWITCHPROOF_REPOSITORY", "vars.OTHER_REPOSITORY", 11),
        ("gitlab-ovh", "provider: ovh", "provider: ovh\n      sha: main", 1),
        ("gitlab-ovh", "@$SWITCHPROOF_COMMIT", "@main", 11),
        ("gitlab-ovh", "/session@", "/other@", 11),
    ],
)
def test_what_an_action_or_component_is_given_counts(
    tmp_path: Path, example: str, old: str, new: str, code: int
) -> None:
    """A branch given to a session is a finding; an action or component that may be another one is not understood."""
    place = tmp_path / (".github/workflows/deploy.yml" if "github" in example else ".gitlab-ci.yml")
    place.parent.mkdir(parents=True, exist_ok=True)
    text = (ROOT / "docs" / "examples" / f"{example}.yml").read_text(encoding="utf-8")
    assert old in text
    place.write_text(text.replace(old, new), encoding="utf-8")
    assert Surveyor(tmp_path).survey().exit_code == code


def test_the_json_is_as_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON is valid by the published schema, which is the one of the code."""
    published = msgspec.json.decode((ROOT / "docs" / "paths.schema.json").read_bytes())
    assert published == msgspec.json.decode(msgspec.json.encode(paths_schema()))
    assert main([str(make(tmp_path, INCIDENT)), "--json"]) == 1
    told = capsys.readouterr().out
    Draft202012Validator(published).validate(msgspec.json.decode(told))
    assert msgspec.json.decode(told, type=Survey).named("promote")


def test_the_text_names_work_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A session of a person is listed with its line, and changes no verdict."""
    (tmp_path / "justfile").write_text("shell:\n    ssh web\n", encoding="utf-8")
    main([str(tmp_path)])
    shown = capsys.readouterr().out
    assert "By hand, and no deploy path:\n  justfile:shell  justfile:1\n" in shown
    assert (
        "note    by-hand: opens a session, in which a person works by hand\n            justfile:2: ssh web" in shown
    )
    assert "Verdict: nothing found" in shown


def test_the_text_shows_the_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """People see each fault with file, line and text, and no secret that stands there."""
    files = {
        **INCIDENT,
        "justfile": "ship:\n    ssh -o StrictHostKeyChecking=no h 'PASSWORD=hunter2hunter2 nixos-rebuild switch'\n",
    }
    assert main([str(make(tmp_path, files))]) == 1
    told = capsys.readouterr().out
    assert ".github/workflows/promote.yml:19: git pull --ff-only origin main" in told
    assert "justfile:2: ssh -o StrictHostKeyChecking=no" in told
    assert "hunter2" not in told


@pytest.mark.parametrize("arguments", [["/nowhere"], [], ["--what"]])
def test_bad_input_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that is not there or an option that is not known is exit code 4 with a sentence."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 4
    assert capsys.readouterr().err


def test_an_empty_repository_has_no_deploy_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing was found nothing is clean: how it is deployed is not known."""
    assert main([str(tmp_path)]) == 11
    shown = capsys.readouterr().out
    assert shown.startswith("0 active deploy paths of 0 entry points")
    assert "Verdict: nothing found" in shown


def test_one_path_of_one_entry_point_is_counted_in_the_singular(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "justfile").write_text("deploy:\n    nixos-rebuild switch\n", encoding="utf-8")
    main([str(tmp_path)])
    assert capsys.readouterr().out.startswith("1 active deploy path of 1 entry point in ")


@pytest.mark.parametrize("packed", [False, True])
def test_the_survey_says_of_which_commit_it_is(tmp_path: Path, packed: bool) -> None:
    """The commit is the one that git has checked out, without git being run on what is not trusted."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.org", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()

    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "-m", "x")
    if packed:
        git("pack-refs", "--all")
    assert Surveyor(tmp_path).survey().commit == git("rev-parse", "HEAD")
    git("checkout", "--quiet", "--detach")
    assert Surveyor(tmp_path).survey().commit == git("rev-parse", "HEAD")
    git("worktree", "add", "--quiet", str(tmp_path / "other"))
    assert Surveyor(tmp_path / "other").survey().commit == git("rev-parse", "HEAD")
