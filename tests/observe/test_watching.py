"""Health over time is kept in few samples, of which none that matters is missing."""

from __future__ import annotations

import datetime as dt
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchproof.deploy.observe.observation import read_observation
from switchproof.deploy.observe.watching import read_states, read_watches, thin
from switchproof.deploy.record.facts import Sample, Watch
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


WEB = Endpoint(units=(HYPERVISOR,), listen="127.0.0.1:9090", url="http://127.0.0.1:9090/login")


def watch_of(series: str, want: Endpoint | None = WEB, settled: str = "healthy", **parts: str) -> Watch:
    """The watch of one endpoint, by its answers as the host told them."""
    said = {"watch.series": series, "watch.settled": f"hypervisor {settled}\n", "watch.units": ""}
    seen = read_observation(frame(said | {name.replace("_", "."): text for name, text in parts.items()}))
    endpoints = {} if want is None else {"hypervisor": want}
    (watch,) = read_watches(seen, endpoints, leg="forward", began=BEGAN, limit_s=9.0)
    return watch


def test_both_ends_of_what_is_alike_stay() -> None:
    """The first and the last of a row of equal samples tell how long it lasted."""
    assert [one.at_s for one in thin(row([200] * 5), alike=0)] == [0.0, 4.0]
    assert [one.at_s for one in thin(row([200, 200, 200, 503, 503, 503]), alike=0)] == [0.0, 2.0, 3.0, 5.0]
    assert [one.at_s for one in thin(row([503, 200]), alike=0)] == [0.0, 1.0]
    assert [one.at_s for one in thin(row([200]), alike=0)] == [0.0]
    assert thin([]) == []


def test_as_many_as_may_be_all_stay() -> None:
    """Nothing is left out while there is room, and what is left out is so evenly."""
    assert [one.at_s for one in thin(row([0, 200] * 3), most=6)] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert [one.at_s for one in thin(row([0, 200] * 3), most=3)] == [0.0, 2.0, 4.0]
    assert [one.at_s for one in thin(row([200] * 6), alike=2)] == [0.0, 1.0, 3.0, 5.0]


def test_long_watch_is_short_enough_for_a_record() -> None:
    """Of a long row of equal answers 40 stay between its ends, and no more than 200 of any; the rest is counted."""
    alike = watch_of(answers("hypervisor", *((100.25 + at, "yes") for at in range(300))))
    assert (len(alike.samples), alike.left_out) == (42, 258)
    unlike = watch_of(answers("hypervisor", *((100.25 + at, ("yes", "no")[at % 2]) for at in range(300))))
    assert (len(unlike.samples), unlike.left_out) == (200, 100)


def test_no_more_than_200_restarts_are_told() -> None:
    """A unit that restarts without end does not fill the record."""
    moved = "".join(
        presence(100.25 + at, **RUNNING | {"hypervisor": f"active running {400 + at} aaaa{at} {at}"})
        for at in range(300)
    )
    assert len(watch_of(answers("hypervisor", (100.25, "yes")), watch_units=moved).restarts) == 200


@pytest.mark.parametrize(
    ("last", "told", "settled"),
    [
        ("yes", "healthy", "healthy"),
        ("no", "healthy", "unhealthy"),
        ("no", "same-answer", "same-answer"),
        ("yes", "restarted", "restarted"),
    ],
)
def test_host_that_calls_a_bad_last_answer_healthy_is_not_believed(last: str, told: str, settled: str) -> None:
    """The runner judges every answer again; how else a watch ended is as the host told it."""
    series = answers("hypervisor", (100.25, "no"), (101.25, "yes"), (102.25, "yes"), (103.25, last))
    assert watch_of(series, settled=told).settled == settled


def test_healthy_row_that_ended_bad_counts_by_its_end() -> None:
    """Only the last answer of a watch says how it ended, whatever came before it."""
    series = answers("hypervisor", (100.25, "yes"), (101.25, "yes"), (102.25, "no"))
    assert watch_of(series).settled == "unhealthy"
    series = answers("hypervisor", (100.25, "no"), (101.25, "no"), (102.25, "yes"))
    assert watch_of(series).settled == "healthy"


def test_times_are_kept_as_finely_as_they_matter() -> None:
    """Milliseconds of when it was, and microseconds of how long an answer took."""
    series = "100.25555 hypervisor yes 200 0.001 0.00212349 0 0 127.0.0.1:9090 \n"
    watch = watch_of(series, watch_ended="103.50555")
    assert [(one.at_s, one.seconds) for one in watch.samples] == [(0.256, 0.002123)]
    assert watch.seconds == 3.506


def test_endpoint_that_the_target_file_does_not_name_is_told_as_the_host_saw_it() -> None:
    """Nobody knows what it should answer, so the host's own judgement and words stand."""
    watch = watch_of(answers("hypervisor", (100.25, "no")), want=None)
    assert (watch.settled, watch.probe, watch.restarts) == ("healthy", "", ())
    assert [one.good for one in watch.samples] == [False]


def test_probe_is_told_by_its_kind() -> None:
    """A status and words of HTTP belong to an answer over HTTP alone."""
    series = "100.25 hypervisor yes 200 0.001 0.002 0 0 127.0.0.1:9090 \n"
    watch = watch_of(series)
    assert watch.probe == "http http://127.0.0.1:9090/login"
    assert [(one.code, one.words) for one in watch.samples] == [(200, "HTTP 200 in 2 ms")]
    program = Endpoint(units=(HYPERVISOR,), probe="exec", command=("/x", "y"), user="root", exit_code=3)
    series = "100.25 hypervisor yes 3 0.001 0.002 0 0 - \n101.25 hypervisor no 4 0.001 0.002 0 0 - \n"
    watch = watch_of(series, want=program)
    assert watch.probe == "exec /x y"
    assert [(one.good, one.code, one.words) for one in watch.samples] == [
        (True, 0, "exit code 3"),
        (False, 0, "exit code 4, not as it should be"),
    ]
