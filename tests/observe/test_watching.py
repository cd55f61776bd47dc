"""Health over time is kept in few samples, of which none that matters is missing."""

from __future__ import annotations

import datetime as dt
from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from switchproof.deploy.observe.observation import read_observation
from switchproof.deploy.observe.watching import read_states, read_watches, thin
from switchproof.deploy.record.facts import Sample
from switchproof.deploy.target.types import Endpoint
from tests.answers import HYPERVISOR, LIVE, RUNNING, answers, frame, presence

BEGAN = dt.datetime(2026, 11, 23, 15, 12, 3, tzinfo=dt.UTC)


def row(codes: list[int]) -> list[tuple[object, Sample]]:
    return [
        (code, Sample(at_s=float(at), good=code == 200, code=code, seconds=0.0, words=""))
        for at, code in enumerate(codes)
    ]


@given(st.lists(st.sampled_from([0, 200, 503]), max_size=60))
def test_every_change_stays(codes: list[int]) -> None:
    """As long as there is room, the kept samples tell the same changes, at the same times, as all of them."""
    kept = thin(row(codes), most=200, alike=3)
    assert [code for code, _ in groupby(codes)] == [code for code, _ in groupby(one.code for one in kept)]
    firsts = [at for at, code in enumerate(codes) if at == 0 or codes[at - 1] != code]
    assert set(firsts) <= {int(one.at_s) for one in kept}
    assert [one.at_s for one in kept] == sorted(one.at_s for one in kept)


@given(st.lists(st.sampled_from([0, 200]), max_size=300), st.integers(1, 20), st.integers(0, 20))
def test_there_are_never_too_many(codes: list[int], most: int, alike: int) -> None:
    """However often an endpoint changes its mind, no more samples are kept than may be."""
    kept = thin(row(codes), most=most, alike=alike)
    assert len(kept) == len({one.at_s for one in kept}) <= most
    assert bool(kept) == bool(codes)


def test_watch_is_what_the_host_saw() -> None:
    """A watch has the answers of its endpoint with their times, how it ended, and every restart."""
    moved = RUNNING | {"hypervisor": "active running 999 dddd 1"}
    said = {
        "watch.series": answers("hypervisor", (100.25, "no"), (101.25, "yes"), (102.25, "yes")),
        "watch.settled": "hypervisor restarted\n",
        "watch.units": presence(100.25, **RUNNING) + presence(102.0, **moved),
    }
    endpoint = Endpoint(units=(HYPERVISOR,), listen="127.0.0.1:9090", url="http://127.0.0.1:9090/login")
    seen = read_observation(frame(said))
    (watch,) = read_watches(seen, {"hypervisor": endpoint}, leg="forward", began=BEGAN, limit_s=9.0)
    assert [(one.at_s, one.good, one.code) for one in watch.samples] == [
        (0.25, False, 503),
        (1.25, True, 200),
        (2.25, True, 200),
    ]
    assert (watch.settled, watch.seconds, watch.limit_s, watch.left_out) == ("restarted", 3.5, 9.0, 0)
    assert watch.restarts == (
        "+2.0 s hypervisor.service: active (running), pid 410, 0 restarts → active (running), pid 999, 1 restarts",
    )


def test_states_are_those_of_the_contract_s_units() -> None:
    """Every unit stands there with what tells whether it changed."""
    states = read_states(read_observation(frame()).units)
    assert [one.name for one in states] == [HYPERVISOR, *LIVE]
    assert (states[0].state, states[0].pid, states[0].definition) == ("active (running)", 410, "d" * 64)
