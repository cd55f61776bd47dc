"""A case of a machine has bounds in time and number, and what lies beyond them has another name."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from switchproof.deploy.observe.causes.container import read_container
from switchproof.deploy.observe.causes.in_machine import Case, find_cause
from switchproof.deploy.observe.causes.machine import Machine, Tap, read_machine
from switchproof.deploy.observe.health import EndpointSeen
from switchproof.deploy.target.types import Machine as TargetMachine
from tests.answers import direct_answer, unit_show
from tests.observe import test_cause_inside as inside
from tests.observe.test_cause import (
    AGAIN,
    ANSWERED,
    AUTO_RESTART,
    BACK,
    FORWARD,
    GOOD,
    KILL,
    LEAVE,
    ONCE,
    SILENT,
    UNANSWERED,
    VM,
    WANT,
    lines,
    seen,
)


def named(endpoint: EndpointSeen) -> Case | None:
    cause = find_cause(endpoint)
    return cause.case if cause else None


@pytest.mark.parametrize(
    ("age", "case"), [("299", Case.BOOTING), ("300", Case.UNREACHABLE), ("301", Case.UNREACHABLE)]
)
def test_silent_machine_boots_for_five_minutes(age: str, case: Case) -> None:
    """A machine that never answered and is younger than that may still boot; later it is unreachable."""
    assert named(seen(SILENT, direct=UNANSWERED, facts={"process": f"420 Ssl {age} -"})) is case


def test_machine_that_answered_has_booted() -> None:
    """However young it is, a machine that gave a good answer is not booting."""
    assert named(seen(("good", *SILENT), direct=UNANSWERED, facts={"process": "420 Ssl 12 -"})) is Case.UNREACHABLE


@pytest.mark.parametrize(
    ("total", "neighbour", "case"),
    [
        ("0.199", "REACHABLE", Case.NOT_LISTENING),
        ("0.200", "REACHABLE", Case.UNREACHABLE),
        ("0.001", "FAILED", Case.UNREACHABLE),
        ("0.001", "INCOMPLETE", Case.UNREACHABLE),
        ("0.001", "", Case.NOT_LISTENING),
    ],
)
def test_refusal_is_the_guest_s_only_if_it_comes_at_once(total: str, neighbour: str, case: Case) -> None:
    """The kernel's own refusal takes longer, or knows that it has no neighbour."""
    refused = direct_answer("", f"000 0.000000 {total} 7 Failed to connect")
    facts = {"process": "420 Ssl 600 -", "neighbour": neighbour}
    assert named(seen(SILENT, direct=refused, facts=facts)) is case


@pytest.mark.parametrize(
    ("crashes", "age", "case"),
    [
        (1, "19", Case.KILLED),
        (2, "19", Case.CRASH_LOOP),
        (3, "19", Case.CRASH_LOOP),
        (1, "20", Case.UNREACHABLE),
        (2, "20", Case.UNREACHABLE),
    ],
)
def test_two_restarts_are_a_loop_while_they_are_recent(crashes: int, age: str, case: Case) -> None:
    """A machine that was started again once was killed, twice or more is in a loop; after 20 s it is neither."""
    told = lines(*(line for n in range(crashes) for line in (KILL, AGAIN.format(n + 1))))
    endpoint = seen(
        ("good", *SILENT), direct=UNANSWERED, systemd=told, facts={"process": f"420 Ssl {age} -", "neighbour": ""}
    )
    assert named(endpoint) is case


def test_slow_loop_is_one_for_twice_its_cycle() -> None:
    """A machine that ends again every minute is still in its loop a minute and a half after it was started."""
    told = lines(KILL, AGAIN.format(1)) + lines(KILL, AGAIN.format(2), at=1763909950.0 + 60)
    for age, case in (("119", Case.CRASH_LOOP), ("120", Case.UNREACHABLE)):
        endpoint = seen(("good", *SILENT), direct=UNANSWERED, systemd=told, facts={"process": f"420 Ssl {age} -"})
        assert named(endpoint) is case


