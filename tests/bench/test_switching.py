"""When a host switched and when it answered again is read from its journal and from the run's events."""

from __future__ import annotations

import datetime as dt

import pytest

from bench.switching import Switch, answers_again, answers_aim, read_switches
from switchproof.deploy.record.events import AnyEvent, Watched
from switchproof.deploy.record.facts import Leg, Sample, Watch

SYSTEM = "/nix/store/gv412zyqk5qjwwnjnvsfkrb1vcdd2684-nixos-system-choiros-a-25.11.v2"


def test_switches_are_those_that_the_journal_has_from_begin_to_end() -> None:
    """Good and failed switches count; one without an end, and what else is said, do not."""
    lines = [
        f"99.0 choiros-h1 nixos[7]: finished switching to system configuration {SYSTEM}",
        f"100.5 choiros-h1 nixos[8]: switching to system configuration {SYSTEM}",
        "100.9 choiros-h1 nixos[8]: reviving user 'root' with GID 0",
        f"102.0 choiros-h1 nixos[9]: switching to system configuration {SYSTEM} failed (status 4)",
        f"110.0 choiros-h1 nixos[10]: switching to system configuration {SYSTEM}",
        f"113.0 choiros-h1 nixos[11]: finished switching to system configuration {SYSTEM}",
        f"120.0 choiros-h1 nixos[12]: switching to system configuration {SYSTEM}",
    ]
    found = read_switches("\n".join(lines))
    assert found == [Switch(100.5, 102.0), Switch(110.0, 113.0)]
    assert [switch.seconds for switch in found] == [1.5, 3.0]


def watched(host: str, leg: Leg, began: float, *answers: tuple[float, bool]) -> AnyEvent:
    """The watch of an endpoint with answers that took 0.1 s each."""
    samples = tuple(Sample(at_s=at_s, good=good, code=200, seconds=0.1, words="") for at_s, good in answers)
    at = dt.datetime.fromtimestamp(began, tz=dt.UTC)
    watch = Watch(leg=leg, endpoint="live", settled="", began=at, seconds=9.0, limit_s=9.0, samples=samples)
    return Watched(host=host, watch=watch)


def test_host_answers_again_when_its_last_endpoint_does() -> None:
    """Each endpoint counts from its first right answer on the way back, and only on that host."""
    events = [
        watched("h1", "forward", 100.0, (0.0, True)),
        watched("h1", "back", 110.0, (0.0, False), (1.0, True), (2.0, True)),
        watched("h1", "back", 110.0, (0.2, True)),
        watched("h2", "back", 150.0, (0.0, True)),
    ]
    assert answers_again(events, "h1") == pytest.approx(111.1)


def test_host_whose_endpoint_never_answers_does_not_answer_again() -> None:
    """One endpoint without a right answer, or no way back, is no time."""
    silent = watched("h1", "back", 110.0, (0.0, False))
    assert answers_again([watched("h1", "back", 110.0, (0.0, True)), silent], "h1") is None
    assert answers_again([watched("h1", "forward", 100.0, (0.0, True))], "h1") is None


def test_aim_of_a_way_back_says_whether_it_was_reached() -> None:
    """Ten seconds are within it."""
    assert answers_aim("a fault", 10.0).endswith("within 10 s of the switch's end: yes (10.0 s)")
    assert answers_aim("a fault", 10.1).endswith("no (10.1 s)")
