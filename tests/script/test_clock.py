"""Nothing waits for a time that cannot be read."""

from __future__ import annotations

import re

import pytest

from tests.host_functions import run


@pytest.mark.parametrize(
    ("seconds", "since", "gone"),
    [
        ("5", "995.5", True),
        ("5", "995.51", False),
        ("0", "1000.5", True),
        ("0.25", "1000.25", True),
        ("600", "5000.0", False),
        ("600", "", True),
        ("600", "a[$(exit 1)]", True),
        ("ever", "1000.0", True),
        ("-1", "1000.0", True),
    ],
)
def test_what_has_gone_by(seconds: str, since: str, gone: bool) -> None:
    """A deadline is over when its seconds are, or when one of its numbers is none."""
    text = """
      uptime_to() { printf -v "$1" 1000.50; }
      if gone_by "$SECONDS_GIVEN" "$SINCE_GIVEN"; then echo gone; else echo not; fi
    """
    values = {"SECONDS_GIVEN": seconds, "SINCE_GIVEN": since}
    assert run(text, "numbers", "clock", values=values) == ("gone\n" if gone else "not\n")


def test_times_are_utc() -> None:
    """A time is written in UTC, whatever zone the host is in, and the uptime is a number of seconds."""
    output = run('now; uptime_to up; echo "$up"', "clock", values={"TZ": "Pacific/Auckland"})
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\n\d+\.\d+\n", output)
