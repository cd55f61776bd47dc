"""Gives checks their fixtures: what was observed on a host, and what is expected of it."""

from __future__ import annotations

import pytest
import testinfra.host

from switchproof.checks.fixtures import Booting, Diagnosis, RuntimeUnit, Show
from switchproof.collection.items import PLACE, SHOWN, Place
from switchproof.deploy.cutover.surroundings import Surroundings, fingerprint
from switchproof.deploy.errors import Inconclusive, SwitchproofError
from switchproof.deploy.observe.boot.choice import choose_boot
from switchproof.deploy.observe.bridge import Installation
from switchproof.deploy.observe.convergence import Convergence
from switchproof.deploy.observe.earlier import Choice
from switchproof.deploy.observe.health import EndpointSeen
from switchproof.deploy.observe.observation import Observation
from switchproof.deploy.observe.planned import Differences
from switchproof.deploy.observe.preflight import Readiness
from switchproof.deploy.plan import Mode
from switchproof.deploy.providers.ssh.table import SshHost
from switchproof.deploy.record.events import Connected
from switchproof.deploy.record.facts import Leg
from switchproof.deploy.run.results import Before, Confirmation
from switchproof.deploy.run.testinfra import host_over
from switchproof.deploy.target.declared import Declared
from switchproof.session.deploy import DeploySession


class OfCheck:
    """The pytest plugin with the fixtures that know which check runs.

    They take nothing from pytest's own fixture `request`: pytest makes that again for every use, by inspecting a
    function, which took a tenth of the time of a check.

    Args:
        session: The run.
    """

    def __init__(self, session: DeploySession) -> None:
        self._session = session
        self._check: pytest.Item | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Note which check runs."""
        self._check = item

    @property
    def _running(self) -> pytest.Item:
        assert self._check is not None  # fixtures belong to a check
        return self._check

    @pytest.fixture
    def place(self) -> Place:
        """The host, leg and endpoint that the check is about."""
        return self._running.stash[PLACE]

    @pytest.fixture
    def session(self) -> DeploySession:
        """The run."""
        return self._session

    @pytest.fixture
    def show(self) -> Show:
        """Put what was expected and seen into the report."""
        return self._running.stash[SHOWN]


@pytest.fixture
def requested_revision(session: DeploySession) -> str:
    """The revision as it was requested: a commit, a branch or a tag; empty if none was."""
    return session.plan.revision or ""


@pytest.fixture
def commit(session: DeploySession, place: Place) -> str | None:
    """The requested commit; None for an audit that requests none."""
    return session.hosts.commit(place.host) if session.plan.revision else None


@pytest.fixture
def before(session: DeploySession, place: Place) -> Before:
    """The host's state before anything changed."""
    return session.hosts.before(place.host)


@pytest.fixture
def convergence(session: DeploySession, place: Place) -> Convergence:
    """How the switch or the rollback ended."""
    return session.hosts.convergence(place.host, place.leg)


@pytest.fixture
def observation(session: DeploySession, place: Place) -> Observation:
    """What was observed on the host."""
    return session.hosts.observation(place.host, place.leg)


@pytest.fixture
def expected_system(session: DeploySession, place: Place) -> str:
    """The system that must run: the one built from the commit, or the one to go back to."""
    expected = _expected(session, place)
    if not expected:
        raise Inconclusive(f"{place.host}: no system was built, so it is unknown which one should run")
    return expected


@pytest.fixture
def evaluated_system(session: DeploySession, place: Place) -> str:
    """The system that the commit evaluates to, on the machine that --build names."""
    return session.hosts.evaluated(place.host)


@pytest.fixture
def expected_profile(session: DeploySession, place: Place, observation: Observation) -> str:
    """Where the system profile must point: to what runs, or to the system whose specialisation that is."""
    system = observation.system
    if place.leg == "back":
        return session.hosts.before(place.host).system.profile or system.running
    ended = session.hosts.journeys[place.host].convergences.get(place.leg)
    if ended and ended.profile and system.running == ended.expected:
        return ended.profile
    return system.profile if system.specialisation else system.running


@pytest.fixture
def specialisation(session: DeploySession, place: Place) -> str | None:
    """The specialisation that must run; empty for the system itself, None after a way back or a failed switch."""
    if place.leg == "back" or session.plan.mode is Mode.ROLLBACK:
        return None
    ended = session.hosts.journeys[place.host].convergences.get(place.leg)
    if session.plan.mode.changes_hosts and not (ended and ended.activated):
        return None
    return session.hosts.journeys[place.host].host.specialisation or ""


