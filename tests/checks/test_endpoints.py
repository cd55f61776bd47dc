"""Each check of an endpoint passes on a healthy one, and fails or is inconclusive on the very thing it is for."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest
from msgspec.structs import replace

from switchproof.checks.endpoints import EndpointChecks
from switchproof.checks.fixtures import Shown
from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.observe.health import EndpointSeen
from switchproof.deploy.observe.observation import read_observation
from switchproof.deploy.target.types import Endpoint, Health
from tests.answers import LIVE, RUNNING, frame, presence, unit_show

CHECKS = EndpointChecks()
WANT = Endpoint(units=LIVE, listen="127.0.0.1:8080", url="http://127.0.0.1:8080/health", json={"status": "healthy"})
PROBE = Endpoint(units=LIVE, probe="exec", command=("/run/current-system/sw/bin/ask", "-q"), user="nobody")
HELD = Health(answers=4, soak_s=3.25)
"""Just what the healthy host of the tests shows: four good answers, the first of them 3.25 s before the end."""

DOWN = "\n".join((unit_show(LIVE[0]), unit_show(LIVE[1], ActiveState="failed", SubState="failed")))
RESTARTED = presence(100.25, **RUNNING) + presence(102.0, **RUNNING | {"vm": "active running 421 eeee 1"})


def row(at: float, code: int = 200, curl: int = 0) -> str:
    good = "yes" if code == 200 and curl == 0 else "no"
    return f"{at:.2f} live {good} {code:03d} 0.001 0.00{curl} {curl} 0 127.0.0.1:8080 \n"


def series(*rows: str) -> dict[str, str | None]:
    return {"watch.series": "".join(rows)}


GOOD = tuple(row(100.25 + n) for n in range(4))


def seen(
    parts: Mapping[str, str | None] | None = None, *, health: Health = HELD, want: Endpoint = WANT
) -> EndpointSeen:
    return EndpointSeen("live", want, health, read_observation(frame(parts)))


def shown(check: str, endpoint: EndpointSeen) -> Shown:
    """What a check that passes has shown."""
    show = Shown()
    getattr(CHECKS, check)(endpoint, show)
    return show


def failure(check: str, endpoint: EndpointSeen) -> str:
    with pytest.raises(AssertionError) as raised:
        getattr(CHECKS, check)(endpoint, Shown())
    return str(raised.value)


def doubt(check: str, endpoint: EndpointSeen) -> str:
    with pytest.raises(Inconclusive) as raised:
        getattr(CHECKS, check)(endpoint, Shown())
    return str(raised.value)


ALL = (
    "test_its_units_are_active",
    "test_its_port_is_its_own",
    "test_it_answers_as_it_should",
    "test_it_stays_healthy",
)


@pytest.mark.parametrize("check", ALL)
def test_healthy_endpoint_passes(check: str) -> None:
    """What holds for just long enough, often enough, on its own port and with the right answer is enough."""
    shown(check, seen())


# Active.


@pytest.mark.parametrize("show", [DOWN, unit_show(LIVE[0])], ids=["failed", "not seen"])
def test_unit_that_is_not_active_fails(show: str) -> None:
    """One unit of several is enough, and one that the host did not report is not active."""
    assert "not active: " in failure("test_its_units_are_active", seen({"units.show": show}))


# Port.


def test_listeners_are_shown_with_the_command_of_their_kind() -> None:
    """A port is asked for otherwise than a socket in a file; each listener is shown with its process."""
    show = shown("test_its_port_is_its_own", seen())
    assert show.seen == f"127.0.0.1:8080 by {LIVE[1]} (process 430)"
    assert show.command == "ss -Htnp state listening"
    want = Endpoint(units=LIVE, probe="unix", listen="/run/live.sock", url="http://x/")
    show = shown("test_its_port_is_its_own", seen({"listeners": f"/run/live.sock 430 {LIVE[1]}\n"}, want=want))
    assert show.command == "ss -Hlxnpe"
    show = Shown()
    with pytest.raises(AssertionError, match=r"nobody listens on 127\.0\.0\.1:8080"):
        CHECKS.test_its_port_is_its_own(seen({"listeners": ""}), show)
    assert show.seen == "nobody"


BOXED = Endpoint(
    units=("box.service", "box/web.service"),
    container="box.service",
    listen="127.0.0.1:8080",
    url="http://127.0.0.1:8080/",
)


def boxed(active: str, listener: str = "box.service") -> EndpointSeen:
    """An endpoint in a container whose port the container itself has, as far as the host can tell."""
    show = "\n".join((unit_show("box.service"), unit_show("box/web.service", ActiveState=active)))
    parts = {"units.show": show, "listeners": "", "listeners.box.service": f"127.0.0.1:8080 9 {listener}\n"}
    return seen(parts, want=BOXED)


def test_listener_in_a_container_that_cannot_be_looked_into_is_inconclusive() -> None:
    """Where the unit inside is unknown, the container may well be listening for it; else it is a stranger."""
    assert "its unit inside the container is unknown" in doubt("test_its_port_is_its_own", boxed("unknown"))
    assert "not only by box/web.service" in failure("test_its_port_is_its_own", boxed("active"))
    assert "not only by box/web.service" in failure("test_its_port_is_its_own", boxed("unknown", "x.service"))
    shown("test_its_port_is_its_own", boxed("active", "box/web.service"))


# The program of a probe.


def program(text: str, problem: str = "", want: Endpoint = PROBE) -> EndpointSeen:
    return seen({"programs": text, "processes.problem": problem}, want=want)


@pytest.mark.parametrize("origin", ["system", "installed"])
def test_probe_program_of_the_system_passes(origin: str) -> None:
    """A program of the running system, or one that the bridge installed, may be asked."""
    show = shown("test_its_port_is_its_own", program(f"live {origin} /nix/store/x/bin/ask\n"))
    assert show.expected == "/run/current-system/sw/bin/ask is a file of the running system"
    assert show.seen == "/run/current-system/sw/bin/ask is the file /nix/store/x/bin/ask"
    assert show.command == "readlink -e /run/current-system/sw/bin/ask"


def test_probe_program_of_somebody_fails() -> None:
    """Anybody may have changed what it reports."""
    message = failure("test_its_port_is_its_own", program("live other /usr/local/bin/ask\n"))
    assert "is the file /usr/local/bin/ask, which is not part of the running system" in message
    assert "leads to no file" in failure("test_its_port_is_its_own", program("live other \n"))


def test_probe_program_that_was_not_seen_is_inconclusive() -> None:
    """Why it was not seen is told, if the host said so."""
    show = Shown()
    with pytest.raises(Inconclusive) as raised:
        CHECKS.test_its_port_is_its_own(program(""), show)
    assert str(raised.value) == "it is unknown whether /run/current-system/sw/bin/ask is part of the running system"
    assert show.seen == "not seen"
    message = doubt("test_its_port_is_its_own", program("", "nix is gone"))
    assert message.endswith("is part of the running system: nix is gone")


def test_probe_program_with_a_port_must_have_both() -> None:
    """A program that asks a port is held against the port as well."""
    want = msgspec.structs.replace(PROBE, listen="127.0.0.1:8080")
    good = program("live system /nix/store/x/bin/ask\n", want=want)
    shown("test_its_port_is_its_own", good)
    without = replace(good, observation=replace(good.observation, listeners=()))
    assert "nobody listens on" in failure("test_its_port_is_its_own", without)


# The answer.


def test_last_answer_is_the_one_that_counts() -> None:
    """What was bad and is good now passes, what was good and is bad now fails; the time is the last one's."""
    late = series(row(100.25, 503), row(101.25, 503), row(102.25))
    assert shown("test_it_answers_as_it_should", seen(late)).took_s == pytest.approx(0.0)
    message = failure("test_it_answers_as_it_should", seen(series(*GOOD, row(104.25, 503))))
    assert "503" in message
    show = Shown()
    with pytest.raises(AssertionError, match="no answer"):
        CHECKS.test_it_answers_as_it_should(seen(series(*GOOD, row(104.25, 0, 7))), show)
    assert show.took_s == pytest.approx(0.007)
    assert show.limit_s == pytest.approx(5.0)


