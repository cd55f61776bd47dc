"""Values of a target file may come from environment variables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from switchproof.deploy.errors import UsageError
from tests.target.texts import ENVIRON, TEXT, loaded


@pytest.mark.parametrize("environ", [{"B_HOST": "x"}, {"B_HOST": "x", "B_KEY": ""}])
def test_missing_variable_is_named(environ: dict[str, str], tmp_path: Path) -> None:
    """A variable that is not set, or empty, is named with the key that asks for it."""
    with pytest.raises(
        UsageError, match=r"t\.toml:15: hosts\[1\]\.host_keys\[0\]: the environment variable B_KEY is not set"
    ):
        loaded(tmp_path, TEXT, environ)


def test_all_missing_variables_are_named_at_once(tmp_path: Path) -> None:
    """A line for each variable that the run needs: those of the whole file, and those of the selected hosts."""
    shared = TEXT.replace('"https://example.org/r.git"', '{ env = "URL" }')
    selections: list[tuple[tuple[str, ...], list[str]]] = [((), ["URL", "B_HOST", "B_KEY"]), (("a",), ["URL"])]
    for select, names in selections:
        with pytest.raises(UsageError) as refused:
            loaded(tmp_path, shared, {}, *select)
        assert re.findall(r"the environment variable (\w+) is not set", str(refused.value)) == names
        assert all(line.startswith(f"{tmp_path / 't.toml'}:") for line in str(refused.value).splitlines())


def test_variables_of_other_hosts_are_not_needed(tmp_path: Path) -> None:
    """Only the chosen hosts' variables are looked up; those of the whole file always are."""
    assert [host.name for host in loaded(tmp_path, TEXT, {}, "a").hosts] == ["a"]
    assert [host.name for host in loaded(tmp_path, TEXT, {}, "@production").hosts] == ["a"]
    with pytest.raises(UsageError, match="B_HOST"):
        loaded(tmp_path, TEXT, {}, "b")
    shared = TEXT.replace('"https://example.org/r.git"', '{ env = "URL" }')
    with pytest.raises(UsageError, match=r"repository\.url: the environment variable URL is not set"):
        loaded(tmp_path, shared, {}, "a")


def test_value_from_the_environment_is_checked_like_any_other(tmp_path: Path) -> None:
    """A wrong value from a variable is told by its place in the file, even if only that host is chosen."""
    with pytest.raises(UsageError, match=r"hosts\[1\]\.host_keys\[0\]: .*\(found 'garbage'\)"):
        loaded(tmp_path, TEXT, {"B_HOST": "x", "B_KEY": "garbage"}, "b")


@pytest.mark.parametrize(
    ("old", "value"),
    [
        ('"127.0.0.1:8080"', "127.0.0.1:8080"),
        ('"http://127.0.0.1:8080/health"', "http://127.0.0.1:8080/health"),
        ('"socat@live.service"', "socat@live.service"),
        ('"healthy"', "healthy"),
    ],
)
def test_any_text_may_come_from_the_environment(old: str, value: str, tmp_path: Path) -> None:
    """Every text of the file may be a variable's value, as the schema says."""
    text = TEXT.replace(old, '{ env = "V" }')
    assert loaded(tmp_path, text, ENVIRON | {"V": value}) == loaded(tmp_path)


def test_key_of_a_body_may_be_called_env(tmp_path: Path) -> None:
    """A body that must say `"env": "production"` is not taken for a variable."""
    target = loaded(tmp_path, TEXT.replace('status = "healthy"', 'env = "production"'))
    assert target.runtime["live"].json == {"env": "production"}