@pytest.fixture
def booting(session: DeploySession, place: Place, observation: Observation) -> Booting:
    """What the host boots, and what it should boot at this point of the run."""
    plan = session.plan
    boot = choose_boot(observation.boot, plan.target.boot.loader)
    if not plan.mode.changes_hosts:
        if name := (system := observation.system).specialisation:
            why = f"what it runs is the specialisation {name!r}, which a boot loader starts only if it is told to"
            return Booting(boot, boot.first_of(system.profile, system.running), why)
        return Booting(boot, system.running, "the host must boot the system that it runs")
    before = session.hosts.before(place.host).system
    if place.leg == "back":
        either = (before.profile, before.running) if before.specialisation else (before.profile or before.running,)
        return Booting(boot, boot.first_of(*either), "the system from before the run was restored")
    if not plan.target.confirm_s:
        return Booting(boot, boot.first_of(*_boots(session, place)), "the target file asks for no confirmation")
    why = "until the switch is confirmed, a reboot returns to the earlier system"
    if before.specialisation:  # which the host switches to after that boot
        return Booting(boot, boot.first_of(before.profile, before.running), why)
    # A system outside the profile has no entry of systemd-boot; then the host returns after its next boot.
    outside = [] if before.profile == before.running else [before.profile, _expected(session, place)]
    earlier = next((system for system in outside if not boot.problem(system)), before.running)
    return Booting(boot, earlier, why)


@pytest.fixture
def reboot(session: DeploySession, place: Place) -> str:
    """A sentence that the host rebooted during the run; empty if it did not."""
    return session.hosts.journeys[place.host].reboot


@pytest.fixture
def locked_out(session: DeploySession, place: Place) -> str:
    """Why the host accepted no new connection after its switch; empty if it accepted one."""
    session.hosts.convergence(place.host, place.leg)
    tried = session.hosts.journeys[place.host].locked_out
    try:
        session.hosts.observation(place.host, place.leg)
    except SwitchproofError:
        if place.leg not in tried:
            raise
    if place.leg not in tried and session.hosts.journeys[place.host].reconnect_s:
        raise Inconclusive(f"{place.host}: the connection was lost before a new one could be tried")
    return tried.get(place.leg, "")


@pytest.fixture
def within_s(session: DeploySession, place: Place) -> float:
    """Seconds after the switch within which a new connection must be let in."""
    return session.hosts.journeys[place.host].reconnect_s


@pytest.fixture
def let_in(session: DeploySession, place: Place, locked_out: str, within_s: float) -> str:
    """A sentence about the new connection after the switch, which claims no more than was tried."""
    kind = session.hosts.journeys[place.host].kind
    if locked_out:
        return locked_out
    if not within_s:
        return "not tried, because converge.reconnect_s is 0"
    if kind != "ssh":
        return f"not tried: every question reaches the host separately ({kind}), and these did"
    return f"a new connection was accepted within {within_s:g} s"


@pytest.fixture
def went_back(session: DeploySession, place: Place, observation: Observation) -> str:  # noqa: ARG001 - seen before
    """The host's sentence that it went back by itself before it was observed; empty if it did not."""
    return session.hosts.journeys[place.host].went_back.get(place.leg, "")


@pytest.fixture
def earlier_problem(session: DeploySession, place: Place, went_back: str) -> str:
    """The earlier problem that explains what was observed of a host; empty if there was none."""
    if went_back or not session.plan.mode.changes_hosts:
        return went_back
    try:
        session.hosts.convergence(place.host, place.leg)
    except SwitchproofError as error:
        return str(error)
    return ""


@pytest.fixture
def choice(session: DeploySession, place: Place) -> Choice:
    """The system that a rollback goes back to."""
    return session.hosts.choice(place.host)


@pytest.fixture
def confirmation(session: DeploySession, place: Place) -> Confirmation:
    """The host's answer to the request, over a new connection, to keep the new system."""
    return session.confirm(place)


@pytest.fixture
def newly_failed(session: DeploySession, before: Before, observation: Observation) -> list[str]:
    """Units outside the contract that are failed now and were not before; those inside have clauses of their own."""
    return sorted(set(observation.failed) - set(before.failed) - set(session.plan.target.contract_units))


@pytest.fixture
def unhealthy_units(session: DeploySession, observation: Observation) -> set[str]:
    """The units of endpoints that the host did not find healthy."""
    endpoints = session.plan.target.endpoints
    return {
        unit
        for name, end in observation.settled.items()
        if end != "healthy" and name in endpoints
        for unit in endpoints[name].units
    }


@pytest.fixture
def unit_files(session: DeploySession) -> tuple[str, ...]:
    """The folders in which the contract's units may be defined, besides the running system."""
    return session.plan.target.unit_files