def test_endpoint_that_was_never_asked_fails() -> None:
    """Silence is no answer, and took no time."""
    show = Shown()
    with pytest.raises(AssertionError, match="it was never asked"):
        CHECKS.test_it_answers_as_it_should(seen(series()), show)
    assert show.took_s is None


@pytest.mark.parametrize(
    ("rows", "is_doubtful"),
    [
        ((*GOOD, row(104.25, 0, 2)), True),
        ((row(100.25, 0, 2), *GOOD), False),
        ((*GOOD[:1], row(101.25, 0, 2), *GOOD[2:]), False),
    ],
    ids=["the last", "the first", "the second"],
)
def test_only_a_last_answer_that_curl_lost_is_inconclusive(rows: tuple[str, ...], *, is_doubtful: bool) -> None:
    """Where curl itself failed at the end, nobody knows what the endpoint answers; before that it is no matter."""
    endpoint = seen(series(*rows))
    if is_doubtful:
        assert "could not be judged" in doubt("test_it_answers_as_it_should", endpoint)
    else:
        shown("test_it_answers_as_it_should", endpoint)


def test_answer_that_cannot_be_held_against_the_system_is_inconclusive() -> None:
    """Where the running system does not say what the body should hold, a good answer proves nothing."""
    want = msgspec.structs.replace(WANT, json_of_system={"version": "etc/version", "id": "etc/id"})
    message = doubt("test_it_answers_as_it_should", seen(want=want))
    assert message.endswith("the running system lacks etc/version, etc/id")


