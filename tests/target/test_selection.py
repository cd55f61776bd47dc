"""Hosts of a target file are selected by name, glob or group."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from switchproof.deploy.errors import UsageError
from tests.target.texts import ENVIRON, TEXT, loaded


@pytest.mark.parametrize(
    ("select", "names"),
    [
        ((), "ab"),
        (("a",), "a"),
        (("b", "a"), "ab"),
        (("*",), "ab"),
        (("?",), "ab"),
        (("[!a]",), "b"),
        (("@production",), "a"),
        (("@production", "b", "a"), "ab"),
    ],
)
def test_names_globs_and_groups_choose(select: tuple[str, ...], names: str, tmp_path: Path) -> None:
    """Hosts are chosen by name, glob or group, each once, in the order of the file."""
    assert "".join(host.name for host in loaded(tmp_path, TEXT, ENVIRON, *select).hosts) == names


@pytest.mark.parametrize("select", ["c", "A", "", "@", "@staging", "@*", "aa", "a "])
def test_choice_of_nothing_is_refused(select: str, tmp_path: Path) -> None:
    """A choice that matches no host is refused, with the names that there are, even beside one that matches."""
    with pytest.raises(
        UsageError, match=re.escape(f"--host={select} selects no host; hosts: a, b; groups: @production")
    ):
        loaded(tmp_path, TEXT, ENVIRON, "a", select)