@pytest.fixture
def installation(session: DeploySession, place: Place, observation: Observation) -> Installation:
    """The programs of the store path bridge, as they should be and as they are."""
    plan, journey = session.plan, session.hosts.journeys[place.host]
    programs, wanted = plan.target.bridge.programs, dict[str, str]()
    if place.leg != "back" and plan.mode is not Mode.ROLLBACK:
        ended = journey.convergences.get(place.leg)
        wanted = {name: program.path for name, program in programs.items() if program.path}
        wanted |= ended.installed if ended else {}  # what could not be realised may have been built there
    before = session.hosts.before(place.host).system.installed if place.leg == "back" else None
    return Installation(programs, wanted, before, observation.system.installed)


@pytest.fixture
def changed_but_not_restarted(
    session: DeploySession, place: Place, before: Before, observation: Observation
) -> list[str]:
    """Units of the contract with another definition but the same invocation as before the switch."""
    on_the_way: dict[Leg, Leg] = {"back": "forward", "again": "back"}
    came_from = on_the_way.get(place.leg)
    between = session.hosts.journeys[place.host].observations.get(came_from) if came_from else None
    earlier = between.units if between else before.units
    return [
        name
        for name, unit in observation.units.items()
        if name in earlier
        and unit.definition != earlier[name].definition
        and unit.invocation
        and unit.invocation == earlier[name].invocation
    ]


@pytest.fixture
def endpoint(session: DeploySession, place: Place, observation: Observation) -> EndpointSeen:
    """The hypervisor or a runtime unit, as it was observed."""
    assert place.endpoint is not None
    target = session.plan.target
    peers = {name: peer for name, peer in target.runtime.items() if name != place.endpoint}
    return EndpointSeen(place.endpoint, target.endpoints[place.endpoint], target.health, observation, peers)


@pytest.fixture
def no_hypervisor(session: DeploySession, place: Place) -> str:  # noqa: ARG001 - the check is made on each host
    """Why the hosts have no hypervisor, in the words of the target file."""
    return session.plan.target.hypervisor.absent or ""


@pytest.fixture
def unit(session: DeploySession, place: Place) -> RuntimeUnit:
    """A runtime unit with its name and its values from the target file; the check runs once for each unit."""
    assert place.endpoint is not None
    return RuntimeUnit(place.endpoint, session.plan.target.runtime[place.endpoint])


@pytest.fixture
def diagnosis(session: DeploySession, place: Place) -> Diagnosis:
    """The diagnostics that were emitted if anything failed on the host; else those that could have been."""
    return session.diagnosis(place)


@pytest.fixture
def differences(session: DeploySession, place: Place) -> Differences:
    """What a deploy would change."""
    return session.hosts.differences(place.host)


@pytest.fixture
def readiness(session: DeploySession, place: Place) -> Readiness:
    """What the host answered to a preflight."""
    return session.hosts.readiness(place.host)


@pytest.fixture
def host(session: DeploySession, place: Place) -> testinfra.host.Host:
    """The host as testinfra presents it, over the run's own connection."""
    return host_over(session.hosts.journeys[place.host])


@pytest.fixture
def surroundings(session: DeploySession, place: Place, host: testinfra.host.Host) -> Surroundings:
    """What is on the host besides the contract's units."""
    return session.surroundings(place.host, host)


@pytest.fixture
def declared(session: DeploySession) -> Declared:
    """What the target file declares of every host."""
    declared = session.plan.target.declared
    assert declared is not None  # the plan requires it for the cutover
    return declared


@pytest.fixture
def listened_on(session: DeploySession) -> tuple[str, ...]:
    """Where the endpoints of the contract listen on the host itself."""
    return tuple(
        endpoint.port
        for endpoint in session.plan.target.endpoints.values()
        if endpoint.port and endpoint.container is None
    )


@pytest.fixture
def pinned_keys(session: DeploySession, place: Place) -> list[str]:
    """The host keys by which this host is known, as `kind SHA256:…`."""
    host = session.hosts.journeys[place.host].host
    shown = {
        event.connection.host_key
        for event in session.journal.events
        if isinstance(event, Connected) and event.host == place.host and event.connection.host_key
    }
    return sorted({*(fingerprint(key) for key in host.part(SshHost).host_keys), *shown})


def _boots(session: DeploySession, place: Place) -> tuple[str, ...]:
    """Return the systems that a host may boot once it keeps what it was switched to."""
    return session.hosts.convergence(place.host, place.leg).boots


def _expected(session: DeploySession, place: Place) -> str:
    """Return the system that a host must run, empty if it is unknown.

    Raises:
        SwitchproofError: The reason why it could not be found out.
    """
    hosts = session.hosts
    if place.leg == "back":
        return hosts.before(place.host).system.running
    if session.plan.mode is Mode.ROLLBACK:
        return hosts.choice(place.host).toplevel
    return hosts.convergence(place.host, place.leg).expected
