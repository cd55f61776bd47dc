"""Checks are given what must be at their point of the run: on the way forward, on the way back, and in an audit."""

from __future__ import annotations

import datetime as dt
import inspect
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from switchproof.checks.fixtures import Booting, RuntimeUnit
from switchproof.collection.items import Place
from switchproof.deploy.connection import ConnectionFacts
from switchproof.deploy.cutover.surroundings import fingerprint
from switchproof.deploy.errors import Inconclusive, SwitchproofError
from switchproof.deploy.observe.bridge import Installed
from switchproof.deploy.observe.observation import Observation, read_observation
from switchproof.deploy.plan import Mode
from switchproof.deploy.providers import load
from switchproof.deploy.record.events import Connected
from switchproof.deploy.record.facts import Leg
from switchproof.deploy.run.results import Before
from switchproof.deploy.settings import TARGETS
from switchproof.deploy.target.types import Bridge, BridgedProgram, Endpoint, Rollback
from switchproof.session import fixtures
from tests.answers import HOST_KEY, HYPERVISOR, LIVE, TOPLEVEL, boots, frame, unit_show

OLD, NEW = f"/nix/store/{'0' * 32}-old", f"/nix/store/{'1' * 32}-new"
TARGET = load(TARGETS / "lab.toml", {})
SEEN = read_observation(frame({}))
BUILT = SimpleNamespace(expected=NEW, installed={}, profile=NEW, boots=(NEW,), activated=True)
LINK = Installed("store", f"{OLD}/bin/x", OLD)


def asked(fixture: str, **given: object) -> Any:
    """Ask a fixture as pytest would, with what it takes."""
    return inspect.unwrap(getattr(fixtures, fixture))(**given)


def before(system: str = OLD, profile: str | None = None, *failed: str) -> Before:
    noted = replace(
        SEEN.system, running=system, profile=system if profile is None else profile, installed={"x": LINK}
    )
    return Before(noted, SEEN.units, failed)


