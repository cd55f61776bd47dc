"""What the script does on a host is what the protocol in tests/protocol says."""

from __future__ import annotations

from pathlib import Path

import pytest

from switchproof.deploy.host.program import carried_script
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from tests.host.hands import ask, commit, finish, inside
from tests.host.unconfirmed import on_all, switch
from tests.protocol.state import State
from tests.protocol.trace import Entered, read, refused, traced

pytestmark = [pytest.mark.lab, pytest.mark.long]

LOG = "/run/switchproof-trace"
FIRST = State(faults="F")


@pytest.fixture(autouse=True)
def _traced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "host-switch.sh"
    script.write_text(traced(carried_script(), LOG), encoding="utf-8")
    monkeypatch.setattr("switchproof.deploy.host.program.SCRIPT", script)


def recorded(machine: LabHost, *verbs: str) -> list[Entered]:
    """What was written down on a host; some verbs must have been."""
    trace = read(inside(machine, f"cat {LOG}"))
    assert set(verbs) <= {step.function for step in trace}
    return trace


def confirmed_beside_another(machine: LabHost, _: str) -> None:
    """A deploy that is confirmed; a second run is refused meanwhile, and has the host after it."""
    switched = switch(machine, "a")
    sha = commit(machine, "main")
    assert (
        ask(machine, "resolve", SWITCHPROOF_RUN="b", SWITCHPROOF_CLAIM="1", RELEASE_SHA=sha).text("outcome")
        == "locked"
    )
    assert switched.confirm() == "ok"
    trace = recorded(machine, "keep_system", "boot_earlier", "release")
    assert not refused(trace, FIRST)
    # A step left out, or two in another order, is not this protocol.
    for number, step in enumerate(trace):
        if step.function in {"decide", "set_up_guard", "hold_system"}:
            assert refused([*trace[:number], *trace[number + 1 :]], FIRST), step


def rolled_back(machine: LabHost, _: str) -> None:
    """A deploy that failed: the run brings the host back."""
    switched = switch(machine, "a")
    assert switched.roll_back() == "started"
    finish(machine, "a", "rollback")
    assert switched.confirm(keep="") == "ok"
    assert not refused(recorded(machine, "begin_way_back", "restore_profile", "disarm_own"), FIRST)


def gone_back(machine: LabHost, _: str) -> None:
    """A deploy that nobody confirms: the host goes back by itself."""
    switched = switch(machine, "a", 2)
    switched.returned()
    assert switched.confirm(keep="") == "late"
    assert not refused(recorded(machine, "end_return", "retire"), FIRST)


def taken_over(machine: LabHost, _: str) -> None:
    """A run that lost the host to another one neither switches nor restores it any more."""
    sha = commit(machine, "v3")
    claim = {"SWITCHPROOF_RUN": "a", "RELEASE_SHA": sha, "SWITCHPROOF_CLAIM": "1"}
    assert ask(machine, "resolve", **claim).text("outcome") == "ok"
    inside(machine, "rm -rf /run/switchproof/lock")  # as a power cut does
    other = switch(machine, "b")
    assert other.confirm() == "ok"
    assert ask(machine, "converge", **claim).text("outcome") == "foreign"
    assert ask(machine, "rollback", SWITCHPROOF_RUN="a", SWITCHPROOF_TO=other.earlier).text("outcome") == "foreign"
    assert inside(machine, "readlink -e /run/current-system") == other.new


def test_what_the_script_does_is_what_the_protocol_allows(several: Lab) -> None:
    on_all(
        several,
        {
            case.__name__.replace("_", "-"): case
            for case in (confirmed_beside_another, rolled_back, gone_back, taken_over)
        },
    )
