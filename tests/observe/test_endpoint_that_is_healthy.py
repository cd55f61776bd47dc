"""An endpoint is healthy if it held for long enough, often enough and as the same process, and holds now."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest

from switchproof.deploy.observe.health import EndpointSeen
from switchproof.deploy.observe.observation import read_observation
from switchproof.deploy.target.types import Endpoint, Health
from tests.answers import BODIES, LIVE, RUNNING, answers, bodies, direct_answer, frame, presence, unit_show

ENDPOINT = Endpoint(
    units=LIVE,
    listen="127.0.0.1:8080",
    url="http://127.0.0.1:8080/health",
    json={"status": "healthy"},
    backend="http://10.0.0.100:8080/health",
)
HELD = Health(answers=4, soak_s=3.25)
"""Just what the healthy host of the tests shows: four good answers, the first of them 3.25 s before the end."""

RESTARTED = presence(100.25, **RUNNING) + presence(102.0, **RUNNING | {"vm": "active running 421 eeee 1"})
DOWN = "\n".join((unit_show(LIVE[0]), unit_show(LIVE[1], ActiveState="failed")))


def seen(
    parts: Mapping[str, str | None] | None = None, *, health: Health = HELD, want: Endpoint = ENDPOINT
) -> EndpointSeen:
    return EndpointSeen("live", want, health, read_observation(frame(parts)))


def test_endpoint_that_held_just_long_enough_is_healthy() -> None:
    """As many answers over as long a time as the target file asks for are enough."""
    assert seen().healthy


@pytest.mark.parametrize(
    "endpoint",
    [
        seen(health=Health(answers=5, soak_s=3.25)),
        seen(health=Health(answers=4, soak_s=3.26)),
        seen({"watch.units": RESTARTED}),
        seen({"units.show": DOWN}),
        seen({"answer.live": "{}"}),
        seen({"watch.series": answers("live", *((100.25 + n, "no") for n in range(4)))}),
        seen({"watch.series": ""}),
    ],
    ids=["too few answers", "too short", "another process", "a unit is down", "another body", "bad", "never asked"],
)
def test_each_condition_of_the_soak_counts_alone(endpoint: EndpointSeen) -> None:
    """An endpoint that lacks one of the conditions is not healthy, however well it meets all others."""
    assert not endpoint.healthy


@pytest.mark.parametrize(
    ("row", "exposed"),
    [
        (f"127.0.0.1:8080 430 {LIVE[1]}", False),
        (f"[::1]:8080 430 {LIVE[1]}", False),
        (f"10.0.0.1:8080 430 {LIVE[1]}", True),
        (f"10.0.0.1:8080 430 {LIVE[0]}", True),
        (f"0.0.0.0:8080 430 {LIVE[1]}", True),
        ("0.0.0.0:8080 9 stranger.service", True),
        ("10.0.0.1:8080 9 stranger.service", False),
        (f"10.0.0.1:8081 430 {LIVE[1]}", False),
    ],
)
def test_sockets_that_others_reach_are_exposed(row: str, exposed: bool) -> None:
    """On a private port that is a socket of its units, or one that hears what comes to it, on more than loopback."""
    assert bool(seen({"listeners": f"{row}\n"}).exposed) is exposed


def test_nobody_is_exposed_on_a_port_for_everybody() -> None:
    """Where the target file lets anybody reach the port, no socket on it reaches too far."""
    public = msgspec.structs.replace(ENDPOINT, exposure="any")
    assert seen({"listeners": f"10.0.0.1:8080 430 {LIVE[1]}\n"}, want=public).exposed == []


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("127.0.0.1:80 9 stranger.service\n", ""),
        (f"127.0.0.1:80 430 {LIVE[0]}\n", ""),
        (f"127.0.0.1:80 430 {LIVE[1]}\n" * 2, "; it listens on 127.0.0.1:80 instead"),
    ],
)
def test_unit_that_listens_elsewhere_is_told(rows: str, told: str) -> None:
    """Only the unit that should listen is looked for, and each of its addresses is told once."""
    assert seen({"listeners": rows}).elsewhere == told


def test_endpoint_in_a_container_is_looked_for_in_its_network() -> None:
    """A socket on its port in another network is neither its listener nor exposed, and is told with its place."""
    own = f"{LIVE[0]}/web.service"
    inside = Endpoint(
        units=(LIVE[0], own), container=LIVE[0], listen="127.0.0.1:8080", url="http://127.0.0.1:8080/health"
    )
    everywhere = f"0.0.0.0:8080 430 {own}\n"
    outside = seen({"listeners": everywhere}, want=inside)
    assert (outside.listeners, outside.exposed) == ([], [])
    assert outside.elsewhere == "; it listens on 0.0.0.0:8080 in the network of the host instead"
    here = seen({"listeners": "", f"listeners.{LIVE[0]}": everywhere}, want=inside)
    assert [one.pid for one in here.listeners] == [one.pid for one in here.exposed] == [430]
    assert here.elsewhere == "; it listens on 0.0.0.0:8080 instead"


def series(*said: str) -> dict[str, str | None]:
    """Answers with these bodies by number, each a second after the other; `?` was not sent, `!` not received."""
    rows = "".join(
        f"{100 + at}.00 live yes 200 0.001 0.002 {23 if one == '!' else 0} {one} 127.0.0.1:8080 \n"
        for at, one in enumerate(said)
    )
    sent = bodies({"live 0": BODIES["live"], "live 1": "{}"})
    return {"watch.series": rows, **sent}


@pytest.mark.parametrize(
    ("said", "count"), [("0", 0), ("?", 1), ("0?", 1), ("?0?", 2), ("??0", 2), ("?1?", 1), ("?1", 0), ("!0?!", 3)]
)
def test_answers_of_which_nothing_is_known_are_counted_after_the_last_bad_one(said: str, count: int) -> None:
    """What could not be seen neither passes nor fails; a bad answer before it has settled what it was about."""
    assert len(seen(series(*said)).unjudged) == count


@pytest.mark.parametrize(
    ("backend", "told"),
    [
        (None, "the workload was not asked at http://10.0.0.100:8080/health"),
        ("", "the workload itself does not answer at http://10.0.0.100:8080/health either (nothing)"),
        (
            direct_answer("", "200 0.001 0.002 0 "),
            "the workload itself answers at http://10.0.0.100:8080/health with HTTP 200",
        ),
        (
            direct_answer("", "000 0.001 0.002 7 "),
            f"the workload itself does not answer at {ENDPOINT.backend} either (connection refused or no route)",
        ),
    ],
)
def test_what_the_workload_itself_said_is_told(backend: str | None, told: str) -> None:
    """Whether it was asked, whether anything came of that, and what."""
    parts = {"backend.live": backend}
    assert seen(parts).asked_directly == told
    assert seen(parts).answer_problem is None


def test_history_says_why_only_of_answers_with_the_wanted_status() -> None:
    """Of another status, or none, the answer itself says what is wrong."""
    rows = "100.00 live no 503 0.001 0.002 0 0 127.0.0.1:8080 \n101.00 live no 000 0 0.1 7 - - refused\n"
    told = seen({"watch.series": rows}).history.split("; ")
    assert told == ["+0.0 s HTTP 503 (bad)", "+1.0 s connection refused or no route (refused) (bad)"]


@pytest.mark.parametrize("said", ["10", "110", "0010"])
def test_last_answer_is_the_one_that_is_told(said: str) -> None:
    """Whatever came before, the last answer is shown, its body is the endpoint's, and keys are looked for in it."""
    endpoint = seen(series(*said))
    assert endpoint.body == BODIES["live"]
    assert endpoint.json_problem({"instance_role": "live"}) is None
    assert endpoint.seen == f"HTTP 200 in 2 ms: {BODIES['live']}"
    worse = seen(series(*said, "!"))
    assert worse.seen == "the answer could not be stored on the host"
    assert worse.json_problem({"instance_role": "live"}) == "the body is not JSON"
    assert seen({"watch.series": ""}).json_problem({"instance_role": "live"}) == "the body is not JSON"


