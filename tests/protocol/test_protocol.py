"""Whatever happens in whatever order: one owner, what is confirmed stays, what is not goes back, nothing is stuck."""

from __future__ import annotations

import re
from itertools import combinations

import pytest

from switchproof.deploy.host.program import whole_script
from tests.protocol.explore import Explored, explore
from tests.protocol.state import Run, State
from tests.protocol.steps import Mistakes
from tests.protocol.trace import Entered, functions, refused
from tests.sampling import sampled

FAULTS = "PSKLHX"
"""Power cut, systemd restarting, runner killed, connection lost, a switch by hand, a process in the guarded section.

Beside them stands F, the failure of one build, switch, activation or health.
"""

ALONE = State(b=Run(runner="left"))
SAMPLED = sampled("faults beside two runs", "protocol", {kind: kind for kind in ("", *FAULTS)}, {"", *"PSK"})


def shown(found: Explored) -> str:
    """Every wrong state with the steps that lead to it."""
    return "\n".join("\n  ".join([f"{what}:", *found.path(state)]) for what, state in found.wrong.items())


@pytest.mark.parametrize(
    "faults",
    [pytest.param(kind, marks=(SAMPLED.mark(kind), *([pytest.mark.long] if kind else []))) for kind in SAMPLED.tried],
)
def test_two_runs_never_harm_each_other(faults: str) -> None:
    found = explore(State(faults=f"F{faults}"))
    assert not found.wrong, shown(found)


@pytest.mark.parametrize("faults", ["".join(pair) for pair in combinations(FAULTS, 2)])
@pytest.mark.long
def test_a_run_survives_any_two_faults(faults: str) -> None:
    found = explore(ALONE._replace(faults=f"F{faults}"))
    assert not found.wrong, shown(found)


def test_a_silent_systemd_taken_for_an_absent_guard_lets_an_unconfirmed_system_stay() -> None:
    stays = "an unconfirmed system that stays"
    found = explore(State(faults="SK"), Mistakes(disarms_unanswered=True), until=stays)
    assert stays in found.wrong


def test_a_guard_that_waits_for_an_intruder_never_acts() -> None:
    found = explore(ALONE._replace(faults="KX"), Mistakes(guard_waits=True))
    assert {"an unconfirmed system that stays", "a state that no verb can leave"} & found.wrong.keys()


def test_an_audit_of_the_moment_passes_a_host_that_goes_back() -> None:
    found = explore(ALONE._replace(faults="K"), Mistakes(audits_the_moment=True))
    assert "an audit passes a host that is about to go back" in found.wrong


@pytest.mark.parametrize(
    ("mistakes", "faults", "seen"),
    [
        (Mistakes(begins_unlocked=True), "F", "two owners"),
        (Mistakes(trusts_old_note=True), "P", "a confirmed system that goes back"),
    ],
)
def test_a_run_that_lost_its_lock_harms_the_next_one_unless_it_looks(
    mistakes: Mistakes, faults: str, seen: str
) -> None:
    found = explore(State(faults=faults), mistakes, until=seen)
    assert seen in found.wrong


def test_every_step_names_a_function_of_the_script() -> None:
    known = set(re.findall(r"^([a-z_]+)\(\)", whole_script(), re.MULTILINE))
    assert len(functions()) > 15
    assert functions() <= known


def test_a_trace_with_two_steps_changed_is_refused() -> None:
    trace = [Entered("a.verb", name) for name in ("take_lock", "hold_system", "take_lock", "hold_system", "launch")]
    assert not refused(trace, ALONE)
    assert refused([*trace[:1], trace[4], *trace[1:4]], ALONE).startswith("a.verb enters launch after")
