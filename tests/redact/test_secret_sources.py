"""Which secrets are known by name, and which of them cannot be hidden."""

from __future__ import annotations

from pathlib import Path

import pytest

from switchproof.deploy.errors import UsageError
from switchproof.deploy.plan import Options
from switchproof.deploy.planning import make_plan
from switchproof.deploy.providers import load
from switchproof.deploy.redact.redactor import Redactor
from switchproof.deploy.redact.sources import known_secrets, mentioned_secrets
from switchproof.deploy.settings import read_settings

SETTINGS = read_settings(Path.cwd())
LAB = (Path(__file__).parents[2] / "deploy" / "targets" / "lab.toml").read_text(encoding="utf-8")


@pytest.fixture
def targets(tmp_path: Path) -> Path:
    """A target file that names two secrets and has a password in its repository's URL."""
    path = tmp_path / "lab.toml"
    url = 'url = "https://me:p%2Fss-w0rd@example.org/r.git"'
    path.write_text('secrets = ["ONE", "TWO"]\n' + LAB.replace('url = "file:///srv/sample.git"', url))
    return path


def test_named_secrets_and_those_of_tools_are_known(targets: Path) -> None:
    """The values of named variables, of a CI service's own, and the password of the repository are secrets."""
    environ = {"ONE": "first-value", "GITHUB_TOKEN": "a-token-of-actions", "CI_JOB_TOKEN": "none", "HOME": "/root"}
    known = known_secrets(load(targets, environ), environ)
    assert ("ONE", "first-value") in known
    assert ("GITHUB_TOKEN", "a-token-of-actions") in known
    assert {name for name, _ in known} == {"ONE", "GITHUB_TOKEN", "repository.url"}
    shown = Redactor(known)("first-value a-token-of-actions p%2Fss-w0rd p/ss-w0rd")
    assert "value" not in shown
    assert "w0rd" not in shown


@pytest.mark.parametrize(
    ("url", "secrets", "readable"),
    [
        ("https://t0ken-of-mine@example.org/r.git", "t0ken-of-mine", "example.org"),
        ("https://t0ken-of-mine:x-oauth-basic@example.org/r.git", "t0ken-of-mine", "example.org"),
        ("https://oauth2:t0ken-of-mine@example.org/r.git", "t0ken-of-mine", "oauth2"),
        ("https://deploy:p%2Fss-w0rd@example.org/r.git", "p%2Fss-w0rd p/ss-w0rd", "deploy"),
        ("https://example.org/r.git?private_token=t0ken&ref=main", "t0ken private_token=t0ken&ref=main", "main"),
        ("https://example.org/r.git?0123456789abcdef", "0123456789abcdef", "example.org"),
        ("ssh://deploy@example.org/r.git", "", "deploy"),
        ("https://git@example.org/r.git", "", "git"),
        ("https://[broken@example.org/r.git", "", "broken"),
    ],
)
def test_every_secret_of_a_repository_s_url_is_known(targets: Path, url: str, secrets: str, readable: str) -> None:
    """Token, password and query are never shown; a user that every reader knows stays readable."""
    targets.write_text(LAB.replace("file:///srv/sample.git", url))
    redactor = Redactor(known_secrets(load(targets, {}), {}))
    for secret in secrets.split():
        assert secret not in redactor(f"fatal: could not read from {secret}")
    assert not secrets or secrets.split(maxsplit=1)[0] not in redactor(f"fatal: unable to access '{url}/'")
    assert redactor(f"see {readable}") == f"see {readable}"


@pytest.mark.parametrize("value", ["#", "#?!", "#?!\n", " #?! "])
def test_a_secret_that_is_too_short_is_refused(targets: Path, value: str) -> None:
    """A value that cannot be hidden without hiding ordinary text is refused, by its name and not by its value."""
    with pytest.raises(UsageError) as refused:
        make_plan(Options(provider="lab", sha="main", targets=str(targets)), {"TWO": value}, SETTINGS)
    assert f"{targets}: secrets: the value of TWO has " in str(refused.value)
    assert value not in str(refused.value).split("TWO has")[1]


@pytest.mark.parametrize("value", ["", "\n", "abcd"])
def test_a_secret_that_is_not_set_or_long_enough_is_taken(targets: Path, value: str) -> None:
    """A variable that CI leaves empty is no mistake."""
    assert make_plan(Options(provider="lab", sha="main", targets=str(targets)), {"TWO": value}, SETTINGS)


def test_what_is_wrong_with_a_target_file_is_told_without_its_secrets(targets: Path) -> None:
    """The secrets of a target file that cannot be read as one are known all the same, if it says which they are."""
    targets.write_text(targets.read_text().replace('provider = "lab"', "provider = 7"))
    assert mentioned_secrets(targets, {"ONE": "first-value", "TWO": "x"}) == [("ONE", "first-value")]
    targets.write_text("secrets = 7")
    assert mentioned_secrets(targets, {"ONE": "first-value"}) == []
    targets.write_text("no TOML")
    assert mentioned_secrets(targets, {"GH_TOKEN": "0123456789"}) == [("GH_TOKEN", "0123456789")]


@pytest.mark.parametrize("key", ["repository", "substituter"])
def test_secrets_of_urls_of_builds_are_known(tmp_path: Path, key: str) -> None:
    """A token in the URL of the runner's repository or of a cache is hidden wherever a program repeats it."""
    path = tmp_path / "lab.toml"
    path.write_text(f'{LAB}\n[build]\n{key} = "https://user:t0ken-of-mine@cache.example.org"\n')
    shown = Redactor(known_secrets(load(path, {}), {}))("cache.example.org does not take t0ken-of-mine")
    assert "t0ken" not in shown
    assert "cache.example.org" in shown
