"""Each way in which a machine's workload can be unwell is called by its own name, and by no other's."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from switchproof.deploy.observe.causes.in_machine import Case, find_cause
from switchproof.deploy.observe.health import EndpointSeen
from switchproof.deploy.observe.observation import read_observation
from switchproof.deploy.target.types import Endpoint, Health, Machine
from tests.answers import LIVE, RUNNING, bodies, direct_answer, frame, presence, unit_show

VM, FORWARD = LIVE
WANT = Endpoint(
    units=LIVE,
    listen="127.0.0.1:8080",
    url="http://127.0.0.1:8080/health",
    json={"status": "healthy", "instance_role": "live"},
    json_of_system={"version": "etc/choiros/version"},
    backend="http://10.0.0.100:8080/health",
    machine=Machine(unit=VM, tap="tap-live", bridge="br-choiros", monitor="qmp:/run/microvm-live/qmp.sock"),
)
DEV = Endpoint(
    units=("cloud-hypervisor@dev.service",),
    listen="127.0.0.1:8081",
    url="http://127.0.0.1:8081/health",
    json={"status": "healthy", "instance_role": "dev"},
)
HEALTH = Health(answers=3, soak_s=2.0)

GOOD = '{"status":"healthy","instance_role":"live","version":"v2","uptime":3.1}'
FACTS = {
    "process": "420 Ssl 12 do_sys_poll",
    "monitor": "running",
    "tap": "up 1 br-choiros",
    "neighbour": "REACHABLE",
}
REFUSED = direct_answer("", "000 0.000000 0.001200 7 Failed to connect to 10.0.0.100 port 8080")
NO_ROUTE = direct_answer("", "000 0.000000 1.050000 7 Failed to connect to 10.0.0.100 port 8080")
UNANSWERED = direct_answer("", "000 0.000000 2.000000 28 Connection timed out")
ACCEPTED = direct_answer("", "000 0.001000 2.000000 28 Operation timed out with 0 bytes received")
ANSWERED = direct_answer(GOOD, "200 0.001000 0.012000 0 ")

NOTHING = "28 Operation timed out with 0 bytes received"
CLOSED = "52 Empty reply from server"


def lines(*texts: str, at: float = 1763909950.0) -> str:
    """Lines of a journal as `journalctl -o short-unix` prints them."""
    return "".join(f"{at + n / 10:.6f} choiros-a systemd[1]: {text}\n" for n, text in enumerate(texts))


def series(*rounds: str) -> str:
    """Answers of live, a second apart: `good`, a status code, or curl's exit code with its words."""
    told = []
    for number, said in enumerate(rounds):
        at = f"{100.25 + number:.2f} live"
        if said == "good":
            told.append(f"{at} yes 200 0.001 0.030 0 good 127.0.0.1:8080 ")
        elif len(said) == 3 and said.isdecimal():
            told.append(f"{at} no {said} 0.001 0.030 0 0 127.0.0.1:8080 ")
        else:
            curl, words = said.split(" ", 1)
            told.append(f"{at} no 000 0.001 2.000 {curl} - - {words}")
    return "\n".join(told) + "\n"


def seen(
    rounds: tuple[str, ...],
    *,
    body: str = "",
    units: str = unit_show(VM, MainPID="420", InvocationID="b" * 32) + "\n" + unit_show(FORWARD, MainPID="430"),
    lives: str = presence(100.2, **RUNNING),
    facts: Mapping[str, str] | None = None,
    direct: str | None = None,
    systemd: str = "",
    console: str = "",
    version: str = "etc/choiros/version v2\n",
    **sections: str,
) -> EndpointSeen:
    """Live as an observation has it, with everything well that is not given."""
    told = FACTS | dict(facts or {})
    parts: dict[str, str | None] = {
        "watch.series": series(*rounds),
        "watch.ended": f"{100.25 + len(rounds):.2f}",
        "watch.units": lives,
        **bodies({"live": body, "live good": GOOD}),
        "units.show": units,
        "due.live": version,
        "machine.live": "".join(f"{name} {text}\n" for name, text in told.items() if text),
        "systemd.live": systemd,
        "console.live": console,
        "backend.live": direct,
        **sections,
    }
    return EndpointSeen("live", WANT, HEALTH, read_observation(frame(parts)), {"dev": DEV})


