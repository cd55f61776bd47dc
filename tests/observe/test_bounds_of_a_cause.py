"""A case of a machine has bounds in time and number, and what lies beyond them has another name."""

from __future__ import annotations

import pytest

from switchproof.deploy.observe.causes.in_machine import Case, find_cause
from switchproof.deploy.observe.causes.machine import Machine, Tap, read_machine
from switchproof.deploy.observe.health import EndpointSeen
from tests.answers import direct_answer
from tests.test_cause import AGAIN, AUTO_RESTART, KILL, SILENT, UNANSWERED, lines, seen


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
