"""A wait that is meant says for what it waits and until when."""

from __future__ import annotations

import datetime as dt

from switchproof.deploy.observe.pending import awaited_return


def test_a_drill_says_until_when_it_waits() -> None:
    """The time stands there as a time of day, so that nobody has to know when the line was printed."""
    words = awaited_return(600.0, dt.datetime(2026, 11, 26, 23, 55, tzinfo=dt.UTC))
    assert "go back by itself, by 00:05:00Z (600 s) at the latest" in words