def test_only_the_last_exits_are_told() -> None:
    """Of many ends of a process the last three are told, in order."""
    exits = [KILL.replace("9/KILL", f"{n}/X") for n in (1, 2, 3, 4)]
    cause = find_cause(
        seen(SILENT, direct=UNANSWERED, units=AUTO_RESTART, systemd=lines(*exits), facts={"process": ""})
    )
    assert cause is not None
    assert [word in str(cause) for word in ("signal 1", "signal 2", "signal 3", "signal 4")] == [
        False,
        True,
        True,
        True,
    ]


def machine(facts: str = "", systemd: str = "", console: str = "") -> Machine:
    return read_machine(facts, systemd, console)


def test_facts_of_a_machine_are_read_each_by_its_name() -> None:
    """A process, its monitor, its tap and its neighbour are read; what was not said is not known."""
    told = machine("process 420 Ssl 12.5 do_sys_poll\nmonitor running\ntap up 1 br0\nneighbour REACHABLE\n")
    assert (told.pid, told.process, told.age_s, told.monitor) == (420, "Ssl", 12.5, "running")
    assert (told.tap, told.neighbour) == (Tap("up", carrier=True, master="br0"), "REACHABLE")
    assert told.seen == (
        "process 420, state Ssl; started 12 s before; monitor running; tap up, carrier, on br0; neighbour REACHABLE"
    )
    nothing = machine("process 0 - 0 -\n")
    assert (nothing.pid, nothing.process, nothing.age_s, nothing.tap) == (None, "", None, None)
    assert nothing.seen == "no process"
    assert machine("tap absent\n").tap == Tap("absent", carrier=False, master="")
    assert machine("tap up 1 br0 more\n").tap == Tap("up", carrier=True, master="br0")
    assert machine("monitor a b c d e f\n").monitor == "a b c d"
    assert machine("tap absent\n").seen == "no process; tap absent"
    assert machine("tap down 0\n").seen == "no process; tap down, no carrier, on no bridge"


def test_what_went_before_a_stop_is_another_story() -> None:
    """Exits, restarts, panics and lines of before somebody stopped the unit do not count; those right after it do."""
    panic = "Kernel panic - not syncing: x"
    before = lines(KILL, AGAIN.format(1), "Stopping x")
    after = lines("Stopped x", KILL, AGAIN.format(1), at=1763909960.0)
    told = machine("", before + after, lines(panic) + lines("booted", at=1763909961.0))
    assert (len(told.exits), told.restarts, told.panicked, told.console) == (
        1,
        1,
        False,
        ("booted",),
    )
    assert machine("", before, lines(panic)).exits == ()
    whole = machine("", lines(KILL, AGAIN.format(1)), lines(panic))
    assert (len(whole.exits), whole.restarts, whole.panicked) == (1, 1, True)


def test_cycle_is_the_longest_time_between_two_restarts() -> None:
    """One restart has no cycle; of three the longer of the two times counts."""
    assert machine("", lines(AGAIN.format(1))).cycle_s is None
    three = "".join(lines(AGAIN.format(n), at=1763909950.0 + at) for n, at in enumerate((0, 40, 50)))
    assert machine("", three).cycle_s == pytest.approx(40)


def test_systemd_s_word_between_two_restarts_begins_no_story() -> None:
    """Some versions of systemd say that a unit was stopped before they start it again, which nobody asked for."""
    told = machine("", lines(KILL, AGAIN.format(1), "Stopped x", KILL))
    assert (len(told.exits), told.restarts) == (2, 1)


