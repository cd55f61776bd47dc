"""Each way in which a container's workload can be unwell is called by its own name, and by no other's."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from switchproof.deploy.observe.causes.case import Case
from switchproof.deploy.observe.causes.in_machine import find_cause
from switchproof.deploy.observe.health import EndpointSeen
from switchproof.deploy.observe.observation import read_observation
from switchproof.deploy.target.types import Endpoint, Health
from tests.answers import bodies, frame, unit_show
from tests.observe import test_cause
from tests.observe.test_cause import GAVE_UP, GOOD, KILL, LEAVE, lines, series

OUTER, INNER = "container@sandbox-live.service", "sandbox-live/sandbox.service"
WANT = Endpoint(
    units=(OUTER, INNER),
    container=OUTER,
    listen="127.0.0.1:8080",
    url="http://127.0.0.1:8080/health",
    json={"status": "healthy", "instance_role": "live"},
    json_of_system={"version": "etc/choiros/version"},
)
DEV = Endpoint(
    units=("container@sandbox-dev.service",),
    listen="127.0.0.1:8080",
    url="http://127.0.0.1:8080/health",
    json={"status": "healthy", "instance_role": "dev"},
)
HEALTH = Health(answers=3, soak_s=2.0)
FACTS = {"leader": "420 Ss 600 ep_poll", "systemd": "answers", "process": "430 S 600 wait", "network": "UP"}
REFUSED = "7 Failed to connect to 127.0.0.1 port 8080"
TIMED_OUT = "28 Operation timed out with 0 bytes received"
DOWN = "7 its container is not up"


def seen(
    rounds: tuple[str, ...],
    *,
    body: str = "",
    outer: str = "",
    inner: str = "",
    lives: tuple[str, ...] = ("bbbb",),
    outer_lives: tuple[str, ...] = ("aaaa",),
    outside: str = "",
    inside: str = "",
    facts: Mapping[str, str] | None = None,
) -> EndpointSeen:
    """Live in its container, with everything well that is not given; a fact that is empty was not seen.

    `outer` and `inner` are states of the two units, `outer_lives` and `lives` their invocations, in turn.
    """
    states = {OUTER: outer or "active running", INNER: inner or "active running"}
    shown = [
        unit_show(
            unit, LoadState="not-found" if active == "not-found" else "loaded", ActiveState=active, SubState=sub
        )
        for unit, (active, sub) in ((unit, state.split(" ", 1)) for unit, state in states.items())
    ]
    presences = "".join(
        f"at {100.2 + n:.2f}\n{OUTER} active running 410 {outer_lives[n % len(outer_lives)]} 0\n"
        f"{INNER} active running 9 {life} {n}\n"
        for n, life in enumerate(lives)
    )
    told = {name: text for name, text in (FACTS | dict(facts or {})).items() if text}
    parts: dict[str, str | None] = {
        "watch.series": series(*rounds),
        "watch.ended": f"{100.25 + len(rounds):.2f}",
        "watch.units": presences,
        **bodies({"live": body, "live good": GOOD}),
        "units.show": "\n".join(shown),
        "due.live": "etc/choiros/version v2\n",
        "container.live": "".join(f"{name} {text}\n" for name, text in told.items()),
        "outside.live": outside,
        "inside.live": inside,
    }
    return EndpointSeen("live", WANT, HEALTH, read_observation(frame(parts)), {"dev": DEV})


def inner(text: str) -> str:
    """A line of systemd about the unit inside instead of the machine."""
    return text.replace("cloud-hypervisor@live.service", "sandbox.service")


GONE = {"leader": "none", "systemd": "", "process": "", "network": ""}
BACK = ("good", REFUSED, "good", "good", "good")
NEW = {"process": "530 S 2 wait"}
NEW_OUTER = {"leader": "530 Ss 2 -", "process": "540 S 2 wait"}
AGAIN = "sandbox.service: Scheduled restart job, restart counter is at 1."
EXITED = "container@sandbox-live.service: Main process exited, code=exited, status=1/FAILURE"

CASES: list[tuple[Case, EndpointSeen]] = [
    (Case.CONTAINER_DOWN, seen((DOWN,), outer="inactive dead", inner="inactive container down", facts=GONE)),
    (Case.CONTAINER_STARTING, seen((DOWN,), outer="activating start", inner="inactive container down", facts=GONE)),
    (
        Case.CONTAINER_STARTING,
        seen((DOWN,), outer="activating start-pre", inner="inactive container down", facts=GONE),
    ),
    (Case.CONTAINER_FAILED, seen((DOWN,), outer="failed failed", inner="inactive container down", facts=GONE)),
    (
        Case.CONTAINER_GIVEN_UP,
        seen(
            (DOWN,),
            outer="failed failed",
            inner="inactive container down",
            outside=lines(EXITED, GAVE_UP),
            facts=GONE,
        ),
    ),
    (
        Case.CONTAINER_LOOP,
        seen(
            BACK,
            lives=("cccc", "dddd"),
            outer_lives=("aaaa", "eeee"),
            outside=lines(EXITED, AGAIN, EXITED, AGAIN),
            facts=NEW_OUTER,
        ),
    ),
    (
        Case.CONTAINER_LOOP,
        seen((DOWN,), outer="activating auto-restart", outside=lines(EXITED, AGAIN) * 2, facts=GONE),
    ),
    (
        Case.CONTAINER_ENDED,
        seen(
            BACK, lives=("cccc", "dddd"), outer_lives=("aaaa", "eeee"), outside=lines(EXITED, AGAIN), facts=NEW_OUTER
        ),
    ),
    (Case.CONTAINER_ENDED, seen((DOWN,), outer="activating auto-restart", outside=lines(EXITED), facts=GONE)),
    (
        Case.CONTAINER_RESTARTED,
        seen(BACK, body=GOOD, lives=("cccc", "dddd"), outer_lives=("aaaa", "eeee"), outside=lines("Stopping x")),
    ),
    (
        Case.SYSTEMD_SILENT,
        seen(("good",) * 4, inner="unknown silent", facts={"systemd": "silent", "leader": "420 Ts 600 -"}),
    ),
    (Case.UNIT_MISSING, seen((REFUSED,), inner="not-found dead", facts={"process": ""})),
    (Case.UNIT_DOWN, seen((REFUSED,), inner="inactive dead", facts={"process": ""})),
    (Case.UNIT_FAILED, seen((REFUSED,), inner="failed failed", facts={"process": ""})),
    (
        Case.UNIT_GIVEN_UP,
        seen((REFUSED,), inner="failed failed", facts={"process": ""}, inside=lines(inner(KILL), GAVE_UP)),
    ),
    (Case.UNIT_LOOP, seen((REFUSED,), inside=lines(inner(KILL), AGAIN, inner(KILL), AGAIN), facts=NEW)),
    (
        Case.UNIT_LOOP,
        seen(BACK, body=GOOD, lives=("aaaa", "bbbb", "cccc"), inside=lines(inner(KILL), AGAIN), facts=NEW),
    ),
    (Case.UNIT_KILLED, seen(BACK, body=GOOD, lives=("aaaa", "bbbb"), inside=lines(inner(KILL), AGAIN), facts=NEW)),
    (
        Case.UNIT_KILLED,
        seen((REFUSED,), inner="activating auto-restart", facts={"process": ""}, inside=lines(inner(KILL))),
    ),
    (Case.UNIT_ENDED, seen(BACK, body=GOOD, lives=("aaaa", "bbbb"), inside=lines(inner(LEAVE), AGAIN), facts=NEW)),
    (Case.UNIT_RESTARTED, seen(BACK, body=GOOD, lives=("aaaa", "bbbb"), inside=lines("Stopping x", "Stopped x"))),
    (Case.UNIT_STOPPED, seen(("good", TIMED_OUT), facts={"process": "430 T 600 do_signal_stop"})),
    (Case.NETWORK_DOWN, seen((REFUSED,), facts={"network": " "})),
    (Case.UNIT_NOT_LISTENING, seen((REFUSED,))),
    (Case.HANGING, seen((TIMED_OUT,))),
    (Case.BAD_STATUS, seen(("503",), body="overloaded")),
    (Case.UNHEALTHY, seen(("200",), body=GOOD.replace("healthy", "degraded"))),
    (Case.OTHER_RELEASE_INSIDE, seen(("200",), body=GOOD.replace("v2", "v1"))),
    (Case.MISTAKEN, seen(("200",), body=GOOD.replace("live", "dev"))),
]


@pytest.mark.parametrize(
    ("case", "endpoint"), CASES, ids=[f"{case.name.lower()}-{n}" for n, (case, _) in enumerate(CASES)]
)
def test_case_is_called_by_its_name(case: Case, endpoint: EndpointSeen) -> None:
    """What the host saw of a case leads to its name, and what was seen and what to try stand beside it."""
    cause = find_cause(endpoint)
    assert cause is not None
    assert cause.case is case
    assert str(cause).startswith(f"{case} (")
    assert cause.remedy
    assert "{" not in cause.remedy


def test_every_case_has_been_seen() -> None:
    """There is no name that nothing leads to, in a machine or in a container."""
    assert {case for case, _ in [*CASES, *test_cause.CASES]} == set(Case)


def test_a_healthy_workload_has_no_cause() -> None:
    """Good answers over the soak, from the same processes, are nobody's fault."""
    assert find_cause(seen(("good",) * 5, body=GOOD)) is None


def test_old_restarts_are_not_todays_trouble() -> None:
    """A program that was killed twice long before, and has run since, is not in a crash loop."""
    cause = find_cause(seen((TIMED_OUT,), inside=lines(inner(KILL), AGAIN, inner(KILL), AGAIN)))
    assert cause is not None
    assert cause.case is Case.HANGING
