"""A file with several mistakes is refused for all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from switchproof.deploy.errors import UsageError
from tests.target.texts import TEXT, loaded


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {
                'groups = ["production"]': 'port = "22"',
                'flake_attr = "choiros-b"': "flake_atr = 'choiros-b'",
                'units = ["hypervisor.service"]': 'units = ["hypervisor"]',
                'url = "http://127.0.0.1:8081/health"': 'url = "http://127.0.0.1:8081/health"\n[health]\nanswers = 0',
            },
            [
                "hosts[0].port: must be a whole number",
                "hosts[1].flake_atr: ",
                "hypervisor.units[0]: must be ",
                "health.answers: must be ",
            ],
        ),
        (
            {"[hypervisor]": "[hypervisr]", 'flake_attr = "choiros-b"': "flake_atr = 'choiros-b'"},
            [
                "hypervisor: missing; describe it",
                "hypervisr: ",
                "hosts[1].flake_atr: ",
            ],
        ),
        (
            {
                'name = "b"': 'name = "a"',
                'url = "http://127.0.0.1:9090/login"': 'url = "http://127.0.0.1:9099/login"',
                'url = "http://127.0.0.1:8081/health"': 'url = "http://127.0.0.1:8081/health"\n[boot]\nreason = "x"',
            },
            ["hosts[1].name: 'a' is already the name of another host", "hypervisor.url: ", "boot.reason: only with"],
        ),
    ],
)
def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path, changes: Mapping[str, str], told: list[str]) -> None:
    """Each has a line of its own, with the file, the line in it and the key."""
    text = TEXT
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new, 1)
    with pytest.raises(UsageError) as refused:
        loaded(tmp_path, text)
    lines = [re.sub(r"^.*t\.toml:(\d+:)? ", "", line) for line in str(refused.value).splitlines()]
    assert len(lines) == len(told), lines
    for start in told:
        assert any(line.startswith(start) for line in lines), (start, lines)
