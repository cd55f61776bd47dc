"""The checks of every endpoint: the hypervisor and each runtime unit."""

import shlex

from switchproof.checks.fixtures import Show
from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.observe.causes.in_machine import find_cause
from switchproof.deploy.observe.health import EndpointSeen


class EndpointChecks:
    """An endpoint is active, listens itself, answers as it should, and goes on doing so as the same process."""

    def test_its_units_are_active(self, endpoint: EndpointSeen, show: Show) -> None:
        """Its systemd units are active.

        A unit that is not active serves nobody, and systemd knows the reason.

        Try: run systemctl status for the unit that is not active, and read its journal.
        """
        units = shlex.join(endpoint.want.units)
        show(expected="active", seen=endpoint.states, command=f"systemctl show -p ActiveState,SubState -- {units}")
        assert endpoint.all_active, with_cause(endpoint, f"not active: {endpoint.states}")

    def test_its_port_is_its_own(self, endpoint: EndpointSeen, show: Show) -> None:
        """Only a process of its own unit listens on its port.

        An answer proves nothing if another process may have sent it, such as one of an earlier system. The same holds
        for a Unix socket and for a probe program, which must belong to the running system.

        Try: find the process that holds the port, and stop it if it does not belong there.
        """
        want, listeners = endpoint.want, endpoint.listeners
        if want.command:
            program_is_its_own(endpoint, show)
        if not want.listen:
            return
        seen = (
            ", ".join(f"{listener.address} by {listener.unit} (process {listener.pid})" for listener in listeners)
            or "nobody"
        )
        expected = f"{want.listen} by {want.listening_unit}"
        show(expected=expected, seen=seen, command="ss -Htnp state listening" if want.port else "ss -Hlxnpe")
        if problem := endpoint.observation.listeners_problem:
            raise Inconclusive(f"it is unknown who listens on {want.listen}: {problem}")
        assert listeners, with_cause(
            endpoint, f"nobody listens on {want.listen}; expected {want.listening_unit}{endpoint.elsewhere}"
        )
        strangers = [listener for listener in listeners if listener.unit != want.listening_unit]
        unit = endpoint.observation.units.get(want.listening_unit)
        if unit and unit.active == "unknown" and {listener.unit for listener in strangers} == {want.container}:
            symptom = f"{want.listen} is listened on by {seen}; its unit inside the container is unknown"
            raise Inconclusive(with_cause(endpoint, symptom))
        assert not strangers, f"{want.listen} is listened on by {seen}, not only by {want.listening_unit}"
        old = {process.pid for process in endpoint.observation.survivors} & {listener.pid for listener in listeners}
        assert not old, (
            f"{want.listen} is listened on by {seen}; process {', '.join(map(str, sorted(old)))} is left over from "
            "before the unit was last started"
        )
        exposed = ", ".join(f"{listener.address} by {listener.unit}" for listener in endpoint.exposed)
        assert not exposed, (
            f"{want.listen} is for the host only, but its port is open to others: {exposed}; have it listen on "
            f'{want.listen} only, or set exposure = "any" for this endpoint in the target file'
        )

    def test_it_answers_as_it_should(self, endpoint: EndpointSeen, show: Show) -> None:
        """It answers with the expected status and body, without a redirect, in time.

        Users depend on this answer; an active unit and an open port are not enough.

        Try: send the same request on the host, and read the journal of its units.
        """
        show(
            expected=endpoint.wanted,
            seen=endpoint.seen,
            command=endpoint.command,
            took_s=endpoint.answers[-1].total_s if endpoint.answers else None,
            limit_s=endpoint.health.timeout_s,
        )
        if endpoint.answers and endpoint.answers[-1] in endpoint.unjudged:
            raise Inconclusive(f"its answer could not be judged: {endpoint.answer_problem}")
        assert endpoint.answer_problem is None, with_cause(
            endpoint, f"{endpoint.answer_problem}; seen: {endpoint.seen}"
        )
        if endpoint.unknown:
            raise Inconclusive(
                f"it is unknown what it should answer: the running system lacks {', '.join(endpoint.unknown)}"
            )

    def test_it_stays_healthy(self, endpoint: EndpointSeen, show: Show) -> None:
        """It answers correctly several times in a row over the soak, from the same processes.

        A service that crashes and restarts also answers correctly at times; only a soak tells it from a healthy one.

        Try: find in the journal of its units why they stop, and check whether the machine is short of memory.
        """
        health, streak = endpoint.health, endpoint.streak
        show(
            expected=f"{health.answers} good answers in a row over {health.soak_s:g} s by the same processes",
            seen=f"{streak.answers} in a row over {streak.seconds:.1f} s; {endpoint.history}",
            command=endpoint.command,
            took_s=round(endpoint.observation.watched_s, 3),
            limit_s=health.longest_s,
        )
        if endpoint.given_up and endpoint.all_active and endpoint.answer_problem is None:
            raise Inconclusive(
                f"the host gave up on it ({endpoint.given_up}), but its last answer is good: {endpoint.history}"
            )
        if endpoint.unjudged and (streak.answers < health.answers or streak.seconds < health.soak_s):
            raise Inconclusive(
                f"{len(endpoint.unjudged)} of its answers could not be judged, because curl failed on the host or "
                f"their bodies were too large to send: {endpoint.history}"
            )
        assert streak.identity_kept or not streak.answers, with_cause(
            endpoint, f"its processes did not stay the same: {endpoint.history}"
        )
        assert streak.answers >= health.answers, with_cause(
            endpoint, f"{streak.answers} good answers in a row, but {health.answers} are needed: {endpoint.history}"
        )
        assert streak.seconds >= health.soak_s, with_cause(
            endpoint, f"healthy for only {streak.seconds:.1f} s of {health.soak_s:g} s: {endpoint.history}"
        )


def program_is_its_own(endpoint: EndpointSeen, show: Show) -> None:
    """Fail if the probe program is not part of the running system: anybody may have changed what it reports."""
    path, program = endpoint.want.command[0], endpoint.program
    seen = f"{path} is the file {program.file}" if program and program.file else f"{path} leads to no file"
    command = f"readlink -e {shlex.quote(path)}"
    show(expected=f"{path} is a file of the running system", seen=seen if program else "not seen", command=command)
    if program is None:
        problem = endpoint.observation.processes_problem
        raise Inconclusive(
            f"it is unknown whether {path} is part of the running system{f': {problem}' if problem else ''}"
        )
    assert program.file, with_cause(endpoint, seen)
    assert program.origin in {"system", "installed"}, (
        f"{seen}, which is not part of the running system; add the program to the system, for example with "
        "environment.systemPackages, and use its path in /run/current-system"
    )


def with_cause(endpoint: EndpointSeen, symptom: str) -> str:
    """Put the cause before a symptom and the remedy behind it, where the host saw enough to name the cause."""
    cause = find_cause(endpoint)
    if endpoint.given_up:
        symptom += f"\ngiven up after {endpoint.observation.watched_s:.0f} s: {endpoint.given_up}"
    return f"{cause}\n{symptom}\ntry: {cause.remedy}" if cause else symptom
