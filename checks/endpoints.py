"""What the contract asks of every endpoint: the hypervisor and each runtime unit."""

import shlex

from switchproof.checks.fixtures import Show
from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.observe.causes.in_machine import find_cause
from switchproof.deploy.observe.health import EndpointSeen


class EndpointChecks:
    """An endpoint is active, listens itself, answers as it should, and goes on doing so as the same process."""

    def test_its_units_are_active(self, endpoint: EndpointSeen, show: Show) -> None:
        """Its systemd units are active.

        A unit that is not active serves nobody, and systemd knows why.

        Try: systemctl status of the unit that is not active, and its journal.
        """
        units = shlex.join(endpoint.want.units)
        show(expected="active", seen=endpoint.states, command=f"systemctl show -p ActiveState,SubState -- {units}")
        assert endpoint.all_active, told(endpoint, f"not active: {endpoint.states}")

    def test_its_port_is_its_own(self, endpoint: EndpointSeen, show: Show) -> None:
        """Its port is listened on by a process of its unit, and of no other.

        An answer proves nothing while it may come from something else, such as a process of an earlier system.
        The same holds for a unix socket, and for a program that is run to ask: it must be of the running system.

        Try: see who holds the port, and stop what does not belong there.
        """
        want, listeners = endpoint.want, endpoint.listeners
        if want.command:
            program_is_its_own(endpoint, show)
        if not want.listen:
            return
        seen = ", ".join(f"{one.address} by {one.unit} (process {one.pid})" for one in listeners) or "nobody"
        expected = f"{want.listen} by {want.listening_unit}"
        show(expected=expected, seen=seen, command="ss -Hltnp" if want.port else "ss -Hlxnpe")
        if problem := endpoint.observation.listeners_problem:
            raise Inconclusive(f"it is not known who listens on {want.listen}: {problem}")
        assert listeners, told(
            endpoint, f"nobody listens on {want.listen}; expected {want.listening_unit}{endpoint.elsewhere}"
        )
        strangers = [one for one in listeners if one.unit != want.listening_unit]
        unit = endpoint.observation.units.get(want.listening_unit)
        if unit and unit.active == "unknown" and {one.unit for one in strangers} == {want.container}:
            symptom = f"{want.listen} is listened on by {seen}; which unit in there it is of nobody answers"
            raise Inconclusive(told(endpoint, symptom))
        assert not strangers, f"{want.listen} is listened on by {seen}, not only by {want.listening_unit}"
        old = {process.pid for process in endpoint.observation.survivors} & {one.pid for one in listeners}
        assert not old, (
            f"{want.listen} is listened on by {seen}; process {', '.join(map(str, sorted(old)))} is left over from "
            "before the unit was last started"
        )
        exposed = ", ".join(f"{one.address} by {one.unit}" for one in endpoint.exposed)
        assert not exposed, (
            f"{want.listen} is for the host alone, and its port is open to others: {exposed}; have it listen on "
            f'{want.listen} only, or set exposure = "any" for this endpoint in the target file'
        )

    def test_it_answers_as_it_should(self, endpoint: EndpointSeen, show: Show) -> None:
        """It answers the expected status and body, without a redirect, in time.

        This is what its users get; a unit that is active and a port that is open are only the way there.

        Try: ask it yourself on the host, and read the journal of its units.
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
        assert endpoint.answer_problem is None, told(endpoint, f"{endpoint.answer_problem}; seen: {endpoint.seen}")
        if endpoint.unknown:
            raise Inconclusive(
                f"it is not known what it should answer: the running system lacks {', '.join(endpoint.unknown)}"
            )

    def test_it_stays_healthy(self, endpoint: EndpointSeen, show: Show) -> None:
        """It answers well several times in a row over the soak, and stays the same process meanwhile.

        What crashes and is started again answers well now and then; only time tells it from what is healthy.

        Try: read in the journal of its units why they end, and see whether the machine is short of memory.
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
                f"the host gave it up ({endpoint.given_up}), yet its last answer is a good one: {endpoint.history}"
            )
        if endpoint.unjudged and (streak.answers < health.answers or streak.seconds < health.soak_s):
            raise Inconclusive(
                f"{len(endpoint.unjudged)} of its answers could not be judged, as curl failed on the host or their "
                f"bodies were too many bytes to send: {endpoint.history}"
            )
        assert streak.identity_kept or not streak.answers, told(
            endpoint, f"its processes did not stay the same: {endpoint.history}"
        )
        assert streak.answers >= health.answers, told(
            endpoint, f"{streak.answers} good answers in a row, {health.answers} are needed: {endpoint.history}"
        )
        assert streak.seconds >= health.soak_s, told(
            endpoint, f"healthy for only {streak.seconds:.1f} s of {health.soak_s:g} s: {endpoint.history}"
        )


def program_is_its_own(endpoint: EndpointSeen, show: Show) -> None:
    """Fail where the program that asks is not of the running system: it would say what anybody has made it say."""
    path, program = endpoint.want.command[0], endpoint.program
    seen = f"{path} is the file {program.file}" if program and program.file else f"{path} leads to no file"
    command = f"readlink -e {shlex.quote(path)}"
    show(expected=f"{path} is a file of the running system", seen=seen if program else "not seen", command=command)
    if program is None:
        problem = endpoint.observation.processes_problem
        raise Inconclusive(
            f"it is not known whether {path} is of the running system{f': {problem}' if problem else ''}"
        )
    assert program.file, told(endpoint, seen)
    assert program.origin in {"system", "installed"}, (
        f"{seen}, which is not of the running system; have the system bring it, such as with "
        "environment.systemPackages, and name it by its path in /run/current-system"
    )


def told(endpoint: EndpointSeen, symptom: str) -> str:
    """Put the cause before a symptom and the remedy behind it, where the host saw enough to name the cause."""
    cause = find_cause(endpoint)
    if endpoint.given_up:
        symptom += f"\ngiven up after {endpoint.observation.watched_s:.0f} s: {endpoint.given_up}"
    return f"{cause}\n{symptom}\ntry: {cause.remedy}" if cause else symptom