def test_what_happens_while_it_is_stopped_belongs_to_the_stop() -> None:
    """Also a unit that was stopped twice has one story: since its last stop, without that instant."""
    told = machine("", lines("Stopped old", KILL, "Stopping x", LEAVE, "Stopped x", at=1763909950.0))
    assert told.exits == ()
    instant = "".join(lines(text, at=1763909950.0) for text in ("Stopping x", KILL, AGAIN.format(1)))
    told = machine("", instant, lines("early", at=1763909950.0))
    assert (told.exits, told.restarts, told.console) == ((), 0, ())
    twice = lines("Stopping x", "Stopped x", KILL, "Stopping x", "Stopped x", KILL)
    assert len(machine("", twice).exits) == 1


@pytest.mark.parametrize(
    ("facts", "outer", "inner"),
    [
        ("leader 420 Ss 600 -\nprocess 430 S 600 -\n", 420, 430),
        ("leader none\nprocess 430 S 600 -\n", None, 430),
        ("leader 420 Ss 600 -\n", 420, None),
        ("", None, None),
    ],
)
def test_container_has_two_processes(facts: str, outer: int | None, inner: int | None) -> None:
    """Its own first one and the unit's, each of which may be gone."""
    told = read_container(facts, lines(KILL), lines(LEAVE, LEAVE))
    assert (told.outer.pid, told.inner.pid) == (outer, inner)
    assert (len(told.outer.exits), len(told.inner.exits)) == (1, 2)
    assert (told.silent, told.network) == (False, None)


@pytest.mark.parametrize(("word", "up"), [("UP", True), ("DOWN", False)])
def test_container_s_network_is_known_if_it_was_said(word: str, up: bool) -> None:
    """A word of its network is that it is up, or anything else; so is one of its systemd."""
    told = read_container(f"network {word}\nsystemd silent\n", "", "")
    assert (told.network, told.silent) == (up, True)


def test_restart_that_the_watch_saw_is_recent_however_old_the_process_is() -> None:
    """Two lives of a unit during the watch are enough, whatever its process says of its age."""
    endpoint = seen(
        BACK, body=GOOD, lives=ONCE, systemd=lines(KILL, AGAIN.format(1)), facts={"process": "520 Ssl 600 -"}
    )
    assert named(endpoint) is Case.KILLED


@pytest.mark.parametrize(
    ("exits", "case"), [((LEAVE, KILL), Case.KILLED), ((KILL, LEAVE), Case.ENDED), ((LEAVE,), Case.ENDED)]
)
def test_last_exit_names_the_case(exits: tuple[str, ...], case: Case) -> None:
    """What ended a process before does not count, whether it was started again or is gone."""
    again = seen(BACK, body=GOOD, lives=ONCE, systemd=lines(*exits), facts={"process": "520 Ssl 3 -"})
    gone = seen(SILENT, units=AUTO_RESTART, systemd=lines(*exits), facts={"process": ""}, direct=UNANSWERED)
    assert (named(again), named(gone)) == (case, case)


@pytest.mark.parametrize(
    ("state", "listeners", "case"),
    [
        ("active", f"127.0.0.1:8080 430 {FORWARD}", Case.FORWARD_STUCK),
        ("failed", f"127.0.0.1:8080 430 {FORWARD}", Case.FORWARD_DOWN),
        ("active", "", Case.FORWARD_DOWN),
        (None, f"127.0.0.1:8080 430 {FORWARD}", Case.FORWARD_DOWN),
    ],
)
def test_forward_is_up_only_if_it_is_active_and_listens(state: str | None, listeners: str, case: Case) -> None:
    """Where the workload answers, a forward that lacks one of the two, or was not seen at all, is down."""
    units = unit_show(VM, MainPID="420") + ("\n" + unit_show(FORWARD, ActiveState=state) if state else "")
    assert named(seen(SILENT, direct=ANSWERED, units=units, listeners=listeners)) is case


