"""A host that will go back by itself says when, to what and whose switch that undoes."""

from __future__ import annotations

import pytest

from switchproof.deploy.host.frame import Frame
from switchproof.deploy.observe.pending import Pending, read_pending

SAID = (
    "run r-1\nowner me@here\narmed 2026-11-24T01:02:03Z\nexpected /new system\nto /old\n"
    "seconds 600\nleft 42\nguard active\n"
)


def pending(text: str) -> Pending | None:
    return read_pending(Frame("observe", {"pending": text.encode()}))


def test_every_part_of_it_is_read() -> None:
    """Each line is a name and its value, which may hold spaces itself."""
    assert pending(SAID) == Pending(
        "r-1", "me@here", "2026-11-24T01:02:03Z", "/new system", "/old", seconds=600, left=42, is_guarded=True
    )


@pytest.mark.parametrize("text", ["", "\n", "none\n"])
def test_host_that_waits_for_nothing_has_none(text: str) -> None:
    """Without a line of it there is no return to wait for."""
    assert pending(text) is None
    assert read_pending(Frame("observe", {})) is None


@pytest.mark.parametrize(
    ("state", "up"), [("active", True), ("activating", True), ("reloading", True), ("failed", False), ("", False)]
)
def test_only_a_unit_that_is_up_guards(state: str, up: bool) -> None:
    """A guard that has failed, or of which nothing is known, brings nobody back before the next boot."""
    found = pending(SAID.replace("guard active", f"guard {state}"))
    assert found is not None
    assert found.is_guarded is up
    assert ("at its next boot" in str(found)) is not up


@pytest.mark.parametrize(
    ("left", "when"),
    [
        ("left 42\n", " by itself in 42 s, "),
        ("left 1\n", " by itself in 1 s, "),
        ("left 0\n", " by itself now, "),
        ("left -1\n", " by itself 600 s after its switch has ended, "),
        ("left soon\n", " by itself 600 s after its switch has ended, "),
        ("", " by itself 600 s after its switch has ended, "),
    ],
)
def test_it_says_when_the_host_goes_back(left: str, when: str) -> None:
    """While the switch goes on, or where the host's number is none, the whole wait is told."""
    found = pending(SAID.replace("left 42\n", left))
    assert found is not None
    assert when in str(found)
    assert str(found).endswith("(run r-1 of me@here, begun at 2026-11-24T01:02:03Z)")