def unit(**values: str) -> str:
    """Both units, with the machine's as given."""
    return unit_show(VM, **values) + "\n" + unit_show(FORWARD, MainPID="430")


def life(at: float, state: str = "active running", pid: int = 420, mark: str = "bbbb", restarts: int = 0) -> str:
    """What the machine's unit was from a time on."""
    return presence(at, vm=f"{state} {pid} {mark} {restarts}", socat=RUNNING["socat"])


ONCE = (
    life(100.2) + life(102.0, "activating auto-restart", 0, "bbbb", 0) + life(103.2, pid=520, mark="dddd", restarts=1)
)
TWICE = ONCE + life(105.0, "activating auto-restart", 0, "dddd", 1) + life(106.2, pid=620, mark="eeee", restarts=2)
KILL = "cloud-hypervisor@live.service: Main process exited, code=killed, status=9/KILL"
LEAVE = "cloud-hypervisor@live.service: Deactivated successfully."
AGAIN = "cloud-hypervisor@live.service: Scheduled restart job, restart counter is at {}."
GAVE_UP = "cloud-hypervisor@live.service: Start request repeated too quickly."
PANIC = "[    3.141592] Kernel panic - not syncing: sysrq triggered crash"

BACK = ("good", NOTHING, NOTHING, "good", "good", "good", "good")
SILENT = (NOTHING, NOTHING)
AUTO_RESTART = unit(ActiveState="activating", SubState="auto-restart", MainPID="0")

