"""A host-side script that is not Switchproof's keeps to the contract only as far as reading shows it."""

from __future__ import annotations

import pytest

from switchproof.deploy.paths.programs.duties import unseen_duties

SWITCH = 'nixos-rebuild switch --flake "github:acme/infra/$1#web"\n'
ASK = "curl -fsS http://127.0.0.1/health"


@pytest.mark.parametrize(
    "text",
    [
        f"set -e\n{SWITCH}{ASK}\njournalctl\n",
        f"#!/bin/bash -eu\n{SWITCH}{ASK} || exit 1\n",
        f"set -euo pipefail\n{SWITCH}if ! {ASK}; then\n  journalctl\n  exit 1\nfi\n",
        f"set -e\n{SWITCH}{ASK} || {{ journalctl -n 50; exit 1; }}\n",
        f"set -e\n{SWITCH}{ASK} || {{\n  journalctl -n 50\n  exit 1\n}}\n",
        f"{SWITCH.strip()} || exit 1\n{ASK} || exit 1\n",
    ],
)
def test_what_ends_with_a_failure_is_seen(text: str) -> None:
    """By itself, or in the branch that handles it."""
    assert list(unseen_duties(text)) == []


@pytest.mark.parametrize(
    ("text", "unseen"),
    [
        (f"{SWITCH}{ASK}\n", ["end with a failure of the switch", "end with a failure of health"]),
        (f"set -e\n{SWITCH}{ASK} || true\n", ["end with a failure of health"]),
        (f"set -e\n{SWITCH}{ASK} || journalctl -n 50\n", ["end with a failure of health"]),
        (f"set -e\n{SWITCH}{ASK} || exit 0\n", ["end with a failure of health"]),
        (f"set -e\n{SWITCH}if ! {ASK}; then\n  journalctl\nfi\nexit 1\n", ["end with a failure of health"]),
        (f"set -e\n{SWITCH}{ASK} &\n", ["end with a failure of health"]),
        (f"set -e\n{SWITCH.strip()} || true\n{ASK}\n", ["end with a failure of the switch"]),
        (f"set -e\n{ASK}\n{SWITCH}journalctl\n", ["ask for health after the switch"]),
        (f"set -e\nif false; then\n  {SWITCH}fi\n{ASK}\n", ["switch in any case"]),
        (f"set -e\nnixos-rebuild switch --flake /etc/nixos\n{ASK}\n", ["switch to the commit that it is given"]),
        (f"set -e\n# {SWITCH}{ASK}\n", ["switch to the commit that it is given", "switch in any case"]),
    ],
)
def test_a_duty_that_is_not_seen_is_named(text: str, unseen: list[str]) -> None:
    """A failure that is only reported, an earlier question, and a branch that may not be taken keep no duty."""
    assert list(unseen_duties(text)) == unseen