@pytest.mark.parametrize(("length", "cut"), [(299, False), (300, False), (301, True)])
def test_long_body_is_cut_for_the_reader(length: int, cut: bool) -> None:
    """Up to 300 characters are shown whole; of more the first 300, and how many there are."""
    told = seen({"answer.live": "x" * length}).seen
    assert told == f"HTTP 200 in 2 ms: {'x' * 300}… (301 characters)" if cut else told.endswith(": " + "x" * length)


def test_answer_that_came_says_nothing_of_the_workload_behind() -> None:
    """Only where the forward itself did not answer, what the workload said by itself is told with the problem."""
    backend = direct_answer("", "200 0.001 0.002 0 ")
    answered = "100.00 live no 503 0.001 0.002 0 0 127.0.0.1:8080 \n"
    assert seen({"watch.series": answered, "backend.live": backend}).answer_problem == "HTTP 503 instead of 200"
    refused = "100.00 live no 000 0 0.1 7 - - refused\n"
    problem = seen({"watch.series": refused, "backend.live": backend}).answer_problem
    assert problem is not None
    assert problem.endswith("with HTTP 200")


def test_watch_that_was_cut_short_says_for_whom() -> None:
    """Watched to its end it says nothing of that; else it names who was given up, if that is known."""
    assert seen().cut_short == ""
    assert seen({"watch.settled": "hypervisor cut-short\nlive healthy\n"}).cut_short == ""
    cut = "hypervisor same-answer\nlive cut-short\n"
    known = seen({"watch.settled": cut, "watch.reasons": "hypervisor it answered 503 each time\n"})
    assert known.cut_short == "not watched to its end, because the host gave up on hypervisor first"
    assert seen({"watch.settled": cut}).cut_short == (
        "not watched to its end, because the host gave up on another endpoint first"
    )