CASES: list[tuple[Case, EndpointSeen]] = [
    (
        Case.KILLED,
        seen(BACK, body=GOOD, lives=ONCE, systemd=lines(KILL, AGAIN.format(1)), facts={"process": "520 Ssl 3 -"}),
    ),
    (
        Case.KILLED,
        seen(
            ("good", NOTHING),
            lives=life(100.2) + life(101.0, "activating auto-restart", 0),
            units=AUTO_RESTART,
            systemd=lines(KILL),
            facts={"process": "", "monitor": "absent", "tap": "down 0 br-choiros"},
            direct=UNANSWERED,
        ),
    ),
    (
        Case.PANICKED,
        seen(
            BACK,
            body=GOOD,
            lives=ONCE,
            systemd=lines(LEAVE, AGAIN.format(1)),
            console=lines("GET /health 200", PANIC),
        ),
    ),
    (
        Case.ENDED,
        seen(
            BACK,
            body=GOOD,
            lives=ONCE,
            systemd=lines(LEAVE, AGAIN.format(1)),
            console=lines("reboot: Restarting system"),
        ),
    ),
    (
        Case.RESTARTED,
        seen(BACK, body=GOOD, lives=ONCE, systemd=lines(KILL, AGAIN.format(1), "Stopping x", LEAVE, "Stopped x")),
    ),
    (
        Case.CRASH_LOOP,
        seen(
            ("good", NOTHING, NOTHING, "good", NOTHING, NOTHING),
            lives=TWICE,
            direct=UNANSWERED,
            systemd=lines(LEAVE, AGAIN.format(1), LEAVE, AGAIN.format(2)),
            facts={"process": "620 Rsl 1 -"},
        ),
    ),
    (
        Case.CRASH_LOOP,
        seen(
            (CLOSED,),
            direct=REFUSED,
            systemd=lines(LEAVE, AGAIN.format(6), LEAVE, AGAIN.format(7)),
            facts={"process": "620 Ssl 2 -"},
        ),
    ),
    (
        Case.CRASH_LOOP,
        seen(
            SILENT,
            units=AUTO_RESTART,
            direct=UNANSWERED,
            facts={"process": ""},
            systemd=lines(KILL, AGAIN.format(6), KILL, AGAIN.format(7)),
        ),
    ),
    (
        Case.START_LIMIT,
        seen(
            SILENT,
            units=unit(ActiveState="failed", SubState="failed", Result="exit-code", MainPID="0"),
            systemd=lines(*(AGAIN.format(n) for n in range(1, 6)), GAVE_UP),
            facts={"process": ""},
            direct=UNANSWERED,
        ),
    ),
    (
        Case.FAILED,
        seen(
            SILENT,
            units=unit(ActiveState="failed", SubState="failed", Result="timeout", MainPID="0"),
            facts={"process": ""},
            direct=UNANSWERED,
        ),
    ),
    (
        Case.MACHINE_DOWN,
        seen(
            SILENT,
            units=unit(ActiveState="inactive", SubState="dead", MainPID="0"),
            direct=UNANSWERED,
            systemd=lines("Stopping x", "Stopped x"),
            facts={"process": "", "monitor": "absent", "tap": "down 0 br-choiros"},
        ),
    ),
    (
        Case.STOPPED,
        seen(
            ("good", *SILENT), direct=UNANSWERED, facts={"process": "420 Tsl 40 do_signal_stop", "monitor": "silent"}
        ),
    ),
    (
        Case.STOPPED,
        seen(
            SILENT, direct=UNANSWERED, facts={"process": "420 Tsl 40 -", "monitor": "silent", "neighbour": "FAILED"}
        ),
    ),
    (Case.PAUSED, seen(SILENT, direct=UNANSWERED, facts={"monitor": "paused"})),
    (Case.HALTED, seen(SILENT, direct=UNANSWERED, facts={"monitor": "internal-error"})),
    (Case.TAP_OFF_BRIDGE, seen(SILENT, direct=NO_ROUTE, facts={"tap": "up 1", "neighbour": ""})),
    (Case.BOOTING, seen(SILENT, direct=NO_ROUTE, facts={"process": "420 Rsl 3 -", "neighbour": "FAILED"})),
    (Case.BOOTING, seen(SILENT, direct=UNANSWERED, facts={"neighbour": "INCOMPLETE"})),
    (Case.UNREACHABLE, seen(SILENT, direct=UNANSWERED, facts={"process": "420 Ssl 86400 -", "neighbour": "FAILED"})),
    (Case.NOT_LISTENING, seen((CLOSED,), direct=REFUSED)),
    (Case.HANGING, seen(SILENT, direct=ACCEPTED)),
    (Case.BAD_STATUS, seen(("503",), body="overloaded", direct=direct_answer("overloaded", "503 0.001 0.012 0 "))),
    (Case.UNHEALTHY, seen(("200",), body=GOOD.replace("healthy", "degraded"))),
    (Case.OTHER_RELEASE, seen(("200",), body=GOOD.replace("v2", "v1"))),
    (Case.CROSSED, seen(("200",), body=GOOD.replace("live", "dev"), direct=ANSWERED)),
    (
        Case.WRONG_ROLE,
        seen(
            ("200",),
            body=GOOD.replace("live", "dev"),
            direct=direct_answer(GOOD.replace("live", "dev"), "200 0.001 0.012 0 "),
        ),
    ),
    (
        Case.GARBLED,
        seen(("63 Maximum",), direct=direct_answer("", "200 0.001 0.012 63 too large")),
    ),
    (Case.GARBLED, seen(("18 transfer closed",), direct=direct_answer("", "200 0.001 0.012 18 transfer closed"))),
    (Case.GARBLED, seen(("1 Received HTTP/0.9",), direct=direct_answer("", "000 0.001 0.012 1 Received HTTP/0.9"))),
    (
        Case.FORWARD_DOWN,
        seen(
            ("7 Failed to connect",),
            direct=ANSWERED,
            listeners="127.0.0.1:9090 410 hypervisor.service",
            units=unit_show(VM, MainPID="420") + "\n" + unit_show(FORWARD, ActiveState="inactive", SubState="dead"),
        ),
    ),
    (Case.FORWARD_STUCK, seen(SILENT, direct=ANSWERED)),
    (
        Case.FORWARD_RESTARTED,
        seen(
            BACK,
            body=GOOD,
            lives=presence(100.2, **RUNNING) + presence(102.0, vm=RUNNING["vm"], socat="active running 530 ffff 1"),
        ),
    ),
]


