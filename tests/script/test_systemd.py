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


CLOCK = """
turn=0
uptime_to() { printf -v "$1" "$turn"; }
gone_by() { ((turn >= $1)); }
sleep() { turn=$((turn + 1)); }
note_silence() { echo "note: $*"; }
"""
HERE = {"[ -d /run/systemd/system ]": "[ -d / ]"}


@pytest.mark.parametrize(
    ("systemctl", "told"),
    [
        ("echo yes", ["yes"]),
        ("((turn >= 2)) && echo yes", ["note: systemctl show x: answered after 2 attempts without an answer", "yes"]),
        ("((turn < 2)) || echo yes", ["note: systemctl show x: answered after 2 attempts without an answer", "yes"]),
        (":", ["note: systemctl show x: no answer within 10 s, asked 11 times (exit status 0)", "silent"]),
        ("return 124", ["note: systemctl show x: no answer within 10 s, asked 11 times (exit status 124)", "silent"]),
        (
            "echo half; return 1",
            ["note: systemctl show x: no answer within 10 s, asked 11 times (exit status 1)", "silent"],
        ),
    ],
)
def test_an_empty_or_failed_answer_is_asked_for_again(systemctl: str, told: list[str]) -> None:
    """Until a deadline, and half an answer counts for none; that systemd was silent is noted."""
    text = f"""
      {CLOCK}
      says() {{ {systemctl}; }}
      ask_within() {{ answered=$(says); }}
      if ask_systemctl show x; then echo "$answered"; else echo "silent$answered"; fi
    """
    assert run(text, "systemd", replace=HERE).splitlines() == told


@pytest.mark.parametrize(("fails", "rc"), [(0, 0), (3, 0), (99, 1)])
def test_what_may_be_done_twice_is_tried_again(fails: int, rc: int) -> None:
    """A command that fails while systemd restarts is given again until a deadline."""
    text = f"""
      {CLOCK}
      timeout() {{ ((turn >= {fails})); }}
      have_systemctl daemon-reload 2>/dev/null >/dev/null && echo 0 || echo 1
    """
    assert run(text, "systemd") == f"{rc}\n"


@pytest.mark.parametrize(
    ("answer", "activating"),
    [
        ("init.scope loaded active running System", ""),
        (f"init.scope x\n{ACTIVATION}.service loaded activating start x", f"{ACTIVATION}.service"),
        (f"{ACTIVATION}-7.service loaded active running x\ninit.scope x", f"{ACTIVATION}-7.service"),
    ],
)
def test_a_switch_under_way_is_found_whatever_its_suffix(answer: str, activating: str) -> None:
    """Some versions of nixos-rebuild give the unit of each switch a name of its own."""
    text = f"""
      ask_systemctl() {{ answered={shlex.quote(answer)}; }}
      find_activation; echo "<$activating>"
      ask_systemctl() {{ return 1; }}
      find_activation || echo "nobody knows <$activating>"
    """
    assert run(text, "systemd", replace=HERE).splitlines() == [f"<{activating}>", "nobody knows <>"]


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("active:exited", "stop -- x.service"),
        ("failed:failed", "reset-failed -- x.service"),
        ("inactive:dead", ""),
        ("active:running", ""),
        ("activating:start", ""),
        ("", ""),
    ],
)
def test_only_what_has_ended_is_removed(state: str, told: str) -> None:
    """A unit that runs, or of which systemd does not tell, is left alone."""
    active, _, sub = state.partition(":")
    text = f"""
      look_at_unit() {{ unit_active={active} unit_sub={sub}; [ -n "$unit_active" ]; }}
      have_systemctl() {{ echo "$*"; }}
      drop_unit x.service
    """
    assert run(text, "systemd").strip() == told