def test_console_s_last_line_is_told() -> None:
    """Of a machine that does not answer, the reader gets what its console said last, or that it said nothing."""
    silent = {"process": "420 Ssl 600 -"}
    told = find_cause(seen(SILENT, direct=UNANSWERED, facts=silent, console=lines("one", "two", "three")))
    assert str(told).endswith("; its console's last line: three)")
    told = find_cause(seen(SILENT, direct=UNANSWERED, facts=silent))
    assert str(told).endswith("; its console is silent)")


def test_remedy_names_the_monitor() -> None:
    """Who may let a paused machine go on is asked at its monitor, if the target file names one."""
    paused = seen(SILENT, direct=UNANSWERED, facts={"monitor": "paused"})
    cause = find_cause(paused)
    assert cause is not None
    assert "qmp:/run/microvm-live/qmp.sock" in cause.remedy
    unnamed = msgspec.structs.replace(WANT, machine=TargetMachine(unit=VM))
    cause = find_cause(replace(paused, want=unnamed))
    assert cause is not None
    assert "none is named in the target file" in cause.remedy


@pytest.mark.parametrize(
    ("curl", "case"),
    [
        *((code, Case.GARBLED) for code in (1, 8, 18, 56, 63)),
        *((code, Case.HANGING) for code in (9, 28, 52, 55, 57)),
        (7, Case.UNIT_NOT_LISTENING),
    ],
)
def test_code_of_an_answer_that_cannot_be_used_names_its_case(curl: int, case: Case) -> None:
    """An answer that came and is no HTTP, too large or cut short is another case than one that never came."""
    assert named(inside.seen((f"{curl} x",))) is case


def test_container_whose_program_answers_has_no_case_of_silence() -> None:
    """What is known of processes names no case where the last answer came, or where nothing was ever asked."""
    for rounds in (("good",), ()):
        assert named(inside.seen(rounds, facts={"process": "430 T 600 -"})) is None


def test_connection_that_never_stood_is_not_hanging() -> None:
    """Only a program that has the connection and says nothing hangs."""
    endpoint = inside.seen((inside.TIMED_OUT,))
    (last,) = endpoint.observation.answers["live"]
    unconnected = replace(endpoint.observation, answers={"live": (replace(last, connect_s=0.0),)})
    assert (named(endpoint), named(replace(endpoint, observation=unconnected))) == (Case.HANGING, None)


@pytest.mark.parametrize(("age", "case"), [("19", Case.UNIT_KILLED), ("20", Case.UNIT_NOT_LISTENING)])
def test_restart_inside_a_container_is_recent_for_twenty_seconds(age: str, case: Case) -> None:
    """Of a process that has run for longer, what ended the one before it is no trouble any more."""
    told = lines(inside.inner(LEAVE), inside.inner(KILL), inside.AGAIN)
    assert named(inside.seen((inside.REFUSED,), inside=told, facts={"process": f"430 S {age} -"})) is case


def test_last_exits_of_a_container_are_told() -> None:
    """Of many ends the last three, of none nothing."""
    exits = [inside.inner(KILL).replace("9/KILL", f"{n}/X") for n in (1, 2, 3, 4)]
    told = str(find_cause(inside.seen((inside.DOWN,), inner="failed failed", inside=lines(*exits))))
    assert [f"signal {n}" in told for n in (1, 2, 3, 4)] == [False, True, True, True]
    told = str(find_cause(inside.seen((inside.DOWN,), inner="failed failed")))
    assert "it ended with" not in told


@pytest.mark.parametrize(("state", "stopped"), [("Ts", True), ("Ss", False)])
def test_silent_systemd_is_told_with_its_process(state: str, stopped: bool) -> None:
    """Whether its first process is stopped by a signal stands there, and the remedy names that process."""
    facts = {"leader": f"420 {state} 600 -", "systemd": "silent"}
    cause = find_cause(inside.seen((inside.TIMED_OUT,), facts=facts))
    assert cause is not None
    assert cause.case is Case.SYSTEMD_SILENT
    assert ("stopped by a signal" in cause.seen) is stopped
    assert "stat,wchan 420" in cause.remedy
