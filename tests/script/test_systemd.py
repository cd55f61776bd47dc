"""No answer of systemd is not an answer."""

from __future__ import annotations

import shlex

import pytest

from tests.host_functions import run

ACTIVATION = "nixos-rebuild-switch-to-configuration"


@pytest.mark.parametrize(
    ("answer", "ended"),
    [
        ("ActiveState=inactive\nSubState=dead", True),
        ("ActiveState=failed\nSubState=failed", True),
        ("ActiveState=active\nSubState=exited", True),
        ("ActiveState=active\nSubState=running", False),
        ("ActiveState=activating\nSubState=start", False),
        ("ActiveState=reloading\nSubState=reload", False),
        ("LoadState=loaded", False),
        ("", False),
    ],
)
def test_only_systemd_s_word_ends_a_job(answer: str, ended: bool) -> None:
    """A unit has ended if systemd says so; an empty or failed answer ends nothing."""
    text = f"""
      ask_systemctl() {{ answered={shlex.quote(answer)}; [ -n "$answered" ]; }}
      if has_ended x.service; then echo ended; else echo not; fi
    """
    assert run(text, "systemd").strip() == ("ended" if ended else "not")