# The soak.


@pytest.mark.parametrize(
    ("parts", "health", "says"),
    [
        ({}, Health(answers=5, soak_s=3.25), "4 good answers in a row, but 5 are needed"),
        ({}, Health(answers=4, soak_s=3.26), "healthy for only 3.2 s of 3.26 s"),
        ({"watch.units": RESTARTED}, HELD, "its processes did not stay the same"),
        (series(*GOOD, row(104.25, 503)), HELD, "0 good answers in a row, but 4 are needed"),
    ],
    ids=["too few", "too short", "another process", "none at the end"],
)
def test_each_condition_of_the_soak_fails_alone(parts: dict[str, str | None], health: Health, says: str) -> None:
    """The one that does not hold is named with its numbers."""
    assert says in failure("test_it_stays_healthy", seen(parts, health=health))


def test_watch_is_shown_to_the_millisecond_beside_its_limit() -> None:
    """A reader sees how long the host was watched, and how long it might have been."""
    endpoint = seen()
    endpoint = replace(endpoint, observation=replace(endpoint.observation, watched_s=4.12349))
    show = shown("test_it_stays_healthy", endpoint)
    assert (show.took_s, show.limit_s) == (4.123, HELD.longest_s)


GIVEN_UP: dict[str, str | None] = {"watch.reasons": "live its answers stayed the same\n"}


def test_host_that_gave_up_on_what_is_good_at_last_is_inconclusive() -> None:
    """The end of the watch contradicts why it ended; where the endpoint is bad, there is no contradiction."""
    assert "the host gave up on it" in doubt("test_it_stays_healthy", seen(GIVEN_UP))
    bad = seen(GIVEN_UP | series(*GOOD, row(104.25, 503)))
    assert "0 good answers in a row" in failure("test_it_stays_healthy", bad)
    down = seen(GIVEN_UP | {"units.show": DOWN}, health=Health(answers=5, soak_s=0.0))
    message = failure("test_it_stays_healthy", down)
    assert "4 good answers in a row, but 5 are needed" in message
    assert "given up after 4 s: its answers stayed the same" in message


@pytest.mark.parametrize(
    ("health", "is_doubtful"),
    [
        (Health(answers=4, soak_s=3.25), False),
        (Health(answers=5, soak_s=3.25), True),
        (Health(answers=4, soak_s=3.26), True),
    ],
    ids=["enough", "too few", "too short"],
)
def test_answers_that_curl_lost_are_a_doubt_only_where_the_rest_is_too_little(
    health: Health, *, is_doubtful: bool
) -> None:
    """An answer before the last good ones that nobody could judge may have been a good one as well."""
    endpoint = seen(series(row(100.1, 0, 2), *GOOD), health=health)
    assert len(endpoint.unjudged) == 1
    if is_doubtful:
        assert "1 of its answers could not be judged" in doubt("test_it_stays_healthy", endpoint)
    else:
        shown("test_it_stays_healthy", endpoint)


def test_names_of_the_checks_are_those_of_the_contract() -> None:
    """Every check of an endpoint is held here."""
    assert {name for name in vars(EndpointChecks) if name.startswith("test_")} == set(ALL)
