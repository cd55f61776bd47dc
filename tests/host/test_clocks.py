"""A host's clock is known as closely as its answers bound it, and no closer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchproof.deploy.host.clocks import ClockBounds

NOW = 1_763_910_000.0


def said(began: float, ended: float) -> str:
    return f"{began:.6f} {ended:.6f}"


@given(
    offset=st.floats(-3600, 3600),
    ways=st.lists(st.tuples(st.floats(0.001, 30), st.floats(0, 30), st.floats(0.001, 30)), min_size=1, max_size=6),
)
def test_the_true_offset_is_within_what_is_said(offset: float, ways: list[tuple[float, float, float]]) -> None:
    """However long ways there and back and the answer itself take, the true offset lies within the bounds."""
    bounds, at = ClockBounds(), NOW
    for there, work, back in ways:
        bounds.see(said(at + there + offset, at + there + work + offset), at, at + there + work + back)
        at += there + work + back
    clock = bounds.clock
    assert clock is not None
    assert abs(clock.offset_s - offset) <= clock.uncertainty_s + 0.00001
    assert clock.uncertainty_s <= min(there + back for there, _, back in ways) / 2 + 0.00001


def test_it_is_told_anew_only_when_much_closer() -> None:
    """A first answer is told, a little closer one is not, one at least twice as close is."""
    bounds = ClockBounds()
    assert bounds.see(said(NOW + 1, NOW + 1), NOW, NOW + 2)
    assert bounds.see(said(NOW + 10.9, NOW + 10.9), NOW + 10, NOW + 11.8) is None
    told = bounds.see(said(NOW + 20.1, NOW + 20.1), NOW + 20, NOW + 20.2)
    assert told is not None
    assert told.uncertainty_s == pytest.approx(0.1)


def test_clock_that_is_set_is_learnt_anew() -> None:
    """After a clock jumped, what is said of it is where it is now."""
    bounds = ClockBounds()
    bounds.see(said(NOW, NOW), NOW - 0.1, NOW + 0.1)
    told = bounds.see(said(NOW + 500, NOW + 500), NOW + 9.9, NOW + 10.1)
    assert told is not None
    assert told.offset_s == pytest.approx(490)


@pytest.mark.parametrize("words", ["", "now", "1e9 2e9", "nan nan", f"{NOW:.1f}", f"{NOW + 9:.3f} {NOW:.3f}"])
def test_what_is_no_time_counts_for_nothing(words: str) -> None:
    """A host that says nothing, nonsense, or that it ended before it began, tells nothing of its clock."""
    bounds = ClockBounds()
    assert bounds.see(words, NOW, NOW + 1) is None
    assert bounds.clock is None
    assert bounds.began(words) is None