def session(
    mode: Mode = Mode.DEPLOY,
    *,
    revision: str | None = "main",
    target: Any = TARGET,
    noted: Before | None = None,
    convergence: Any = BUILT,
    observation: Any = SEEN,
    **journey: Any,
) -> Any:
    """A run of one host, as far as the fixtures ask for it; an exception is what asking the host came to."""

    def answered(answer: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    plain: dict[str, object] = {"reboot": "", "locked_out": {}, "reconnect_s": 30.0, "kind": "ssh"}
    plain |= {"went_back": {}, "convergences": {}, "observations": {}}
    host = next((each for each in getattr(target, "hosts", ()) if each.name == "a"), None)
    return SimpleNamespace(
        plan=SimpleNamespace(mode=mode, revision=revision, target=target),
        hosts=SimpleNamespace(
            commit=lambda host: f"commit of {host}",
            before=lambda _host: noted or before(),
            convergence=lambda _host, _leg: answered(convergence),
            observation=lambda _host, _leg: answered(observation),
            choice=lambda _host: SimpleNamespace(toplevel="/nix/store/chosen"),
            journeys={"a": SimpleNamespace(**{**plain, "host": host, **journey})},
        ),
        journal=SimpleNamespace(events=[]),
    )


def at(leg: Leg = "forward", endpoint: str | None = None) -> Place:
    return Place("a", leg, endpoint)


def test_revision_is_as_it_was_asked_for() -> None:
    """An audit may ask for none, and then no commit is due."""
    assert asked("requested_revision", session=session()) == "main"
    assert asked("requested_revision", session=session(revision=None)) == ""
    assert asked("commit", session=session(), place=at()) == "commit of a"
    assert asked("commit", session=session(revision=None), place=at()) is None


@pytest.mark.parametrize(
    ("mode", "leg", "expected"),
    [
        (Mode.DEPLOY, "forward", NEW),
        (Mode.DEPLOY, "back", OLD),
        (Mode.DRILL, "again", NEW),
        (Mode.ROLLBACK, "forward", "/nix/store/chosen"),
        (Mode.ROLLBACK, "back", OLD),
    ],
)
def test_expected_system_is_that_of_the_leg(mode: Mode, leg: Leg, expected: str) -> None:
    """Forward it is the built or the chosen one, back it is the one from before."""
    assert asked("expected_system", session=session(mode), place=at(leg)) == expected


def test_expected_system_that_nobody_knows_is_inconclusive() -> None:
    """A build that named no system leaves it unknown what should run."""
    nothing = session(convergence=SimpleNamespace(expected="", installed={}))
    with pytest.raises(Inconclusive, match="a: no system was built"):
        asked("expected_system", session=nothing, place=at())


def test_profile_must_be_the_running_system_or_that_from_before() -> None:
    """A host whose profile was not known before has it point to what runs."""
    away = session(noted=before(OLD, NEW))
    assert asked("expected_profile", session=away, place=at(), observation=SEEN) == TOPLEVEL
    assert asked("expected_profile", session=away, place=at("back"), observation=SEEN) == NEW
    unknown = session(noted=before(OLD, ""))
    assert asked("expected_profile", session=unknown, place=at("back"), observation=SEEN) == TOPLEVEL


def booting(run: Any, leg: Leg = "forward", observation: Observation = SEEN) -> Booting:
    found: Booting = asked("booting", session=run, place=at(leg), observation=observation)
    return found


def test_boot_that_is_expected_depends_on_the_point_of_the_run() -> None:
    """Until a switch is confirmed a reboot returns to the earlier system; without a confirmation it must not."""
    assert (booting(session(Mode.AUDIT)).expected, booting(session(Mode.PLAN)).expected) == (TOPLEVEL, TOPLEVEL)
    assert booting(session(), "back").expected == OLD
    assert booting(session(noted=before(OLD, NEW)), "back").expected == NEW
    assert booting(session(noted=before(OLD, "")), "back").expected == OLD
    at_once = msgspec.structs.replace(TARGET, rollback=Rollback(confirm_s=0.0))
    assert booting(session(target=at_once)).expected == NEW
    assert booting(session()).expected == OLD


@pytest.mark.parametrize(
    ("profile", "boot", "expected"),
    [
        (OLD, NEW, OLD),
        (TOPLEVEL, TOPLEVEL, TOPLEVEL),
        (TOPLEVEL, NEW, NEW),
        (TOPLEVEL, OLD, OLD),
        (TOPLEVEL, "/nix/store/other", OLD),
    ],
)
def test_system_outside_the_profile_may_return_by_what_boots(profile: str, boot: str, expected: str) -> None:
    """It has no entry of systemd-boot, so the profile's system or the new one may boot until the host returns."""
    observation = read_observation(frame(dict(boots(boot))))
    assert booting(session(noted=before(OLD, profile)), observation=observation).expected == expected


BASE = f"/nix/store/{'2' * 32}-base"
SPECIAL = read_observation(frame({"system.profile": BASE, "system.specialisation": "quiet"}))
"""A host that runs the specialisation `quiet` of its profile's system."""


def test_profile_of_a_specialisation_is_the_system_that_has_it() -> None:
    """After a deploy it is the very system that was built; an audit knows the one of which the host says so."""
    built = SimpleNamespace(expected=TOPLEVEL, profile=NEW, activated=True)
    deployed = session(convergences={"forward": built})
    assert asked("expected_profile", session=deployed, place=at(), observation=SPECIAL) == NEW
    assert asked("expected_profile", session=session(Mode.AUDIT), place=at(), observation=SPECIAL) == BASE


def test_specialisation_is_demanded_where_the_target_file_decides() -> None:
    """A way back, a rollback, and a switch that did not come about leave or restore what another run chose."""
    hosts = tuple(
        msgspec.structs.replace(host, specialisation="quiet") if host.name == "a" else host for host in TARGET.hosts
    )
    target = msgspec.structs.replace(TARGET, hosts=hosts)
    switched = {"forward": SimpleNamespace(activated=True)}
    failed = {"forward": SimpleNamespace(activated=False)}

    def demanded(mode: Mode, leg: Leg = "forward", at_target: Any = target, **journey: Any) -> str | None:
        name: str | None = asked("specialisation", session=session(mode, target=at_target, **journey), place=at(leg))
        return name

    assert demanded(Mode.AUDIT) == demanded(Mode.DEPLOY, convergences=switched) == "quiet"
    assert demanded(Mode.AUDIT, at_target=TARGET) == ""
    assert demanded(Mode.DEPLOY) is demanded(Mode.DEPLOY, convergences=failed) is None
    assert demanded(Mode.DEPLOY, "back", convergences=switched) is demanded(Mode.ROLLBACK) is None


@pytest.mark.parametrize(("boot", "expected"), [(BASE, BASE), (TOPLEVEL, TOPLEVEL), (OLD, BASE)])
def test_boot_of_a_specialisation_is_that_of_the_system_that_has_it(boot: str, expected: str) -> None:
    """Or of the specialisation itself, where somebody told the boot loader to start it."""
    seen = read_observation(frame({"system.profile": BASE, "system.specialisation": "quiet", **boots(boot)}))
    assert booting(session(Mode.AUDIT), observation=seen).expected == expected
    noted = Before(seen.system, seen.units, ())
    assert booting(session(noted=noted), observation=seen).expected == expected
    assert booting(session(noted=noted), "back", observation=seen).expected == expected
    at_once = msgspec.structs.replace(TARGET, rollback=Rollback(confirm_s=0.0))
    built = SimpleNamespace(expected=TOPLEVEL, boots=(BASE, TOPLEVEL))
    assert booting(session(target=at_once, convergence=built), observation=seen).expected == expected


def test_reboot_and_own_return_are_told_in_the_host_s_words() -> None:
    """On the leg on which they were seen."""
    run = session(reboot="it rebooted", went_back={"forward": "it went back"})
    assert asked("reboot", session=run, place=at()) == "it rebooted"
    assert asked("went_back", session=run, place=at(), observation=SEEN) == "it went back"
    assert asked("went_back", session=run, place=at("back"), observation=SEEN) == ""


GONE = SwitchproofError("the connection was lost")


def test_new_connection_is_judged_by_what_was_tried() -> None:
    """A refusal is told even if the host was not seen after it; what was not tried at all is inconclusive."""

    def locked_out(run: Any) -> Any:
        return asked("locked_out", session=run, place=at())

    assert locked_out(session(locked_out={"forward": ""})) == ""
    assert locked_out(session(locked_out={"forward": "refused"}, observation=GONE)) == "refused"
    with pytest.raises(SwitchproofError, match="the connection was lost"):
        locked_out(session(observation=GONE))
    with pytest.raises(Inconclusive, match="a: the connection was lost before a new one could be tried"):
        locked_out(session())
    assert locked_out(session(reconnect_s=0.0)) == ""
    with pytest.raises(SwitchproofError, match="the connection was lost"):
        locked_out(session(convergence=GONE, locked_out={"forward": ""}))
    assert asked("within_s", session=session(reconnect_s=7.0), place=at()) == 7.0


@pytest.mark.parametrize(
    ("kind", "locked_out", "within_s", "words"),
    [
        ("ssh", "refused", 30.0, "refused"),
        ("ssh", "", 0.0, "not tried, because converge.reconnect_s is 0"),
        ("ssm", "", 30.0, "not tried: every question reaches the host separately (ssm), and these did"),
        ("ssh", "", 30.0, "a new connection was accepted within 30 s"),
    ],
)
def test_no_more_is_said_of_a_new_connection_than_was_tried(
    kind: str, locked_out: str, within_s: float, words: str
) -> None:
    """A refusal comes first, then that nothing was tried, then that one was accepted."""
    run = session(kind=kind)
    assert asked("let_in", session=run, place=at(), locked_out=locked_out, within_s=within_s) == words


def test_problem_that_came_first_is_told() -> None:
    """The host's own return, or what became of the switch; an audit has neither."""

    def derived(run: Any, went_back: str = "") -> Any:
        return asked("earlier_problem", session=run, place=at(), went_back=went_back)

    assert derived(session(), "it went back") == "it went back"
    assert derived(session(convergence=GONE)) == "the connection was lost"
    assert derived(session()) == ""
    assert derived(session(Mode.AUDIT, convergence=GONE)) == ""


def test_units_that_failed_anew_are_those_outside_the_contract() -> None:
    """What failed before, and what has a clause of its own, is left out."""
    names = ("z.service", "a.service", "old.service", HYPERVISOR)
    observation = replace(SEEN, failed=names)
    noted = before(OLD, None, "old.service", "gone.service")
    found = asked("newly_failed", session=session(), before=noted, observation=observation)
    assert found == ["a.service", "z.service"]


def test_units_behind_what_is_not_healthy_are_unwell() -> None:
    """An endpoint that the target file does not have says nothing."""
    settled = {"hypervisor": "healthy", "live": "unhealthy", "other": "unhealthy"}
    observation = replace(SEEN, settled=settled)
    found = asked("unhealthy_units", session=session(), observation=observation)
    assert found == set(TARGET.runtime["live"].units)


BRIDGED = msgspec.structs.replace(
    TARGET,
    bridge=Bridge(
        programs={
            "x": BridgedProgram(path=f"/nix/store/{'a' * 32}-x", file="bin/x", at="/opt/x"),
            "y": BridgedProgram(file="bin/y", at="/opt/y"),
        }
    ),
)
GIVEN = {"x": f"/nix/store/{'a' * 32}-x"}


@pytest.mark.parametrize(
    ("mode", "leg", "built", "wanted", "is_noted"),
    [
        (Mode.DEPLOY, "forward", None, GIVEN, False),
        (Mode.DEPLOY, "forward", {"y": NEW}, GIVEN | {"y": NEW}, False),
        (Mode.DEPLOY, "forward", {"x": NEW}, {"x": NEW}, False),
        (Mode.DRILL, "again", None, GIVEN, False),
        (Mode.DEPLOY, "back", {"y": NEW}, {}, True),
        (Mode.ROLLBACK, "forward", None, {}, False),
        (Mode.ROLLBACK, "back", None, {}, True),
    ],
)
def test_programs_of_the_bridge_are_the_given_the_built_or_the_earlier_ones(
    mode: Mode, leg: Leg, built: dict[str, str] | None, wanted: dict[str, str], *, is_noted: bool
) -> None:
    """A rollback asks for none, and the way back for exactly what was there."""
    ended = {} if built is None else {leg: SimpleNamespace(installed=built)}
    run = session(mode, target=BRIDGED, convergences=ended)
    found = asked("installation", session=run, place=at(leg), observation=SEEN)
    assert found.wanted == wanted
    assert found.before == ({"x": LINK} if is_noted else None)
    assert found.seen == SEEN.system.installed


def units(definition: str, invocation: str) -> Observation:
    return read_observation(
        frame(
            {
                "units.show": "\n".join(
                    unit_show(name, InvocationID=invocation if name == HYPERVISOR else "b" * 32)
                    for name in (HYPERVISOR, *LIVE)
                ),
                "units.definition": "".join(
                    f"{name} {definition if name == HYPERVISOR else 'd' * 64}\n" for name in (HYPERVISOR, *LIVE)
                ),
            }
        )
    )


WAS = units("d" * 64, "a" * 32)


def not_restarted(leg: Leg, now: Observation, **between: Observation) -> Any:
    noted = Before(WAS.system, WAS.units, ())
    run = session(observations=between)
    return asked("changed_but_not_restarted", session=run, place=at(leg), before=noted, observation=now)


def test_unit_that_changed_must_have_another_invocation() -> None:
    """One that is the same, was restarted, does not run, or was not there before is none."""
    assert not_restarted("forward", units("e" * 64, "a" * 32)) == [HYPERVISOR]
    assert not_restarted("forward", units("e" * 64, "c" * 32)) == []
    assert not_restarted("forward", WAS) == []
    assert not_restarted("forward", units("e" * 64, "")) == []
    known = {name: unit for name, unit in WAS.units.items() if name != HYPERVISOR}
    noted = Before(WAS.system, known, ())
    now = units("e" * 64, "a" * 32)
    assert asked("changed_but_not_restarted", session=session(), place=at(), before=noted, observation=now) == []


def test_restart_is_held_against_the_leg_before() -> None:
    """On the way back against what ran forward, on the second way forward against what ran on the way back."""
    stayed, changed = units("e" * 64, "a" * 32), units("e" * 64, "c" * 32)
    assert not_restarted("back", units("d" * 64, "c" * 32), forward=changed) == [HYPERVISOR]
    assert not_restarted("back", WAS, forward=changed) == []
    assert not_restarted("again", stayed, forward=changed, back=WAS) == [HYPERVISOR]
    assert not_restarted("again", stayed, back=stayed) == []
    assert not_restarted("back", stayed) == [HYPERVISOR]


def test_endpoint_knows_its_peers() -> None:
    """A runtime unit is told apart from the others, the hypervisor from all of them."""
    run = session()
    live = asked("endpoint", session=run, place=at(endpoint="live"), observation=SEEN)
    assert (live.name, live.want, live.health) == ("live", TARGET.runtime["live"], TARGET.health)
    assert live.peers.keys() == TARGET.runtime.keys() - {"live"}
    hypervisor = asked("endpoint", session=run, place=at(endpoint="hypervisor"), observation=SEEN)
    assert hypervisor.want == TARGET.hypervisor
    assert hypervisor.peers.keys() == TARGET.runtime.keys()
    assert asked("unit", session=run, place=at(endpoint="live")) == RuntimeUnit("live", TARGET.runtime["live"])
    for fixture, given in (("endpoint", {"observation": SEEN}), ("unit", {})):
        with pytest.raises(AssertionError):
            asked(fixture, session=run, place=at(), **given)


def test_hypervisor_s_absence_has_its_reason() -> None:
    """In the target file's words; empty where there is one."""
    absent = msgspec.structs.replace(TARGET, hypervisor=Endpoint(absent="none here"))
    assert asked("no_hypervisor", session=session(target=absent), place=at()) == "none here"
    assert asked("no_hypervisor", session=session(), place=at()) == ""


def test_ports_of_the_host_itself_are_listened_on() -> None:
    """Neither sockets in files nor ports in containers are the host's."""
    web = Endpoint(units=("a.service",), listen="127.0.0.1:80", url="http://127.0.0.1/")
    runtime = {
        "web": web,
        "file": msgspec.structs.replace(web, listen="/run/s"),
        "box": msgspec.structs.replace(web, listen="127.0.0.1:81", container="a.service"),
    }
    target = msgspec.structs.replace(TARGET, hypervisor=Endpoint(absent="none"), runtime=runtime)
    assert asked("listened_on", session=session(target=target)) == ("127.0.0.1:80",)


def test_declaration_is_the_target_file_s() -> None:
    """The plan has refused a cutover without one."""
    with pytest.raises(AssertionError):
        asked("declared", session=session(target=msgspec.structs.replace(TARGET, declared=None)))
    declared = object()
    assert asked("declared", session=session(target=SimpleNamespace(declared=declared))) is declared


def test_pinned_keys_are_those_of_the_file_and_of_the_connections() -> None:
    """Those of other hosts are not, nor is a connection that showed none."""

    def connected(host: str, host_key: str) -> Connected:
        facts = ConnectionFacts(kind="ssh", host_key=host_key)
        return Connected(at=dt.datetime(2026, 11, 27, tzinfo=dt.UTC), host=host, connection=facts)

    hosts = [
        SimpleNamespace(name=name, part=lambda kind, key=key: kind(address="x", host_keys=(key,)))
        for name, key in (("b", "ssh-rsa AAAA"), ("a", HOST_KEY))
    ]
    run = session(target=SimpleNamespace(hosts=hosts))
    run.journal.events = [connected("a", "shown"), connected("b", "other"), connected("a", ""), object()]
    assert asked("pinned_keys", session=run, place=at()) == sorted({fingerprint(HOST_KEY), "shown"})