@pytest.mark.parametrize(
    ("case", "endpoint"), CASES, ids=[f"{case.name.lower()}-{n}" for n, (case, _) in enumerate(CASES)]
)
def test_case_is_called_by_its_name(case: Case, endpoint: EndpointSeen) -> None:
    """What the host saw of a case leads to its name, and what was seen stands beside it."""
    cause = find_cause(endpoint)
    assert cause is not None
    assert cause.case is case
    assert str(cause).startswith(f"{case} (")
    assert cause.remedy
    assert "{" not in cause.remedy


def test_healthy_workload_has_no_cause() -> None:
    """Good answers over the soak, from the same processes, are nobody's fault."""
    assert find_cause(seen(("good",) * 5, body=GOOD)) is None


def test_workload_outside_a_machine_has_no_cause() -> None:
    """Where nothing was seen of a machine, nothing is said of one."""
    endpoint = seen(SILENT, direct=UNANSWERED)
    observation = read_observation(frame({"watch.series": series(*SILENT), "answer.live": ""}))
    assert find_cause(EndpointSeen("live", WANT, HEALTH, observation)) is None
    assert find_cause(endpoint) is not None


def test_old_crashes_are_not_todays_trouble() -> None:
    """A machine that crashed twice long before, and has run since, is not in a crash loop."""
    cause = find_cause(
        seen(
            SILENT,
            direct=ACCEPTED,
            systemd=lines(KILL, AGAIN.format(1), KILL, AGAIN.format(2)),
            facts={"process": "420 Ssl 600 -"},
        )
    )
    assert cause is not None
    assert cause.case is Case.HANGING


def test_guest_cannot_speak_for_systemd() -> None:
    """What the guest prints on its console about its unit is no exit of its process."""
    cause = find_cause(seen(SILENT, direct=ACCEPTED, console=lines(KILL, AGAIN.format(1), AGAIN.format(2), GAVE_UP)))
    assert cause is not None
    assert cause.case is Case.HANGING


def test_monitor_that_says_nothing_is_no_proof() -> None:
    """A monitor that is absent, or that somebody else is talking to, names no case."""
    for word in ("absent", "silent", ""):
        cause = find_cause(seen(SILENT, direct=ACCEPTED, facts={"monitor": word}))
        assert cause is not None
        assert cause.case is Case.HANGING


def test_message_says_what_was_seen() -> None:
    """Beside the name stand the process, the monitor, the network and the answer that lead to it."""
    cause = find_cause(seen(SILENT, direct=UNANSWERED, facts={"monitor": "paused"}))
    assert str(cause) == (
        "the machine is paused (process 420, state Ssl; started 12 s before; monitor paused; "
        "tap up, carrier, on br-choiros; neighbour REACHABLE; the workload itself does not answer at "
        "http://10.0.0.100:8080/health either (Connection timed out))"
    )


def test_system_that_says_no_version_is_noticed() -> None:
    """Where the running system does not say what the workload must answer, that is known to be unknown."""
    endpoint = seen(("good",) * 5, body=GOOD, version="")
    assert endpoint.unknown == ["etc/choiros/version"]
    assert seen(("good",) * 5, body=GOOD).unknown == []
